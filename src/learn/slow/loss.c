#include "learn/slow/loss.h"

#include <math.h>
#include <string.h>

/* Log-probabilities [class_count] of one sample. */
static void log_softmax(const float *logits, uint32_t class_count, double *logs)
{
    double max = -INFINITY, sum = 0.0;
    for (uint32_t c = 0; c < class_count; c++)
        if ((double)logits[c] > max) max = (double)logits[c];
    for (uint32_t c = 0; c < class_count; c++) sum += exp((double)logits[c] - max);
    double shift = max + log(sum);
    for (uint32_t c = 0; c < class_count; c++) logs[c] = (double)logits[c] - shift;
}

double tl_loss_cross_entropy(const tl_loss_options *options, const float *logits,
                             const uint32_t *labels, const float *weights, size_t batch,
                             float *losses, float *grad)
{
    uint32_t classes = options->class_count, width = options->width;
    TL_ASSERT(classes >= 1 && classes <= width);
    TL_ASSERT(classes <= TL_CLASS_COUNT_MAX);
    double loss = 0.0, total = 0.0, spread = (double)options->label_smoothing / classes;
    double keep = 1.0 - (double)options->label_smoothing;
    for (size_t i = 0; i < batch; i++) {
        double logs[TL_CLASS_COUNT_MAX];
        uint32_t label = labels[i];
        TL_ASSERT(label < classes);
        log_softmax(logits + i * width, classes, logs);
        double weight = weights == NULL ? 1.0 : (double)weights[i];
        if (options->class_weight != NULL) weight *= (double)options->class_weight[label];
        if (losses != NULL) losses[i] = (float)-logs[label];
        if (grad != NULL) memset(grad + i * width, 0, width * sizeof *grad);
        if (!(weight > 0.0)) continue;
        double own = -keep * logs[label];
        for (uint32_t c = 0; c < classes; c++) {
            own -= spread * logs[c];
            double target = spread + (c == label ? keep : 0.0);
            if (grad != NULL) grad[i * width + c] = (float)(weight * (exp(logs[c]) - target));
        }
        loss += weight * own;
        total += weight;
    }
    if (!(total > 0.0)) return 0.0;
    for (size_t i = 0; grad != NULL && i < batch * width; i++)
        grad[i] = (float)((double)grad[i] / total);
    return loss / total;
}

void tl_loss_softmax(const float *logits, uint32_t class_count, float *scores)
{
    TL_ASSERT(class_count >= 1 && class_count <= TL_CLASS_COUNT_MAX);
    double logs[TL_CLASS_COUNT_MAX];
    log_softmax(logits, class_count, logs);
    for (uint32_t c = 0; c < class_count; c++) scores[c] = (float)exp(logs[c]);
}
