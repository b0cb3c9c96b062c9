/* study_internal.h - calls as they come, gathered before it is known how many there are. */
#ifndef TL_CLI_STUDY_INTERNAL_H
#define TL_CLI_STUDY_INTERNAL_H

#include "cli/quality/study.h"

typedef struct tl_study_call {
    uint32_t part, operator_index, trial; /* trial from 0 */
    uint8_t verdict;
} tl_study_call;

typedef struct tl_study_gathering {
    tl_study *study;     /* names, as far as they came */
    uint8_t *known;      /* [TL_PEOPLE_PART_MAX]; the study's in the end */
    uint32_t part_count; /* noted by the reader */
    tl_study_call *calls;
    size_t call_count, call_capacity;
} tl_study_gathering;

tl_status tl_study_gather_begin(tl_study_gathering *g, tl_study *study, tl_error *err);
/* The index of a name, added when it is new. TL_ELIMIT: too many; TL_EINVAL: no name. */
tl_status tl_study_operator(tl_study_gathering *g, const char *name, uint32_t *out, tl_error *err);
tl_status tl_study_class(tl_study_gathering *g, const char *name, uint8_t *out, tl_error *err);
tl_status tl_study_add(tl_study_gathering *g, tl_study_call call, tl_error *err);
/* How often the operator has judged the part so far. */
uint32_t tl_study_trials_of(const tl_study_gathering *g, uint32_t part, uint32_t operator_index);
/* Everything into the study, or nothing. TL_EINVAL: one trial came twice. */
tl_status tl_study_gather_end(tl_study_gathering *g, tl_status status, tl_error *err);

#endif
