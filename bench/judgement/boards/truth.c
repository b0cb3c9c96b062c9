#include "bench/judgement/boards/truth.h"

#include <math.h>
#include <stdlib.h>

enum { ROWS = 32 };

double boards_pair_gain(const boards_pair *pair, double *low, double *high)
{
    double n = (double)pair->items;
    *low = *high = 0;
    if (pair->items == 0) return 0;
    double gain = ((double)pair->better - (double)pair->worse) / n;
    double variance = ((double)(pair->better + pair->worse) / n - gain * gain) / n;
    double half = 1.96 * sqrt(fmax(0, variance));
    *low = gain - half;
    *high = gain + half;
    return gain;
}

tl_status boards_truth_open(boards_truth *truth, const boards_line *line, const tl_loop *loop,
                            tl_error *err)
{
    size_t most = line->count + line->kept_out_count + 1;
    *truth = (boards_truth){ .line = line, .loop = loop };
    tl_plan_options options = {
        .batch_max = ROWS, .mode = TL_PLAN_INFER, .threads = 1, .precision = TL_PRECISION_AUTO
    };
    truth->pixels = malloc(2 * line->plane);
    truth->asked = malloc(most * sizeof *truth->asked);
    truth->when = malloc(most * sizeof *truth->when);
    for (int i = 0; i < 2; i++) truth->said[i] = malloc(most * sizeof *truth->said[i]);
    if (truth->pixels == NULL || truth->asked == NULL || truth->when == NULL ||
        truth->said[0] == NULL || truth->said[1] == NULL)
        return tl_fail(err, TL_ENOMEM, "hidden items");
    return tl_plan_create(loop->graph, &options, &truth->plan, err);
}

void boards_truth_close(boards_truth *truth)
{
    tl_plan_destroy(&truth->plan);
    free(truth->pixels);
    free(truth->asked);
    free(truth->when);
    free(truth->said[0]);
    free(truth->said[1]);
    *truth = (boards_truth){ 0 };
}

static bool flags(const boards_truth *truth, const tl_model *model, uint32_t row)
{
    float heads[TL_MODEL_HEAD_COUNT * TL_CLASS_COUNT_MAX], scores[TL_CLASS_COUNT_MAX];
    size_t outputs = tl_shape_count(tl_graph_output_shape(truth->loop->graph, 0));
    size_t features = tl_graph_feature_count(truth->loop->graph);
    tl_model_score(model, tl_plan_output(truth->plan, 0) + row * outputs,
                   tl_plan_features(truth->plan) + row * features, heads, scores);
    return 1.0f - scores[0] >= model->threshold;
}

static tl_status ask(boards_truth *truth, const tl_model *model, size_t count, bool *said,
                     tl_error *err)
{
    for (size_t first = 0; first < count; first += ROWS) {
        uint32_t rows = count - first < ROWS ? (uint32_t)(count - first) : ROWS;
        for (uint32_t row = 0; row < rows; row++) {
            size_t i = first + row;
            tl_status status = boards_line_pixels(truth->line, &truth->asked[i], truth->when[i],
                                                  truth->pixels, err);
            if (status != TL_OK) return status;
            tl_items_to_input(&truth->loop->config, truth->pixels, NULL,
                              tl_plan_input(truth->plan, 0), row);
        }
        tl_status status = tl_plan_infer(truth->plan, model->weights, rows, err);
        if (status != TL_OK) return status;
        for (uint32_t row = 0; row < rows; row++) said[first + row] = flags(truth, model, row);
    }
    return TL_OK;
}

static tl_status compare(boards_truth *truth, const tl_model *came, const tl_model *replaced,
                         size_t count, boards_pair *out, tl_error *err)
{
    tl_status status = ask(truth, came, count, truth->said[0], err);
    if (status == TL_OK) status = ask(truth, replaced, count, truth->said[1], err);
    if (status != TL_OK) return status;
    *out = (boards_pair){ .items = count };
    for (size_t i = 0; i < count; i++) {
        bool defect = truth->asked[i].label != 0;
        bool came_errs = truth->said[0][i] != defect, replaced_errs = truth->said[1][i] != defect;
        out->came_errors += came_errs;
        out->replaced_errors += replaced_errs;
        out->better += replaced_errs && !came_errs;
        out->worse += came_errs && !replaced_errs;
    }
    return TL_OK;
}

tl_status boards_truth_compare(boards_truth *truth, const tl_model *came, const tl_model *replaced,
                               size_t from, boards_pair *rest, boards_pair *kept_out, tl_error *err)
{
    const boards_line *line = truth->line;
    size_t count = 0;
    for (size_t i = from + 1; i < line->count; i++) {
        truth->asked[count] = line->items[i];
        truth->when[count++] = i;
    }
    tl_status status = compare(truth, came, replaced, count, rest, err);
    count = 0;
    for (size_t i = 0; i < line->kept_out_count; i++) {
        if (!boards_line_comes(line, &line->kept_out[i], from)) continue;
        truth->asked[count] = line->kept_out[i];
        truth->when[count++] = from;
    }
    return status == TL_OK ? compare(truth, came, replaced, count, kept_out, err) : status;
}

tl_status boards_truth_since(boards_truth *truth, const uint8_t *wrong, const tl_model *replaced,
                             size_t from, size_t until, boards_pair *out, tl_error *err)
{
    size_t count = 0;
    for (size_t i = from + 1; i <= until; i++) {
        truth->asked[count] = truth->line->items[i];
        truth->when[count++] = i;
    }
    tl_status status = ask(truth, replaced, count, truth->said[1], err);
    if (status != TL_OK) return status;
    *out = (boards_pair){ .items = count };
    for (size_t i = 0; i < count; i++) {
        bool came_errs = wrong[truth->when[i]];
        bool replaced_errs = truth->said[1][i] != (truth->asked[i].label != 0);
        out->came_errors += came_errs;
        out->replaced_errors += replaced_errs;
        out->better += replaced_errs && !came_errs;
        out->worse += came_errs && !replaced_errs;
    }
    return TL_OK;
}
