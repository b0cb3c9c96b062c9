#include "review/labels/trust.h"

#include <math.h>

enum { VERSION = 1 };
static const double KEPT = 1.0 - 1.0 / 100; /* of a place with each label at its site */
static const double M_MOST = 0.95;          /* beyond, contradicting is what everybody does */
static const double RUN_LENGTH = 10000;

void tl_trust_init(tl_trust *trust)
{
    trust->source_count = trust->place_count = 0;
}

static const tl_trust_source *find(const tl_trust *trust, uint64_t source)
{
    for (uint32_t i = 0; i < trust->source_count; i++)
        if (trust->source[i].source == source) return &trust->source[i];
    return NULL;
}

bool tl_trust_has(const tl_trust *trust, uint64_t source)
{
    const tl_trust_source *known = find(trust, source);
    return known == NULL || !known->lost;
}

/* NULL: there are too many. */
static tl_trust_source *source_of(tl_trust *trust, uint64_t source)
{
    tl_trust_source *known = (tl_trust_source *)find(trust, source);
    if (known != NULL || trust->source_count == TL_TRUST_SOURCE_MAX) return known;
    known = &trust->source[trust->source_count++];
    *known = (tl_trust_source){ .source = source };
    tl_detector_init_mean(&known->detector);
    return known;
}

static void count_at_site(tl_trust *trust, uint64_t site, uint64_t source, bool contradicts)
{
    tl_trust_place *place = NULL;
    for (uint32_t i = 0; i < trust->place_count; i++) {
        tl_trust_place *p = &trust->place[i];
        if (p->site != site) continue;
        p->labels *= KEPT;
        p->contradicted *= KEPT;
        if (p->source == source) place = p;
    }
    if (place == NULL) {
        if (trust->place_count == TL_TRUST_PLACE_MAX) return;
        place = &trust->place[trust->place_count++];
        *place = (tl_trust_place){ .site = site, .source = source };
    }
    place->labels++;
    place->contradicted += contradicts;
}

/* Labels and contradictions at a site of all who are trusted, but for one. */
static void add_others(const tl_trust *trust, uint64_t site, uint64_t but, double *labels,
                       double *contradicted)
{
    for (uint32_t i = 0; i < trust->place_count; i++) {
        const tl_trust_place *p = &trust->place[i];
        if (p->site != site || p->source == but || !tl_trust_has(trust, p->source)) continue;
        *labels += p->labels;
        *contradicted += p->contradicted;
    }
}

/* Whether the detector goes off with this label. */
static bool detect(tl_trust_source *source, double labels, double contradicted, bool contradicts)
{
    double x = contradicts ? 1 : 0;
    if (source->lost) {
        tl_detector_step(&source->detector, 1 - 2 * x, 1);
    } else {
        double m = fmax(0.4, 2 * (contradicted + 1) / (labels + 2) + 0.05);
        if (m > M_MOST) return false;
        tl_detector_step(&source->detector, (x - m) / m, 1);
    }
    return tl_detector_value(&source->detector) >= RUN_LENGTH;
}

tl_trust_turn tl_trust_see(tl_trust *trust, uint64_t site, uint64_t source, bool contradicts)
{
    tl_trust_source *known = source_of(trust, source);
    if (known == NULL) return TL_TRUST_STAYS;
    double labels = 0, contradicted = 0;
    add_others(trust, site, source, &labels, &contradicted);
    count_at_site(trust, site, source, contradicts);
    known->labels++;
    known->contradicted += contradicts;
    if (labels < TL_TRUST_OTHERS_MIN || !detect(known, labels, contradicted, contradicts))
        return TL_TRUST_STAYS;
    known->lost = !known->lost;
    tl_detector_restart(&known->detector);
    return known->lost ? TL_TRUST_LOST : TL_TRUST_REGAINED;
}

bool tl_trust_read(const tl_trust *trust, uint64_t source, tl_trust_reading *out)
{
    const tl_trust_source *known = find(trust, source);
    if (known == NULL) return false;
    double labels = 0, contradicted = 0;
    for (uint32_t i = 0; i < trust->place_count; i++)
        if (trust->place[i].source == source)
            add_others(trust, trust->place[i].site, source, &labels, &contradicted);
    *out = (tl_trust_reading){ .labels = known->labels,
                               .contradicted = known->contradicted,
                               .others = contradicted / labels };
    return true;
}

void tl_trust_save(const tl_trust *trust, tl_blob *blob)
{
    size_t section = tl_blob_section_begin(blob, "TRUS", VERSION);
    tl_blob_u32(blob, trust->source_count);
    for (uint32_t i = 0; i < trust->source_count; i++) {
        const tl_trust_source *s = &trust->source[i];
        const uint64_t numbers[] = { s->source, s->lost, s->labels, s->contradicted };
        tl_blob_u64s(blob, numbers, TL_COUNT_OF(numbers));
        tl_detector_save(&s->detector, blob);
    }
    tl_blob_u32(blob, trust->place_count);
    for (uint32_t i = 0; i < trust->place_count; i++) {
        const tl_trust_place *p = &trust->place[i];
        tl_blob_u64(blob, p->site);
        tl_blob_u64(blob, p->source);
        tl_blob_f64(blob, p->labels);
        tl_blob_f64(blob, p->contradicted);
    }
    tl_blob_section_end(blob, section);
}

static tl_status load_sources(tl_trust *trust, tl_blob_reader *body, tl_error *err)
{
    uint32_t count = tl_blob_read_u32(body);
    if (count > TL_TRUST_SOURCE_MAX)
        return tl_fail(err, TL_ECORRUPT, "saved trust has %u sources", count);
    for (trust->source_count = 0; trust->source_count < count; trust->source_count++) {
        tl_trust_source *s = &trust->source[trust->source_count];
        s->source = tl_blob_read_u64(body);
        s->lost = tl_blob_read_u64(body) != 0;
        s->labels = tl_blob_read_u64(body);
        s->contradicted = tl_blob_read_u64(body);
        tl_status status = tl_detector_load(&s->detector, body, err);
        if (status != TL_OK) return status;
    }
    return TL_OK;
}

tl_status tl_trust_load(tl_trust *trust, tl_blob_reader *reader, tl_error *err)
{
    tl_blob_reader body;
    tl_status status = tl_blob_read_section(reader, "TRUS", VERSION, &body, NULL, err);
    if (status == TL_OK) status = load_sources(trust, &body, err);
    if (status != TL_OK) return status;
    trust->place_count = tl_blob_read_u32(&body);
    bool sound = trust->place_count <= TL_TRUST_PLACE_MAX;
    for (uint32_t i = 0; sound && i < trust->place_count; i++) {
        tl_trust_place *p = &trust->place[i];
        p->site = tl_blob_read_u64(&body);
        p->source = tl_blob_read_u64(&body);
        p->labels = tl_blob_read_f64(&body);
        p->contradicted = tl_blob_read_f64(&body);
        sound = p->labels >= 0 && p->contradicted >= 0 && p->labels < 1e9 &&
                p->contradicted <= p->labels + 1e-9;
    }
    if (!sound) return tl_fail(err, TL_ECORRUPT, "saved trust is out of range");
    return tl_blob_read_end(&body, "trust in sources", err);
}
