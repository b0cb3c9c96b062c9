/* sources.h - how much of the evidence each source of labels has given, and the cap on it.
 * Layer: gate, inside it. Pure; one owner thread.
 *
 * One source may be hostile: its labels say what helps a version, whatever is true. Labels count
 * with weight w = 1/propensity. A label counts only while, with it, its source has given at most
 *   W_s <= e W + (1 - e) w_1
 * of all weight W, e the policy's `hostile`, w_1 the weight of the first label of all (which is
 * therefore taken; with equal weights this is n_s <= ceil(e n)).
 *
 * Why that is enough. A hostile label changes a loss difference by at most c = cost_miss +
 * cost_false_alarm. Each label is charged a margin of e c w, so the bet of unit u has
 *   E[payoff | past] <= c (H_u - e W_u) / B_u
 * under the null, H_u the hostile weight in it, W_u all of it, B_u its bound, never falling. Hence
 * E[1 + lambda payoff | past] <= exp(lambda c (H_u - e W_u) / B_u), and the wealth divided by the
 * product of these is a supermartingale: Ville holds for it. The product is at most
 * exp(lambda c (1-e) w_1 / B_1), since the partial sums of H - e W are at most (1-e) w_1 by the cap and
 * the 1/B_u do not rise (summation by parts); B_1 >= w_1 times the worst loss of one label. That much
 * is paid in advance, once, stake by stake (tl_bettor_init_charged).
 *
 * Conditions: whether a source answers what it was asked does not depend on the answer (reviews are
 * assigned at random, and what it leaves open counts against the version), and it is one source.
 * With weights that vary by propensity, shares hold on average over the draws. */
#ifndef TL_GATE_SOURCES_H
#define TL_GATE_SOURCES_H

#include "base/blob.h"

enum { TL_SOURCES_MAX = 256 }; /* labels of further ones are not taken */

typedef struct tl_sources {
    uint32_t count;
    uint64_t source[TL_SOURCES_MAX];
    double given[TL_SOURCES_MAX];
    double total, first;
} tl_sources;

void tl_sources_init(tl_sources *sources);
/* Whether a label of weight w would be within the cap; hostile in (0, 1). */
bool tl_sources_has_room(const tl_sources *sources, uint64_t source, double weight, double hostile);
/* The same, and if so count it. */
bool tl_sources_take(tl_sources *sources, uint64_t source, double weight, double hostile);
/* A label that was taken is withdrawn. */
void tl_sources_give_back(tl_sources *sources, uint64_t source, double weight);

void tl_sources_save(const tl_sources *sources, tl_blob *blob);
tl_status tl_sources_load(tl_sources *sources, tl_blob_reader *reader, tl_error *err);

#endif
