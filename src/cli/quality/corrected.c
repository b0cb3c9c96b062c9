#include "cli/quality/corrected.h"

#include "cli/quality/study.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

static const double STUDY_CONFIDENCE = 0.95;

static double number_of(const tl_json *value, const char *key, double fallback)
{
    (void)tl_json_number(tl_json_get(value, key), &fallback);
    return fallback;
}

static tl_people_corrected correct(const tl_json *report, const char *key, const tl_corrected *c)
{
    const tl_json *share = tl_json_get(report, key);
    tl_interval interval = { number_of(share, "low", 0.0), number_of(share, "high", 1.0) };
    double value = number_of(share, "count", 0.0) > 0.0 ? number_of(share, "value", NAN) : NAN;
    if (isnan(value)) return (tl_people_corrected){ NAN, { 0.0, 1.0 } };
    return tl_people_correct(value, interval, &c->found, &c->passed, STUDY_CONFIDENCE);
}

tl_status tl_corrected_read(const tl_json *report, const char *path, const char *good,
                            tl_corrected *out, tl_error *err)
{
    tl_study study = { 0 };
    tl_people_result *people = NULL;
    tl_status status = tl_study_read_table(path, good, &study, err);
    if (status == TL_OK) status = tl_study_judge(&study, &people, err);
    if (status == TL_OK) {
        *out = (tl_corrected){ .found = people->found, .passed = people->passed };
        out->escapes = correct(report, "escapes", out);
        out->precision = correct(report, "precision", out);
        out->prevalence = correct(report, "prevalence", out);
        double items = number_of(report, "items", 0.0);
        double flagged = items > 0.0 ? number_of(report, "flagged", 0.0) / items : 0.0;
        out->recall = tl_people_correct_recall(flagged, &out->precision, &out->escapes);
    }
    free(people);
    tl_study_free(&study);
    return status;
}

static void write_figure(tl_json_writer *w, const char *key, const tl_people_corrected *figure)
{
    tl_json_key(w, key);
    tl_json_object(w);
    tl_json_key(w, "value");
    tl_json_double(w, figure->value);
    tl_json_key(w, "low");
    tl_json_double(w, figure->interval.low);
    tl_json_key(w, "high");
    tl_json_double(w, figure->interval.high);
    tl_json_object_end(w);
}

static void write_count(tl_json_writer *w, const char *key, const tl_people_share *share)
{
    tl_json_key(w, key);
    tl_json_object(w);
    tl_json_key(w, "hits");
    tl_json_uint(w, share->hits);
    tl_json_key(w, "count");
    tl_json_uint(w, share->count);
    tl_json_object_end(w);
}

void tl_corrected_write(tl_json_writer *w, const tl_corrected *c)
{
    tl_json_object(w);
    write_count(w, "found", &c->found);
    write_count(w, "passed", &c->passed);
    write_figure(w, "escapes", &c->escapes);
    write_figure(w, "precision", &c->precision);
    write_figure(w, "prevalence", &c->prevalence);
    write_figure(w, "recall", &c->recall);
    tl_json_object_end(w);
}

static void print_figure(tl_text *out, const char *name, const tl_people_corrected *figure,
                         double unit, const char *of)
{
    if (isnan(figure->value))
        tl_text_printf(out, "    %-11s not known\n", name);
    else
        tl_text_printf(out, "    %-11s %8.*f %s (90 %% interval %.*f to %.*f)\n", name,
                       unit > 100.0 ? 0 : 2, unit * figure->value, of, unit > 100.0 ? 0 : 2,
                       unit * figure->interval.low, unit > 100.0 ? 0 : 2,
                       unit * figure->interval.high);
}

void tl_corrected_print(tl_text *out, const tl_corrected *c)
{
    tl_text_printf(out,
                   "  Corrected for what operators get wrong (in the study %" PRIu64 " of %" PRIu64
                   " defects found, %" PRIu64 " of %" PRIu64 " good ones passed):\n",
                   c->found.hits, c->found.count, c->passed.hits, c->passed.count);
    print_figure(out, "escapes", &c->escapes, 1e6, "ppm of what passed");
    print_figure(out, "prevalence", &c->prevalence, 1e6, "ppm of all items");
    print_figure(out, "recall", &c->recall, 100.0, "% of the defects flagged");
    print_figure(out, "precision", &c->precision, 100.0, "% of the flagged defective");
}
