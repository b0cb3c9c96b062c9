/* demo.c - `tightloop demo`: a simulated plant, its people, and the real server between them. */
#include "cli/demo/demo.h"
#include "cli/folder.h"

#include "base/env.h"
#include "cli/command.h"
#include "cli/terminal/terminal.h"
#include "server/server.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static struct {
    uint64_t seconds, lines, seed;
    double rate, defects, delay;
    const char *keep;
    bool json;
} values = { .seconds = 60, .lines = 12, .seed = 1, .rate = 2.78, .defects = 0.3, .delay = 1.5 };

static const tl_option options[] = {
    { "seconds", 's', TL_OPTION_WHOLE, "N", "How long the plant works.", &values.seconds, 1,
      86400 },
    { "lines", 'l', TL_OPTION_WHOLE, "N", "Lines of the plant; 50 are 139 boards a second.",
      &values.lines, 1, TL_FACTORY_LINE_COUNT_MAX },
    { "rate", 'r', TL_OPTION_REAL, "N", "Boards a second on each line.", &values.rate, 0.01, 1000 },
    { "defects", 0, TL_OPTION_REAL, "SHARE", "Share of boards that are defective.", &values.defects,
      0, 1 },
    { "delay", 0, TL_OPTION_REAL, "SECONDS", "Median time until an operator gives a verdict.",
      &values.delay, 0, 3600 },
    { "seed", 0, TL_OPTION_WHOLE, "N", "Seed of the plant and of the first weights.", &values.seed,
      0, 4294967295.0 },
    { "keep", 'k', TL_OPTION_FOLDER, "DIR", "Keep the journal in this new folder.", &values.keep, 0,
      0 },
    { "json", 0, TL_OPTION_FLAG, NULL, "No table; print figures as JSON at the end.", &values.json,
      0, 0 },
};

enum {
    WINDOW_S = 20,   /* "recent" boards */
    POINT_S = 2,     /* of the curve, at least */
    START_S = 5,     /* what the end is held against */
    FRAME_ROWS = 11, /* of the table besides the lines of the plant */
    REDRAW_MS = 250,
    LOG_LINE_S = 5,
    REVIEW_SPAN_S = 5
};

static const char LOOP_NAME[] = "boards";

typedef struct demo {
    char folder[4096];
    bool temporary;
    tl_runtime *runtime;
    tl_loop *loop;
    tl_server *server;
    tl_factory *factory;
    int64_t started_ns;
    tl_demo_picture picture;
    double window_s, start_s, point_s; /* spans of "recent", the start, a point of the curve */
    tl_demo_score counted;             /* boards in the points so far */
    double review_at_s;                /* the share of reviews is over a span that ends */
    uint64_t review_boards, review_asked;
} demo;

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

static double elapsed_s(const demo *d)
{
    return (double)(tl_env_mono_ns(tl_env_system()) - d->started_ns) / 1e9;
}

/* ---- Setting up ------------------------------------------------------------------------------ */

static tl_status make_folder(demo *d, tl_error *err)
{
    if (values.keep != NULL) {
        snprintf(d->folder, sizeof d->folder, "%s", values.keep);
        if (mkdir(d->folder, 0755) == 0) return TL_OK;
        return tl_fail(err, errno == EEXIST ? TL_ECONFLICT : TL_EIO,
                       "--keep wants a new folder: %.120s: %s", d->folder, strerror(errno));
    }
    const char *base = getenv("TMPDIR");
    snprintf(d->folder, sizeof d->folder, "%s/tightloop-demo-XXXXXX", base != NULL ? base : "/tmp");
    if (mkdtemp(d->folder) == NULL)
        return tl_fail(err, TL_EIO, "no temporary folder %.160s: %s", d->folder, strerror(errno));
    d->temporary = true;
    return TL_OK;
}

static tl_status open_loop(demo *d, tl_error *err)
{
    tl_runtime_options runtime_options = tl_runtime_options_default();
    runtime_options.path = d->folder;
    tl_status status = tl_runtime_open(&runtime_options, &d->runtime, err);
    if (status != TL_OK) return status;
    tl_loop_options loop_options = tl_loop_options_default();
    loop_options.name = LOOP_NAME;
    loop_options.has_template = true;
    loop_options.classes = TL_SIM_CLASSES;
    loop_options.class_count = TL_SIM_CLASS_COUNT;
    loop_options.seed = values.seed;
    /* A minute is short: versions that do no worse serve for most of it, then they must prove it. */
    loop_options.cold_labels = 420;
    return tl_loop_open(d->runtime, &loop_options, &d->loop, err);
}

