/* npy.h - arrays in NumPy's .npy form, and stored (uncompressed) .npz archives of them.
 * Layer: format. Any thread; nothing here allocates or keeps state.
 *
 * Everything is borrowed: an array points into the bytes that it was parsed from. Those need not be
 * aligned, so numbers are taken out with the functions below. Untrusted input: every size is
 * checked against the bytes that are there. Form: NEP 1 (numpy/lib/format.py), versions 1 to 3, C
 * order, little endian; archives: PKWARE APPNOTE, method "stored", no ZIP64 sizes. Checksums of an
 * archive are not verified. */
#ifndef TL_FORMAT_NPY_H
#define TL_FORMAT_NPY_H

#include "base/status.h"

enum { TL_NPY_RANK_MAX = 8 };

typedef enum tl_npy_type { TL_NPY_F32, TL_NPY_F64, TL_NPY_I64, TL_NPY_U8 } tl_npy_type;

typedef struct tl_npy {
    tl_npy_type type;
    uint32_t rank;
    size_t shape[TL_NPY_RANK_MAX];
    size_t count;     /* elements: the product of the shape; 1 for rank 0 */
    const void *data; /* borrowed; maybe unaligned */
} tl_npy;

/* Errors: TL_EINVAL (malformed or truncated), TL_EUNSUPPORTED (another type, order or version);
 * *out is then untouched. */
tl_status tl_npy_parse(const void *data, size_t bytes, tl_npy *out, tl_error *err);

/* Element `index` < count, converted. */
double tl_npy_number(const tl_npy *array, size_t index);
/* The same for TL_NPY_I64 without rounding; other types are converted towards zero (NaN: 0). */
int64_t tl_npy_integer(const tl_npy *array, size_t index);
/* All elements, converted; `out` has room for array->count. */
void tl_npy_copy_f32(const tl_npy *array, float *out);

typedef struct tl_npz {
    const uint8_t *data; /* borrowed */
    size_t bytes, directory_offset, directory_bytes;
    size_t count; /* arrays and other members */
} tl_npz;

/* Errors as above; every entry of the directory is checked here. */
tl_status tl_npz_open(const void *data, size_t bytes, tl_npz *out, tl_error *err);
/* Name of member `index` < count as in the archive ("c1.weight.npy"), not NUL-terminated. */
const char *tl_npz_name(const tl_npz *archive, size_t index, size_t *bytes);
/* The array stored as "<name>.npy". Errors: TL_ENOTFOUND, those of tl_npy_parse. */
tl_status tl_npz_find(const tl_npz *archive, const char *name, tl_npy *out, tl_error *err);

#endif
