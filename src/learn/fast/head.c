#include "learn/fast/head.h"

#include "learn/fast/head_stats.h"
#include "learn/internal.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { HEAD_VERSION = 2 /* 1 had no sketch */, PANEL = 16, TILE_ROWS = 4, TILE_COLUMNS = 16 };
static const double SCORE_MIN = 1e-12;
static const double PIVOT_MIN = 1e-9;

struct tl_head {
    atomic_uint references;
    tl_head_form form;
    float range;
    uint32_t feature_count, input_count, class_count;
    size_t stride; /* classes rounded up to whole lanes */
    double shrinkage;
    float unseen_score;
    uint8_t seen[TL_CLASS_COUNT_MAX]; /* 1: has examples */
    double *weight;                   /* [d, stride], of features in units of the range */
    double *bias;                     /* [stride] */
};

struct tl_head_solver {
    size_t d, stride; /* stride of the matrix: d rounded up to a tile */
    double *matrix;   /* [d, stride] upper triangle: covariance, correlation, then its factor */
    double *mean;     /* [d] over all examples */
    double *inverse;  /* [d] 1 / deviation within classes */
    double *sum;      /* [stride] sums of one class */
    double *right;    /* [d, classes in whole lanes]: right-hand sides, then solutions */
};

tl_head_options tl_head_options_default(void)
{
    return (tl_head_options){ .variance_prior = 1.0,
                              .shrinkage = -1.0,
                              .shrinkage_min = 1e-4,
                              .prior_smoothing = 1.0,
                              .unseen_score = 1e-4f };
}

/* ---- Work memory and heads ------------------------------------------------------------------- */

static double *doubles(size_t count)
{
    double *values = aligned_alloc(64, tl_round_up(count * sizeof *values, 64));
    if (values != NULL) memset(values, 0, tl_round_up(count * sizeof *values, 64));
    return values;
}

tl_status tl_head_solver_create(uint32_t feature_count, tl_head_solver **out, tl_error *err)
{
    tl_head_solver *solver = calloc(1, sizeof *solver);
    if (solver == NULL) return tl_fail(err, TL_ENOMEM, "solver of heads");
    size_t d = solver->d = feature_count;
    solver->stride = tl_round_up(d, TILE_COLUMNS);
    solver->matrix = doubles(tl_round_up(d, PANEL) * solver->stride);
    solver->mean = doubles(d);
    solver->inverse = doubles(solver->stride);
    solver->sum = doubles(solver->stride);
    solver->right = doubles(d * TL_CLASS_COUNT_MAX);
    if (solver->matrix == NULL || solver->mean == NULL || solver->inverse == NULL ||
        solver->sum == NULL || solver->right == NULL) {
        tl_head_solver_destroy(&solver);
        return tl_fail(err, TL_ENOMEM, "solver of heads over %zu features", d);
    }
    *out = solver;
    return TL_OK;
}

void tl_head_solver_destroy(tl_head_solver **solver)
{
    if (solver == NULL || *solver == NULL) return;
    free((*solver)->matrix);
    free((*solver)->mean);
    free((*solver)->inverse);
    free((*solver)->sum);
    free((*solver)->right);
    free(*solver);
    *solver = NULL;
}

static tl_head *head_create(const tl_head_stats_options *options)
{
    tl_head *head = calloc(1, sizeof *head);
    if (head == NULL) return NULL;
    atomic_init(&head->references, 1);
    head->form = options->form;
    head->range = options->range;
    head->feature_count = options->feature_count;
    head->input_count = options->input_count;
    head->class_count = options->class_count;
    head->stride = tl_round_up(options->class_count, TL_LANES);
    head->weight = doubles(head->feature_count * head->stride);
    head->bias = doubles(head->stride);
    if (head->weight == NULL || head->bias == NULL) tl_head_release(&head);
    return head;
}

void tl_head_retain(tl_head *head)
{
    atomic_fetch_add_explicit(&head->references, 1, memory_order_relaxed);
}

void tl_head_release(tl_head **head)
{
    if (head == NULL || *head == NULL) return;
    tl_head *gone = *head;
    *head = NULL;
    if (atomic_fetch_sub_explicit(&gone->references, 1, memory_order_acq_rel) != 1) return;
    free(gone->weight);
    free(gone->bias);
    free(gone);
}

