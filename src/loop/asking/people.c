#include "loop/asking/people.h"

#include "loop/core/internal.h"
#include "review/people/assign.h"

/* ---- Who is asked ---------------------------------------------------------------------------- */

uint64_t tl_people_subject(uint64_t unit, tl_id id)
{
    return unit != 0 ? unit : tl_hash64(id.bytes, sizeof id.bytes, 2);
}

uint64_t tl_people_assign(const tl_loop_config *config, uint64_t subject, uint32_t round,
                          uint64_t but)
{
    uint64_t people[TL_PERSON_COUNT_MAX];
    for (uint32_t i = 0; i < config->person_count; i++)
        people[i] = tl_shadow_source(config->people[i]);
    size_t index = tl_assign(config->audit_key, people, config->person_count, subject, round, but);
    return index < config->person_count ? people[index] : 0;
}

const char *tl_people_name(const tl_loop_config *config, uint64_t person)
{
    for (uint32_t i = 0; i < config->person_count; i++)
        if (tl_shadow_source(config->people[i]) == person) return config->people[i];
    return NULL;
}

uint64_t tl_people_asked(const tl_loop_config *config, const tl_prediction_record *p)
{
    if (config->person_count == 0 || !p->review) return 0;
    uint64_t unit = tl_shadow_unit(p, config->gate.unit);
    return tl_people_assign(config, tl_people_subject(unit, p->id), 0, 0);
}

/* ---- Whose word counts ----------------------------------------------------------------------- */

int32_t tl_people_label(const tl_prediction_record *p, tl_record *statements, size_t count,
                        uint64_t person, size_t class_count, uint64_t third_class_at)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (tl_shadow_source(statements[i].as.feedback.source) == person)
            statements[kept++] = statements[i];
    return tl_standing_fold(p, statements, kept, class_count, third_class_at);
}

/* An open review keeps who was asked, whatever became of the list since. */
static uint64_t asked_in(const tl_core *core, const tl_record *prediction)
{
    const tl_drawn *open = tl_core_find_drawn(core, prediction->position);
    return open != NULL ? open->person : tl_people_asked(&core->config, &prediction->as.prediction);
}

/* The word of `person` up to `upto`. */
static tl_status own_label(tl_core *core, const tl_record *prediction, uint64_t person,
                           uint64_t upto, int32_t *label, tl_error *err)
{
    const tl_prediction_record *p = &prediction->as.prediction;
    tl_record *statements;
    size_t count;
    tl_status status = tl_journal_list_feedback(core->items->journal, core->items->loop, p->id,
                                                upto, &core->arena, &statements, &count, err);
    if (status == TL_OK)
        *label = tl_people_label(p, statements, count, person, core->config.info.class_count,
                                 core->third_class_at);
    return status;
}

static void note_another(tl_core *core, const tl_label_change *change)
{
    tl_drawn *open = tl_core_find_drawn(core, change->prediction.position);
    if (open == NULL || open->answered || open->by_another || change->after < 0) return;
    open->by_another = true;
    tl_review_check_outcome(core->review.check, (tl_review_reason)open->reason,
                            TL_REVIEW_BY_ANOTHER, 0);
}

tl_status tl_core_hear(tl_core *core, const tl_label_change *change, const tl_record *feedback,
                       bool second, tl_error *err)
{
    const tl_record *prediction = &change->prediction;
    const char *source = feedback != NULL ? feedback->as.feedback.source : NULL;
    uint64_t asked = asked_in(core, prediction), who = tl_shadow_source(source);
    if (asked == 0)
        return second || change->before == change->after
                   ? TL_OK
                   : tl_core_gate_label(core, prediction, change->after, who, err);
    if (feedback != NULL && who != asked) {
        note_another(core, change);
        return TL_OK;
    }
    int32_t before = -1, after = -1;
    uint64_t upto = feedback != NULL ? feedback->position : prediction->position;
    tl_status status = own_label(core, prediction, asked, upto, &after, err);
    if (status == TL_OK && feedback != NULL)
        status = own_label(core, prediction, asked, upto - 1, &before, err);
    if (status != TL_OK) return status;
    if (after < 0 && before < 0) note_another(core, change);
    return before == after ? TL_OK : tl_core_gate_label(core, prediction, after, asked, err);
}

/* ---- The list changes ------------------------------------------------------------------------ */

void tl_core_people_changed(tl_core *core)
{
    for (size_t i = 0; i < core->review.drawn_count; i++) {
        tl_drawn *drawn = tl_drawn_at(&core->review, i);
        if (drawn->person == 0 || tl_people_name(&core->config, drawn->person) == NULL)
            drawn->person = tl_people_assign(&core->config, drawn->subject, 0, 0);
    }
    tl_core_again_people_changed(core);
}
