/* report.c - escapes, overkill, ... of a loop, as JSON and over HTTP. */
#include "server/internal.h"
#include "server/state_json.h"

#include <stdlib.h>
#include <string.h>

static const char *const NAMES[] = { "all", "site", "line", "shift", "lot", "class" };

tl_status tl_report_by_parse(const char *text, tl_report_by *out, tl_error *err)
{
    for (size_t i = 0; i < TL_COUNT_OF(NAMES); i++) {
        if (strcmp(text, NAMES[i]) != 0) continue;
        *out = (tl_report_by)i;
        return TL_OK;
    }
    return tl_fail(err, TL_EINVAL,
                   "a report is by site, line, shift, lot or class, or of all; not by \"%.40s\"",
                   text);
}

static void write_counts(tl_json_writer *w, const tl_report_row *row)
{
    const struct {
        const char *key;
        uint64_t value;
    } counts[] = {
        { "items", row->items },
        { "flagged", row->flagged },
        { "drawn", row->drawn },
        { "answered", row->answered },
        { "volunteered", row->volunteered },
        { "field", row->field },
        { "field_escapes", row->field_escapes },
    };
    for (size_t i = 0; i < TL_COUNT_OF(counts); i++) {
        tl_json_key(w, counts[i].key);
        tl_json_uint(w, counts[i].value);
    }
}

static void write_row(tl_json_writer *w, const tl_report_row *row, bool is_class)
{
    write_counts(w, row);
    tl_share_write(w, "escapes", &row->escapes);
    tl_share_write(w, "overkill", &row->overkill);
    tl_share_write(w, "prevalence", &row->prevalence);
    tl_share_write(w, "recall", &row->recall);
    if (is_class) return;
    tl_share_write(w, "precision", &row->precision);
    tl_share_write(w, "accuracy", &row->accuracy);
}

static void write_rows(tl_json_writer *w, const tl_report *report, tl_report_by by)
{
    tl_json_key(w, "rows");
    tl_json_array(w);
    for (size_t i = 0; i < report->row_count; i++) {
        tl_json_object(w);
        tl_json_key(w, "name");
        tl_json_string(w, report->rows[i].name);
        write_row(w, &report->rows[i], by == TL_REPORT_CLASS);
        tl_json_object_end(w);
    }
    tl_json_array_end(w);
    tl_json_key(w, "rows_left_out");
    tl_json_uint(w, report->rows_left_out);
}

/* Rows are what an item was, columns what was answered. */
static void write_confusion(tl_json_writer *w, const tl_report *report, bool counted)
{
    tl_json_key(w, counted ? "confusion_verdicts" : "confusion");
    tl_json_array(w);
    for (size_t told = 0; told < report->class_count; told++) {
        tl_json_array(w);
        for (size_t answered = 0; answered < report->class_count; answered++) {
            size_t cell = told * report->class_count + answered;
            if (counted)
                tl_json_uint(w, report->confusion_count[cell]);
            else
                tl_json_double(w, report->confusion[cell]);
        }
        tl_json_array_end(w);
    }
    tl_json_array_end(w);
}

void tl_report_write(tl_json_writer *w, const char *name, const tl_report *report, tl_report_by by)
{
    tl_json_object(w);
    tl_json_key(w, "name");
    tl_json_string(w, name);
    tl_json_key(w, "against");
    tl_json_string(w, "operators");
    write_row(w, &report->all, false);
    tl_share_write(w, "escapes_worst", &report->escapes_worst);
    tl_json_key(w, "classes");
    tl_json_array(w);
    for (size_t i = 0; i < report->class_count; i++) tl_json_string(w, report->classes[i]);
    tl_json_array_end(w);
    write_confusion(w, report, false);
    write_confusion(w, report, true);
    tl_json_key(w, "by");
    tl_json_string(w, NAMES[by]);
    write_rows(w, report, by);
    tl_json_key(w, "findings");
    tl_json_array(w);
    for (size_t i = 0; i < report->finding_count; i++) tl_json_string(w, report->findings[i]);
    tl_json_array_end(w);
    tl_json_object_end(w);
}

/* ---- Over HTTP --------------------------------------------------------------------------------- */

static const char *argument(const tl_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, name);
}

/* Unix seconds. */
static tl_status read_time(const tl_request *request, const char *name, int64_t *out, tl_error *err)
{
    const char *text = argument(request, name);
    if (text == NULL) return TL_OK;
    double seconds;
    if (!tl_json_parse_number(text, strlen(text), &seconds) || !(seconds >= 0.0 && seconds < 1e11))
        return tl_fail(err, TL_EINVAL, "%s must be a time in Unix seconds", name);
    *out = (int64_t)(seconds * 1e6);
    return TL_OK;
}

tl_status tl_report_handle(tl_request *request, tl_error *err)
{
    tl_report_options options = { .field_source = argument(request, "field") };
    const char *by = argument(request, "by");
    tl_status status = by != NULL ? tl_report_by_parse(by, &options.by, err) : TL_OK;
    if (status == TL_OK) status = read_time(request, "since", &options.since_us, err);
    if (status == TL_OK) status = read_time(request, "until", &options.until_us, err);
    tl_report *report = NULL;
    if (status == TL_OK) status = tl_loop_report(request->loop, &options, &report, err);
    if (status != TL_OK) return status;
    tl_loop_info info;
    tl_json_writer w;
    tl_loop_describe(request->loop, &info);
    tl_json_begin(&w, &request->text);
    tl_report_write(&w, info.name, report, options.by);
    tl_report_destroy(&report);
    return TL_OK;
}
