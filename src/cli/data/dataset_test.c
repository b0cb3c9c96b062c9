/* Data sets: a small stream and a small folder, made here; damage in each. */
#include "cli/data/dataset.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static char root[256];

static void write_file(const char *name, const void *data, size_t bytes)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", root, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    fclose(file);
}

static void write_text(const char *name, const char *text)
{
    write_file(name, text, strlen(text));
}

static void make_folder(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", root, name);
    assert_int_equal(mkdir(path, 0700), 0);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "%s/tl-dataset-XXXXXX",
             getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
    return mkdtemp(root) != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    char command[512];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

/* Three patches: all white on black, and so on, with one pixel set apart. */
static void write_patches(void)
{
    static uint8_t file[128 + 3 * 1024];
    memset(file, ' ', 128);
    memcpy(file, "\x93NUMPY\x01\x00\x76\x00", 10);
    const char *head = "{'descr': '|u1', 'fortran_order': False, 'shape': (3, 2, 64, 8), }";
    memcpy(file + 10, head, strlen(head));
    file[127] = '\n';
    memset(file + 128, 0, 3 * 1024);
    memset(file + 128 + 1024, 0xff, 512); /* patch 1: white image, black template */
    file[128 + 2048 + 1] = 0x40;          /* patch 2: image, row 0, column 9 */
    write_file("patches_u1.npy", file, sizeof file);
}

static const char LABELS[] = "id,group,image,x,y,label,name\n"
                             "0,siteA,A1,0,0,0,ok\r\n"
                             "1,siteA,A2,0,0,1,open\n"
                             "2,siteB,B1,0,0,0,ok\n";

static tl_status open_order(const char *order, tl_dataset **out, tl_error *err)
{
    return tl_dataset_open(&(tl_dataset_options){ .path = root, .order = order }, out, err);
}

static void reads_a_stream(void **state)
{
    (void)state;
    write_patches();
    write_text("labels.csv", LABELS);
    write_text("order_site.csv", "pos,id,group\n0,2,siteB\n1,1,siteA\n");
    tl_dataset *dataset;
    tl_dataset_info info;
    tl_dataset_item item;
    assert_int_equal(open_order("site", &dataset, NULL), TL_OK);
    tl_dataset_describe(dataset, &info);
    assert_int_equal(info.count, 2);
    assert_int_equal(info.class_count, 2);
    assert_string_equal(info.classes[1], "open");
    assert_true(info.has_template && info.height == 64 && info.width == 64 && info.channels == 1);
    tl_dataset_item_at(dataset, 0, &item);
    assert_int_equal(item.id, 2);
    assert_int_equal(item.label, 0);
    assert_string_equal(item.name, "B1");
    assert_string_equal(item.group, "siteB");
    uint8_t image[4096], reference[4096];
    assert_int_equal(tl_dataset_pixels(dataset, 0, image, reference, NULL), TL_OK);
    for (int i = 0; i < 4096; i++) assert_int_equal(image[i], i == 9 ? 255 : 0);
    assert_int_equal(tl_dataset_pixels(dataset, 1, image, reference, NULL), TL_OK);
    assert_int_equal(image[0], 255);
    assert_int_equal(image[4095], 255);
    assert_int_equal(reference[4095], 0);
    tl_dataset_close(&dataset);
    assert_int_equal(open_order(NULL, &dataset, NULL), TL_OK);
    tl_dataset_describe(dataset, &info);
    assert_int_equal(info.count, 3);
    tl_dataset_close(&dataset);
}

static void refuses_damaged_streams(void **state)
{
    (void)state;
    tl_dataset *dataset = NULL;
    tl_error err;
    write_patches();
    write_text("labels.csv", LABELS);
    assert_int_equal(open_order("nowhere", &dataset, &err), TL_ENOTFOUND);
    assert_int_equal(open_order("../x", &dataset, &err), TL_EINVAL);
    write_text("order_site.csv", "pos,id\n0,3\n");
    assert_int_equal(open_order("site", &dataset, &err), TL_EINVAL);
    assert_non_null(strstr(err.text, "line 2"));
    write_text("order_site.csv", "pos,number\n0,1\n");
    assert_int_equal(open_order("site", &dataset, &err), TL_EINVAL);
    assert_non_null(strstr(err.text, "\"id\""));
    write_text("order_site.csv", "");
    assert_int_equal(open_order("site", &dataset, &err), TL_EINVAL);
    write_text("labels.csv", "id,group,image,label,name\n0,a,b,1,open\n");
    assert_int_equal(open_order(NULL, &dataset, &err), TL_EINVAL); /* label 0 has no name */
    write_text("labels.csv", "id,group,image,label,name\n0,a,b,0,ok\n1,a,b,0,open\n");
    assert_int_equal(open_order(NULL, &dataset, &err), TL_EINVAL);
    write_text("labels.csv", "id,group,image,label,name\n0,a,b\n");
    assert_int_equal(open_order(NULL, &dataset, &err), TL_EINVAL);
    write_text("labels.csv", "id,group,image,label,name\n");
    assert_int_equal(open_order(NULL, &dataset, &err), TL_EINVAL);
    write_text("labels.csv", LABELS);
    write_text("patches_u1.npy", "not an array");
    assert_int_equal(open_order(NULL, &dataset, &err), TL_EINVAL);
    assert_null(dataset);
}

static void write_pgm(const char *name, uint8_t grey)
{
    uint8_t file[11 + 4] = "P5\n2 2\n255\n";
    memset(file + 11, grey, 4);
    write_file(name, file, sizeof file);
}

static void reads_a_folder(void **state)
{
    (void)state;
    make_folder("ok");
    make_folder("dent");
    make_folder("reference");
    make_folder("reference/ok");
    make_folder("reference/dent");
    write_pgm("ok/a.pgm", 10);
    write_pgm("ok/b.pgm", 20);
    write_text("ok/notes.txt", "not an image");
    write_pgm("dent/c.pgm", 30);
    write_pgm("reference/ok/a.pgm", 11);
    write_pgm("reference/ok/b.pgm", 21);
    tl_dataset *dataset;
    tl_dataset_info info;
    tl_dataset_item item;
    tl_error err;
    assert_int_equal(open_order(NULL, &dataset, &err), TL_OK);
    tl_dataset_describe(dataset, &info);
    assert_int_equal(info.count, 3);
    assert_int_equal(info.class_count, 2);
    assert_string_equal(info.classes[0], "ok");
    assert_string_equal(info.classes[1], "dent");
    assert_true(info.has_template);
    tl_dataset_item_at(dataset, 1, &item);
    assert_string_equal(item.name, "b.pgm");
    assert_int_equal(item.label, 0);
    uint8_t image[4096], reference[4096];
    assert_int_equal(tl_dataset_pixels(dataset, 1, image, reference, &err), TL_OK);
    assert_int_equal(image[0], 20);
    assert_int_equal(reference[4095], 21);
    assert_int_equal(tl_dataset_pixels(dataset, 2, image, reference, &err), TL_ENOTFOUND);
    tl_dataset_close(&dataset);
    assert_int_equal(open_order("shuffled", &dataset, &err), TL_OK);
    tl_dataset_close(&dataset);
    assert_int_equal(open_order("site", &dataset, &err), TL_ENOTFOUND);
}

static void refuses_other_folders(void **state)
{
    (void)state;
    tl_dataset *dataset = NULL;
    tl_error err;
    assert_int_equal(open_order(NULL, &dataset, &err), TL_EINVAL); /* empty */
    make_folder("ok");
    assert_int_equal(open_order(NULL, &dataset, &err), TL_EINVAL); /* one class */
    make_folder("dent");
    assert_int_equal(open_order(NULL, &dataset, &err), TL_EINVAL); /* no images */
    write_text("dent/x.png", "broken");
    assert_int_equal(open_order(NULL, &dataset, &err), TL_OK);
    uint8_t image[4096];
    assert_int_equal(tl_dataset_pixels(dataset, 0, image, NULL, &err), TL_EINVAL);
    assert_non_null(strstr(err.text, "dent/x.png"));
    tl_dataset_close(&dataset);
    assert_int_equal(tl_dataset_open(&(tl_dataset_options){ .path = "/nowhere" }, &dataset, &err),
                     TL_ENOTFOUND);
}

static void holds_out_by_name(void **state)
{
    (void)state;
    /* Reference values of FNV-1a 64: the empty text, "a", "foobar". */
    assert_true(tl_fnv1a64("") == 0xcbf29ce484222325ULL);
    assert_true(tl_fnv1a64("a") == 0xaf63dc4c8601ec8cULL);
    assert_true(tl_fnv1a64("foobar") == 0x85944171f73967e8ULL);
    assert_true(tl_dataset_is_held_out("00041006"));
    assert_false(tl_dataset_is_held_out("00041000"));
    int held = 0;
    for (int i = 0; i < 1000; i++) {
        char name[16];
        snprintf(name, sizeof name, "%08d", i);
        held += tl_dataset_is_held_out(name);
    }
    assert_in_range(held, 60, 140);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_a_stream, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refuses_damaged_streams, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reads_a_folder, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refuses_other_folders, set_up, tear_down),
        cmocka_unit_test(holds_out_by_name),
    };
    return cmocka_run_group_tests_name("cli/dataset", tests, NULL, NULL);
}
