#include "stats/detector.h"

#include <math.h>

#include "stats/bettor.h"

enum { VERSION = 1 };

static const double RATIOS[] = { 1.5, 2, 3, 5, 10 };
/* Far beyond every threshold; keeps an unwatched detector finite. */
static const double M_MAX = 1e200;

_Static_assert((int)TL_BETTOR_STAKES <= (int)TL_DETECTOR_STAKES_MAX, "room for the bettor's");

void tl_detector_restart(tl_detector *detector)
{
    for (unsigned j = 0; j < TL_DETECTOR_STAKES_MAX; j++) detector->m[j] = 0;
    detector->steps = 0;
}

void tl_detector_init_mean(tl_detector *detector)
{
    *detector = (tl_detector){ .count = TL_BETTOR_STAKES };
    const double *stakes = tl_bettor_stakes();
    for (unsigned j = 0; j < TL_BETTOR_STAKES; j++) detector->stake[j] = stakes[j];
}

void tl_detector_init_rate(tl_detector *detector, double rate)
{
    TL_ASSERT(rate > 0);
    TL_ASSERT(rate <= 0.5);
    *detector = (tl_detector){ .count = TL_COUNT_OF(RATIOS), .centre = rate };
    for (unsigned j = 0; j < detector->count; j++) {
        double p = fmin(RATIOS[j] * rate, (1 + rate) / 2);
        detector->stake[j] = (p - rate) / (rate * (1 - rate));
    }
}

void tl_detector_step(tl_detector *detector, double x, double scale)
{
    double payoff = x - detector->centre;
    TL_ASSERT(scale > 0);
    TL_ASSERT(scale <= 1);
    TL_ASSERT(payoff >= (detector->centre > 0 ? -detector->centre : -1) - 1e-9);
    for (unsigned j = 0; j < detector->count; j++) {
        double m = (1 + detector->m[j]) * (1 + detector->stake[j] * scale * payoff);
        detector->m[j] = m < M_MAX ? m : M_MAX;
    }
    detector->steps++;
}

double tl_detector_value(const tl_detector *detector)
{
    double sum = 0;
    for (unsigned j = 0; j < detector->count; j++) sum += detector->m[j];
    return sum / detector->count;
}

void tl_detector_save(const tl_detector *detector, tl_blob *blob)
{
    size_t section = tl_blob_section_begin(blob, "DETE", VERSION);
    tl_blob_f64(blob, detector->centre);
    tl_blob_u32(blob, detector->count);
    for (unsigned j = 0; j < detector->count; j++) tl_blob_f64(blob, detector->m[j]);
    tl_blob_u64(blob, detector->steps);
    tl_blob_section_end(blob, section);
}

tl_status tl_detector_load(tl_detector *detector, tl_blob_reader *reader, tl_error *err)
{
    tl_blob_reader body;
    tl_status status = tl_blob_read_section(reader, "DETE", VERSION, &body, NULL, err);
    if (status != TL_OK) return status;
    tl_detector loaded;
    tl_detector_init_mean(&loaded);
    double centre = tl_blob_read_f64(&body);
    uint32_t count = tl_blob_read_u32(&body);
    bool fine = centre >= 0 && centre <= 0.5;
    if (fine && centre > 0) tl_detector_init_rate(&loaded, centre);
    fine = fine && count == loaded.count;
    for (unsigned j = 0; j < loaded.count; j++) {
        loaded.m[j] = tl_blob_read_f64(&body);
        fine = fine && loaded.m[j] >= 0 && loaded.m[j] <= M_MAX;
    }
    loaded.steps = tl_blob_read_u64(&body);
    if (!fine) return tl_fail(err, TL_ECORRUPT, "saved detector is out of range");
    status = tl_blob_read_end(&body, "detector", err);
    if (status == TL_OK) *detector = loaded;
    return status;
}
