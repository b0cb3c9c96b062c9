/* detector.h - says that something has changed for the worse, with a stated run length between
 * false alarms. Layer: stats. Pure; one owner thread per state.
 *
 * An e-Shiryaev-Roberts detector: M_j <- (1 + M_j) L_j for each of some stakes lambda_j, with
 * L_j = 1 + lambda_j (x - centre), E[L_j | past] <= 1 while nothing has changed; alarm as soon as
 * the mean of the M_j is at least A. Then the mean number of observations until a false alarm is at
 * least A: mean(M) - t is a supermartingale (optional stopping), without any model of the x.
 * That is a mean, not a chance: over long times a false alarm will come.
 * Reference: Shin, Ramdas & Rinaldo 2023, E-detectors (New England J. Stat. Data Sci. 2).
 *
 * Condition: as for the bettor, the mean holds given the past; errors of one cause are one
 * observation. A may follow what is known before each observation; the run length is then at least
 * the mean of A at the alarm. */
#ifndef TL_STATS_DETECTOR_H
#define TL_STATS_DETECTOR_H

#include "base/blob.h"

enum { TL_DETECTOR_STAKES_MAX = 16 };

typedef struct tl_detector {
    uint32_t count; /* stakes in use */
    double centre;
    double stake[TL_DETECTOR_STAKES_MAX];
    double m[TL_DETECTOR_STAKES_MAX];
    uint64_t steps; /* since it was started or restarted */
} tl_detector;

/* For payoffs x >= -1 whose mean is at most 0 as long as nothing has changed: L = 1 + lambda x, with
 * the stakes of the bettor. */
void tl_detector_init_mean(tl_detector *detector);
/* For x in 0..1 (an error, or a unit's mean of errors) with mean at most `rate` in 0..0.5: the
 * likelihood ratios (p/rate)^x ((1-p)/(1-rate))^(1-x) against p = 1.5, 2, 3, 5, 10 times the rate
 * (at most (1 + rate) / 2), written as 1 + lambda (x - rate), which also holds for means. */
void tl_detector_init_rate(tl_detector *detector, double rate);

/* One observation. `scale` in (0, 1] multiplies every stake, and has to be known before x is: for a
 * rate, x may be weighted, x = error / propensity, with scale the least propensity there can be
 * (L = 1 + lambda scale (x - rate)). x - centre must be at least -1, or -rate (asserted). */
void tl_detector_step(tl_detector *detector, double x, double scale);
/* The mean of the M_j, to be compared with A. */
double tl_detector_value(const tl_detector *detector);
/* As if nothing had been observed. */
void tl_detector_restart(tl_detector *detector);

/* Load: untrusted. Errors: TL_ECORRUPT, TL_EVERSION; *detector is then untouched. */
void tl_detector_save(const tl_detector *detector, tl_blob *blob);
tl_status tl_detector_load(tl_detector *detector, tl_blob_reader *reader, tl_error *err);

#endif