static tl_status start_plant(demo *d, tl_error *err)
{
    tl_server_options server_options = tl_server_options_default();
    server_options.port = 0;
    tl_status status = tl_server_start(d->runtime, &server_options, &d->server, err);
    if (status != TL_OK) return status;
    tl_factory_options plant = tl_factory_options_default();
    plant.plant = (tl_sim_plant){ .seed = values.seed, .defect_rate = values.defects };
    plant.line_count = (uint32_t)values.lines;
    plant.boards_per_s = values.rate;
    plant.people.server = (tl_client_options){ .port = tl_server_port(d->server) };
    plant.people.loop = LOOP_NAME;
    plant.people.delay_s_median = values.delay;
    plant.people.seed = values.seed;
    plant.people.count = values.lines > 16 ? 16 : 4;
    d->started_ns = tl_env_mono_ns(tl_env_system());
    return tl_factory_start(&plant, &d->factory, err);
}

static void tear_down(demo *d)
{
    tl_factory_stop(&d->factory);
    tl_server_stop(&d->server);
    tl_runtime_close(&d->runtime);
    if (d->temporary) tl_folder_remove(d->folder);
}

/* ---- Measuring ------------------------------------------------------------------------------- */

static void add_counts(tl_demo_score *sum, const tl_factory_line *line)
{
    sum->boards += line->window;
    sum->defects += line->defects;
    sum->flagged += line->flagged;
    sum->hits += line->hits;
}

/* All boards so far. */
static tl_demo_score total_score(demo *d)
{
    tl_demo_score total = { 0 };
    for (uint32_t i = 0; i < d->picture.line_count; i++) {
        tl_factory_line line;
        tl_factory_line_count(d->factory, i, TL_FACTORY_HISTORY, &line);
        add_counts(&total, &line);
    }
    tl_demo_score_finish(&total);
    return total;
}

/* The boards since the last point, over all lines: what the counters hold now, less what was
 * counted. Points stop when the lines' histories no longer reach back to their first boards. */
static void add_point(demo *d)
{
    tl_demo_picture *p = &d->picture;
    if (p->boards > (uint64_t)p->line_count * TL_FACTORY_HISTORY * 9 / 10) return;
    tl_demo_score total = total_score(d);
    if (p->curve_count == TL_DEMO_CURVE_MAX || total.boards == d->counted.boards) return;
    tl_demo_point *point = &p->curve[p->curve_count++];
    *point = (tl_demo_point){ .at_s = p->elapsed_s, .labels = p->people.given };
    point->score.boards = total.boards - d->counted.boards;
    point->score.defects = total.defects - d->counted.defects;
    point->score.flagged = total.flagged - d->counted.flagged;
    point->score.hits = total.hits - d->counted.hits;
    tl_demo_score_finish(&point->score);
    d->counted = total;
}

static void measure_reviews(demo *d)
{
    tl_demo_picture *p = &d->picture;
    if (p->elapsed_s - d->review_at_s < REVIEW_SPAN_S && p->elapsed_s > 2.0) return;
    if (p->boards > d->review_boards)
        p->review_share =
            (double)(p->people.asked - d->review_asked) / (double)(p->boards - d->review_boards);
    if (p->review_share > 1.0) p->review_share = 1.0; /* counted a moment apart */
    d->review_at_s = p->elapsed_s;
    d->review_boards = p->boards;
    d->review_asked = p->people.asked;
}

static void measure(demo *d)
{
    tl_demo_picture *p = &d->picture;
    p->elapsed_s = elapsed_s(d);
    p->boards = p->failed = 0;
    p->all = (tl_demo_score){ 0 };
    size_t window = (size_t)(d->window_s * values.rate + 0.5);
    if (window < 1) window = 1;
    if (window > TL_FACTORY_HISTORY) window = TL_FACTORY_HISTORY;
    p->window_s = (double)window / values.rate;
    if (p->window_s > p->elapsed_s) p->window_s = p->elapsed_s;
    for (uint32_t i = 0; i < p->line_count; i++) {
        tl_factory_line line;
        tl_factory_line_count(d->factory, i, window, &line);
        p->lines[i] = (tl_demo_score){ 0 };
        add_counts(&p->lines[i], &line);
        add_counts(&p->all, &line);
        tl_demo_score_finish(&p->lines[i]);
        p->boards += line.boards;
        p->failed += line.failed;
    }
    tl_demo_score_finish(&p->all);
    tl_factory_people_count(d->factory, &p->people);
    tl_factory_answer_ms(d->factory, &p->answer_ms_p50, &p->answer_ms_p99);
    tl_factory_last_failure(d->factory, p->failure);
    tl_loop_status(d->loop, &p->loop);
    tl_runtime_journal_state(d->runtime, &p->journal);
    measure_reviews(d);
    if (p->elapsed_s >= d->point_s * (double)(p->curve_count + 1)) add_point(d);
    if (p->start.boards == 0 && p->elapsed_s >= d->start_s) p->start = total_score(d);
}

