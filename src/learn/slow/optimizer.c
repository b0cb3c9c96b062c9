#include "learn/slow/optimizer.h"

#include "learn/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { OPTIMIZER_VERSION = 1, BLOCK = 16, SEGMENT_MAX = 1 << 14 };

/* A stretch of a parameter, short enough to share out many. */
typedef struct segment {
    size_t offset, count;
    float decay;    /* weight decay */
    double factor;  /* of the learning rate; 0: not stepped */
    double squares; /* of its gradient, summed */
} segment;

struct tl_optimizer {
    tl_graph *graph;
    tl_optimizer_options options;
    segment *segments;
    size_t segment_count, float_count;
    float *first, *second; /* momentum; and AdamW's mean of squares, else NULL */
    uint64_t steps;
};

tl_optimizer_options tl_optimizer_options_default(tl_optimizer_kind kind)
{
    return (tl_optimizer_options){ .kind = kind,
                                   .momentum = 0.9f,
                                   .nesterov = true,
                                   .beta1 = 0.9f,
                                   .beta2 = 0.999f,
                                   .epsilon = 1e-8f,
                                   .weight_decay = kind == TL_OPTIMIZER_SGD ? 5e-4f : 1e-2f,
                                   .stage_factor = 1.0f,
                                   .backbone_factor = 1.0f };
}

static tl_status check_options(const tl_optimizer_options *o, tl_error *err)
{
    const float shares[] = { o->momentum, o->beta1, o->beta2 };
    for (size_t i = 0; i < TL_COUNT_OF(shares); i++)
        if (!(shares[i] >= 0.0f && shares[i] < 1.0f))
            return tl_fail(err, TL_EINVAL, "momentum and betas must be in [0, 1)");
    const float sizes[] = { o->weight_decay, o->clip_norm, o->stage_factor, o->backbone_factor };
    for (size_t i = 0; i < TL_COUNT_OF(sizes); i++)
        if (!(sizes[i] >= 0.0f && isfinite(sizes[i])))
            return tl_fail(err, TL_EINVAL, "decay, clipping and factors must be 0 or more");
    if (!(o->epsilon > 0.0f)) return tl_fail(err, TL_EINVAL, "AdamW's epsilon must be above 0");
    return TL_OK;
}

static size_t count_segments(const tl_graph *graph)
{
    size_t count = 0;
    for (size_t i = 0; i < tl_graph_param_count(graph); i++)
        count += (tl_graph_param(graph, i)->count + SEGMENT_MAX - 1) / SEGMENT_MAX;
    return count;
}

/* How a parameter is stepped. */
static segment segment_of(const tl_optimizer_options *o, const tl_param *param)
{
    segment s = { .factor = 1.0 };
    if (param->role == TL_PARAM_WEIGHT) s.decay = o->weight_decay;
    for (uint32_t stage = 0; stage < param->stage; stage++) s.factor *= (double)o->stage_factor;
    if (param->stage > 0) s.factor *= (double)o->backbone_factor;
    bool frozen = o->trained_stages > 0 && param->stage >= o->trained_stages;
    if (param->role == TL_PARAM_RUNNING || frozen) s.factor = 0.0;
    return s;
}

static void fill_segments(tl_optimizer *optimizer)
{
    segment *next = optimizer->segments;
    for (size_t i = 0; i < tl_graph_param_count(optimizer->graph); i++) {
        const tl_param *param = tl_graph_param(optimizer->graph, i);
        for (size_t at = 0; at < param->count; at += SEGMENT_MAX, next++) {
            *next = segment_of(&optimizer->options, param);
            next->offset = param->offset + at;
            next->count = param->count - at < SEGMENT_MAX ? param->count - at : SEGMENT_MAX;
        }
    }
}