/* ---- Solving: the covariance ----------------------------------------------------------------- */

/* row[j] = gram[j] * unit */
TL_KERNEL static void load_row(double *row, const int64_t *gram, double unit, size_t count)
{
    size_t j = 0;
    for (; j + TL_LANES <= count; j += TL_LANES)
        *(tl_f64x8 *)(row + j) =
            __builtin_convertvector(*(const tl_i64x8 *)(gram + j), tl_f64x8) * unit;
    for (; j < count; j++) row[j] = (double)gram[j] * unit;
}

/* The upper triangle of y -= factor * s s^T; rows have `stride` numbers, a multiple of the lanes.
 */
TL_KERNEL static void subtract_outer(double *matrix, size_t stride, const double *s, double factor,
                                     size_t d)
{
    for (size_t i = 0; i < d; i++) {
        double *row = matrix + i * stride;
        double scale = s[i] * factor;
        for (size_t j = i / TL_LANES * TL_LANES; j < d; j += TL_LANES)
            *(tl_f64x8 *)(row + j) -= *(const tl_f64x8 *)(s + j) * scale;
    }
}

/* row *= scale * columns right of the diagonal, 0 elsewhere; returns the sum of the squares. */
TL_KERNEL static double scale_row(double *row, const double *columns, double scale, size_t diagonal,
                                  size_t d)
{
    size_t begin = diagonal / TL_LANES * TL_LANES;
    for (size_t j = begin; j <= diagonal; j++) row[j] = 0.0;
    tl_f64x8 squares = { 0 };
    for (size_t j = begin; j < d; j += TL_LANES) {
        tl_f64x8 value = *(tl_f64x8 *)(row + j) * *(const tl_f64x8 *)(columns + j) * scale;
        *(tl_f64x8 *)(row + j) = value;
        squares += value * value;
    }
    double sum = 0.0;
    for (size_t k = 0; k < TL_LANES; k++) sum += squares[k];
    return sum;
}

/* The scatter within classes to solver->matrix, the overall mean to solver->mean. */
static void load_scatter(const tl_head_stats *stats, tl_head_solver *solver)
{
    size_t d = solver->d;
    const double unit = 0x1p-18;
    const int64_t *gram = stats->gram;
    for (size_t i = 0; i < d; i++) {
        double *row = solver->matrix + i * solver->stride;
        memset(row, 0, i * sizeof *row); /* the last solve's */
        load_row(row + i, gram, unit * unit, d - i);
        memset(row + d, 0, (solver->stride - d) * sizeof *row);
        gram += d - i;
    }
    memset(solver->mean, 0, d * sizeof *solver->mean);
    for (uint32_t c = 0; c < stats->options.class_count; c++) {
        if (stats->count[c] == 0) continue;
        for (size_t i = 0; i < d; i++) {
            solver->sum[i] = (double)stats->sum[c * d + i] * unit;
            solver->mean[i] += solver->sum[i];
        }
        subtract_outer(solver->matrix, solver->stride, solver->sum, 1.0 / (double)stats->count[c],
                       d);
    }
    for (size_t i = 0; i < d; i++) solver->mean[i] /= (double)stats->total;
}

/* Deviations within classes, blended with the overall ones, to solver->inverse (as reciprocals).
 * Dimensions that hardly vary get a floor, so that they cannot decide by rounding alone. */
static void find_deviations(const tl_head_stats *stats, tl_head_solver *solver, double degrees,
                            double prior)
{
    size_t d = solver->d;
    const int64_t *gram = stats->gram;
    double total = (double)stats->total, mean_variance = 0.0;
    for (size_t i = 0; i < d; i++) {
        double mean = solver->mean[i];
        double overall = (double)*gram * 0x1p-36 / total - mean * mean;
        double within = solver->matrix[i * solver->stride + i];
        double variance = (fmax(within, 0.0) + prior * fmax(overall, 0.0)) / (degrees + prior);
        solver->inverse[i] = variance;
        mean_variance += variance / (double)d;
        gram += d - i;
    }
    const double quantum = 0x1p-36;
    for (size_t i = 0; i < d; i++)
        solver->inverse[i] = 1.0 / sqrt(fmax(solver->inverse[i], 1e-6 * mean_variance + quantum));
}

