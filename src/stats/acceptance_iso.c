/* acceptance_iso.c - the tables of ISO 2859-1, as far as they are used here. */
#include "stats/acceptance.h"

#include <math.h>

/* Code letters A to Q (I and O are not used): largest lot of general inspection level II, sample. */
static const struct {
    char letter;
    uint64_t lot_max, sample;
} LETTERS[] = {
    { 'A', 8, 2 },        { 'B', 15, 3 },       { 'C', 25, 5 },
    { 'D', 50, 8 },       { 'E', 90, 13 },      { 'F', 150, 20 },
    { 'G', 280, 32 },     { 'H', 500, 50 },     { 'J', 1200, 80 },
    { 'K', 3200, 125 },   { 'L', 10000, 200 },  { 'M', 35000, 315 },
    { 'N', 150000, 500 }, { 'P', 500000, 800 }, { 'Q', UINT64_MAX, 1250 },
};

/* In AQL's order; the letter at which the column begins with acceptance number 0. The columns of the
 * master table are one column, moved down by one letter for each step of the AQL. */
static const struct {
    double percent;
    int zero_at;
} AQLS[] = {
    { 6.5, 0 },  { 4.0, 1 },  { 2.5, 2 },  { 1.5, 3 },  { 1.0, 4 },    { 0.65, 5 },
    { 0.40, 6 }, { 0.25, 7 }, { 0.15, 8 }, { 0.10, 9 }, { 0.065, 10 },
};

/* Below the 0: an arrow up (to the 0), one down (to the 1), then these; above them arrows down, and
 * past the end arrows up. */
static const uint64_t ACCEPT[] = { 0, 0, 1, 1, 2, 3, 5, 7, 10, 14, 21 };
static const int MOVE[] = { 0, -1, 1, 0, 0, 0, 0, 0, 0, 0, 0 };

tl_status tl_sampling_iso2859(uint64_t lot, double aql_percent, tl_sampling_plan *out,
                              char *letter_out, tl_error *err)
{
    enum { LAST = TL_COUNT_OF(ACCEPT) - 1 };
    if (lot < 2) return tl_fail(err, TL_EINVAL, "the lots of ISO 2859-1 begin at 2 items");
    if (lot > TL_SAMPLING_LOT_MAX)
        return tl_fail(err, TL_ELIMIT, "at most %d items of a lot", TL_SAMPLING_LOT_MAX);
    size_t column = 0;
    while (column < TL_COUNT_OF(AQLS) && fabs(AQLS[column].percent - aql_percent) > 1e-9) column++;
    if (column == TL_COUNT_OF(AQLS))
        return tl_fail(err, TL_EINVAL,
                       "%g %% is no AQL of ISO 2859-1; there are 0.065, 0.10, 0.15, 0.25, 0.40, "
                       "0.65, 1.0, 1.5, 2.5, 4.0, 6.5",
                       aql_percent);
    int letter = 0;
    while (lot > LETTERS[letter].lot_max) letter++;
    int step = letter - AQLS[column].zero_at;
    step = step < 0 ? 0 : step > (int)LAST ? (int)LAST : step;
    step += MOVE[step];
    letter = AQLS[column].zero_at + step;
    uint64_t sample = LETTERS[letter].sample;
    *out = (tl_sampling_plan){ sample < lot ? sample : lot, ACCEPT[step], lot };
    *letter_out = LETTERS[letter].letter;
    return TL_OK;
}
