/* json.c - the demo's figures, for programs. */
#include "format/json.h"
#include "cli/demo/demo.h"
#include "server/state_json.h"

static void put_score_json(tl_json_writer *w, const tl_demo_score *score)
{
    tl_json_put_uint(w, "boards", score->boards);
    tl_json_put_uint(w, "defects", score->defects);
    tl_json_put_uint(w, "flagged", score->flagged);
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
        tl_json_put_double(w, "at_s", p->curve[i].at_s);
        tl_json_put_uint(w, "labels", p->curve[i].labels);
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
    tl_json_put_bool(&w, "improved", tl_demo_improved(p));
    tl_json_put_double(&w, "elapsed_s", p->elapsed_s);
    tl_json_put_uint(&w, "line_count", p->line_count);
    tl_json_put_uint(&w, "boards", p->boards);
    tl_json_put_uint(&w, "boards_failed", p->failed);
    tl_json_put_uint(&w, "labels", p->people.given);
    tl_json_put_uint(&w, "labels_wrong", p->people.wrong);
    tl_json_put_double(&w, "window_s", p->window_s);
    tl_json_put_double(&w, "answer_ms_p50", p->answer_ms_p50);
    tl_json_put_double(&w, "answer_ms_p99", p->answer_ms_p99);
    tl_json_put_double(&w, "review_share", p->review_share);
    tl_json_put_uint(&w, "journal_bytes", p->journal.bytes + p->journal.wal_bytes);
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
