#include "format/npy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    tl_npy array;
    tl_npz archive;
    double sum = 0.0;
    if (tl_npy_parse(data, bytes, &array, NULL) == TL_OK)
        for (size_t i = 0; i < array.count; i++) sum += tl_npy_number(&array, i);
    if (tl_npz_open(data, bytes, &archive, NULL) != TL_OK || archive.count == 0) return 0;
    size_t name_bytes;
    const char *name = tl_npz_name(&archive, archive.count - 1, &name_bytes);
    char key[64] = { 0 };
    for (size_t i = 0; i + 4 < name_bytes && i + 1 < sizeof key; i++) key[i] = name[i];
    if (tl_npz_find(&archive, key, &array, NULL) == TL_OK && array.count > 0)
        sum += tl_npy_number(&array, array.count - 1) + (double)tl_npy_integer(&array, 0);
    return sum == 0.5 ? 1 : 0;
}
