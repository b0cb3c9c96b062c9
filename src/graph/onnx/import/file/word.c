#include "graph/onnx/import/file/internal.h"

#include <string.h>

bool onnx_is_named(const char *name)
{
    return name != NULL && *name != '\0';
}

onnx_word onnx_word_of(const char *text)
{
    enum { KEPT = ONNX_WORD_BYTES - 3 };
    onnx_word word = { "" };
    if (text == NULL || *text == '\0') text = "(unnamed)";
    size_t bytes = strlen(text), at = 0;
    if (bytes >= ONNX_WORD_BYTES) {
        text += bytes - KEPT + 1;
        word.text[at++] = '.';
        word.text[at++] = '.';
    }
    for (; *text != '\0'; text++) word.text[at++] = *text >= ' ' && *text < 127 ? *text : '?';
    return word;
}
