#include "stats/spending.h"

#include <math.h>

#include "base/status.h"

double tl_spending_share(uint64_t index)
{
    TL_ASSERT(index >= 1);
    double next = (double)index + 1, logarithm = log(next);
    return 0.47399 / (next * logarithm * logarithm);
}

double tl_spending_log_threshold(double alpha, uint64_t index)
{
    TL_ASSERT(alpha > 0);
    TL_ASSERT(alpha < 1);
    return -log(alpha * tl_spending_share(index));
}