/* Chen, Wiesel, Eldar and Hero 2010, equation 23, for a correlation matrix: trace d.
 * `squares` is tr R^2. */
static double oas(double d, double n, double squares)
{
    double above = (1.0 - 2.0 / d) * squares + d * d;
    double below = (n + 1.0 - 2.0 / d) * (squares - d);
    return below > above ? above / below : 1.0;
}

/* Scatter to shrunk correlation; returns the shrinkage. */
static double shrink(tl_head_solver *solver, double degrees, double prior,
                     const tl_head_options *options)
{
    size_t d = solver->d;
    double squares = (double)d;
    for (size_t i = 0; i < d; i++) {
        double *row = solver->matrix + i * solver->stride;
        squares +=
            2.0 * scale_row(row, solver->inverse, solver->inverse[i] / (degrees + prior), i, d);
    }
    double share = options->shrinkage;
    if (share < 0.0) share = fmax(oas((double)d, degrees, squares), options->shrinkage_min);
    if (share > 1.0) share = 1.0;
    for (size_t i = 0; i < d; i++) {
        double *row = solver->matrix + i * solver->stride;
        for (size_t j = i + 1; j < d; j++) row[j] *= 1.0 - share;
        row[i] = 1.0;
    }
    return share;
}

/* ---- Solving: Cholesky ----------------------------------------------------------------------- */

/* Rows k0..k1-1 of U with U^T U = R: the panel's own rows, over all columns. */
TL_KERNEL static void factor_panel(double *matrix, size_t stride, size_t k0, size_t k1)
{
    for (size_t k = k0; k < k1; k++) {
        double *row = matrix + k * stride;
        double scale = 1.0 / sqrt(row[k] > PIVOT_MIN ? row[k] : PIVOT_MIN);
        size_t begin = k / TL_LANES * TL_LANES;
        for (size_t j = begin; j < stride; j += TL_LANES) *(tl_f64x8 *)(row + j) *= scale;
        for (size_t i = k + 1; i < k1; i++) {
            double *below = matrix + i * stride;
            double factor = row[i];
            for (size_t j = begin; j < stride; j += TL_LANES)
                *(tl_f64x8 *)(below + j) -= *(const tl_f64x8 *)(row + j) * factor;
        }
    }
}

/* Four rows by sixteen columns of what is left, less the panel's part of it. What lies left of the
 * diagonal is computed along and never read. */
TL_KERNEL static void update_trailing(double *matrix, size_t stride, size_t k0, size_t k1,
                                      size_t rows)
{
    for (size_t i = k1; i < rows; i += TILE_ROWS) {
        for (size_t j = i / TILE_COLUMNS * TILE_COLUMNS; j < stride; j += TILE_COLUMNS) {
            double *at = matrix + i * stride + j;
            tl_f64x8 tile[TILE_ROWS][2];
            TL_UNROLL_4
            for (size_t r = 0; r < TILE_ROWS; r++) {
                tile[r][0] = *(tl_f64x8 *)(at + r * stride);
                tile[r][1] = *(tl_f64x8 *)(at + r * stride + TL_LANES);
            }
            for (size_t k = k0; k < k1; k++) {
                const double *row = matrix + k * stride;
                tl_f64x8 low = *(const tl_f64x8 *)(row + j);
                tl_f64x8 high = *(const tl_f64x8 *)(row + j + TL_LANES);
                TL_UNROLL_4
                for (size_t r = 0; r < TILE_ROWS; r++) {
                    tile[r][0] -= low * row[i + r];
                    tile[r][1] -= high * row[i + r];
                }
            }
            TL_UNROLL_4
            for (size_t r = 0; r < TILE_ROWS; r++) {
                *(tl_f64x8 *)(at + r * stride) = tile[r][0];
                *(tl_f64x8 *)(at + r * stride + TL_LANES) = tile[r][1];
            }
        }
    }
}

/* The matrix has whole tiles: rows and columns past d are 0 and stay so. */
static void factor(tl_head_solver *solver)
{
    size_t rows = tl_round_up(solver->d, PANEL);
    for (size_t k0 = 0; k0 < solver->d; k0 += PANEL) {
        size_t k1 = k0 + PANEL < solver->d ? k0 + PANEL : solver->d;
        factor_panel(solver->matrix, solver->stride, k0, k1);
        if (k1 == k0 + PANEL) update_trailing(solver->matrix, solver->stride, k0, k1, rows);
    }
}

