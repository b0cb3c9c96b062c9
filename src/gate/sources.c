#include "gate/sources.h"

#include <math.h>
#include <string.h>

enum { VERSION = 1 };
static const double ROUNDING = 1e-9; /* of sums of weights that are meant to be equal */

void tl_sources_init(tl_sources *sources)
{
    sources->count = 0;
    sources->total = sources->first = 0;
}

static uint32_t find(const tl_sources *sources, uint64_t source)
{
    uint32_t at = 0;
    while (at < sources->count && sources->source[at] != source) at++;
    return at;
}

static bool within(const tl_sources *sources, uint32_t at, double weight, double hostile)
{
    if (at == TL_SOURCES_MAX) return false;
    double first = sources->first > 0 ? sources->first : weight;
    double given = (at < sources->count ? sources->given[at] : 0) + weight;
    double cap = hostile * (sources->total + weight) + (1 - hostile) * first;
    return given <= cap * (1 + ROUNDING);
}

bool tl_sources_has_room(const tl_sources *sources, uint64_t source, double weight, double hostile)
{
    return within(sources, find(sources, source), weight, hostile);
}

bool tl_sources_take(tl_sources *sources, uint64_t source, double weight, double hostile)
{
    uint32_t at = find(sources, source);
    if (!within(sources, at, weight, hostile)) return false;
    if (at == sources->count) {
        sources->source[at] = source;
        sources->given[at] = 0;
        sources->count++;
    }
    if (sources->first == 0) sources->first = weight;
    sources->given[at] += weight;
    sources->total += weight;
    return true;
}

void tl_sources_give_back(tl_sources *sources, uint64_t source, double weight)
{
    uint32_t at = find(sources, source);
    if (at == sources->count) return;
    sources->given[at] = fmax(0, sources->given[at] - weight);
    sources->total = fmax(0, sources->total - weight);
}

void tl_sources_save(const tl_sources *sources, tl_blob *blob)
{
    size_t section = tl_blob_section_begin(blob, "SRCS", VERSION);
    tl_blob_f64(blob, sources->total);
    tl_blob_f64(blob, sources->first);
    tl_blob_u32(blob, sources->count);
    for (uint32_t i = 0; i < sources->count; i++) {
        tl_blob_u64(blob, sources->source[i]);
        tl_blob_f64(blob, sources->given[i]);
    }
    tl_blob_section_end(blob, section);
}

static bool fine(double value)
{
    return isfinite(value) && value >= 0;
}

tl_status tl_sources_load(tl_sources *sources, tl_blob_reader *reader, tl_error *err)
{
    tl_blob_reader body;
    tl_status status = tl_blob_read_section(reader, "SRCS", VERSION, &body, NULL, err);
    if (status != TL_OK) return status;
    sources->total = tl_blob_read_f64(&body);
    sources->first = tl_blob_read_f64(&body);
    sources->count = tl_blob_read_u32(&body);
    bool sound = fine(sources->total) && fine(sources->first) && sources->count <= TL_SOURCES_MAX;
    for (uint32_t i = 0; sound && i < sources->count; i++) {
        sources->source[i] = tl_blob_read_u64(&body);
        sources->given[i] = tl_blob_read_f64(&body);
        sound = fine(sources->given[i]);
    }
    if (!sound) return tl_fail(err, TL_ECORRUPT, "saved sources are out of range");
    return tl_blob_read_end(&body, "sources", err);
}

/* ---- Doubt ----------------------------------------------------------------------------------- */

void tl_doubt_init(tl_doubt *doubt)
{
    doubt->count = 0;
}

void tl_doubt_add(tl_doubt *doubt, uint64_t source, double payoff, double payoff_without)
{
    uint32_t at = 0;
    while (at < doubt->count && doubt->source[at] != source) at++;
    TL_ASSERT(at < TL_SOURCES_MAX);
    double *log_wealth = doubt->log_wealth[at];
    if (at == doubt->count) {
        doubt->count++;
        doubt->source[at] = source;
        for (unsigned j = 0; j < TL_BETTOR_STAKES; j++) log_wealth[j] = 0;
    }
    const double *stakes = tl_bettor_stakes();
    for (unsigned j = 0; j < TL_BETTOR_STAKES; j++)
        log_wealth[j] += log((1 + stakes[j] * payoff) / (1 + stakes[j] * payoff_without));
}

static double mean_wealth(const double *log_wealth)
{
    double top = log_wealth[0], sum = 0;
    for (unsigned j = 1; j < TL_BETTOR_STAKES; j++) top = fmax(top, log_wealth[j]);
    for (unsigned j = 0; j < TL_BETTOR_STAKES; j++) sum += exp(log_wealth[j] - top);
    return top + log(sum / TL_BETTOR_STAKES);
}

double tl_doubt_log_e(const tl_doubt *doubt, const tl_bettor *bettor,
                      double log_wealth[TL_BETTOR_STAKES])
{
    double all[TL_BETTOR_STAKES], least = tl_bettor_log_e(bettor);
    for (unsigned j = 0; j < TL_BETTOR_STAKES; j++) all[j] = tl_bettor_log_wealth(bettor, j);
    if (log_wealth != NULL) memcpy(log_wealth, all, sizeof all);
    for (uint32_t at = 0; at < doubt->count; at++) {
        double without[TL_BETTOR_STAKES];
        for (unsigned j = 0; j < TL_BETTOR_STAKES; j++)
            without[j] = all[j] - doubt->log_wealth[at][j];
        double log_e = mean_wealth(without);
        if (log_e >= least) continue;
        least = log_e;
        if (log_wealth != NULL) memcpy(log_wealth, without, sizeof without);
    }
    return least;
}

void tl_doubt_save(const tl_doubt *doubt, tl_blob *blob)
{
    size_t section = tl_blob_section_begin(blob, "DOUB", VERSION);
    tl_blob_u32(blob, doubt->count);
    for (uint32_t at = 0; at < doubt->count; at++) {
        tl_blob_u64(blob, doubt->source[at]);
        for (unsigned j = 0; j < TL_BETTOR_STAKES; j++) tl_blob_f64(blob, doubt->log_wealth[at][j]);
    }
    tl_blob_section_end(blob, section);
}

tl_status tl_doubt_load(tl_doubt *doubt, tl_blob_reader *reader, tl_error *err)
{
    tl_blob_reader body;
    tl_status status = tl_blob_read_section(reader, "DOUB", VERSION, &body, NULL, err);
    if (status != TL_OK) return status;
    doubt->count = tl_blob_read_u32(&body);
    bool sound = doubt->count <= TL_SOURCES_MAX;
    for (uint32_t at = 0; sound && at < doubt->count; at++) {
        doubt->source[at] = tl_blob_read_u64(&body);
        for (unsigned j = 0; j < TL_BETTOR_STAKES; j++) {
            doubt->log_wealth[at][j] = tl_blob_read_f64(&body);
            sound = sound && fine(doubt->log_wealth[at][j]);
        }
    }
    if (!sound) return tl_fail(err, TL_ECORRUPT, "saved doubt about sources is out of range");
    return tl_blob_read_end(&body, "doubt about sources", err);
}
