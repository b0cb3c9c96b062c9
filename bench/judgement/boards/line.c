#include "bench/judgement/boards/line.h"

#include <stdlib.h>
#include <string.h>

enum { KEPT_OF_DEFECTS = 3, NEW_CLASS = 6 }; /* pin-hole */

/* Of a board: when it comes. */
typedef struct arrival {
    boards_item item;
    size_t board, at; /* number of its board by first appearance */
} arrival;

static int by_board(const void *a, const void *b)
{
    const arrival *x = a, *y = b;
    if (x->board != y->board) return x->board < y->board ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

/* Boards are few: the newest ones are looked at first. */
static size_t number_of_board(const char **names, size_t *count, const char *name)
{
    for (size_t i = *count; i-- > 0;)
        if (strcmp(names[i], name) == 0) return i;
    names[*count] = name;
    return (*count)++;
}

bool boards_line_comes(const boards_line *line, const boards_item *item, size_t when)
{
    return line->story != BOARDS_NEW_CLASS || item->label != line->new_class ||
           when >= line->change_at;
}

/* The change comes in the middle; what cannot come before it is left out. */
static void take(boards_line *line, const arrival *arrivals, size_t count, size_t limit)
{
    if (limit > 0 && limit < count) count = limit;
    for (size_t i = 0; i < count; i++) {
        if (i == count / 2) line->change_at = line->count;
        bool is_new = line->story == BOARDS_NEW_CLASS && arrivals[i].item.label == line->new_class;
        if (i < count / 2 && is_new) continue;
        line->items[line->count++] = arrivals[i].item;
    }
}

static tl_status sort_in(boards_line *line, size_t limit, tl_error *err)
{
    size_t count = line->info.count, arriving = 0, boards = 0;
    arrival *arrivals = malloc(count * sizeof *arrivals);
    const char **names = malloc(count * sizeof *names);
    line->items = malloc(count * sizeof *line->items);
    line->kept_out = malloc(count * sizeof *line->kept_out);
    bool room = arrivals != NULL && names != NULL && line->items != NULL && line->kept_out != NULL;
    for (size_t i = 0; room && i < count; i++) {
        tl_dataset_item known;
        tl_dataset_item_at(line->data, i, &known);
        if (known.label != 0 && known.id % KEPT_OF_DEFECTS != 0) continue;
        boards_item item = {
            .at = i, .label = known.label, .board = known.name, .site = known.group
        };
        if (known.held_out)
            line->kept_out[line->kept_out_count++] = item;
        else
            arrivals[arriving++] =
                (arrival){ item, number_of_board(names, &boards, item.board), i };
    }
    if (room) qsort(arrivals, arriving, sizeof *arrivals, by_board);
    if (room) take(line, arrivals, arriving, limit);
    free(arrivals);
    free(names);
    return room ? TL_OK : tl_fail(err, TL_ENOMEM, "the boards of a line");
}

tl_status boards_line_open(boards_line *line, const char *data, boards_story story, size_t limit,
                           tl_error *err)
{
    *line = (boards_line){ .story = story, .new_class = NEW_CLASS };
    tl_dataset_options options = { .path = data, .order = "site" };
    tl_status status = tl_dataset_open(&options, &line->data, err);
    if (status != TL_OK) return status;
    tl_dataset_describe(line->data, &line->info);
    line->plane = (size_t)line->info.height * line->info.width * line->info.channels;
    status = sort_in(line, limit, err);
    if (status != TL_OK) boards_line_close(line);
    return status;
}

void boards_line_close(boards_line *line)
{
    tl_dataset_close(&line->data);
    free(line->items);
    free(line->kept_out);
    *line = (boards_line){ 0 };
}

tl_status boards_line_pixels(const boards_line *line, const boards_item *item, size_t when,
                             uint8_t *pixels, tl_error *err)
{
    tl_status status = tl_dataset_pixels(line->data, item->at, pixels, pixels + line->plane, err);
    if (status != TL_OK || line->story != BOARDS_LIGHTING || when < line->change_at) return status;
    for (size_t i = 0; i < line->plane; i++) pixels[i] = (uint8_t)(70 + pixels[i] * 11 / 20);
    return TL_OK;
}
