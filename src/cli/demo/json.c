/* json.c - the demo's figures, for programs. */
#include "format/json.h"
#include "cli/demo/demo.h"
#include "server/state_json.h"

static void put_number(tl_json_writer *w, const char *key, double value)
{
    tl_json_key(w, key);
    tl_json_double(w, value);
}

static void put_count(tl_json_writer *w, const char *key, uint64_t value)
{
    tl_json_key(w, key);
    tl_json_uint(w, value);
}

static void put_score_json(tl_json_writer *w, const tl_demo_score *score)
{
    put_count(w, "boards", score->boards);
    put_count(w, "defects", score->defects);
    put_count(w, "flagged", score->flagged);
    tl_share_write(w, "precision", &score->precision);
    tl_share_write(w, "recall", &score->recall);
    tl_share_write(w, "decisions_right", &score->decisions);
}

static void put_curve_json(tl_json_writer *w, const tl_demo_picture *p)
{
    tl_json_key(w, "curve");
    tl_json_array(w);
    for (size_t i = 0; i < p->curve_count; i++) {
        tl_json_object(w);
        put_number(w, "at_s", p->curve[i].at_s);
        put_count(w, "labels", p->curve[i].labels);
        put_score_json(w, &p->curve[i].score);
        tl_json_object_end(w);
    }
    tl_json_array_end(w);
}

void tl_demo_json(const tl_demo_picture *p, tl_text *out)
{
    tl_json_writer w;
    tl_json_begin(&w, out);
    tl_json_object(&w);
    tl_json_key(&w, "improved");
    tl_json_boolean(&w, tl_demo_improved(p));
    put_number(&w, "elapsed_s", p->elapsed_s);
    put_count(&w, "line_count", p->line_count);
    put_count(&w, "boards", p->boards);
    put_count(&w, "boards_failed", p->failed);
    put_count(&w, "labels", p->people.given);
    put_count(&w, "labels_wrong", p->people.wrong);
    put_number(&w, "window_s", p->window_s);
    put_number(&w, "answer_ms_p50", p->answer_ms_p50);
    put_number(&w, "answer_ms_p99", p->answer_ms_p99);
    put_number(&w, "review_share", p->review_share);
    put_count(&w, "journal_bytes", p->journal.bytes + p->journal.wal_bytes);
    tl_json_key(&w, "true_all_lines");
    tl_json_object(&w);
    put_score_json(&w, &p->all);
    tl_json_object_end(&w);
    tl_json_key(&w, "true_lines");
    tl_json_array(&w);
    for (uint32_t i = 0; i < p->line_count; i++) {
        tl_json_object(&w);
        put_score_json(&w, &p->lines[i]);
        tl_json_object_end(&w);
    }
    tl_json_array_end(&w);
    put_curve_json(&w, p);
    tl_json_key(&w, "loop");
    (void)tl_state_write(&w, "boards", &p->loop, NULL, NULL); /* without the gate: cannot fail */
    tl_json_object_end(&w);
}
