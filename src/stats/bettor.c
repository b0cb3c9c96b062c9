#include "stats/bettor.h"

#include <math.h>
#include <string.h>

enum { VERSION = 1 };
static const double PAYOFF_MAX = 1e4;
/* Products stay far inside the range of doubles; logarithms are taken when they might not. */
static const double PENDING_MAX = 200;

/* .02 * 47.5^(j/15) */
static const double STAKES[TL_BETTOR_STAKES] = {
    0.02,
    0.02587078278868523,
    0.0334648701049666,
    0.04328811927685784,
    0.055994876557114354,
    0.07243156443441741,
    0.09369306352637356,
    0.12119564476486484,
    0.15677131003232375,
    0.20278982546719385,
    0.262316576320858,
    0.3393167583934244,
    0.43891950764785365,
    0.5677595622037144,
    0.7344192154985656,
    0.95,
};

const double *tl_bettor_stakes(void)
{
    return STAKES;
}

static void start_factors(tl_bettor *bettor)
{
    for (unsigned j = 0; j < TL_BETTOR_STAKES; j++) bettor->factor[j] = 1;
    bettor->pending = 0;
}

static void share_out(tl_bettor *bettor)
{
    bettor->top = bettor->log_wealth[0];
    for (unsigned j = 1; j < TL_BETTOR_STAKES; j++)
        bettor->top = fmax(bettor->top, bettor->log_wealth[j]);
    for (unsigned j = 0; j < TL_BETTOR_STAKES; j++)
        bettor->share[j] = exp(bettor->log_wealth[j] - bettor->top);
}

void tl_bettor_init(tl_bettor *bettor)
{
    for (unsigned j = 0; j < TL_BETTOR_STAKES; j++) bettor->log_wealth[j] = 0;
    start_factors(bettor);
    share_out(bettor);
}

static void fold(tl_bettor *bettor)
{
    for (unsigned j = 0; j < TL_BETTOR_STAKES; j++) bettor->log_wealth[j] += log(bettor->factor[j]);
    start_factors(bettor);
    share_out(bettor);
}

/* The most that a factor 1 + stake payoff moves the log: -log(1 - .95 t) <= 3 t on 0..1. */
static double move_max(double payoff)
{
    return payoff < 0 ? -3 * payoff : fmin(payoff, 10);
}

void tl_bettor_bet(tl_bettor *bettor, double payoff)
{
    TL_ASSERT(payoff >= -1 - 1e-9);
    TL_ASSERT(payoff <= PAYOFF_MAX);
    if (payoff == 0) return;
    for (unsigned j = 0; j < TL_BETTOR_STAKES; j++) bettor->factor[j] *= 1 + STAKES[j] * payoff;
    bettor->pending += move_max(payoff);
    if (bettor->pending > PENDING_MAX) fold(bettor);
}

double tl_bettor_log_e(const tl_bettor *bettor)
{
    double sum = 0;
    for (unsigned j = 0; j < TL_BETTOR_STAKES; j++) sum += bettor->share[j] * bettor->factor[j];
    return bettor->top + log(sum / TL_BETTOR_STAKES);
}

double tl_bettor_log_wealth(const tl_bettor *bettor, unsigned stake)
{
    TL_ASSERT(stake < TL_BETTOR_STAKES);
    return bettor->log_wealth[stake] + log(bettor->factor[stake]);
}

void tl_bettor_save(const tl_bettor *bettor, tl_blob *blob)
{
    size_t section = tl_blob_section_begin(blob, "BETT", VERSION);
    for (unsigned j = 0; j < TL_BETTOR_STAKES; j++) tl_blob_f64(blob, bettor->log_wealth[j]);
    for (unsigned j = 0; j < TL_BETTOR_STAKES; j++) tl_blob_f64(blob, bettor->factor[j]);
    tl_blob_f64(blob, bettor->pending);
    tl_blob_section_end(blob, section);
}

static bool sound(const tl_bettor *bettor)
{
    bool fine = bettor->pending >= 0 && bettor->pending <= PENDING_MAX;
    for (unsigned j = 0; j < TL_BETTOR_STAKES; j++)
        fine = fine && isfinite(bettor->log_wealth[j]) &&
               fabs(log(bettor->factor[j])) <= bettor->pending + 1e-6;
    return fine;
}

tl_status tl_bettor_load(tl_bettor *bettor, tl_blob_reader *reader, tl_error *err)
{
    tl_blob_reader body;
    tl_status status = tl_blob_read_section(reader, "BETT", VERSION, &body, NULL, err);
    if (status != TL_OK) return status;
    tl_bettor loaded = { .pending = 0 };
    for (unsigned j = 0; j < TL_BETTOR_STAKES; j++) loaded.log_wealth[j] = tl_blob_read_f64(&body);
    for (unsigned j = 0; j < TL_BETTOR_STAKES; j++) loaded.factor[j] = tl_blob_read_f64(&body);
    loaded.pending = tl_blob_read_f64(&body);
    status = tl_blob_read_end(&body, "evidence", err);
    if (status != TL_OK) return status;
    if (!sound(&loaded)) return tl_fail(err, TL_ECORRUPT, "saved evidence is out of range");
    share_out(&loaded);
    *bettor = loaded;
    return TL_OK;
}
