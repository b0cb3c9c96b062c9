/* tensor_input.h - one input tensor of a request. Layer: server. See infer.h. */
#ifndef TL_SERVER_TENSOR_INPUT_H
#define TL_SERVER_TENSOR_INPUT_H

#include "base/arena.h"
#include "format/json.h"

/* X(name, bytes of an element in the binary form; 0: variable) */
#define TL_DATATYPE_MAP(X)                                                                         \
    X(BOOL, 1)                                                                                     \
    X(UINT8, 1)                                                                                    \
    X(UINT16, 2)                                                                                   \
    X(UINT32, 4)                                                                                   \
    X(UINT64, 8)                                                                                   \
    X(INT8, 1)                                                                                     \
    X(INT16, 2)                                                                                    \
    X(INT32, 4)                                                                                    \
    X(INT64, 8)                                                                                    \
    X(FP16, 2)                                                                                     \
    X(FP32, 4)                                                                                     \
    X(FP64, 8)                                                                                     \
    X(BYTES, 0)

typedef enum tl_datatype {
#define X(name, bytes) TL_DATATYPE_##name,
    TL_DATATYPE_MAP(X)
#undef X
        TL_DATATYPE_COUNT
} tl_datatype;

enum { TL_TENSOR_RANK_MAX = 4 };

typedef struct tl_tensor_input {
    const char *name;
    tl_datatype type;
    size_t rank;
    size_t shape[TL_TENSOR_RANK_MAX]; /* each >= 1 */
    size_t count;                     /* elements: the product */
    const tl_json *parameters;        /* NULL: none */
    const tl_json *data;              /* NULL: in binary */
    const uint8_t *blob;              /* [blob_bytes], unaligned, little-endian */
    size_t blob_bytes;
} tl_tensor_input;

/* Read the description of a tensor; its binary data starts at *blob, of which *blob_bytes are left;
 * both move past it. Errors: TL_EINVAL, TL_ESHAPE, TL_EUNSUPPORTED. */
tl_status tl_tensor_read(const tl_json *json, const uint8_t **blob, size_t *blob_bytes,
                         tl_tensor_input *out, tl_error *err);

/* All elements as finite floats, [count] in the arena; any numeric datatype. */
tl_status tl_tensor_floats(const tl_tensor_input *tensor, tl_arena *arena, const float **out,
                           tl_error *err);

/* A datatype BYTES tensor of shape [n] or [n, 1] as images: files in JPEG, PNG or PNM; base64 when
 * the data is JSON. An empty element is TL_IMAGE_NONE. `images` has room for `count`. */
tl_status tl_tensor_image_files(const tl_tensor_input *tensor, tl_arena *arena, tl_image *images,
                                tl_error *err);

/* A numeric tensor of shape [n, h, w], [n, h, w, c] or [n, c, h, w] as raw 8-bit images. */
tl_status tl_tensor_pixels(const tl_tensor_input *tensor, tl_arena *arena, tl_image *images,
                           tl_error *err);

const char *tl_datatype_text(tl_datatype type);

#endif
