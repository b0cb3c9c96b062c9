#include "loop/version/model.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

tl_model *tl_model_create(const tl_model *from)
{
    tl_model *model = malloc(sizeof *model);
    if (model == NULL) return NULL;
    *model = *from;
    atomic_init(&model->references, 1);
    return model;
}

void tl_model_retain(tl_model *model)
{
    atomic_fetch_add_explicit(&model->references, 1, memory_order_relaxed);
}

void tl_model_release(tl_model **model)
{
    tl_model *last = *model;
    *model = NULL;
    if (last == NULL) return;
    if (atomic_fetch_sub_explicit(&last->references, 1, memory_order_acq_rel) > 1) return;
    tl_weights_release(&last->weights);
    tl_head_release(&last->head);
    free(last);
}

static void softmax(const float *logits, uint32_t count, float *out)
{
    float top = logits[0];
    for (uint32_t i = 1; i < count; i++)
        if (logits[i] > top) top = logits[i];
    float sum = 0.0f;
    for (uint32_t i = 0; i < count; i++) sum += out[i] = expf(logits[i] - top);
    for (uint32_t i = 0; i < count; i++) out[i] /= sum;
}

void tl_model_row_begin(tl_model_row *row, const float *logits, const float *features)
{
    row->logits = logits;
    row->features = features;
    row->class_count = 0;
    row->input.feature_count = 0;
}

void tl_model_score_row(const tl_model *model, tl_model_row *row, float *head_scores, float *scores)
{
    uint32_t count = model->class_count;
    if (row->class_count != count) softmax(row->logits, count, row->network);
    row->class_count = count;
    memcpy(head_scores + TL_MODEL_NETWORK * count, row->network, count * sizeof *row->network);
    float *fast = head_scores + TL_MODEL_FAST * count;
    if (model->head != NULL) {
        if (!tl_head_fits(model->head, &row->input))
            tl_head_take(model->head, row->features, &row->input);
        tl_head_predict_taken(model->head, &row->input, fast);
    } else {
        for (uint32_t i = 0; i < count; i++) fast[i] = 1.0f / (float)count;
    }
    tl_mixture_combine(&model->mixture, head_scores, count, scores);
}

void tl_model_score(const tl_model *model, const float *logits, const float *features,
                    float *head_scores, float *scores)
{
    tl_model_row row;
    tl_model_row_begin(&row, logits, features);
    tl_model_score_row(model, &row, head_scores, scores);
}

uint32_t tl_model_most_likely(const float *values, size_t count)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < count; i++)
        if (values[i] > values[best]) best = i;
    return best;
}

struct tl_model_slot {
    pthread_mutex_t mutex;
    tl_model *model;
};

tl_status tl_model_slot_create(tl_model_slot **out)
{
    tl_model_slot *slot = calloc(1, sizeof *slot);
    if (slot == NULL) return TL_ENOMEM;
    pthread_mutex_init(&slot->mutex, NULL);
    *out = slot;
    return TL_OK;
}

void tl_model_slot_destroy(tl_model_slot **slot)
{
    if (*slot == NULL) return;
    tl_model_release(&(*slot)->model);
    pthread_mutex_destroy(&(*slot)->mutex);
    free(*slot);
    *slot = NULL;
}

tl_model *tl_model_slot_get(tl_model_slot *slot)
{
    pthread_mutex_lock(&slot->mutex);
    tl_model *model = slot->model;
    if (model != NULL) tl_model_retain(model);
    pthread_mutex_unlock(&slot->mutex);
    return model;
}

void tl_model_slot_put(tl_model_slot *slot, tl_model *model)
{
    pthread_mutex_lock(&slot->mutex);
    tl_model *before = slot->model;
    slot->model = model;
    pthread_mutex_unlock(&slot->mutex);
    tl_model_release(&before);
}
