/* What people see of the gate: standings, what it did, times to improvement. */
#include "loop/core/internal.h"

#include "stats/survival.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *role_of(unsigned watch)
{
    if (watch & TL_GATE_BETTER) return "challenger";
    return watch & TL_GATE_GAIN ? "baseline" : "guard";
}

static void describe_standing(const tl_shadow *shadow, const tl_gate_standing *s, tl_standing *out)
{
    bool challenges = (shadow->watch & TL_GATE_BETTER) != 0;
    *out = (tl_standing){ .version = shadow->version,
                          .role = role_of(shadow->watch),
                          .since_us = shadow->since_us,
                          .number = s->number,
                          .alpha = s->alpha,
                          .log_e = challenges ? s->log_e_better : s->log_e_gain,
                          .log_needed = s->log_threshold,
                          .log_harm = s->log_harm,
                          .log_harm_needed =
                              shadow->watch & TL_GATE_HARM ? s->log_harm_threshold : 0.0,
                          .units = s->counts.units,
                          .items = s->counts.items,
                          .disagreements = s->counts.disagreements,
                          .wins = s->counts.wins,
                          .losses = s->counts.losses,
                          .timeouts = s->counts.timeouts,
                          .gain = s->gain,
                          .gain_low = s->gain_low,
                          .gain_high = s->gain_high,
                          .needed = s->needed,
                          .blocked_by_site = s->blocked_by_site };
    snprintf(out->words, sizeof out->words, "%s", s->words);
}

size_t tl_core_standings(tl_core *core, tl_standing *out, size_t capacity)
{
    size_t count = 0;
    for (size_t i = 0; i < core->shadow_count && count < capacity; i++) {
        tl_gate_standing standing;
        if (!tl_gate_describe(core->gate, core->shadows[i].key, &standing)) continue;
        describe_standing(&core->shadows[i], &standing, &out[count++]);
    }
    return count;
}

size_t tl_core_gate_events(const tl_core *core, tl_gate_event *out, size_t capacity)
{
    static const char *const KINDS[] = {
        [TL_NOTE_BASELINE] = "baseline",     [TL_NOTE_CHALLENGE] = "challenge",
        [TL_NOTE_WAITS] = "waits",           [TL_NOTE_SET_ASIDE] = "set_aside",
        [TL_NOTE_PROMOTED] = "promoted",     [TL_NOTE_CERTIFIED] = "certified",
        [TL_NOTE_TAKEN_BACK] = "taken_back", [TL_NOTE_ALARM] = "alarm",
        [TL_NOTE_DRIFT] = "drift",           [TL_NOTE_DISTRUSTED] = "distrusted",
        [TL_NOTE_TRUSTED] = "trusted"
    };
    _Static_assert(TL_COUNT_OF(KINDS) == TL_NOTE_KIND_COUNT, "a name for each kind");
    size_t count = 0;
    for (size_t i = core->note_count; i-- > 0 && count < capacity; count++) {
        const tl_gate_note *note = &core->notes[i];
        out[count] = (tl_gate_event){ .kind = KINDS[note->kind],
                                      .position = note->position,
                                      .version = note->version,
                                      .time_us = note->time_us };
        snprintf(out[count].words, sizeof out[count].words, "%s", note->words);
    }
    return count;
}

size_t tl_core_ttis(const tl_core *core, tl_tti out[TL_TTI_LIMIT])
{
    size_t count = core->tti_count;
    memcpy(out, core->tti, count * sizeof *out);
    for (size_t i = 0; i < core->shadow_count; i++) {
        const tl_shadow *shadow = &core->shadows[i];
        if ((shadow->watch & TL_GATE_GAIN) == 0) continue;
        out[count++] =
            (tl_tti){ .seconds = fmax(0.0, (double)(core->now_us - shadow->since_us) / 1e6),
                      .labels = core->label_events - shadow->since_labels };
    }
    return count;
}

static tl_median median_of(const tl_tti *ttis, size_t count, bool by_labels)
{
    tl_duration d[TL_TTI_LIMIT];
    for (size_t i = 0; i < count; i++)
        d[i] =
            (tl_duration){ by_labels ? (double)ttis[i].labels : ttis[i].seconds, ttis[i].proven };
    return tl_survival_median(d, count, 0.95);
}

void tl_tti_describe(const tl_tti *ttis, size_t count, tl_loop_state *out)
{
    tl_median seconds = median_of(ttis, count, false), labels = median_of(ttis, count, true);
    out->tti_seconds_p50 = seconds.value;
    out->tti_seconds_low = seconds.low;
    out->tti_seconds_high = seconds.high;
    out->tti_labels_p50 = labels.value;
    out->tti_labels_low = labels.low;
    out->tti_labels_high = labels.high;
    out->tti_proven = seconds.ended;
    out->tti_censored = seconds.censored;
}
