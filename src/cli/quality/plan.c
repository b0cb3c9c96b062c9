/* plan.c - `tightloop plan`: how many audits, and how many escapes among them. */
#include "cli/command.h"
#include "cli/terminal/terminal.h"
#include "stats/acceptance.h"

#include <inttypes.h>
#include <math.h>

static struct {
    double aql, ltpd, producer, consumer;
    uint64_t lot, sample, accept, daily;
    bool iso, json;
} values = { .producer = 5.0, .consumer = 10.0 };

static const tl_option options[] = {
    { "aql", 'a', TL_OPTION_REAL, "PERCENT",
      "Acceptable quality level: that share of defectives is fine; 0: none.", &values.aql, 0, 99 },
    { "ltpd", 't', TL_OPTION_REAL, "PERCENT",
      "Lot tolerance percent defective (limiting quality): what must not pass.", &values.ltpd, 0,
      99 },
    { "producer", 'p', TL_OPTION_REAL, "PERCENT",
      "Producer's risk: that what is at the AQL is rejected.", &values.producer, 0.01, 50 },
    { "consumer", 'c', TL_OPTION_REAL, "PERCENT",
      "Consumer's risk: that what is at the LTPD is accepted; 100 less the confidence.",
      &values.consumer, 0.01, 50 },
    { "lot", 'n', TL_OPTION_WHOLE, "N", "Items of a lot; 0: a process without end.", &values.lot, 0,
      TL_SAMPLING_LOT_MAX },
    { "iso", 0, TL_OPTION_FLAG, NULL,
      "The plan of ISO 2859-1 for --lot and --aql (level II, normal, single).", &values.iso, 0, 0 },
    { "sample", 's', TL_OPTION_WHOLE, "N",
      "Tell of this plan, with --accept, instead of finding one.", &values.sample, 0,
      TL_SAMPLING_LOT_MAX },
    { "accept", 'd', TL_OPTION_WHOLE, "N", "Defectives that are accepted, where no AQL sets it.",
      &values.accept, 0, TL_SAMPLING_ACCEPT_MAX },
    { "daily", 0, TL_OPTION_WHOLE, "N", "Audits a day, to tell how long it takes; 0: not told.",
      &values.daily, 0, 1000000000 },
    { "json", 0, TL_OPTION_FLAG, NULL, "Print JSON.", &values.json, 0, 0 },
};

/* Points of the curve that engineers look at: probabilities of acceptance. */
static const double CURVE[] = { .99, .95, .90, .75, .50, .25, .10, .05, .01 };
enum { CURVE_COUNT = sizeof CURVE / sizeof *CURVE, AUDITS_COUNT = 4 };

typedef struct found {
    tl_sampling_plan plan;
    char letter;                           /* of ISO 2859-1, or 0 */
    tl_sampling_plan audits[AUDITS_COUNT]; /* without AQL: with 0, 1, ... escapes */
    size_t audits_count;
} found;

/* ---- Finding ----------------------------------------------------------------------------------- */

static tl_sampling_risks risks(void)
{
    return (tl_sampling_risks){ .aql = values.aql / 100.0,
                                .ltpd = values.ltpd / 100.0,
                                .producer = values.producer / 100.0,
                                .consumer = values.consumer / 100.0,
                                .lot = values.lot };
}

static tl_status find_given(found *out, tl_error *err)
{
    if (values.lot > 0 && values.sample > values.lot)
        return tl_fail(err, TL_EINVAL, "the sample is larger than the lot");
    if (values.accept >= values.sample)
        return tl_fail(err, TL_EINVAL, "a plan accepts fewer defectives than it looks at items");
    out->plan = (tl_sampling_plan){ values.sample, values.accept, values.lot };
    return TL_OK;
}

