/* review.c - what people are asked, as JSON and over HTTP. */
#include "server/internal.h"
#include "server/state_json.h"

#include <stdlib.h>

enum { LIMIT_DEFAULT = 20 };

static void write_seconds(tl_json_writer *w, const char *key, int64_t us)
{
    tl_json_put_double(w, key, (double)us / 1e6);
}

/* What the model says of it, unless that is not to be known. */
static void write_verdict(tl_json_writer *w, const tl_review_item *item, const tl_loop_info *info)
{
    tl_json_key(w, "flagged");
    if (item->blind)
        tl_json_null(w);
    else
        tl_json_boolean(w, item->flagged);
    tl_json_key(w, "label");
    if (item->blind || item->label >= info->class_count)
        tl_json_null(w);
    else
        tl_json_string(w, info->classes[item->label]);
    tl_json_key(w, "defect_score");
    tl_json_float(w, item->defect_score); /* not a number becomes null */
}

static void write_item(tl_json_writer *w, const tl_review_item *item, const tl_loop_info *info)
{
    char id[TL_ID_TEXT_BYTES];
    tl_id_format(item->id, id);
    tl_json_object(w);
    tl_json_put_text(w, "prediction_id", id);
    write_seconds(w, "time", item->time_us);
    write_seconds(w, "until", item->until_us);
    tl_json_put_bool(w, "blind", item->blind);
    tl_json_put_text(w, "why", item->why);
    tl_json_put_text(w, "words", item->words);
    tl_json_put_text(w, "person", item->person);
    write_verdict(w, item, info);
    tl_json_put_text(w, "site", item->site);
    tl_json_put_text(w, "line", item->line);
    tl_json_put_text(w, "part", item->part);
    tl_json_put_text(w, "board", item->board);
    tl_json_put_text(w, "lot", item->lot);
    tl_json_object_end(w);
}

static void write_people(tl_json_writer *w, tl_loop *loop)
{
    tl_review_person people[TL_PERSON_COUNT_MAX];
    size_t count = tl_loop_people(loop, people);
    tl_json_key(w, "people");
    tl_json_array(w);
    for (size_t i = 0; i < count; i++) {
        tl_json_object(w);
        tl_json_put_text(w, "name", people[i].name);
        tl_json_key(w, "open");
        tl_json_uint(w, people[i].open);
        tl_json_object_end(w);
    }
    tl_json_array_end(w);
}

tl_status tl_reviews_write(tl_json_writer *w, tl_loop *loop, const char *person, size_t limit,
                           tl_error *err)
{
    tl_loop_info info;
    size_t count = 0;
    uint64_t open = 0;
    tl_review_item *items = calloc(TL_REVIEW_LIST_MAX, sizeof *items);
    if (items == NULL) return tl_fail(err, TL_ENOMEM, "open reviews");
    tl_status status = tl_loop_reviews(loop, person, items, limit, &count, &open, err);
    if (status == TL_OK) {
        tl_loop_describe(loop, &info);
        tl_json_object(w);
        tl_json_put_text(w, "name", info.name);
        tl_json_put_uint(w, "open", open);
        write_people(w, loop);
        tl_json_key(w, "reviews");
        tl_json_array(w);
        for (size_t i = 0; i < count; i++) write_item(w, &items[i], &info);
        tl_json_array_end(w);
        tl_json_object_end(w);
    }
    free(items);
    return status;
}

/* ---- Over HTTP --------------------------------------------------------------------------------- */

tl_status tl_limit_read(const tl_request *request, size_t preset, size_t maximum, size_t *out,
                        tl_error *err)
{
    const char *text =
        MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, "limit");
    *out = preset;
    if (text == NULL) return TL_OK;
    char *end;
    long wanted = strtol(text, &end, 10);
    if (end == text || *end != '\0' || wanted < 1 || (unsigned long)wanted > maximum)
        return tl_fail(err, TL_EINVAL, "limit must be 1 to %zu", maximum);
    *out = (size_t)wanted;
    return TL_OK;
}

tl_status tl_reviews_handle(tl_request *request, tl_error *err)
{
    size_t limit;
    tl_status status = tl_limit_read(request, LIMIT_DEFAULT, TL_REVIEW_LIST_MAX, &limit, err);
    if (status != TL_OK) return status;
    tl_json_writer w;
    tl_json_begin(&w, &request->text);
    const char *person =
        MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, "person");
    return tl_reviews_write(&w, request->loop, person, limit, err);
}
