/* words.c - verdicts and standings for the people on the line. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "gate/internal.h"
#include "stats/interval.h"

/* "3,100"; beyond a million million "10^17". */
static const char *grouped(double value, char *text, size_t bytes)
{
    if (!(value < 1e12)) {
        snprintf(text, bytes, "10^%.0f", floor(log10(value)));
        return text;
    }
    char digits[32];
    int length = snprintf(digits, sizeof digits, "%.0f", value);
    size_t at = 0;
    for (int i = 0; i < length && at + 2 < bytes; i++) {
        if (i > 0 && (length - i) % 3 == 0) text[at++] = ',';
        text[at++] = digits[i];
    }
    text[at] = '\0';
    return text;
}

/* Odds in two digits: nobody is helped by more. */
static const char *odds(double log_odds, char *text, size_t bytes)
{
    if (log_odds > log(1e12)) {
        snprintf(text, bytes, "10^%.0f", floor(log_odds / log(10)));
        return text;
    }
    double value = exp(log_odds);
    double unit = value < 10 ? 1 : pow(10, floor(log10(value)) - 1);
    return grouped(round(value / unit) * unit, text, bytes);
}

static const char *units_name(const tl_gate *gate)
{
    static const char *const names[] = { "boards", "lots", "items" };
    return names[gate->policy.unit];
}

static void put(char *words, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(char *words, const char *format, ...)
{
    size_t length = strlen(words);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(words + length, TL_GATE_WORDS_BYTES - length, format, arguments);
    va_end(arguments);
}

static void put_counts(const tl_gate *gate, const tl_gate_counts *counts, const char *who,
                       char *words)
{
    char units[32];
    put(words, "over %llu reviewed disagreements in %s %s %s was right %llu times",
        (unsigned long long)counts->disagreements,
        grouped((double)counts->units, units, sizeof units), units_name(gate), who,
        (unsigned long long)counts->wins);
    if (counts->timeouts > 0)
        put(words, ", %llu unanswered count against it", (unsigned long long)counts->timeouts);
}

static void put_gain(const char *what, double gain, double low, double high, char *words)
{
    bool higher = gain < 0;
    put(words, "; %scost an item %.4f %s [%.4f, %.4f]", what, fabs(gain),
        higher ? "higher" : "lower", higher ? -high : low, higher ? -low : high);
}

static void put_odds(double log_e, double log_threshold, char *words)
{
    char have[32], need[32];
    put(words, "; evidence %s to 1, %s to 1 needed", odds(log_e, have, sizeof have),
        odds(log_threshold, need, sizeof need));
}

static const char *percent(double share, char *text, size_t bytes)
{
    snprintf(text, bytes, "%.2g %%", 100 * share);
    return text;
}

static void alarm_words(const tl_gate *gate, tl_gate_verdict *verdict)
{
    char seen[32], promised[32];
    const tl_gate_counts *counts = &verdict->counts;
    put(verdict->words, "alarm: %llu of %llu reviewed calls were wrong in %llu %s, %s of all calls",
        (unsigned long long)counts->losses, (unsigned long long)counts->disagreements,
        (unsigned long long)counts->units, units_name(gate),
        percent(verdict->gain, seen, sizeof seen));
    put(verdict->words, " (promised: at most %s); without a cause this comes once in %.0f days",
        percent(gate->policy.promised_error, promised, sizeof promised), gate->policy.alarm_days);
}

void tl_gate_verdict_words(const tl_gate *gate, tl_gate_verdict *verdict)
{
    char *words = verdict->words;
    words[0] = '\0';
    if (verdict->kind == TL_GATE_ALARM) {
        alarm_words(gate, verdict);
        return;
    }
    static const char *const heads[] = { "promoted: ", "taken back: ", "improvement proven: " };
    static const char *const who[] = { "it", "the version in shadow", "the frozen version" };
    put(words, "%s", heads[verdict->kind]);
    put_counts(gate, &verdict->counts, who[verdict->kind], words);
    put_gain(verdict->kind == TL_GATE_CERTIFY ? "what answers has a " : "", verdict->gain,
             verdict->gain_low, verdict->gain_high, words);
    put_odds(verdict->log_e, verdict->log_threshold, words);
    if (verdict->kind == TL_GATE_PROMOTE)
        put(words, " of challenger %llu", (unsigned long long)verdict->number);
}

void tl_gate_standing_words(const tl_gate *gate, tl_gate_standing *standing)
{
    char *words = standing->words;
    words[0] = '\0';
    bool gain = !(standing->watch & TL_GATE_BETTER) && (standing->watch & TL_GATE_GAIN);
    if (standing->promoted)
        put(words, "proven better: ");
    else if (standing->certified)
        put(words, "improvement over it proven: ");
    else if (standing->blocked_by_site)
        put(words, "wins overall, loses at one site: ");
    else if (standing->counts.units == 0)
        put(words, "no evidence yet: ");
    else
        put(words, "waiting: ");
    put_counts(gate, &standing->counts, "it", words);
    if (standing->over_cap > 0)
        put(words, ", %llu labels were over their source's share",
            (unsigned long long)standing->over_cap);
    if (standing->counts.items > 0)
        put_gain("", standing->gain, standing->gain_low, standing->gain_high, words);
    if (standing->number == 0 || standing->promoted || standing->certified) return;
    put_odds(gain ? standing->log_e_gain : standing->log_e_better, standing->log_threshold, words);
    if (standing->blocked_by_site) return;
    char count[32];
    if (isnan(standing->needed))
        put(words, "; it does not get ahead at the moment");
    else
        put(words, "; needs about %s more disagreements reviewed",
            grouped(standing->needed, count, sizeof count));
}
