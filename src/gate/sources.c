#include "gate/sources.h"

#include <math.h>

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
