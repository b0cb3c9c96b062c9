#include "sim/factory.h"

#include "base/env.h"
#include "base/histogram.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LINE_STACK_BYTES = 256 << 10, BOARDS_A_LOT = 500 };

typedef struct outcome {
    uint8_t truth, answer;
    bool flagged;
} outcome;

typedef struct line {
    tl_factory *factory;
    uint32_t index;
    pthread_t thread;
    pthread_mutex_t mutex;
    outcome history[TL_FACTORY_HISTORY]; /* ring; the newest is at (boards - 1) modulo its size */
    uint64_t boards, failed, version;
} line;

struct tl_factory {
    tl_factory_options options;
    tl_operators *people;
    line *lines; /* [options.line_count] */
    uint32_t running;
    _Atomic bool stop;
    tl_histogram answers;
    pthread_mutex_t failure_mutex;
    char failure[TL_ERROR_TEXT_BYTES];
};

tl_factory_options tl_factory_options_default(void)
{
    return (tl_factory_options){ .plant = { .seed = 1, .defect_rate = 0.3 },
                                 .line_count = 8,
                                 .boards_per_s = 2.78,
                                 .people = tl_operators_options_default() };
}

static int64_t now_ns(void)
{
    return tl_env_mono_ns(tl_env_system());
}

static void sleep_until(tl_factory *factory, int64_t at_ns)
{
    while (!atomic_load(&factory->stop)) {
        int64_t left = at_ns - now_ns();
        if (left <= 0) return;
        if (left > 100000000) left = 100000000; /* look at `stop` now and then */
        struct timespec span = { left / 1000000000, left % 1000000000 };
        nanosleep(&span, NULL);
    }
}

static void note_failure(line *l, unsigned code, const tl_error *err)
{
    pthread_mutex_lock(&l->mutex);
    l->failed++;
    pthread_mutex_unlock(&l->mutex);
    tl_factory *factory = l->factory;
    pthread_mutex_lock(&factory->failure_mutex);
    if (code != 0)
        snprintf(factory->failure, sizeof factory->failure, "HTTP status %u", code);
    else
        snprintf(factory->failure, sizeof factory->failure, "%s", err->text);
    pthread_mutex_unlock(&factory->failure_mutex);
}

/* The `index`-th board of a line. */
static void inspect(line *l, tl_client *client, uint64_t index, const tl_sim_board *board)
{
    tl_factory *factory = l->factory;
    char name[32], number[48], lot[48];
    snprintf(name, sizeof name, "line-%u", l->index + 1);
    snprintf(number, sizeof number, "%u-%07" PRIu64, l->index + 1, index + 1);
    snprintf(lot, sizeof lot, "%u-%" PRIu64, l->index + 1, index / BOARDS_A_LOT + 1);
    const tl_client_origin origin = { .line = name, .board = number, .lot = lot };
    tl_client_verdict verdict;
    tl_error err = { 0 };
    int64_t start = now_ns();
    tl_status status =
        tl_client_infer(client, factory->options.people.loop, &origin, board, &verdict, &err);
    if (status != TL_OK || verdict.code != 200) {
        note_failure(l, status == TL_OK ? verdict.code : 0, &err);
        return;
    }
    tl_histogram_record_ns(&factory->answers, now_ns() - start);
    pthread_mutex_lock(&l->mutex);
    l->history[l->boards++ % TL_FACTORY_HISTORY] =
        (outcome){ (uint8_t)board->label, (uint8_t)verdict.label, verdict.flagged };
    l->version = verdict.version;
    pthread_mutex_unlock(&l->mutex);
    if (verdict.review) tl_operators_ask(factory->people, verdict.id, board->label);
}

static void *line_run(void *context)
{
    line *l = context;
    tl_factory *factory = l->factory;
    tl_client *client = NULL;
    if (tl_client_open(&factory->options.people.server, &client, NULL) != TL_OK) return NULL;
    double period_ns = 1e9 / factory->options.boards_per_s;
    int64_t first = now_ns() + (int64_t)(period_ns * l->index / factory->options.line_count);
    for (uint64_t i = 0; !atomic_load(&factory->stop); i++) {
        tl_sim_board board;
        tl_sim_board_draw(&factory->options.plant, l->index, i, &board);
        sleep_until(factory, first + (int64_t)(period_ns * (double)i));
        if (!atomic_load(&factory->stop)) inspect(l, client, i, &board);
    }
    tl_client_close(&client);
    return NULL;
}

