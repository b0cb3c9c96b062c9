/* Boards: the same seed gives the same boards, each defect changes what it should, the rates hold.
 * With TL_SIM_SHEET=file.png in the environment a contact sheet of all classes is written there: to
 * be looked at by a person. */
#include "format/image.h"
#include "sim/board.h"
#include "sim/canvas.h"
#include "sim/layout.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const tl_sim_plant plant = { .seed = 7, .defect_rate = 0.3 };

static void same_seed_same_boards(void **state)
{
    (void)state;
    tl_sim_board a, b;
    memset(&a, 1, sizeof a);
    memset(&b, 2, sizeof b);
    for (uint64_t i = 0; i < 40; i++) {
        tl_sim_board_draw(&plant, (uint32_t)(i % 4), i, &a);
        tl_sim_board_draw(&plant, (uint32_t)(i % 4), i, &b);
        assert_memory_equal(a.image, b.image, TL_SIM_PIXELS);
        assert_memory_equal(a.reference, b.reference, TL_SIM_PIXELS);
        assert_int_equal(a.label, b.label);
        assert_true(a.defect_x == b.defect_x);
    }
}

static void other_seeds_lines_and_indices_differ(void **state)
{
    (void)state;
    tl_sim_plant other = plant;
    other.seed++;
    tl_sim_board a, b;
    tl_sim_board_draw(&plant, 1, 5, &a);
    tl_sim_board_draw(&other, 1, 5, &b);
    assert_memory_not_equal(a.image, b.image, TL_SIM_PIXELS);
    tl_sim_board_draw(&plant, 2, 5, &b);
    assert_memory_not_equal(a.image, b.image, TL_SIM_PIXELS);
    tl_sim_board_draw(&plant, 1, 6, &b);
    assert_memory_not_equal(a.image, b.image, TL_SIM_PIXELS);
}

static void a_place_has_one_template(void **state)
{
    (void)state;
    static uint8_t seen[TL_SIM_PLACE_COUNT][TL_SIM_PIXELS];
    bool known[TL_SIM_PLACE_COUNT] = { false };
    int repeats = 0;
    for (uint64_t i = 0; i < 600; i++) {
        tl_sim_board board;
        tl_sim_board_draw(&plant, 3, i, &board);
        assert_in_range(board.place, 0, TL_SIM_PLACE_COUNT - 1);
        if (known[board.place]) {
            assert_memory_equal(seen[board.place], board.reference, TL_SIM_PIXELS);
            repeats++;
        }
        known[board.place] = true;
        memcpy(seen[board.place], board.reference, TL_SIM_PIXELS);
    }
    assert_true(repeats > 300);
}

static void rates_hold(void **state)
{
    (void)state;
    enum { COUNT = 4000 };
    int counts[TL_SIM_CLASS_COUNT] = { 0 };
    for (uint64_t i = 0; i < COUNT; i++) {
        tl_sim_board board;
        tl_sim_board_draw(&plant, (uint32_t)(i % 10), i, &board);
        assert_in_range(board.label, 0, TL_SIM_CLASS_COUNT - 1);
        counts[board.label]++;
    }
    /* 30 % of 4,000, five standard deviations around: 1,200 +- 145, each kind 200 +- 69. */
    assert_in_range(COUNT - counts[TL_SIM_OK], 1055, 1345);
    for (int k = 1; k < TL_SIM_CLASS_COUNT; k++) assert_in_range(counts[k], 131, 269);
    tl_sim_plant clean = { .seed = 7, .defect_rate = 0.0 };
    for (uint64_t i = 0; i < 100; i++) {
        tl_sim_board board;
        tl_sim_board_draw(&clean, 0, i, &board);
        assert_int_equal(board.label, TL_SIM_OK);
        assert_true(board.defect_x < 0.0f);
    }
}

