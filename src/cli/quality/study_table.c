/* study_table.c - a study from a CSV file. */
#include "cli/quality/study_internal.h"
#include "format/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_BYTES_MAX = 256 << 20, FIELD_COUNT_MAX = 32 };
enum { PART, KNOWN, OPERATOR, VERDICT, TRIAL, COLUMN_COUNT };
static const char *const COLUMNS[COLUMN_COUNT] = { "part", "known", "operator", "verdict",
                                                   "trial" };

typedef struct table {
    tl_study_gathering gathering;
    int column[COLUMN_COUNT];              /* -1: not there */
    const char *parts[TL_PEOPLE_PART_MAX]; /* names, in the file's text */
    uint32_t last_part;                    /* lines of a part mostly stand together */
    char *fields[FIELD_COUNT_MAX];
    int field_count;
} table;

static void cut(table *t, char *line)
{
    t->field_count = 0;
    for (char *field = line; field != NULL && t->field_count < FIELD_COUNT_MAX;) {
        char *next = strchr(field, ',');
        if (next != NULL) *next++ = '\0';
        while (*field == ' ') field++;
        size_t bytes = strlen(field);
        while (bytes > 0 && (field[bytes - 1] == ' ' || field[bytes - 1] == '\r'))
            field[--bytes] = '\0';
        t->fields[t->field_count++] = field;
        field = next;
    }
}

static tl_status read_head(table *t, tl_error *err)
{
    for (int c = 0; c < COLUMN_COUNT; c++) {
        t->column[c] = -1;
        for (int i = 0; i < t->field_count; i++)
            if (strcmp(t->fields[i], COLUMNS[c]) == 0) t->column[c] = i;
        if (t->column[c] < 0 && c != TRIAL)
            return tl_fail(err, TL_EINVAL,
                           "no column \"%s\"; the first line names part, known, operator, verdict, "
                           "and trial when calls have numbers",
                           COLUMNS[c]);
    }
    return TL_OK;
}

static tl_status find_part(table *t, const char *name, uint32_t *out, tl_error *err)
{
    uint32_t count = t->gathering.part_count;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = (t->last_part + i) % count;
        if (strcmp(t->parts[at], name) != 0) continue;
        *out = t->last_part = at;
        return TL_OK;
    }
    if (count == TL_PEOPLE_PART_MAX)
        return tl_fail(err, TL_ELIMIT, "more than %d parts", TL_PEOPLE_PART_MAX);
    t->parts[count] = name;
    *out = t->last_part = t->gathering.part_count++;
    return TL_OK;
}

static tl_status read_trial(table *t, tl_study_call *call, tl_error *err)
{
    if (t->column[TRIAL] < 0) {
        call->trial = tl_study_trials_of(&t->gathering, call->part, call->operator_index);
        return TL_OK;
    }
    char *end;
    const char *text = t->fields[t->column[TRIAL]];
    unsigned long trial = strtoul(text, &end, 10);
    if (text[0] < '1' || text[0] > '9' || *end != '\0' || trial > TL_PEOPLE_TRIAL_MAX)
        return tl_fail(err, TL_EINVAL, "a trial is a number from 1 to %d, not \"%.20s\"",
                       TL_PEOPLE_TRIAL_MAX, text);
    call->trial = (uint32_t)trial - 1;
    return TL_OK;
}

static tl_status read_call(table *t, tl_error *err)
{
    tl_study_gathering *g = &t->gathering;
    tl_study_call call = { 0 };
    uint8_t known = 0;
    for (int c = 0; c < COLUMN_COUNT; c++)
        if (t->column[c] >= t->field_count) return tl_fail(err, TL_EINVAL, "too few columns");
    tl_status status = find_part(t, t->fields[t->column[PART]], &call.part, err);
    if (status == TL_OK) status = tl_study_class(g, t->fields[t->column[KNOWN]], &known, err);
    if (status == TL_OK)
        status = tl_study_operator(g, t->fields[t->column[OPERATOR]], &call.operator_index, err);
    if (status == TL_OK)
        status = tl_study_class(g, t->fields[t->column[VERDICT]], &call.verdict, err);
    if (status == TL_OK) status = read_trial(t, &call, err);
    if (status != TL_OK) return status;
    if (g->known[call.part] != TL_PEOPLE_NOTHING && g->known[call.part] != known)
        return tl_fail(err, TL_EINVAL, "part \"%.40s\" was known as another class before",
                       t->parts[call.part]);
    g->known[call.part] = known;
    return tl_study_add(g, call, err);
}

static tl_status read_lines(table *t, char *text, const char *path, tl_error *err)
{
    bool head = true;
    int line = 0;
    for (char *at = text; at != NULL && *at != '\0';) {
        char *next = strchr(at, '\n');
        if (next != NULL) *next++ = '\0';
        line++;
        tl_status status = TL_OK;
        if (at[strspn(at, " \r")] != '\0') {
            if (strchr(at, '"') != NULL) status = tl_fail(err, TL_EINVAL, "quotes are not read");
            cut(t, at);
            if (status == TL_OK) status = head ? read_head(t, err) : read_call(t, err);
            head = false;
        }
        if (status != TL_OK) return tl_fail_context(err, status, "%.120s, line %d", path, line);
        at = next;
    }
    return head ? tl_fail(err, TL_EINVAL, "%.180s is empty", path) : TL_OK;
}

tl_status tl_study_read_table(const char *path, const char *good, tl_study *out, tl_error *err)
{
    void *text;
    size_t bytes;
    uint8_t first;
    tl_status status = tl_file_read(path, FILE_BYTES_MAX, &text, &bytes, err);
    if (status != TL_OK) return status;
    table *t = calloc(1, sizeof *t);
    if (t == NULL) status = tl_fail(err, TL_ENOMEM, "a study");
    if (status == TL_OK) status = tl_study_gather_begin(&t->gathering, out, err);
    if (status == TL_OK) {
        status = tl_study_class(&t->gathering, good, &first, err);
        if (status == TL_OK) status = read_lines(t, text, path, err);
        status = tl_study_gather_end(&t->gathering, status, err);
    }
    free(t);
    free(text);
    return status;
}