static tl_status find_plan(found *out, tl_error *err)
{
    *out = (found){ 0 };
    if (values.sample > 0) return find_given(out, err);
    if (values.iso)
        return tl_sampling_iso2859(values.lot, values.aql, &out->plan, &out->letter, err);
    if (values.ltpd == 0.0)
        return tl_fail(err, TL_EINVAL,
                       "say what must not pass with --ltpd PERCENT, or give a plan with --sample");
    const tl_sampling_risks wanted = risks();
    tl_status status = tl_sampling_find(&wanted, values.accept, &out->plan, err);
    while (status == TL_OK && values.aql == 0.0 && out->audits_count < AUDITS_COUNT) {
        /* A small lot may not allow more escapes: then the list ends here. */
        if (tl_sampling_find(&wanted, out->audits_count, &out->audits[out->audits_count], NULL) !=
            TL_OK)
            break;
        out->audits_count++;
    }
    return status;
}

/* ---- Telling ----------------------------------------------------------------------------------- */

static double risk_at(const tl_sampling_plan *plan, double percent, bool up)
{
    if (plan->lot == 0) return tl_sampling_accepts(plan, percent / 100.0);
    return tl_sampling_accepts_lot(plan, tl_sampling_defectives(plan->lot, percent / 100.0, up));
}

static void write_curve(tl_json_writer *w, const tl_sampling_plan *plan)
{
    tl_json_key(w, "curve");
    tl_json_array(w);
    for (size_t i = 0; i < CURVE_COUNT; i++) {
        double share = tl_sampling_quality_at(plan, CURVE[i]);
        tl_json_object(w);
        tl_json_key(w, "ppm");
        tl_json_double(w, 1e6 * share);
        tl_json_key(w, "accepted");
        tl_json_double(w, tl_sampling_accepts(plan, share));
        tl_json_key(w, "outgoing_ppm");
        tl_json_double(w, 1e6 * tl_sampling_outgoing(plan, share));
        tl_json_object_end(w);
    }
    tl_json_array_end(w);
}

static void write_audits(tl_json_writer *w, const found *f)
{
    tl_json_key(w, "audits");
    tl_json_array(w);
    for (size_t i = 0; i < f->audits_count; i++) tl_json_uint(w, f->audits[i].sample);
    tl_json_array_end(w);
}

static void write_json(const found *f, tl_text *out)
{
    tl_json_writer w;
    double at;
    double limit = tl_sampling_outgoing_limit(&f->plan, &at);
    tl_json_begin(&w, out);
    tl_json_object(&w);
    tl_json_key(&w, "sample");
    tl_json_uint(&w, f->plan.sample);
    tl_json_key(&w, "accept");
    tl_json_uint(&w, f->plan.accept);
    tl_json_key(&w, "lot");
    tl_json_uint(&w, f->plan.lot);
    if (f->letter != 0) {
        const char letter[2] = { f->letter, '\0' };
        tl_json_key(&w, "letter");
        tl_json_string(&w, letter);
    }
    if (values.aql > 0.0)
        tl_json_put_double(&w, "producer_risk", 1.0 - risk_at(&f->plan, values.aql, false));
    if (values.ltpd > 0.0)
        tl_json_put_double(&w, "consumer_risk", risk_at(&f->plan, values.ltpd, true));
    tl_json_put_double(&w, "outgoing_limit_ppm", 1e6 * limit);
    tl_json_put_double(&w, "outgoing_limit_at_ppm", 1e6 * at);
    if (values.daily > 0)
        tl_json_put_double(&w, "days", (double)f->plan.sample / (double)values.daily);
    write_curve(&w, &f->plan);
    if (f->audits_count > 0) write_audits(&w, f);
    tl_json_object_end(&w);
}

static void print_risks(const found *f, tl_text *out)
{
    if (values.aql > 0.0)
        tl_text_printf(
            out,
            "  producer's risk  %6.2f %%  rejected although only %g %% (the AQL) is defective\n",
            100.0 * (1.0 - risk_at(&f->plan, values.aql, false)), values.aql);
    if (values.ltpd > 0.0)
        tl_text_printf(
            out, "  consumer's risk  %6.2f %%  accepted although %g %% (the LTPD) is defective\n",
            100.0 * risk_at(&f->plan, values.ltpd, true), values.ltpd);
}

