#include "review/labels/suspects.h"

#include "stats/interval.h"

#include <math.h>
#include <stdio.h>

static const double HORIZON = 1000.0; /* labels of a class */

void tl_suspects_init(tl_suspects *suspects, uint32_t classes)
{
    TL_ASSERT(classes >= 2);
    TL_ASSERT(classes <= TL_SUSPECTS_CLASS_MAX);
    *suspects = (tl_suspects){ .classes = classes };
}

static tl_suspicion suspect(const tl_suspects *s, const float *probabilities, uint32_t label)
{
    tl_suspicion none = { 0 };
    if (s->labels[label] < TL_SUSPECTS_LABELS_MIN) return none;
    bool any = false;
    uint32_t likely = label;
    for (uint32_t k = 0; k < s->classes; k++) {
        if (s->labels[k] < TL_SUSPECTS_LABELS_MIN) continue;
        if (!((double)probabilities[k] >= s->mean[k])) continue; /* also: not a number */
        if (!any || probabilities[k] > probabilities[likely]) likely = k;
        any = true;
    }
    if (likely == label) return none;
    return (tl_suspicion){ true, likely,
                           (double)probabilities[likely] - (double)probabilities[label] };
}

tl_suspicion tl_suspects_see(tl_suspects *s, const float *probabilities, uint32_t label)
{
    TL_ASSERT(label < s->classes);
    tl_suspicion out = suspect(s, probabilities, label);
    s->seen++;
    s->suspicious += out.suspicious;
    double p = (double)probabilities[label];
    if (p >= 0.0 && p <= 1.0) {
        s->labels[label]++;
        s->mean[label] += (p - s->mean[label]) / fmin((double)s->labels[label], HORIZON);
    }
    return out;
}

void tl_suspects_answer(tl_suspects *s, bool changed)
{
    s->asked_again++;
    s->changed += changed;
}

void tl_suspects_words(const tl_suspects *s, char words[TL_SUSPECTS_WORDS_BYTES])
{
    int at = snprintf(words, TL_SUSPECTS_WORDS_BYTES, "%llu of %llu labels looked wrong",
                      (unsigned long long)s->suspicious, (unsigned long long)s->seen);
    if (s->asked_again == 0) return;
    tl_interval in = tl_interval_wilson(s->changed, s->asked_again, 0.95);
    snprintf(words + at, TL_SUSPECTS_WORDS_BYTES - (size_t)at,
             "; of %llu asked again %llu were changed [%.0f-%.0f %%]",
             (unsigned long long)s->asked_again, (unsigned long long)s->changed, 100.0 * in.low,
             100.0 * in.high);
}

enum { SUSPECTS_VERSION = 1 };

void tl_suspects_save(const tl_suspects *s, tl_blob *blob)
{
    size_t section = tl_blob_section_begin(blob, "SUSP", SUSPECTS_VERSION);
    tl_blob_u32(blob, s->classes);
    for (uint32_t k = 0; k < s->classes; k++) {
        tl_blob_u64(blob, s->labels[k]);
        tl_blob_f64(blob, s->mean[k]);
    }
    const uint64_t counts[] = { s->seen, s->suspicious, s->asked_again, s->changed };
    tl_blob_u64s(blob, counts, TL_COUNT_OF(counts));
    tl_blob_section_end(blob, section);
}

static bool load_state(tl_blob_reader *body, tl_suspects *s)
{
    s->classes = tl_blob_read_u32(body);
    if (s->classes < 2 || s->classes > TL_SUSPECTS_CLASS_MAX) return false;
    for (uint32_t k = 0; k < s->classes; k++) {
        s->labels[k] = tl_blob_read_u64(body);
        s->mean[k] = tl_blob_read_f64(body);
        if (!(s->mean[k] >= 0.0 && s->mean[k] <= 1.0)) return false;
    }
    s->seen = tl_blob_read_u64(body);
    s->suspicious = tl_blob_read_u64(body);
    s->asked_again = tl_blob_read_u64(body);
    s->changed = tl_blob_read_u64(body);
    return s->suspicious <= s->seen && s->changed <= s->asked_again;
}

tl_status tl_suspects_load(tl_blob_reader *reader, tl_suspects *out, tl_error *err)
{
    tl_blob_reader body;
    tl_status status = tl_blob_read_section(reader, "SUSP", SUSPECTS_VERSION, &body, NULL, err);
    if (status != TL_OK) return status;
    tl_suspects loaded = { 0 };
    if (!load_state(&body, &loaded))
        return tl_fail(err, TL_ECORRUPT, "the state of suspicious labels is damaged");
    status = tl_blob_read_end(&body, "suspicious labels", err);
    if (status == TL_OK) *out = loaded;
    return status;
}
