/* names.h - what is in a folder. Layer: cli. Any thread. */
#ifndef TL_CLI_NAMES_H
#define TL_CLI_NAMES_H

#include "base/status.h"

/* Visible names in a folder, in the order of their bytes. *names is malloc'ed, and so is each name;
 * also on error: the caller frees them with tl_names_free. Errors: TL_EIO, TL_ENOMEM. */
tl_status tl_names_list(const char *path, char ***names, size_t *count, tl_error *err);
void tl_names_free(char **names, size_t count);

bool tl_is_folder(const char *path);
/* By its end: the formats of format/image.h. */
bool tl_is_image_name(const char *name);

#endif