static void print_curve(const tl_sampling_plan *plan, tl_text *out)
{
    tl_text_printf(out, "\n%s%12s %12s %11s %14s%s\n", tl_style_on(stdout, TL_STYLE_BOLD),
                   "defective", "ppm", "accepted", "outgoing ppm", tl_style_off(stdout));
    for (size_t i = 0; i < CURVE_COUNT; i++) {
        double share = tl_sampling_quality_at(plan, CURVE[i]);
        tl_text_printf(out, "%10.4f %% %12.0f %9.2f %% %14.0f\n", 100.0 * share, 1e6 * share,
                       100.0 * tl_sampling_accepts(plan, share),
                       1e6 * tl_sampling_outgoing(plan, share));
    }
    double at;
    double limit = tl_sampling_outgoing_limit(plan, &at);
    tl_text_printf(out,
                   "\nWhere rejected lots are sorted piece by piece, on average at most %.0f ppm "
                   "leave (AOQL,\nat %.0f ppm coming in).\n",
                   1e6 * limit, 1e6 * at);
}

static void print_audits(const found *f, tl_text *out)
{
    static const char *const escapes[AUDITS_COUNT] = { "no escape", "one", "two", "three" };
    tl_text_printf(out, "\nTo show at most %.0f ppm of escapes, at %g %% confidence, it needs",
                   1e4 * values.ltpd, 100.0 - values.consumer);
    for (size_t i = 0; i < f->audits_count; i++)
        tl_text_printf(out, "%s %" PRIu64 " audits with %s", i == 0 ? "" : ",", f->audits[i].sample,
                       escapes[i]);
    tl_text_puts(out, ".\nDecide on the number before looking; escapes that come later do not "
                      "count for an earlier plan.\n");
}

static void print_text(const found *f, tl_text *out)
{
    const tl_sampling_plan *plan = &f->plan;
    tl_text_printf(out, "Look at %" PRIu64 " items", plan->sample);
    if (plan->lot > 0) tl_text_printf(out, " of each lot of %" PRIu64, plan->lot);
    tl_text_printf(out, ", drawn at random; accept with at most %" PRIu64 " defective",
                   plan->accept);
    if (f->letter != 0)
        tl_text_printf(out, " (ISO 2859-1, level II, normal, code letter %c)", f->letter);
    tl_text_puts(out, ".\n");
    print_risks(f, out);
    if (values.daily > 0)
        tl_text_printf(out, "  takes            %6.1f days at %" PRIu64 " audits a day\n",
                       (double)plan->sample / (double)values.daily, values.daily);
    print_curve(plan, out);
    if (f->audits_count > 0) print_audits(f, out);
    out->bytes -= 1; /* tl_command_print ends the line */
    out->data[out->bytes] = '\0';
}

static int run_plan(const tl_arguments *arguments)
{
    (void)arguments;
    found f;
    tl_error err;
    if (find_plan(&f, &err) != TL_OK) return tl_command_misuse(&tl_command_plan, &err);
    tl_text text;
    tl_text_init(&text, 1 << 20);
    if (values.json)
        write_json(&f, &text);
    else
        print_text(&f, &text);
    int code = tl_command_print(&tl_command_plan, &text);
    tl_text_destroy(&text);
    return code;
}

const tl_command tl_command_plan = {
    .name = "plan",
    .summary = "how many items to look at, and what such a sample can tell",
    .details =
        "Finds the smallest single sampling plan that keeps the producer's and the consumer's "
        "risk, "
        "and tells its operating characteristic: how often what is so and so bad is accepted, and "
        "what leaves on average. The risks are exact: hypergeometric for a lot, binomial for a "
        "process. With --ltpd alone: how many audits show that at most that share escapes.\n\n"
        "With --iso the plan of ISO 2859-1 for a lot and an AQL, with its risks.",
    .example = "tightloop plan --aql 1 --ltpd 5\n"
               "tightloop plan --ltpd 0.1 --consumer 5 --daily 200\n"
               "tightloop plan --iso --lot 5000 --aql 0.65",
    .options = options,
    .option_count = TL_COUNT_OF(options),
    .run = run_plan,
};