/* U^T y = b for eight right-hand sides at a time, then U x = y, in place. */
TL_KERNEL static void solve_lanes(const double *matrix, size_t stride, size_t d, double *right,
                                  size_t right_stride)
{
    for (size_t k = 0; k < d; k++) {
        const double *row = matrix + k * stride;
        tl_f64x8 y = *(tl_f64x8 *)(right + k * right_stride) / row[k];
        *(tl_f64x8 *)(right + k * right_stride) = y;
        for (size_t i = k + 1; i < d; i++) *(tl_f64x8 *)(right + i * right_stride) -= y * row[i];
    }
    for (size_t k = d; k-- > 0;) {
        const double *row = matrix + k * stride;
        tl_f64x8 sum[4] = { { 0 } }; /* four chains: additions need not wait for one another */
        size_t j = k + 1;
        for (; j + 4 <= d; j += 4) TL_UNROLL_4
        for (size_t lane = 0; lane < 4; lane++)
            sum[lane] += *(tl_f64x8 *)(right + (j + lane) * right_stride) * row[j + lane];
        for (; j < d; j++) sum[0] += *(tl_f64x8 *)(right + j * right_stride) * row[j];
        tl_f64x8 y = *(tl_f64x8 *)(right + k * right_stride);
        *(tl_f64x8 *)(right + k * right_stride) =
            (y - ((sum[0] + sum[1]) + (sum[2] + sum[3]))) / row[k];
    }
}

/* ---- Solving: the head ----------------------------------------------------------------------- */

static void load_means(const tl_head_stats *stats, tl_head_solver *solver, size_t stride)
{
    size_t d = solver->d;
    memset(solver->right, 0, d * stride * sizeof *solver->right);
    for (uint32_t c = 0; c < stats->options.class_count; c++) {
        if (stats->count[c] == 0) continue;
        double unit = 0x1p-18 / (double)stats->count[c];
        for (size_t i = 0; i < d; i++) {
            double mean = (double)stats->sum[c * d + i] * unit;
            solver->right[i * stride + c] = (mean - solver->mean[i]) * solver->inverse[i];
        }
    }
}

/* Weights from solutions; biases about the overall mean, so that a class's own share of its bias is
 * not the small difference of large numbers. */
static void fill_head(const tl_head_stats *stats, const tl_head_solver *solver,
                      const tl_head_options *options, tl_head *head)
{
    size_t d = solver->d, stride = head->stride;
    double seen = 0.0;
    for (uint32_t c = 0; c < head->class_count; c++) {
        head->seen[c] = stats->count[c] > 0;
        seen += head->seen[c];
    }
    for (uint32_t c = 0; c < head->class_count; c++) {
        if (!head->seen[c]) continue;
        double unit = 0x1p-18 / (double)stats->count[c], half = 0.0, centre = 0.0;
        for (size_t i = 0; i < d; i++) {
            double weight = solver->right[i * stride + c] * solver->inverse[i];
            double mean = (double)stats->sum[c * d + i] * unit - solver->mean[i];
            head->weight[i * stride + c] = weight;
            half += 0.5 * mean * weight;
            centre += solver->mean[i] * weight;
        }
        double prior = ((double)stats->count[c] + options->prior_smoothing) /
                       ((double)stats->total + options->prior_smoothing * seen);
        head->bias[c] = log(prior) - half - centre;
    }
}

static void solve(const tl_head_stats *stats, const tl_head_options *options,
                  tl_head_solver *solver, tl_head *head)
{
    double classes = 0.0;
    for (uint32_t c = 0; c < head->class_count; c++) classes += stats->count[c] > 0;
    double degrees = (double)stats->total - classes;
    double prior = fmax(options->variance_prior, 1e-3);
    load_scatter(stats, solver);
    find_deviations(stats, solver, degrees, prior);
    head->shrinkage = shrink(solver, degrees, prior, options);
    load_means(stats, solver, head->stride);
    factor(solver);
    for (size_t c = 0; c < head->stride; c += TL_LANES)
        solve_lanes(solver->matrix, solver->stride, solver->d, solver->right + c, head->stride);
    fill_head(stats, solver, options, head);
}