tl_status tl_optimizer_create(tl_graph *graph, const tl_optimizer_options *options,
                              tl_optimizer **out, tl_error *err)
{
    tl_status status = check_options(options, err);
    if (status != TL_OK) return status;
    tl_optimizer *optimizer = calloc(1, sizeof *optimizer);
    if (optimizer == NULL) return tl_fail(err, TL_ENOMEM, "optimiser");
    tl_graph_retain(graph);
    optimizer->graph = graph;
    optimizer->options = *options;
    optimizer->float_count = tl_graph_float_count(graph);
    optimizer->segment_count = count_segments(graph);
    optimizer->segments = calloc(optimizer->segment_count + 1, sizeof *optimizer->segments);
    optimizer->first = calloc(optimizer->float_count + 1, sizeof(float));
    bool adam = options->kind == TL_OPTIMIZER_ADAMW;
    if (adam) optimizer->second = calloc(optimizer->float_count + 1, sizeof(float));
    if (optimizer->segments == NULL || optimizer->first == NULL ||
        (adam && optimizer->second == NULL)) {
        tl_optimizer_destroy(&optimizer);
        return tl_fail(err, TL_ENOMEM, "optimiser");
    }
    fill_segments(optimizer);
    *out = optimizer;
    return TL_OK;
}

void tl_optimizer_destroy(tl_optimizer **optimizer)
{
    if (optimizer == NULL || *optimizer == NULL) return;
    tl_graph_release(&(*optimizer)->graph);
    free((*optimizer)->segments);
    free((*optimizer)->first);
    free((*optimizer)->second);
    free(*optimizer);
    *optimizer = NULL;
}

void tl_optimizer_reset(tl_optimizer *optimizer)
{
    memset(optimizer->first, 0, optimizer->float_count * sizeof *optimizer->first);
    if (optimizer->second != NULL)
        memset(optimizer->second, 0, optimizer->float_count * sizeof *optimizer->second);
    optimizer->steps = 0;
}

/* ---- Kernels ---------------------------------------------------------------------------------
 * Inner loops have a constant count and pointers that do not overlap, so that compilers make them
 * vectors at -O2; every element is on its own, so that the width does not matter. */

typedef struct sgd {
    float momentum, decay, rate;
    bool nesterov;
} sgd;

static inline void sgd_one(const sgd *k, float *p, float *m, float gradient)
{
    float g = gradient + k->decay * *p;
    float moment = k->momentum * *m + g;
    *m = moment;
    *p -= k->rate * (k->nesterov ? g + k->momentum * moment : moment);
}

TL_KERNEL static void sgd_step(const sgd *options, float *restrict p, float *restrict m,
                               const float *restrict g, size_t count)
{
    const sgd k = *options;
    size_t i = 0;
    for (; i + BLOCK <= count; i += BLOCK)
        for (size_t j = i; j < i + BLOCK; j++) sgd_one(&k, &p[j], &m[j], g[j]);
    for (; i < count; i++) sgd_one(&k, &p[i], &m[i], g[i]);
}

typedef struct adamw {
    float beta1, beta2, epsilon;
    float keep;        /* 1 - rate * decay */
    float rate;        /* over 1 - beta1^t */
    float second_root; /* sqrt(1 - beta2^t) */
} adamw;

static inline void adamw_one(const adamw *k, float *p, float *m, float *v, float g)
{
    float first = k->beta1 * *m + (1.0f - k->beta1) * g;
    float second = k->beta2 * *v + (1.0f - k->beta2) * (g * g);
    *m = first;
    *v = second;
    *p = *p * k->keep - k->rate * first / (sqrtf(second) / k->second_root + k->epsilon);
}

TL_KERNEL static void adamw_step(const adamw *options, float *restrict p, float *restrict m,
                                 float *restrict v, const float *restrict g, size_t count)
{
    const adamw k = *options;
    size_t i = 0;
    for (; i + BLOCK <= count; i += BLOCK)
        for (size_t j = i; j < i + BLOCK; j++) adamw_one(&k, &p[j], &m[j], &v[j], g[j]);
    for (; i < count; i++) adamw_one(&k, &p[i], &m[i], &v[i], g[i]);
}

TL_KERNEL static void average_step(float *restrict average, const float *restrict flat, float share,
                                   size_t count)
{
    size_t i = 0;
    for (; i + BLOCK <= count; i += BLOCK)
        for (size_t j = i; j < i + BLOCK; j++) average[j] += share * (flat[j] - average[j]);
    for (; i < count; i++) average[i] += share * (flat[i] - average[i]);
}

/* In eight lanes, added up in their order. */
TL_KERNEL static double sum_of_squares(const float *values, size_t count)
{
    tl_f64x8 sums = { 0 };
    size_t i = 0;
    for (; i + TL_LANES <= count; i += TL_LANES) {
        tl_f64x8 value;
        for (size_t j = 0; j < TL_LANES; j++) value[j] = (double)values[i + j];
        sums += value * value;
    }
    for (; i < count; i++) sums[0] += (double)values[i] * (double)values[i];
    double sum = 0.0;
    for (size_t j = 0; j < TL_LANES; j++) sum += sums[j];
    return sum;
}

