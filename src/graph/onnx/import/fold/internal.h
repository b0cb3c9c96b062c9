/* fold/internal.h - constants made of constants. Not for other modules.
 *
 * fold.c      which way a node goes
 * draft.c     constants under construction
 * moves.c     numbers that only move, and sizes that change their names
 * integers.c  integers, which sizes are: exactly; and choices between constants
 * sizes.c     constants made of sizes
 * engine.c    the rest: built as a graph of its own and run once */
#ifndef TL_GRAPH_ONNX_IMPORT_FOLD_INTERNAL_H
#define TL_GRAPH_ONNX_IMPORT_FOLD_INTERNAL_H

#include "graph/onnx/import/internal.h"

/* A constant under construction: exactly one of `integers` and `floats` is there. */
typedef struct fold_draft {
    Onnx__TensorProto *tensor;
    int64_t *integers;
    float *floats;
    size_t count;
} fold_draft;

/* ---- Drafts (draft.c) -------------------------------------------------------------------------
 */

/* False when out of memory or over a bound, which is reported. */
bool fold_draft_open(const onnx_import *import, fold_draft *d, int32_t type, uint32_t rank,
                     const uint32_t *dim);
/* Number `to` is the source's number `from`; towards 0 where it becomes an integer. */
void fold_draft_copy(fold_draft *d, size_t to, const onnx_value *source, size_t from);
/* Output 0 of the node; `source`: whose numbers they are, or NULL. */
tl_status fold_draft_yield(onnx_import *import, onnx_node *node, const fold_draft *d,
                           const onnx_value *source);

/* How far apart in memory neighbours along each axis are. */
void fold_strides(const onnx_dims *dims, int64_t *out);
/* Output 0: the source's numbers along strides; axis i of the result has dim[i] numbers. */
tl_status fold_yield_view(onnx_import *import, onnx_node *node, const onnx_value *source,
                          uint32_t rank, const uint32_t *dim, const int64_t *stride,
                          int64_t offset);
/* Output 0: the same numbers under other sizes. */
tl_status fold_yield_renamed(onnx_import *import, onnx_node *node, const onnx_value *source,
                             uint32_t rank, const uint32_t *dim);

/* ---- Nodes ------------------------------------------------------------------------------------
 */

/* `source` is operand 0. */
typedef tl_status (*folder)(onnx_import *import, onnx_node *node, const onnx_value *source);

tl_status fold_reshape(onnx_import *import, onnx_node *node, const onnx_value *source);
tl_status fold_axes(onnx_import *import, onnx_node *node, const onnx_value *source);
tl_status fold_transpose(onnx_import *import, onnx_node *node, const onnx_value *source);
tl_status fold_slice(onnx_import *import, onnx_node *node, const onnx_value *source);
tl_status fold_expand(onnx_import *import, onnx_node *node, const onnx_value *source);
tl_status fold_gather(onnx_import *import, onnx_node *node, const onnx_value *source);
tl_status fold_concat(onnx_import *import, onnx_node *node, const onnx_value *source);
tl_status fold_where(onnx_import *import, onnx_node *node, const onnx_value *source);
tl_status fold_cast(onnx_import *import, onnx_node *node, const onnx_value *source);
tl_status fold_range(onnx_import *import, onnx_node *node, const onnx_value *source);
tl_status fold_constant_of_shape(onnx_import *import, onnx_node *node, const onnx_value *source);

/* Integers of two operands, or of all of a list; NULL when the node is neither. */
folder fold_integers_find(const onnx_import *import, const onnx_node *node,
                          const onnx_value *source);

tl_status fold_by_engine(onnx_import *import, onnx_node *node);

#endif
