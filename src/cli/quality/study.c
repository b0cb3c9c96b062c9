#include "cli/quality/study_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CALL_COUNT_MAX = 4 << 20 };

tl_status tl_study_gather_begin(tl_study_gathering *g, tl_study *study, tl_error *err)
{
    *study = (tl_study){ 0 };
    *g = (tl_study_gathering){ .study = study, .known = malloc(TL_PEOPLE_PART_MAX) };
    if (g->known == NULL) return tl_fail(err, TL_ENOMEM, "a study");
    memset(g->known, TL_PEOPLE_NOTHING, TL_PEOPLE_PART_MAX);
    return TL_OK;
}

/* Find or add a name in a list of fixed-size texts. */
static tl_status name_index(char (*names)[TL_TEXT_BYTES_MAX], size_t *count, size_t count_max,
                            const char *name, const char *what, size_t *out, tl_error *err)
{
    if (name[0] == '\0' || strlen(name) >= TL_TEXT_BYTES_MAX)
        return tl_fail(err, TL_EINVAL, "a name of %s has 1 to %d bytes", what,
                       TL_TEXT_BYTES_MAX - 1);
    for (size_t i = 0; i < *count; i++) {
        if (strcmp(names[i], name) != 0) continue;
        *out = i;
        return TL_OK;
    }
    if (*count == count_max) return tl_fail(err, TL_ELIMIT, "more than %zu %s", count_max, what);
    strcpy(names[*count], name);
    *out = (*count)++;
    return TL_OK;
}

tl_status tl_study_operator(tl_study_gathering *g, const char *name, uint32_t *out, tl_error *err)
{
    size_t index;
    tl_status status = name_index(g->study->operator_names, &g->study->operators,
                                  TL_PEOPLE_OPERATOR_MAX, name, "operators", &index, err);
    if (status == TL_OK) *out = (uint32_t)index;
    return status;
}

tl_status tl_study_class(tl_study_gathering *g, const char *name, uint8_t *out, tl_error *err)
{
    size_t index, count = g->study->classes;
    tl_status status =
        name_index(g->study->class_names, &count, TL_CLASS_COUNT_MAX, name, "classes", &index, err);
    g->study->classes = (uint32_t)count;
    if (status == TL_OK) *out = (uint8_t)index;
    return status;
}

tl_status tl_study_add(tl_study_gathering *g, tl_study_call call, tl_error *err)
{
    if (call.trial >= TL_PEOPLE_TRIAL_MAX)
        return tl_fail(err, TL_ELIMIT, "more than %d trials of an operator on a part",
                       TL_PEOPLE_TRIAL_MAX);
    if (g->call_count == g->call_capacity) {
        size_t wider = g->call_capacity == 0 ? 1024 : 2 * g->call_capacity;
        tl_study_call *grown =
            wider > CALL_COUNT_MAX ? NULL : realloc(g->calls, wider * sizeof *grown);
        if (grown == NULL) return tl_fail(err, TL_ENOMEM, "calls of a study");
        g->calls = grown;
        g->call_capacity = wider;
    }
    g->calls[g->call_count++] = call;
    if (call.trial >= g->study->trials) g->study->trials = call.trial + 1;
    return TL_OK;
}

uint32_t tl_study_trials_of(const tl_study_gathering *g, uint32_t part, uint32_t operator_index)
{
    uint32_t count = 0;
    for (size_t i = 0; i < g->call_count; i++)
        count += g->calls[i].part == part && g->calls[i].operator_index == operator_index;
    return count;
}

static tl_status fill(tl_study_gathering *g, tl_error *err)
{
    tl_study *s = g->study;
    s->parts = g->part_count;
    size_t cells = s->parts * s->operators * s->trials;
    s->calls = malloc(cells + 1);
    if (s->calls == NULL) return tl_fail(err, TL_ENOMEM, "calls of a study");
    memset(s->calls, TL_PEOPLE_NOTHING, cells + 1);
    for (size_t i = 0; i < g->call_count; i++) {
        const tl_study_call *c = &g->calls[i];
        uint8_t *cell =
            &s->calls[((size_t)c->part * s->operators + c->operator_index) * s->trials + c->trial];
        if (*cell != TL_PEOPLE_NOTHING)
            return tl_fail(err, TL_EINVAL, "trial %u of \"%.40s\" on one part is there twice",
                           c->trial + 1, s->operator_names[c->operator_index]);
        *cell = c->verdict;
    }
    s->calls_made = g->call_count;
    s->known = g->known;
    g->known = NULL;
    return TL_OK;
}

tl_status tl_study_gather_end(tl_study_gathering *g, tl_status status, tl_error *err)
{
    if (status == TL_OK) status = fill(g, err);
    if (status != TL_OK) tl_study_free(g->study);
    free(g->known);
    free(g->calls);
    return status;
}

void tl_study_free(tl_study *study)
{
    free(study->known);
    free(study->calls);
    *study = (tl_study){ 0 };
}

tl_status tl_study_judge(const tl_study *study, tl_people_result **out, tl_error *err)
{
    const tl_people_study wanted = { .parts = study->parts,
                                     .operators = study->operators,
                                     .trials = study->trials,
                                     .classes = study->classes < 2 ? 2 : study->classes,
                                     .known = study->known,
                                     .calls = study->calls,
                                     .confidence = 0.95 };
    tl_people_result *result = malloc(sizeof *result);
    if (result == NULL) return tl_fail(err, TL_ENOMEM, "a study's result");
    tl_status status = tl_people_judge(&wanted, result, err);
    if (status == TL_OK)
        *out = result;
    else
        free(result);
    return status;
}
