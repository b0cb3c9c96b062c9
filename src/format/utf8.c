#include "format/internal.h"

#include <string.h>

/* Bytes of the valid sequence at the start of data; 0 when there is none. */
static size_t sequence_bytes(const unsigned char *s, size_t bytes)
{
    unsigned char lead = s[0];
    if (lead < 0x80) return 1;
    if (lead < 0xC2 || lead > 0xF4) return 0;
    size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (length > bytes) return 0;
    /* The second byte's range rules out overlong forms, surrogates and code points too high. */
    unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (s[1] < low || s[1] > high) return 0;
    for (size_t i = 2; i < length; i++)
        if ((s[i] & 0xC0) != 0x80) return 0;
    return length;
}

size_t tl_utf8_valid_prefix(const char *data, size_t bytes)
{
    const unsigned char *s = (const unsigned char *)data;
    size_t i = 0;
    while (i < bytes) {
        uint64_t word;
        if (bytes - i >= sizeof word) {
            memcpy(&word, s + i, sizeof word);
            if ((word & 0x8080808080808080u) == 0) {
                i += sizeof word;
                continue;
            }
        }
        size_t length = sequence_bytes(s + i, bytes - i);
        if (length == 0) return i;
        i += length;
    }
    return bytes;
}