/* ---- Steps ----------------------------------------------------------------------------------- */

/* What a step hands to the threads. */
typedef struct step {
    tl_optimizer *optimizer;
    const tl_plan *plan;
    float *flat, *grad;
    double rate;
    float clip; /* the gradient is multiplied by it, unless it is 1 */
} step;

/* Whether the segment is the member's: each has about as many numbers. */
static bool is_own(const step *job, const segment *s, uint32_t member)
{
    if (!(s->factor > 0.0)) return false;
    if (job->plan == NULL) return true;
    return s->offset * tl_plan_threads(job->plan) / job->optimizer->float_count == member;
}

static void share_out(step *job, void (*work)(void *arg, uint32_t member))
{
    if (job->plan == NULL)
        work(job, 0);
    else
        tl_plan_share(job->plan, work, job);
}

static void square_segments(void *arg, uint32_t member)
{
    const step *job = arg;
    for (size_t i = 0; i < job->optimizer->segment_count; i++) {
        segment *s = &job->optimizer->segments[i];
        if (is_own(job, s, member)) s->squares = sum_of_squares(job->grad + s->offset, s->count);
    }
}

static double gradient_norm(step *job)
{
    double sum = 0.0;
    share_out(job, square_segments);
    for (size_t i = 0; i < job->optimizer->segment_count; i++)
        sum += job->optimizer->segments[i].squares; /* 0 of those that are not stepped */
    return sqrt(sum);
}

static void step_sgd(tl_optimizer *optimizer, const segment *s, float *flat, const float *grad,
                     double rate)
{
    const sgd k = { .momentum = optimizer->options.momentum,
                    .decay = s->decay,
                    .rate = (float)(rate * s->factor),
                    .nesterov = optimizer->options.nesterov };
    sgd_step(&k, flat + s->offset, optimizer->first + s->offset, grad + s->offset, s->count);
}

static void step_adamw(tl_optimizer *optimizer, const segment *s, float *flat, const float *grad,
                       double rate)
{
    const tl_optimizer_options *o = &optimizer->options;
    double t = (double)optimizer->steps, own = rate * s->factor;
    const adamw k = { .beta1 = o->beta1,
                      .beta2 = o->beta2,
                      .epsilon = o->epsilon,
                      .keep = (float)(1.0 - own * (double)s->decay),
                      .rate = (float)(own / (1.0 - pow((double)o->beta1, t))),
                      .second_root = (float)sqrt(1.0 - pow((double)o->beta2, t)) };
    adamw_step(&k, flat + s->offset, optimizer->first + s->offset, optimizer->second + s->offset,
               grad + s->offset, s->count);
}

static void step_segments(void *arg, uint32_t member)
{
    const step *job = arg;
    for (size_t i = 0; i < job->optimizer->segment_count; i++) {
        const segment *s = &job->optimizer->segments[i];
        if (!is_own(job, s, member)) continue;
        float *grad = job->grad + s->offset;
        if (job->clip != 1.0f)
            for (size_t k = 0; k < s->count; k++) grad[k] *= job->clip;
        if (job->optimizer->options.kind == TL_OPTIMIZER_SGD)
            step_sgd(job->optimizer, s, job->flat, job->grad, job->rate);
        else
            step_adamw(job->optimizer, s, job->flat, job->grad, job->rate);
    }
}

tl_status tl_optimizer_step(tl_optimizer *optimizer, const tl_plan *plan, float *flat, float *grad,
                            double rate, tl_error *err)
{
    step job = {
        .optimizer = optimizer, .plan = plan, .flat = flat, .grad = grad, .rate = rate, .clip = 1.0f
    };
    const double norm = gradient_norm(&job), most = (double)optimizer->options.clip_norm;
    if (!isfinite(norm))
        return tl_fail(err, TL_EINVAL, "the gradient is not finite; lower the learning rate");
    if (most > 0.0 && norm > most) job.clip = (float)(most / norm);
    optimizer->steps++;
    share_out(&job, step_segments);
    return TL_OK;
}

