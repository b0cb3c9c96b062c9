/* file/internal.h - from the bytes of an ONNX file to messages and numbers. Not for other modules.
 *
 * model.c     bytes -> messages, bounded and checked before the protobuf library sees them
 * external.c  numbers that lie in a file beside it
 * tensor.c    initializers -> numbers
 * word.c      names that may stand in an error text */
#ifndef TL_GRAPH_ONNX_IMPORT_FILE_INTERNAL_H
#define TL_GRAPH_ONNX_IMPORT_FILE_INTERNAL_H

#include "base/arena.h"
#include "onnx/onnx.pb-c.h"
#include "tensor/tensor.h"

enum {
    ONNX_DEPTH_MAX = 24,  /* nested messages */
    ONNX_RANK_MAX = 8,    /* of a value */
    ONNX_WORD_BYTES = 64, /* a name in an error text */
};
#define ONNX_FILE_BYTES_MAX ((size_t)1 << 30) /* the file, and what lies beside it */

#define ONNX_TYPE(name) ONNX__TENSOR_PROTO__DATA_TYPE__##name

/* ---- Messages ---------------------------------------------------------------------------------
 */

/* Everything lies in `arena`, which the caller made and destroys. */
tl_status onnx_model_parse(const void *data, size_t bytes, tl_arena *arena, Onnx__ModelProto **out,
                           tl_error *err);

/* Read the numbers of initializers that lie in files of `folder` or below it, into the arena (whose
 * bound grows with them). Links and paths that lead out are refused. */
tl_status onnx_external_load(Onnx__GraphProto *graph, const char *folder, tl_arena *arena,
                             tl_error *err);

/* ---- Initializers -----------------------------------------------------------------------------
 */

typedef struct onnx_dims {
    uint32_t rank;
    uint32_t dim[ONNX_RANK_MAX];
    size_t count; /* 1 for rank 0 */
} onnx_dims;

/* Check type, sizes and location: after it the readers below cannot fail. `name` is for the text.
 */
tl_status onnx_tensor_check(const Onnx__TensorProto *tensor, const char *name, onnx_dims *out,
                            tl_error *err);
bool onnx_type_is_float(int32_t type);
/* Element `index` of a checked tensor. */
double onnx_tensor_number(const Onnx__TensorProto *tensor, size_t index);
int64_t onnx_tensor_integer(const Onnx__TensorProto *tensor, size_t index);

/* ---- Texts ------------------------------------------------------------------------------------
 */

/* Neither NULL nor empty. */
bool onnx_is_named(const char *name);

/* Printable ASCII for error texts; of a long name the end, which tells nodes apart. */
typedef struct onnx_word {
    char text[ONNX_WORD_BYTES];
} onnx_word;
onnx_word onnx_word_of(const char *text);

#endif