tl_status tl_head_solve(const tl_head_stats *stats, const tl_head_options *options,
                        tl_head_solver *solver, tl_head **out, tl_error *err)
{
    tl_head_options defaults = tl_head_options_default();
    if (options == NULL) options = &defaults;
    TL_ASSERT(solver == NULL || solver->d == stats->options.feature_count);
    tl_head *head = head_create(&stats->options);
    if (head == NULL) return tl_fail(err, TL_ENOMEM, "a head");
    head->unseen_score = options->unseen_score;
    tl_head_solver *own = NULL;
    if (solver == NULL) {
        tl_status status = tl_head_solver_create(stats->options.feature_count, &own, err);
        if (status != TL_OK) {
            tl_head_release(&head);
            return status;
        }
        solver = own;
    }
    head->shrinkage = 1.0;
    if (stats->total > 0) solve(stats, options, solver, head);
    tl_head_solver_destroy(&own);
    *out = head;
    return TL_OK;
}

/* ---- Predicting ------------------------------------------------------------------------------ */

/* logits += value weight, row by row */
TL_KERNEL static void accumulate(const double *weight, size_t stride, const double *value,
                                 size_t count, double *logits)
{
    for (size_t c = 0; c < stride; c += TL_LANES) {
        tl_f64x8 sum = *(const tl_f64x8 *)(logits + c);
        for (size_t i = 0; i < count; i++)
            sum += *(const tl_f64x8 *)(weight + i * stride + c) * value[i];
        *(tl_f64x8 *)(logits + c) = sum;
    }
}

/* Softmax over the classes with examples; the others get their fixed small share. */
static void softmax(const tl_head *head, const double *logits, float *scores)
{
    double max = -INFINITY, sum = 0.0, power[TL_CLASS_COUNT_MAX] = { 0 };
    uint32_t seen = 0;
    for (uint32_t c = 0; c < head->class_count; c++) {
        if (!head->seen[c]) continue;
        seen++;
        if (logits[c] > max) max = logits[c];
    }
    for (uint32_t c = 0; c < head->class_count; c++) {
        if (!head->seen[c]) continue;
        power[c] = fmax(exp(logits[c] - max), SCORE_MIN);
        sum += power[c];
    }
    double unseen = seen == 0 ? 1.0 / head->class_count : (double)head->unseen_score;
    double left = 1.0 - unseen * (head->class_count - seen);
    for (uint32_t c = 0; c < head->class_count; c++)
        scores[c] = (float)(head->seen[c] ? left * power[c] / sum : unseen);
}

void tl_head_take(const tl_head *head, const float *x, tl_head_input *out)
{
    float sketch[TL_FEATURE_COUNT_MAX];
    out->form = head->form;
    out->range = head->range;
    out->feature_count = head->feature_count;
    out->input_count = head->input_count;
    x = tl_head_sketch(x, head->input_count, head->feature_count, sketch);
    double scale = tl_head_scale(head->form, head->range, x, head->feature_count);
    bool clamped = false;
    for (size_t i = 0; i < head->feature_count; i++)
        out->value[i] = tl_head_clamp((double)x[i] * scale, &clamped);
}

bool tl_head_fits(const tl_head *head, const tl_head_input *input)
{
    return head->feature_count == input->feature_count && head->input_count == input->input_count &&
           head->form == input->form &&
           memcmp(&head->range, &input->range, sizeof head->range) == 0;
}

void tl_head_predict_taken(const tl_head *head, const tl_head_input *input, float *scores)
{
    double logits[TL_CLASS_COUNT_MAX] __attribute__((aligned(64))) = { 0 };
    memcpy(logits, head->bias, head->stride * sizeof *logits);
    accumulate(head->weight, head->stride, input->value, head->feature_count, logits);
    softmax(head, logits, scores);
}

void tl_head_predict(const tl_head *head, const float *x, float *scores)
{
    tl_head_input input;
    tl_head_take(head, x, &input);
    tl_head_predict_taken(head, &input, scores);
}

/* ---- Facts, saving --------------------------------------------------------------------------- */

uint32_t tl_head_class_count(const tl_head *head)
{
    return head->class_count;
}

double tl_head_shrinkage(const tl_head *head)
{
    return head->shrinkage;
}

