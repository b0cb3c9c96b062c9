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

_Static_assert((int)TL_STANDING_SITE_MAX == (int)TL_GATE_SITE_MAX, "each site is told");

static void put_losing_site(const tl_site_standing *site, bool wins, tl_standing *out)
{
    size_t used = strlen(out->site_words), room = sizeof out->site_words - used;
    const char *head = used > 0 ? ", and" : wins ? "better over all, but" : "";
    int length = snprintf(out->site_words + used, room,
                          "%s%sproven worse at site %s: a cost an item %.4f higher [%.4f, %.4f], "
                          "right in %llu of %llu reviewed disagreements",
                          head, *head == '\0' ? "" : " ", site->name, -site->gain, -site->gain_high,
                          -site->gain_low, (unsigned long long)site->wins,
                          (unsigned long long)site->disagreements);
    if ((size_t)length >= room) out->site_words[used] = '\0'; /* those told are enough */
}

static void describe_sites(const tl_core *core, const tl_gate_standing *s, tl_standing *out)
{
    out->site_count = s->site_count;
    for (size_t i = 0; i < s->site_count; i++) {
        const tl_gate_site_standing *from = &s->site[i];
        out->sites[i] = (tl_site_standing){ .units = from->counts.units,
                                            .items = from->counts.items,
                                            .disagreements = from->counts.disagreements,
                                            .wins = from->counts.wins,
                                            .losses = from->counts.losses,
                                            .timeouts = from->counts.timeouts,
                                            .gain = from->gain,
                                            .gain_low = from->gain_low,
                                            .gain_high = from->gain_high,
                                            .worse = from->worse };
        snprintf(out->sites[i].name, sizeof out->sites[i].name, "%s",
                 tl_core_site_name(core, from->site));
        if (from->worse) put_losing_site(&out->sites[i], s->blocked_by_site, out);
    }
}

static void describe_standing(const tl_core *core, const tl_shadow *shadow,
                              const tl_gate_standing *s, tl_standing *out)
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
    if (challenges) describe_sites(core, s, out);
}

size_t tl_core_standings(tl_core *core, tl_standing *out, size_t capacity)
{
    size_t count = 0;
    for (size_t i = 0; i < core->shadow_count && count < capacity; i++) {
        tl_gate_standing standing;
        if (!tl_gate_describe(core->gate, core->shadows[i].key, &standing)) continue;
        describe_standing(core, &core->shadows[i], &standing, &out[count++]);
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
