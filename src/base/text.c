#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void tl_text_init(tl_text *text, size_t bytes_max)
{
    *text = (tl_text){ .bytes_max = bytes_max };
}

void tl_text_destroy(tl_text *text)
{
    free(text->data);
    *text = (tl_text){ .bytes_max = text->bytes_max };
}

void tl_text_clear(tl_text *text)
{
    text->bytes = 0;
    text->failed = false;
    if (text->data != NULL) text->data[0] = '\0';
}

static bool reserve(tl_text *text, size_t more)
{
    if (text->failed) return false;
    if (more > text->bytes_max - text->bytes) return !(text->failed = true);
    size_t need = text->bytes + more + 1;
    if (need <= text->capacity) return true;
    size_t capacity = text->capacity < 128 ? 256 : text->capacity * 2;
    if (capacity < need) capacity = need;
    char *data = realloc(text->data, capacity);
    if (data == NULL) return !(text->failed = true);
    text->data = data;
    text->capacity = capacity;
    return true;
}

void tl_text_append(tl_text *text, const char *data, size_t bytes)
{
    if (!reserve(text, bytes)) return;
    memcpy(text->data + text->bytes, data, bytes);
    text->bytes += bytes;
    text->data[text->bytes] = '\0';
}

void tl_text_puts(tl_text *text, const char *string)
{
    tl_text_append(text, string, strlen(string));
}

void tl_text_printf(tl_text *text, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int bytes = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (bytes >= 0 && reserve(text, (size_t)bytes)) {
        vsnprintf(text->data + text->bytes, (size_t)bytes + 1, format, again);
        text->bytes += (size_t)bytes;
    }
    va_end(again);
}

bool tl_text_ok(const tl_text *text)
{
    return !text->failed;
}
