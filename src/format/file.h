/* file.h - whole files in memory. Layer: format. Any thread. */
#ifndef TL_FORMAT_FILE_H
#define TL_FORMAT_FILE_H

#include "base/status.h"

/* Read a regular file of at most `bytes_max` bytes. *data is malloc'ed [*bytes + 1], the caller's,
 * and ends in a NUL that is not counted. Errors: TL_ENOTFOUND, TL_EIO, TL_ELIMIT (larger than
 * bytes_max), TL_EINVAL (not a file), TL_ENOMEM. */
tl_status tl_file_read(const char *path, size_t bytes_max, void **data, size_t *bytes,
                       tl_error *err);

/* Write `data` [bytes] to `path`, in place of what is there: whole and on disk, or not at all.
 * Errors: TL_ENOTFOUND (no such folder), TL_EPERM, TL_ENOSPC, TL_EIO, TL_ELIMIT (a long path). */
tl_status tl_file_write(const char *path, const void *data, size_t bytes, tl_error *err);

#endif