/* Pieces of copper (or of bare board), joined along sides. */
static int count_pieces(const tl_canvas *canvas, bool copper)
{
    static int stack[4 * TL_CANVAS_SIDE * TL_CANVAS_SIDE];
    static bool seen[TL_CANVAS_SIDE][TL_CANVAS_SIDE];
    memset(seen, 0, sizeof seen);
    int pieces = 0;
    for (int start = 0; start < TL_CANVAS_SIDE * TL_CANVAS_SIDE; start++) {
        int depth = 0;
        stack[depth++] = start;
        bool fresh = false;
        while (depth > 0) {
            int at = stack[--depth], y = at / TL_CANVAS_SIDE, x = at % TL_CANVAS_SIDE;
            if (seen[y][x] || (canvas->cover[y][x] > 0.5f) != copper) continue;
            seen[y][x] = fresh = true;
            if (x > 0) stack[depth++] = at - 1;
            if (y > 0) stack[depth++] = at - TL_CANVAS_SIDE;
            if (x + 1 < TL_CANVAS_SIDE) stack[depth++] = at + 1;
            if (y + 1 < TL_CANVAS_SIDE) stack[depth++] = at + TL_CANVAS_SIDE;
        }
        pieces += fresh;
    }
    return pieces;
}

typedef struct change {
    int places, added, removed, more_copper, less_copper, more_bare, same_copper, joined;
} change;

/* Draw one kind of defect on many patterns and count what became of them. */
static change try_kind(tl_sim_class kind)
{
    change sum = { 0 };
    for (uint64_t i = 0; i < 200; i++) {
        tl_rng rng;
        tl_rng_seed(&rng, 11, i);
        tl_sim_line line;
        tl_sim_line_draw(11, (uint32_t)(i % 8), &line);
        tl_canvas before, after;
        tl_layout_draw(&line, &rng, &before);
        after = before;
        float x, y;
        if (!tl_defect_draw(kind, &line, &rng, &after, &x, &y)) {
            assert_memory_equal(&before, &after, sizeof before);
            continue;
        }
        assert_true(x > TL_CANVAS_MARGIN + 2 && x < TL_CANVAS_SIDE - TL_CANVAS_MARGIN - 2);
        assert_true(y > TL_CANVAS_MARGIN + 2 && y < TL_CANVAS_SIDE - TL_CANVAS_MARGIN - 2);
        sum.places++;
        for (int p = 0; p < TL_CANVAS_SIDE * TL_CANVAS_SIDE; p++) {
            float was = (&before.cover[0][0])[p], is = (&after.cover[0][0])[p];
            sum.added += is > was;
            sum.removed += is < was;
        }
        int copper = count_pieces(&after, true) - count_pieces(&before, true);
        int bare = count_pieces(&after, false) - count_pieces(&before, false);
        sum.more_copper += copper > 0;
        sum.less_copper += copper < 0;
        sum.same_copper += copper == 0;
        sum.more_bare += bare > 0;
        sum.joined += copper < 0 || bare > 0;
    }
    return sum;
}

static void each_defect_changes_its_own_thing(void **state)
{
    (void)state;
    change c = try_kind(TL_SIM_OPEN); /* cuts a trace: one piece more, or a loop opened */
    assert_true(c.places > 100 && c.removed > 0 && c.added == 0);
    assert_true(c.more_copper > c.places * 9 / 10);
    c = try_kind(TL_SIM_SHORT); /* joins: a piece less, or bare board divided */
    assert_true(c.places > 100 && c.added > 0 && c.removed == 0);
    assert_true(c.joined > c.places * 9 / 10);
    c = try_kind(TL_SIM_MOUSEBITE); /* takes away, and nothing falls apart */
    assert_true(c.places > 100 && c.removed > 0 && c.added == 0);
    assert_true(c.same_copper > c.places * 9 / 10);
    c = try_kind(TL_SIM_SPUR); /* adds, and nothing joins */
    assert_true(c.places > 100 && c.added > 0 && c.removed == 0);
    assert_true(c.same_copper > c.places * 9 / 10);
    c = try_kind(TL_SIM_COPPER); /* always an island of its own */
    assert_true(c.places > 100 && c.added > 0 && c.removed == 0);
    assert_true(c.more_copper >= c.places * 98 / 100);
    c = try_kind(TL_SIM_PINHOLE); /* always a hole of its own */
    assert_true(c.places > 60 && c.removed > 0 && c.added == 0);
    assert_true(c.more_bare >= c.places * 98 / 100);
    assert_true(c.same_copper >= c.places * 98 / 100);
}

