/* feedback_read.c - what people and machines say of predictions, out of JSON. */
#include "server/api/feedback_read.h"

#include <math.h>
#include <string.h>

/* ---- Time ------------------------------------------------------------------------------------ */

/* `digits` digits at *at; moves past them. */
static bool read_digits(const char **at, int digits, int *out)
{
    int value = 0;
    for (int i = 0; i < digits; i++) {
        char c = (*at)[i];
        if (c < '0' || c > '9') return false;
        value = value * 10 + (c - '0');
    }
    *at += digits;
    *out = value;
    return true;
}

static bool read_char(const char **at, const char *any)
{
    if (**at == '\0' || strchr(any, **at) == NULL) return false;
    (*at)++;
    return true;
}

/* Days since 1970-01-01 of a date of the Gregorian calendar, by counting from March. */
static int64_t days_of(int year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t month_from_march = (month + 9) % 12;
    int64_t day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    int64_t leap_days = y / 4 - y / 100 + y / 400;
    return y * 365 + leap_days + day_of_year - 719468;
}

static bool read_fraction(const char **at, int64_t *out_us)
{
    *out_us = 0;
    if (**at != '.') return true;
    (*at)++;
    int64_t unit = 100000;
    const char *start = *at;
    for (; **at >= '0' && **at <= '9'; (*at)++, unit /= 10) *out_us += (**at - '0') * unit;
    return *at != start;
}

static bool read_zone(const char **at, int64_t *out_s)
{
    *out_s = 0;
    if (read_char(at, "Zz")) return true;
    int sign = **at == '-' ? -1 : 1, hours, minutes;
    if (!read_char(at, "+-") || !read_digits(at, 2, &hours) || !read_char(at, ":") ||
        !read_digits(at, 2, &minutes) || hours > 23 || minutes > 59)
        return false;
    *out_s = sign * (hours * 3600 + minutes * 60);
    return true;
}

bool tl_time_parse(const char *text, int64_t *out_us)
{
    static const int days_in[] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    int year, month, day, hour, minute, second;
    int64_t fraction_us, zone_s;
    if (!read_digits(&text, 4, &year) || !read_char(&text, "-") || !read_digits(&text, 2, &month) ||
        !read_char(&text, "-") || !read_digits(&text, 2, &day) || !read_char(&text, "Tt ") ||
        !read_digits(&text, 2, &hour) || !read_char(&text, ":") ||
        !read_digits(&text, 2, &minute) || !read_char(&text, ":") ||
        !read_digits(&text, 2, &second) || !read_fraction(&text, &fraction_us) ||
        !read_zone(&text, &zone_s) || *text != '\0')
        return false;
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (month < 1 || month > 12 || day < 1 || day > days_in[month - 1] || hour > 23 ||
        minute > 59 || second > 60 || (month == 2 && day == 29 && !leap))
        return false;
    int64_t seconds = days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
    *out_us = (seconds - zone_s) * 1000000 + fraction_us;
    return true;
}

/* Text, or seconds since 1970 as a number. */
static tl_status read_time(const tl_json *value, int64_t *out_us, tl_error *err)
{
    const char *text;
    double seconds;
    if (value == NULL || value->kind == TL_JSON_NULL) return TL_OK;
    bool ok = false;
    if (tl_json_text(value, &text)) {
        ok = tl_time_parse(text, out_us);
    } else if (tl_json_number(value, &seconds)) {
        ok = seconds > 0 && seconds < 253402300800.0; /* the year 10000 */
        if (ok) *out_us = llround(seconds * 1e6);
    }
    if (ok && *out_us > 0) return TL_OK;
    return tl_fail(err, TL_EINVAL,
                   "\"time\" must be like 2026-01-31T12:00:00Z, or seconds since 1970");
}

/* ---- One feedback ---------------------------------------------------------------------------- */

static tl_status read_verdict(const tl_json *value, tl_feedback *out, tl_error *err)
{
    const char *text;
    if (tl_json_text(value, &text)) {
        out->kind = TL_FEEDBACK_VERDICT;
        out->correct = strcmp(text, "correct") == 0;
        if (out->correct || strcmp(text, "incorrect") == 0) return TL_OK;
    }
    return tl_fail(err, TL_EINVAL, "\"verdict\" must be \"correct\" or \"incorrect\"");
}