static tl_status start_lines(tl_factory *factory, tl_error *err)
{
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, LINE_STACK_BYTES);
    int code = 0;
    while (factory->running < factory->options.line_count && code == 0) {
        line *l = &factory->lines[factory->running];
        l->factory = factory;
        l->index = factory->running;
        pthread_mutex_init(&l->mutex, NULL);
        code = pthread_create(&l->thread, &small, line_run, l);
        if (code == 0) factory->running++;
    }
    pthread_attr_destroy(&small);
    return code == 0 ? TL_OK : tl_fail(err, TL_ENOMEM, "threads of lines: %s", strerror(code));
}

tl_status tl_factory_start(const tl_factory_options *options, tl_factory **out, tl_error *err)
{
    if (options->line_count < 1 || options->line_count > TL_FACTORY_LINE_COUNT_MAX)
        return tl_fail(err, TL_EINVAL, "want 1..%d lines", TL_FACTORY_LINE_COUNT_MAX);
    if (!(options->boards_per_s > 0.0))
        return tl_fail(err, TL_EINVAL, "want a positive rate of boards");
    tl_factory *factory = calloc(1, sizeof *factory);
    if (factory == NULL) return tl_fail(err, TL_ENOMEM, "factory");
    factory->options = *options;
    pthread_mutex_init(&factory->failure_mutex, NULL);
    factory->lines = calloc(options->line_count, sizeof *factory->lines);
    tl_status status = factory->lines != NULL ? TL_OK : tl_fail(err, TL_ENOMEM, "lines");
    if (status == TL_OK) status = tl_operators_start(&options->people, &factory->people, err);
    if (status == TL_OK) status = start_lines(factory, err);
    if (status != TL_OK) {
        tl_factory_stop(&factory);
        return status;
    }
    *out = factory;
    return TL_OK;
}

void tl_factory_stop(tl_factory **factory)
{
    tl_factory *f = *factory;
    if (f == NULL) return;
    atomic_store(&f->stop, true);
    for (uint32_t i = 0; i < f->running; i++) {
        pthread_join(f->lines[i].thread, NULL);
        pthread_mutex_destroy(&f->lines[i].mutex);
    }
    tl_operators_stop(&f->people);
    pthread_mutex_destroy(&f->failure_mutex);
    free(f->lines);
    free(f);
    *factory = NULL;
}

void tl_factory_line_count(tl_factory *factory, uint32_t index, size_t window, tl_factory_line *out)
{
    TL_ASSERT(index < factory->options.line_count);
    TL_ASSERT(window <= TL_FACTORY_HISTORY);
    line *l = &factory->lines[index];
    pthread_mutex_lock(&l->mutex);
    tl_factory_line sum = { .boards = l->boards, .failed = l->failed, .version = l->version };
    uint64_t first = l->boards > window ? l->boards - window : 0;
    for (uint64_t i = first; i < l->boards; i++) {
        const outcome *o = &l->history[i % TL_FACTORY_HISTORY];
        bool defect = o->truth != TL_SIM_OK;
        sum.window++;
        sum.defects += defect;
        sum.flagged += o->flagged;
        sum.hits += defect && o->flagged;
        sum.right_class += o->truth == o->answer;
    }
    pthread_mutex_unlock(&l->mutex);
    *out = sum;
}

void tl_factory_people_count(tl_factory *factory, tl_operators_counts *out)
{
    tl_operators_count(factory->people, out);
}

void tl_factory_answer_ms(tl_factory *factory, double *p50, double *p99)
{
    *p50 = tl_histogram_quantile_ns(&factory->answers, 0.50) / 1e6;
    *p99 = tl_histogram_quantile_ns(&factory->answers, 0.99) / 1e6;
}

void tl_factory_last_failure(tl_factory *factory, char text[TL_ERROR_TEXT_BYTES])
{
    pthread_mutex_lock(&factory->failure_mutex);
    memcpy(text, factory->failure, TL_ERROR_TEXT_BYTES);
    pthread_mutex_unlock(&factory->failure_mutex);
}