static double mean_difference(const tl_sim_board *board, int x0, int x1, int y0, int y1)
{
    double sum = 0.0;
    int count = 0;
    for (int y = y0; y < y1; y++) {
        for (int x = x0; x < x1; x++) {
            if (x < 0 || y < 0 || x >= TL_SIM_SIDE || y >= TL_SIM_SIDE) continue;
            sum += abs(board->image[y * TL_SIM_SIDE + x] - board->reference[y * TL_SIM_SIDE + x]);
            count++;
        }
    }
    return count > 0 ? sum / count : 0.0;
}

static void defects_show_where_they_are(void **state)
{
    (void)state;
    int stand_out = 0, total = 0;
    for (uint64_t i = 0; i < 300; i++) {
        tl_sim_board board;
        tl_sim_class kind = (tl_sim_class)(1 + i % 6);
        tl_sim_board_draw_class(&plant, (uint32_t)(i % 8), i, kind, &board);
        if (board.label != kind) continue;
        int x = (int)board.defect_x, y = (int)board.defect_y;
        total++;
        stand_out += mean_difference(&board, x - 3, x + 4, y - 3, y + 4) >
                     1.3 * mean_difference(&board, 0, TL_SIM_SIDE, 0, TL_SIM_SIDE);
    }
    assert_true(total > 290);
    assert_true(stand_out > total * 95 / 100);
}

static void lines_differ_within_bounds(void **state)
{
    (void)state;
    tl_sim_line first, other;
    tl_sim_line_draw(1, 0, &first);
    for (uint32_t i = 0; i < 50; i++) {
        tl_sim_line_draw(1, i, &other);
        assert_true(other.jitter_px > 0.0f && other.jitter_px <= 1.0f);
        assert_true(other.trace_px >= 4.0f && other.gap_px >= 4.0f);
        assert_true(i == 0 || other.trace_px != first.trace_px);
    }
}

static void write_contact_sheet(const char *path)
{
    enum { ACROSS = 8, CELL = 2 * TL_SIM_SIDE + 4, ROW = TL_SIM_SIDE + 4 };
    static uint8_t sheet[TL_SIM_CLASS_COUNT * ROW][ACROSS * CELL];
    memset(sheet, 255, sizeof sheet);
    for (uint32_t i = 0; i < TL_SIM_CLASS_COUNT * ACROSS; i++) {
        tl_sim_board board;
        uint32_t label = i / ACROSS, line = i % ACROSS;
        tl_sim_board_draw_class(&plant, line, label, (tl_sim_class)label, &board);
        for (int y = 0; y < TL_SIM_SIDE; y++) {
            uint8_t *row = &sheet[label * ROW + y][line * CELL];
            memcpy(row, board.reference + y * TL_SIM_SIDE, TL_SIM_SIDE);
            memcpy(row + TL_SIM_SIDE, board.image + y * TL_SIM_SIDE, TL_SIM_SIDE);
        }
    }
    tl_pixels pixels = { &sheet[0][0], TL_SIM_CLASS_COUNT * ROW, ACROSS * CELL, 1 };
    tl_text png;
    tl_text_init(&png, 1 << 24);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(tl_image_encode_png(pixels, &png, NULL), TL_OK);
    assert_int_equal(fwrite(png.data, 1, png.bytes, file), png.bytes);
    fclose(file);
    tl_text_destroy(&png);
}

int main(void)
{
    const char *sheet = getenv("TL_SIM_SHEET");
    if (sheet != NULL) write_contact_sheet(sheet);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_seed_same_boards),
        cmocka_unit_test(other_seeds_lines_and_indices_differ),
        cmocka_unit_test(a_place_has_one_template),
        cmocka_unit_test(rates_hold),
        cmocka_unit_test(each_defect_changes_its_own_thing),
        cmocka_unit_test(defects_show_where_they_are),
        cmocka_unit_test(lines_differ_within_bounds),
    };
    return cmocka_run_group_tests_name("sim/board", tests, NULL, NULL);
}
