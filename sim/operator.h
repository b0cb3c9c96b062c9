/* operator.h - people who look at boards that were put up for review and say what they see, some
 * time later and not always rightly. Layer: sim. Each operator is a thread with an HTTP client. */
#ifndef TL_SIM_OPERATOR_H
#define TL_SIM_OPERATOR_H

#include "sim/client.h"

typedef struct tl_operators tl_operators;

typedef struct tl_operators_options {
    tl_client_options server;
    const char *loop;
    uint32_t count;        /* who work at the same time; default 4 */
    double delay_s_median; /* from the board to the verdict: log-normal; default 1.5 */
    double delay_sigma;    /* of its logarithm; default 0.6 */
    double error_rate;     /* share of wrong verdicts; default 0.005 */
    size_t waiting_max;    /* boards that may wait for a verdict; default 65536 */
    uint64_t seed;
} tl_operators_options;

typedef struct tl_operators_counts {
    uint64_t asked;   /* boards put up for review */
    uint64_t given;   /* verdicts that the server took */
    uint64_t wrong;   /* of these, not the truth */
    uint64_t refused; /* verdicts that the server did not take, for good */
    uint64_t retried; /* sent again because the server was busy */
    uint64_t dropped; /* not looked at: too many were waiting */
    uint64_t waiting;
    double answer_ms_p50, answer_ms_p99; /* sending a verdict until it is durable and learned */
} tl_operators_counts;

tl_operators_options tl_operators_options_default(void);

/* The strings of the options must outlive the operators. Errors: TL_ENOMEM, TL_EINVAL. */
tl_status tl_operators_start(const tl_operators_options *options, tl_operators **out,
                             tl_error *err);
/* Put a board up for review. Any thread. */
void tl_operators_ask(tl_operators *operators, const char *prediction_id, uint32_t truth);
void tl_operators_count(tl_operators *operators, tl_operators_counts *out);
/* Stop after the verdict in hand; what waits is left. NULL-safe; clears *operators. */
void tl_operators_stop(tl_operators **operators);

#endif
