#include "format/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static tl_status fail_errno(tl_error *err, const char *path, const char *what)
{
    int code = errno;
    tl_status status = code == ENOENT   ? TL_ENOTFOUND
                       : code == EACCES ? TL_EPERM
                       : code == ENOSPC ? TL_ENOSPC
                                        : TL_EIO;
    return tl_fail(err, status, "cannot %s %s: %s", what, path, strerror(code));
}

/* Read until `capacity` bytes are there or the file ends. */
static tl_status read_fully(int fd, const char *path, char *data, size_t capacity, size_t *bytes,
                            tl_error *err)
{
    size_t have = 0;
    while (have < capacity) {
        ssize_t got = read(fd, data + have, capacity - have);
        if (got == 0) break;
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return fail_errno(err, path, "read");
        have += (size_t)got;
    }
    *bytes = have;
    return TL_OK;
}

static tl_status read_descriptor(int fd, const char *path, size_t bytes_max, void **data,
                                 size_t *bytes, tl_error *err)
{
    struct stat info;
    if (fstat(fd, &info) != 0) return fail_errno(err, path, "examine");
    if (!S_ISREG(info.st_mode)) return tl_fail(err, TL_EINVAL, "%s is not a regular file", path);
    if ((uint64_t)info.st_size > bytes_max)
        return tl_fail(err, TL_ELIMIT, "%s has %lld bytes; at most %zu are read", path,
                       (long long)info.st_size, bytes_max);
    size_t size = (size_t)info.st_size;
    char *buffer = malloc(size + 1);
    if (buffer == NULL) return tl_fail(err, TL_ENOMEM, "%zu bytes for %s", size, path);
    size_t have = 0;
    tl_status status = read_fully(fd, path, buffer, size, &have, err);
    if (status != TL_OK) {
        free(buffer);
        return status;
    }
    buffer[have] = '\0'; /* shorter than stated when somebody truncates it meanwhile */
    *data = buffer;
    *bytes = have;
    return TL_OK;
}

tl_status tl_file_read(const char *path, size_t bytes_max, void **data, size_t *bytes,
                       tl_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return fail_errno(err, path, "open");
    tl_status status = read_descriptor(fd, path, bytes_max, data, bytes, err);
    close(fd);
    return status;
}

/* Write all, and wait until it is on disk. */
static tl_status write_fully(int fd, const char *path, const char *data, size_t bytes,
                             tl_error *err)
{
    while (bytes > 0) {
        ssize_t done = write(fd, data, bytes);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return fail_errno(err, path, "write");
        data += done;
        bytes -= (size_t)done;
    }
    return fsync(fd) == 0 ? TL_OK : fail_errno(err, path, "write");
}

tl_status tl_file_write(const char *path, const void *data, size_t bytes, tl_error *err)
{
    char part[4096];
    if ((size_t)snprintf(part, sizeof part, "%s.%ld.part", path, (long)getpid()) >= sizeof part)
        return tl_fail(err, TL_ELIMIT, "the path %.120s... is too long", path);
    int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) return fail_errno(err, path, "write");
    tl_status status = write_fully(fd, path, data, bytes, err);
    if (close(fd) != 0 && status == TL_OK) status = fail_errno(err, path, "write");
    if (status == TL_OK && rename(part, path) != 0) status = fail_errno(err, path, "write");
    if (status != TL_OK) unlink(part);
    return status;
}
