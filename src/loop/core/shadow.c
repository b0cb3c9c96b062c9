#include "loop/core/shadow.h"

void tl_shadow_clear(tl_shadow *shadow)
{
    tl_weights_release(&shadow->weights);
    tl_head_release(&shadow->head);
    tl_version_destroy(&shadow->made);
}

tl_model *tl_shadow_model(const tl_shadow *shadow, uint32_t class_count)
{
    tl_model from = { .version = shadow->version,
                      .key = shadow->key,
                      .class_count = class_count,
                      .weights = shadow->weights,
                      .head = shadow->head,
                      .mixture = shadow->mixture,
                      .threshold = shadow->threshold };
    tl_model *model = tl_model_create(&from);
    if (model == NULL) return NULL;
    tl_weights_retain(shadow->weights);
    if (shadow->head != NULL) tl_head_retain(shadow->head);
    return model;
}
