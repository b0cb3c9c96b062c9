#include <tightloop.h>

#ifndef TL_VERSION_TEXT
#error "the build defines TL_VERSION_TEXT"
#endif

const char *tl_version_text(void)
{
    return TL_VERSION_TEXT;
}