static tl_status read_kind(const tl_json *object, tl_feedback *out, tl_error *err)
{
    const tl_json *label = tl_json_get(object, "label");
    const tl_json *verdict = tl_json_get(object, "verdict");
    const tl_json *withdraw = tl_json_get(object, "withdraw");
    if (tl_json_get(object, "boxes") != NULL || tl_json_get(object, "reward") != NULL)
        return tl_fail(err, TL_EUNSUPPORTED,
                       "boxes and rewards are not for this kind of loop; give \"label\"");
    if ((label != NULL) + (verdict != NULL) + (withdraw != NULL) != 1)
        return tl_fail(err, TL_EINVAL, "give one of \"label\", \"verdict\" and \"withdraw\": true");
    if (label != NULL) {
        out->kind = TL_FEEDBACK_LABEL;
        if (tl_json_text(label, &out->label)) return TL_OK;
        return tl_fail(err, TL_EINVAL, "\"label\" must be the name of a class, as text");
    }
    if (verdict != NULL) return read_verdict(verdict, out, err);
    bool on;
    out->kind = TL_FEEDBACK_WITHDRAW;
    if (tl_json_bool(withdraw, &on) && on) return TL_OK;
    return tl_fail(err, TL_EINVAL, "\"withdraw\" must be true, or left out");
}

static tl_status read_one(const tl_json *object, const char *source, tl_feedback *out,
                          tl_error *err)
{
    *out = (tl_feedback){ .source = source };
    if (object->kind != TL_JSON_OBJECT)
        return tl_fail(err, TL_EINVAL, "must be an object with \"prediction_id\", not %s",
                       tl_json_kind_text(object));
    const char *id;
    const tl_json *value = tl_json_get(object, "prediction_id");
    if (!tl_json_text(value, &id) || tl_id_parse(id, strlen(id), &out->prediction_id) != TL_OK ||
        tl_id_is_none(out->prediction_id))
        return tl_fail(err, TL_EINVAL,
                       "\"prediction_id\" must be one of the prediction_ids of an answer");
    tl_status status = read_kind(object, out, err);
    if (status == TL_OK) status = read_time(tl_json_get(object, "time"), &out->time_us, err);
    return status;
}

/* ---- All ------------------------------------------------------------------------------------- */

static tl_status read_list(const tl_json *list, const char *source, tl_arena *arena,
                           tl_feedback_body *out, tl_error *err)
{
    size_t count = tl_json_count(list);
    if (count == 0) return tl_fail(err, TL_EINVAL, "there is no feedback in the body");
    if (count > TL_ITEM_COUNT_MAX)
        return tl_fail(err, TL_ELIMIT, "%zu feedbacks in one request; send at most %d at a time",
                       count, TL_ITEM_COUNT_MAX);
    out->items = tl_arena_alloc(arena, count * sizeof *out->items);
    if (out->items == NULL) return tl_fail(err, TL_ENOMEM, "out of memory for the feedback");
    for (const tl_json *item = tl_json_first(list); item != NULL; item = item->next) {
        tl_status status = read_one(item, source, &out->items[out->count], err);
        if (status != TL_OK) return tl_fail_context(err, status, "feedback %zu", out->count);
        out->count++;
    }
    return TL_OK;
}

tl_status tl_feedback_read(const tl_json *root, const char *source, tl_arena *arena,
                           tl_feedback_body *out, tl_error *err)
{
    *out = (tl_feedback_body){ 0 };
    const tl_json *list = tl_json_get(root, "feedback");
    const tl_json *request_id = tl_json_get(root, "request_id");
    if (request_id != NULL && !tl_json_text(request_id, &out->request_id))
        return tl_fail(err, TL_EINVAL, "\"request_id\" must be a text");
    if (list == NULL && root->kind == TL_JSON_ARRAY) list = root;
    if (list != NULL && list->kind == TL_JSON_ARRAY)
        return read_list(list, source, arena, out, err);
    if (list != NULL || root->kind != TL_JSON_OBJECT)
        return tl_fail(err, TL_EINVAL,
                       "the body must be one feedback, an array of them, or {\"feedback\": [...]}");
    out->items = tl_arena_alloc(arena, sizeof *out->items);
    if (out->items == NULL) return tl_fail(err, TL_ENOMEM, "out of memory for the feedback");
    out->count = 1;
    return read_one(root, source, out->items, err);
}