uint64_t tl_head_digest(const tl_head *head)
{
    uint64_t hash = tl_hash64(head->seen, sizeof head->seen, head->class_count);
    hash = tl_hash64(head->bias, head->stride * sizeof *head->bias, hash);
    return tl_hash64(head->weight, head->feature_count * head->stride * sizeof *head->weight, hash);
}

tl_status tl_head_save(const tl_head *head, tl_blob *blob, tl_error *err)
{
    size_t begin = tl_blob_section_begin(blob, "HEAD", HEAD_VERSION);
    tl_blob_u32(blob, head->feature_count);
    tl_blob_u32(blob, head->class_count);
    tl_blob_u32(blob, (uint32_t)head->form);
    tl_blob_u32(blob, head->input_count);
    tl_blob_f32s(blob, &head->range, 1);
    tl_blob_f32s(blob, &head->unseen_score, 1);
    tl_blob_f64(blob, head->shrinkage);
    tl_blob_bytes(blob, head->seen, head->class_count);
    for (uint32_t c = 0; c < head->class_count; c++) tl_blob_f64(blob, head->bias[c]);
    for (size_t i = 0; i < head->feature_count; i++)
        for (uint32_t c = 0; c < head->class_count; c++)
            tl_blob_f64(blob, head->weight[i * head->stride + c]);
    tl_blob_section_end(blob, begin);
    if (!tl_blob_ok(blob)) return tl_fail(err, TL_ENOMEM, "saving a head");
    return TL_OK;
}

static bool read_numbers(tl_blob_reader *body, tl_head *head)
{
    bool finite = true;
    for (uint32_t c = 0; c < head->class_count; c++) {
        head->bias[c] = tl_blob_read_f64(body);
        finite = finite && isfinite(head->bias[c]);
    }
    for (size_t i = 0; i < head->feature_count; i++) {
        for (uint32_t c = 0; c < head->class_count; c++) {
            double weight = tl_blob_read_f64(body);
            head->weight[i * head->stride + c] = weight;
            finite = finite && isfinite(weight);
        }
    }
    return finite;
}

static tl_status read_head(tl_blob_reader *body, uint32_t version, tl_head **out, tl_error *err)
{
    tl_head_stats_options options = { .feature_count = tl_blob_read_u32(body) };
    options.class_count = tl_blob_read_u32(body);
    options.form = (tl_head_form)tl_blob_read_u32(body);
    options.input_count = version > 1 ? tl_blob_read_u32(body) : options.feature_count;
    float unseen = 0.0f;
    tl_blob_read_f32s(body, &options.range, 1);
    tl_blob_read_f32s(body, &unseen, 1);
    double shrinkage = tl_blob_read_f64(body);
    const uint8_t *seen = tl_blob_read_bytes(body, options.class_count);
    bool sane = seen != NULL && options.feature_count >= 1 &&
                options.feature_count <= options.input_count &&
                options.input_count <= TL_FEATURE_COUNT_MAX && options.class_count >= 1 &&
                options.class_count <= TL_CLASS_COUNT_MAX && options.form <= TL_HEAD_UNIT &&
                options.range > 0.0f && isfinite(options.range) && unseen >= 0.0f &&
                unseen * (float)options.class_count < 1.0f;
    if (!sane) return tl_fail(err, TL_ECORRUPT, "a saved head has impossible sizes");
    tl_head *head = head_create(&options);
    if (head == NULL) return tl_fail(err, TL_ENOMEM, "a head");
    head->unseen_score = unseen;
    head->shrinkage = shrinkage;
    for (uint32_t c = 0; c < options.class_count; c++) head->seen[c] = seen[c] != 0;
    bool finite = read_numbers(body, head);
    tl_status status = tl_blob_read_end(body, "head", err);
    if (status == TL_OK && !finite)
        status = tl_fail(err, TL_ECORRUPT, "a saved head holds numbers that are not finite");
    if (status != TL_OK) {
        tl_head_release(&head);
        return status;
    }
    *out = head;
    return TL_OK;
}

tl_status tl_head_load(tl_blob_reader *reader, tl_head **out, tl_error *err)
{
    tl_blob_reader at = *reader, body;
    uint32_t version;
    tl_status status = tl_blob_read_section(&at, "HEAD", HEAD_VERSION, &body, &version, err);
    if (status == TL_OK) status = read_head(&body, version, out, err);
    if (status == TL_OK) *reader = at;
    return status;
}
