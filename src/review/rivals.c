#include "review/rivals.h"

#include <math.h>

static const double RATE_MIN = 1.0 / 32;
static const double CREDIT[TL_RIVAL_COUNT] = { TL_RIVALS_CREDIT, TL_RIVALS_SNAPSHOT_CREDIT };

void tl_rivals_init(tl_rivals *rivals, double share)
{
    TL_ASSERT(share > 0.0 && share <= 1.0);
    *rivals = (tl_rivals){ .share = share };
    for (int i = 0; i < TL_RIVAL_COUNT; i++) {
        rivals->of[i].credit = CREDIT[i];
        rivals->of[i].rate = 1.0;
    }
}

/* What it asks about one more item. */
static void charge(tl_rivals *rivals, tl_rival who)
{
    double *credit = &rivals->of[who].credit, *rate = &rivals->of[who].rate;
    *credit -= *rate;
    if (*credit >= 0.0 || *rate <= RATE_MIN) return;
    *rate /= 2.0;
    *credit = CREDIT[who] / 4.0;
}

double tl_rivals_step(tl_rivals *rivals, const tl_rival_calls *calls, bool passes)
{
    double asked = 0.0;
    for (int i = 0; i < TL_RIVAL_COUNT; i++) {
        double *credit = &rivals->of[i].credit, *rate = &rivals->of[i].rate;
        *credit = fmin(*credit + rivals->share, CREDIT[i]);
        if (calls->newest[i] != 0 && calls->newest[i] != rivals->of[i].newest) {
            rivals->of[i].newest = calls->newest[i];
            if (*credit >= CREDIT[i] / 2.0) *rate = 1.0;
        }
        if (!passes || !calls->disagrees[i]) continue;
        asked = fmax(asked, *rate);
        charge(rivals, (tl_rival)i);
    }
    return asked;
}
