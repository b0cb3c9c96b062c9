/* corrected.h - the figures of a report, corrected for what operators get wrong. Layer: cli. */
#ifndef TL_CLI_CORRECTED_H
#define TL_CLI_CORRECTED_H

#include "format/json.h"
#include "review/people/people.h"

/* Each with a 90 % interval: 95 % of the report, 95 % of the study (people.h). */
typedef struct tl_corrected {
    tl_people_share found, passed; /* of the study: defects found, good ones passed */
    tl_people_corrected escapes, precision, prevalence, recall;
} tl_corrected;

/* Of the report's JSON and the study in the table at `path` (cli/quality/study.h). */
tl_status tl_corrected_read(const tl_json *report, const char *path, const char *good,
                            tl_corrected *out, tl_error *err);
void tl_corrected_write(tl_json_writer *w, const tl_corrected *corrected);
void tl_corrected_print(tl_text *out, const tl_corrected *corrected);

#endif
