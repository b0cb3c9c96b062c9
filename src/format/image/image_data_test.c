/* image_data_test.c - the boards of pcb-stream: each JPEG, cut at 127, is its bitmap. */
#include "format/file.h"
#include "format/image.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FOLDER TL_SHARED_DATA "/pcb-stream/"

static tl_pixels load(tl_image_decoder *decoder, const char *folder, const char *name, int bytes,
                      const char *ending)
{
    char path[512];
    snprintf(path, sizeof path, FOLDER "%s/%.*s%s", folder, bytes, name, ending);
    void *data = NULL;
    size_t size = 0;
    tl_error err = { 0 };
    tl_pixels pixels = { 0 };
    tl_status status = tl_file_read(path, 1 << 24, &data, &size, &err);
    if (status == TL_OK) status = tl_image_decode(decoder, data, size, 1, &pixels, &err);
    if (status != TL_OK) fail_msg("%s: %s", path, err.text);
    free(data);
    return pixels;
}

static void jpeg_and_bitmap_agree(void **state)
{
    (void)state;
    DIR *folder = opendir(FOLDER "original_jpeg");
    assert_non_null(folder);
    tl_image_decoder *one = NULL, *other = NULL;
    assert_int_equal(tl_image_decoder_create(NULL, &one, NULL), TL_OK);
    assert_int_equal(tl_image_decoder_create(NULL, &other, NULL), TL_OK);
    size_t boards = 0, pixels = 0, different = 0;
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        const char *dot = strrchr(entry->d_name, '.');
        if (dot == NULL || strcmp(dot, ".jpg") != 0) continue;
        int bytes = (int)(dot - entry->d_name);
        tl_pixels jpeg = load(one, "original_jpeg", entry->d_name, bytes, ".jpg");
        tl_pixels bitmap = load(other, "detect_pbm_sample", entry->d_name, bytes, ".pbm");
        assert_int_equal(jpeg.height, bitmap.height);
        assert_int_equal(jpeg.width, bitmap.width);
        size_t count = (size_t)jpeg.height * jpeg.width;
        for (size_t i = 0; i < count; i++)
            different += (jpeg.data[i] > 127) != (bitmap.data[i] == 255);
        pixels += count;
        boards++;
    }
    closedir(folder);
    tl_image_decoder_destroy(&one);
    tl_image_decoder_destroy(&other);
    print_message("%zu boards: %zu of %zu pixels differ\n", boards, different, pixels);
    assert_true(boards >= 10);
    assert_true(different * 10000 <= pixels); /* another decoder may round a few differently */
}

int main(void)
{
    DIR *folder = opendir(FOLDER "original_jpeg");
    if (folder == NULL) {
        printf("no " FOLDER "original_jpeg: skipped\n");
        return 77;
    }
    closedir(folder);
    const struct CMUnitTest tests[] = { cmocka_unit_test(jpeg_and_bitmap_agree) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