/* ---- Showing --------------------------------------------------------------------------------- */

static void show(demo *d, tl_screen *screen, bool live, double *logged_s)
{
    tl_text text;
    tl_text_init(&text, 1 << 20);
    if (live) {
        bool colours = tl_style_on(stdout, TL_STYLE_BOLD)[0] != '\0';
        size_t rows = tl_terminal_rows(stdout);
        tl_demo_table(&d->picture, rows > FRAME_ROWS + 2 ? rows - FRAME_ROWS : 2, colours, &text);
        if (tl_text_ok(&text)) tl_screen_draw(screen, text.data);
    } else if (d->picture.elapsed_s - *logged_s >= LOG_LINE_S) {
        *logged_s = d->picture.elapsed_s;
        tl_demo_line(&d->picture, &text);
        if (tl_text_ok(&text)) fputs(text.data, stdout);
        fflush(stdout);
    }
    tl_text_destroy(&text);
}

static void work(demo *d)
{
    bool live = !values.json && tl_terminal_is_live(stdout);
    tl_screen screen = { .stream = stdout };
    double logged_s = 0.0;
    if (!values.json && !live)
        printf("tightloop demo: %u lines, %.0f boards/s over HTTP; precision and recall are true "
               "(from the simulator), of the last %.0f s, with 95 %% intervals\n",
               d->picture.line_count, values.rate * (double)values.lines, d->window_s);
    while (!interrupted && elapsed_s(d) < (double)values.seconds) {
        struct timespec pause = { 0, REDRAW_MS * 1000000L };
        nanosleep(&pause, NULL);
        measure(d);
        if (!values.json) show(d, &screen, live, &logged_s);
    }
    measure(d);
    add_point(d);
    tl_demo_picture *p = &d->picture;
    p->verdict_count = tl_loop_verdicts(d->loop, 0, p->verdicts, TL_DEMO_VERDICT_MAX);
    if (live) show(d, &screen, true, &logged_s);
}

static int conclude(const demo *d)
{
    tl_text text;
    tl_text_init(&text, 1 << 22);
    size_t columns = tl_terminal_columns(stdout);
    if (values.json) {
        tl_demo_json(&d->picture, &text);
    } else {
        tl_text_puts(&text, "\n");
        tl_demo_story(&d->picture, values.keep, columns < 100 ? columns : 100, &text);
        text.bytes -= text.bytes > 0 && text.data[text.bytes - 1] == '\n';
    }
    int code = tl_command_print(&tl_command_demo, &text);
    tl_text_destroy(&text);
    if (code != TL_EXIT_OK) return code;
    return tl_demo_improved(&d->picture) ? TL_EXIT_OK : TL_EXIT_NOT_IMPROVED;
}

static int run(const tl_arguments *arguments)
{
    (void)arguments;
    tl_error err;
    demo *d = calloc(1, sizeof *d);
    if (d == NULL) return TL_EXIT_FAILURE;
    d->picture.line_count = (uint32_t)values.lines;
    d->picture.seconds = (double)values.seconds;
    d->picture.boards_per_s = values.rate;
    double seconds = (double)values.seconds;
    d->window_s = fmin(WINDOW_S, seconds / 3.0); /* never the start and the end at once */
    d->start_s = fmin(START_S, seconds / 4.0);
    d->point_s = fmin(fmax(POINT_S, seconds / 50.0), seconds / 4.0);
    struct sigaction stop = { .sa_handler = on_interrupt, .sa_flags = SA_RESETHAND };
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGTERM, &stop, NULL);
    signal(SIGPIPE, SIG_IGN);
    tl_status status = make_folder(d, &err);
    if (status == TL_OK) status = open_loop(d, &err);
    if (status == TL_OK) status = start_plant(d, &err);
    int code;
    if (status == TL_OK) {
        work(d);
        code = conclude(d);
    } else {
        code = tl_command_fail(&tl_command_demo, &err);
    }
    tear_down(d);
    free(d);
    return code;
}

const tl_command tl_command_demo = {
    .name = "demo",
    .summary = "watch an inspection line get better by the second, from no labels at all",
    .details =
        "Runs a simulated plant of circuit boards against the real server, over HTTP: lines that "
        "differ, boards with six kinds of defects or none, operators who verify what was put up "
        "for "
        "review, some time later and not always rightly. The loop starts from nothing and learns "
        "while it works. The table shows each line's precision and recall, known from the "
        "simulator, with 95 % intervals. Ctrl-C ends it early. Everything is in a temporary "
        "folder, "
        "gone afterwards unless --keep is given.",
    .example = "tightloop demo\n"
               "tightloop demo --lines 50 --seconds 120 --keep plant",
    .exits = "4 it ran, but did not get better",
    .options = options,
    .option_count = TL_COUNT_OF(options),
    .run = run,
};
