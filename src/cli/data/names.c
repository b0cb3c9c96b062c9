#include "cli/data/names.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

tl_status tl_names_list(const char *path, char ***names, size_t *count, tl_error *err)
{
    *names = NULL;
    *count = 0;
    DIR *folder = opendir(path);
    if (folder == NULL) return tl_fail(err, TL_EIO, "%.180s cannot be listed", path);
    char **list = NULL;
    size_t used = 0, capacity = 0;
    tl_status status = TL_OK;
    struct dirent *at;
    while (status == TL_OK && (at = readdir(folder)) != NULL) {
        if (at->d_name[0] == '.') continue;
        if (used == capacity) {
            capacity = capacity > 0 ? 2 * capacity : 64;
            char **grown = realloc(list, capacity * sizeof *grown);
            if (grown == NULL) {
                status = tl_fail(err, TL_ENOMEM, "names of files");
                break;
            }
            list = grown;
        }
        list[used] = strdup(at->d_name);
        if (list[used] == NULL) status = tl_fail(err, TL_ENOMEM, "names of files");
        if (status == TL_OK) used++;
    }
    closedir(folder);
    if (used > 0) qsort(list, used, sizeof *list, compare_names);
    *names = list;
    *count = used;
    return status;
}

void tl_names_free(char **names, size_t count)
{
    for (size_t i = 0; i < count; i++) free(names[i]);
    free(names);
}

bool tl_is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool tl_is_image_name(const char *name)
{
    static const char *const ends[] = { ".png", ".jpg", ".jpeg", ".pgm", ".ppm", ".pbm", ".pnm" };
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot != NULL && i < TL_COUNT_OF(ends); i++)
        if (strcasecmp(dot, ends[i]) == 0) return true;
    return false;
}
