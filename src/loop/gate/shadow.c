#include "loop/gate/shadow.h"

#include <string.h>

void tl_shadow_clear(tl_shadow *shadow)
{
    tl_weights_release(&shadow->weights);
    tl_head_release(&shadow->head);
    tl_version_destroy(&shadow->made);
    tl_keymap_destroy(&shadow->members);
}

tl_model *tl_shadow_model(const tl_shadow *shadow, uint32_t class_count)
{
    tl_model from = { .version = shadow->version,
                      .key = shadow->key,
                      .challenges = shadow->watch == TL_GATE_BETTER,
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

static uint64_t hash_text(const char *text, uint64_t seed)
{
    return text == NULL || text[0] == '\0' ? seed : tl_hash64(text, strlen(text) + 1, seed);
}

uint64_t tl_shadow_unit(const tl_prediction_record *p, tl_evidence_unit unit)
{
    const char *name = unit == TL_EVIDENCE_BOARD ? p->board
                       : unit == TL_EVIDENCE_LOT ? p->lot
                                                 : NULL;
    if (name == NULL || name[0] == '\0') return 0;
    return hash_text(name, hash_text(p->line, hash_text(p->site, 1)));
}

uint64_t tl_shadow_site(const tl_prediction_record *p)
{
    return tl_shadow_site_of(p->site);
}

uint64_t tl_shadow_site_of(const char *name)
{
    return hash_text(name, 0);
}

uint64_t tl_shadow_source(const char *source)
{
    return hash_text(source, 1);
}

tl_gate_item tl_shadow_item(const tl_record *prediction, tl_evidence_unit unit)
{
    const tl_prediction_record *p = &prediction->as.prediction;
    /* A file that somebody changed by hand must not stop the loop: such an item is no evidence. */
    bool sound = p->propensity >= 0.0f && p->propensity <= 1.0f;
    double propensity = sound ? (double)p->propensity : 0.0;
    return (tl_gate_item){ .position = prediction->position,
                           .time_us = p->time_us,
                           .unit = tl_shadow_unit(p, unit),
                           .site = tl_shadow_site(p),
                           .flagged = p->flagged,
                           .drawn = p->review && propensity > 0.0,
                           .propensity = propensity };
}
