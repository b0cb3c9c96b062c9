/* sources.h - one source of labels may be hostile: the cap on each source's share of the evidence,
 * and what the evidence is worth if it lied. Layer: gate, inside it. Pure; one owner thread.
 *
 * The cap. Labels count with weight w = 1/propensity. One counts only while, with it, its source has
 * given at most
 *   W_s <= e W + (1 - e) w_1
 * of all weight W; e is the policy's `hostile`, w_1 the weight of the first label of all, which is
 * therefore taken. With equal weights this is n_s <= ceil(e n). So no source can hold more than that
 * of the evidence up or down, and 1/e sources at least are needed.
 *
 * The margin. For each source s and stake lambda it is kept how much of the log-wealth rests on what s
 * said:
 *   doubt_s = sum over units of log(1 + lambda y) - log(1 + lambda y_s),
 * y the payoff of the unit, y_s the payoff with every label of s counted against the claim. The
 * evidence is the least, over all sources, of the mean wealth without what rests on s. If s is the
 * hostile one then y_s is at most the payoff that true labels would have had, unit by unit, so the
 * wealth without it is at most the wealth of true labels: Ville holds for that, hence for the least.
 * Nothing is assumed about when the source lies, what it knows, and which items it answers; only that
 * it is one. The price is its share: a source of a tenth of the labels turns a share of wins of .85
 * into .765. */
#ifndef TL_GATE_SOURCES_H
#define TL_GATE_SOURCES_H

#include "stats/bettor.h"

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

/* What rests on each source, of one claim. */
typedef struct tl_doubt {
    uint32_t count;
    uint64_t source[TL_SOURCES_MAX];
    double log_wealth[TL_SOURCES_MAX][TL_BETTOR_STAKES]; /* nats */
} tl_doubt;

void tl_doubt_init(tl_doubt *doubt);
/* A unit was bet with `payoff`; had the source lied it would have been `payoff_without`, not above.
 * At most TL_SOURCES_MAX sources, which the cap sees to (asserted). */
void tl_doubt_add(tl_doubt *doubt, uint64_t source, double payoff, double payoff_without);
/* The least log of the mean wealth over what any one source may have said; at most the bettor's.
 * log_wealth (when not NULL) gets that of each stake, for that source. */
double tl_doubt_log_e(const tl_doubt *doubt, const tl_bettor *bettor,
                      double log_wealth[TL_BETTOR_STAKES]);

void tl_doubt_save(const tl_doubt *doubt, tl_blob *blob);
tl_status tl_doubt_load(tl_doubt *doubt, tl_blob_reader *reader, tl_error *err);

#endif