/* ---- Saving ---------------------------------------------------------------------------------- */

tl_status tl_optimizer_save(const tl_optimizer *optimizer, tl_blob *blob, tl_error *err)
{
    size_t begin = tl_blob_section_begin(blob, "OPTI", OPTIMIZER_VERSION);
    tl_blob_u32(blob, (uint32_t)optimizer->options.kind);
    tl_blob_u64(blob, optimizer->float_count);
    tl_blob_u64(blob, optimizer->steps);
    tl_blob_f32s(blob, optimizer->first, optimizer->float_count);
    if (optimizer->second != NULL) tl_blob_f32s(blob, optimizer->second, optimizer->float_count);
    tl_blob_section_end(blob, begin);
    if (!tl_blob_ok(blob)) return tl_fail(err, TL_ENOMEM, "saving the optimiser");
    return TL_OK;
}

static bool sane_moments(const float *first, const float *second, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(first[i])) return false;
        if (second != NULL && !(second[i] >= 0.0f && isfinite(second[i]))) return false;
    }
    return true;
}

static tl_status read_moments(const tl_optimizer *optimizer, tl_blob_reader *body, float *first,
                              float *second, uint64_t *steps, tl_error *err)
{
    size_t count = optimizer->float_count;
    uint32_t kind = tl_blob_read_u32(body);
    uint64_t found = tl_blob_read_u64(body);
    *steps = tl_blob_read_u64(body);
    if (!body->failed && (kind != (uint32_t)optimizer->options.kind || found != count))
        return tl_fail(err, TL_ECORRUPT, "the saved optimiser is of another kind or network");
    tl_blob_read_f32s(body, first, count);
    if (second != NULL) tl_blob_read_f32s(body, second, count);
    tl_status status = tl_blob_read_end(body, "optimiser", err);
    if (status == TL_OK && !sane_moments(first, second, count))
        status = tl_fail(err, TL_ECORRUPT, "the saved optimiser holds impossible numbers");
    return status;
}

tl_status tl_optimizer_load(tl_optimizer *optimizer, tl_blob_reader *reader, tl_error *err)
{
    tl_blob_reader at = *reader, body;
    tl_status status = tl_blob_read_section(&at, "OPTI", OPTIMIZER_VERSION, &body, NULL, err);
    if (status != TL_OK) return status;
    size_t count = optimizer->float_count;
    bool adam = optimizer->second != NULL;
    float *first = calloc(count + 1, sizeof *first);
    float *second = adam ? calloc(count + 1, sizeof *second) : NULL;
    uint64_t steps = 0;
    if (first == NULL || (adam && second == NULL))
        status = tl_fail(err, TL_ENOMEM, "loading the optimiser");
    else
        status = read_moments(optimizer, &body, first, second, &steps, err);
    if (status == TL_OK) {
        memcpy(optimizer->first, first, count * sizeof *first);
        if (adam) memcpy(optimizer->second, second, count * sizeof *second);
        optimizer->steps = steps;
        *reader = at;
    }
    free(first);
    free(second);
    return status;
}

/* ---- Schedules and averages ------------------------------------------------------------------ */

double tl_schedule_rate(const tl_schedule *schedule, double t)
{
    double rate = schedule->base;
    if (schedule->kind == TL_SCHEDULE_POWER) {
        rate *= pow(1.0 + t / schedule->scale, -schedule->power);
    } else {
        double part = t < schedule->scale ? t / schedule->scale : 1.0;
        double wave = 0.5 + 0.5 * cos(3.14159265358979323846 * part);
        rate *= schedule->floor + (1.0 - schedule->floor) * wave;
    }
    if (t < schedule->warmup) rate *= (t + 1.0) / schedule->warmup;
    return rate;
}

void tl_average_update(float *average, const float *flat, size_t count, double decay, uint64_t t)
{
    double warm = (1.0 + (double)t) / (10.0 + (double)t);
    average_step(average, flat, (float)(1.0 - (warm < decay ? warm : decay)), count);
}

void tl_interpolate(const float *from, const float *to, size_t count, double share, float *out)
{
    const float a = (float)share;
    if (share == 1.0) /* exactly, not up to rounding */
        memmove(out, to, count * sizeof *out);
    for (size_t i = 0; i < count && share != 1.0; i++) out[i] = from[i] + a * (to[i] - from[i]);
}
