/* Images with boxes: a small folder made here, in both forms, and damage in its labels. */
#include "cli/data/boxset.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static char root[256];

static void write_text(const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", root, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* A grey image, 4 high and 8 wide. */
static void write_image(const char *name)
{
    write_text(name, "P5 8 4 255\naaaaaaaabbbbbbbbccccccccdddddddd");
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
    snprintf(root, sizeof root, "%s/tl-boxset-XXXXXX",
             getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
    if (mkdtemp(root) == NULL) return -1;
    make_folder("images");
    make_folder("labels");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char command[512];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

static tl_boxset *open_it(tl_boxset_info *info)
{
    tl_boxset *set = NULL;
    tl_error err = { 0 };
    if (tl_boxset_open(root, 1, &set, &err) != TL_OK) fail_msg("%s", err.text);
    tl_boxset_describe(set, info);
    return set;
}

static void expect_refused(tl_status status, const char *text)
{
    tl_boxset *set = NULL;
    tl_error err = { 0 };
    assert_int_equal(tl_boxset_open(root, 1, &set, &err), status);
    if (strstr(err.text, text) == NULL) fail_msg("\"%s\" is not in \"%s\"", text, err.text);
}

static void boxes_are_shares_of_their_image(void **state)
{
    (void)state;
    tl_boxset_info info;
    tl_boxset_item item;
    assert_true(tl_boxset_is_at(root));
    write_image("images/c.pgm");
    write_image("images/d.PGM"); /* shows nothing */
    write_text("images/notes.md", "no image");
    write_text("labels/c.txt", "2 0.5 0.5 0.25 0.5\r\n\n0\t0.125 1 .25 0.01\n");
    tl_boxset *set = open_it(&info);
    assert_int_equal(info.count, 2);
    assert_int_equal(info.learned + info.judged, 2);
    assert_int_equal(info.boxes, 2);
    assert_int_equal(info.class_count, 3);
    assert_string_equal(tl_boxset_class(set, 2), "2");
    assert_int_equal(tl_boxset_item_at(set, false, 0, &item, NULL), TL_OK);
    assert_int_equal(item.height, 4);
    assert_int_equal(item.width, 8);
    assert_int_equal(item.image[8], 'b');
    assert_int_equal(item.truths.count, 2);
    const tl_box *one = &item.truths.items[0].box, *two = &item.truths.items[1].box;
    assert_true(one->x1 == 3 && one->y1 == 1 && one->x2 == 5 && one->y2 == 3);
    assert_int_equal(item.truths.items[0].label, 2);
    assert_true(two->x1 == 0 && two->x2 == 2 && two->y2 == 4); /* cut off at the edge */
    assert_true(fabsf(two->y1 - 3.98f) < 1e-5f);
    assert_int_equal(tl_boxset_item_at(set, false, 1, &item, NULL), TL_OK);
    assert_int_equal(item.truths.count, 0);
    tl_boxset_close(&set);
}

static void names_come_from_a_file(void **state)
{
    (void)state;
    tl_boxset_info info;
    write_image("images/c.pgm");
    write_text("labels/c.txt", "1 0.5 0.5 0.25 0.5\n");
    write_text("classes.txt", "hole\nbig scratch\n\ndent\n");
    tl_boxset *set = open_it(&info);
    assert_int_equal(info.class_count, 3);
    assert_string_equal(tl_boxset_class(set, 1), "big scratch");
    tl_boxset_close(&set);
    write_text("classes.txt", "hole\n");
    expect_refused(TL_EINVAL, "names 1 classes, but there is a box of class 1");
}

static void folders_say_what_is_judged(void **state)
{
    (void)state;
    tl_boxset_info info;
    tl_boxset_item item;
    make_folder("images/train");
    make_folder("images/val");
    make_folder("labels/val");
    write_image("images/train/a.pgm");
    write_image("images/train/b.pgm");
    write_image("images/val/c.pgm");
    write_text("labels/val/c.txt", "0 0.5 0.5 1 1\n");
    tl_boxset *set = open_it(&info);
    assert_int_equal(info.learned, 2);
    assert_int_equal(info.judged, 1);
    assert_int_equal(tl_boxset_item_at(set, true, 0, &item, NULL), TL_OK);
    assert_int_equal(item.truths.count, 1);
    tl_boxset_close(&set);
}

static void damage_is_told_with_its_line(void **state)
{
    (void)state;
    static const char *const BAD[] = { "x 0.5 0.5 0.1 0.1",
                                       "0 0.5 0.5 0.1",
                                       "0 0.5 0.5 0.1 0.1 0.9",
                                       "0 0.5 0.5 0 0.1",
                                       "0 0.5 0.5 -0.1 0.1",
                                       "0 0.5 nan 0.1 0.1",
                                       "1024 0.5 0.5 0.1 0.1",
                                       "-1 0.5 0.5 0.1 0.1",
                                       "0 40 30 10 10",
                                       "0 0.5 0.5 1.5 0.1",
                                       "0.5 0.5 0.5 0.1 0.1",
                                       "0 0.5 0.5 1e999 0.1",
                                       "99999999999999999999 0.5 0.5 0.1 0.1",
                                       "0 1.005 0.5 0.01 0.1" };
    write_image("images/c.pgm");
    expect_refused(TL_EINVAL, "no box in labels");
    for (size_t i = 0; i < TL_COUNT_OF(BAD); i++) {
        char text[128];
        snprintf(text, sizeof text, "0 0.5 0.5 0.1 0.1\n%s\n", BAD[i]);
        write_text("labels/c.txt", text);
        expect_refused(TL_EINVAL, "labels/c.txt, line 2: want \"CLASS CX CY W H\"");
    }
}

static void what_cannot_be_read_is_refused(void **state)
{
    (void)state;
    tl_boxset_info info;
    tl_boxset_item item;
    tl_error err = { 0 };
    expect_refused(TL_EINVAL, "no image to learn from");
    write_text("images/c.png", "no image");
    static char many[(TL_BOXSET_TRUTHS_MAX + 1) * 16 + 1];
    for (int i = 0; i <= TL_BOXSET_TRUTHS_MAX; i++) strcat(many + i * 15, "0 .5 .5 .10 .1\n");
    write_text("labels/c.txt", many);
    expect_refused(TL_ELIMIT, "more than 1024 boxes");
    write_text("labels/c.txt", "0 .5 .5 .1 .1");
    tl_boxset *set = open_it(&info);
    assert_int_equal(tl_boxset_item_at(set, false, 0, &item, &err), TL_EINVAL);
    assert_non_null(strstr(err.text, "images/c.png"));
    tl_boxset_close(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(boxes_are_shares_of_their_image, set_up, tear_down),
        cmocka_unit_test_setup_teardown(names_come_from_a_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(folders_say_what_is_judged, set_up, tear_down),
        cmocka_unit_test_setup_teardown(damage_is_told_with_its_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_cannot_be_read_is_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
