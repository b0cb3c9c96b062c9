/* Saved states of review and estimates with arbitrary edits, as a checkpoint holds them: loading
 * refuses them, or what loads goes on working. The first byte chooses; the seeds are made here. */
#include "base/rng.h"
#include "base/test/patch.h"
#include "review/check.h"
#include "review/labels/automatic.h"
#include "review/labels/suspects.h"
#include "review/labels/trust.h"
#include "review/zones.h"
#include "stats/estimate/selective.h"
#include "stats/score/calibrator.h"
#include "stats/score/conformal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum { ITEMS = 300 };

/* ---- Zones ----------------------------------------------------------------------------------- */

static void zones_work(tl_zones *zones, tl_rng *rng)
{
    tl_zones_reading reading;
    for (int i = 0; i < ITEMS; i++) {
        tl_zones_item item = { .score = tl_rng_unit(rng),
                               .drawn = true,
                               .answered = tl_rng_below(rng, 9) != 0,
                               .defect = tl_rng_below(rng, 3) == 0,
                               .propensity = 0.5,
                               .propensity_min = 0.1 };
        (void)tl_zones_learn(zones, &item, 1, NULL);
    }
    tl_zones_read(zones, 0.2, &reading);
}

static void zones_make(tl_blob *blob, tl_rng *rng)
{
    tl_zones_policy policy = tl_zones_policy_default();
    tl_zones *zones = tl_zones_create(&policy);
    TL_ASSERT(zones != NULL);
    zones_work(zones, rng);
    tl_zones_save(zones, blob);
    tl_zones_destroy(&zones);
}

static void zones_try(tl_blob_reader *reader, tl_rng *rng)
{
    tl_zones *zones = NULL;
    if (tl_zones_load(reader, &zones, NULL) != TL_OK) return;
    zones_work(zones, rng);
    tl_zones_destroy(&zones);
}

/* ---- Whether the rules are kept -------------------------------------------------------------- */

static void check_work(tl_review_check *check, tl_rng *rng)
{
    tl_review_check_reading reading;
    for (int i = 0; i < ITEMS; i++) {
        tl_review_check_item(check, tl_rng_below(rng, 3) == 0, 0.3);
        tl_review_check_outcome(check, (tl_review_reason)tl_rng_below(rng, TL_REVIEW_REASON_COUNT),
                                (tl_review_outcome)tl_rng_below(rng, 3), tl_rng_below(rng, 90));
    }
    tl_review_check_read(check, &reading);
}

static void check_make(tl_blob *blob, tl_rng *rng)
{
    tl_review_check_policy policy = tl_review_check_policy_default();
    tl_review_check *check = tl_review_check_create(&policy);
    TL_ASSERT(check != NULL);
    check_work(check, rng);
    tl_review_check_save(check, blob);
    tl_review_check_destroy(&check);
}

static void check_try(tl_blob_reader *reader, tl_rng *rng)
{
    tl_review_check *check = NULL;
    if (tl_review_check_load(reader, &check, NULL) != TL_OK) return;
    check_work(check, rng);
    tl_review_check_destroy(&check);
}

/* ---- Estimates ------------------------------------------------------------------------------- */

static void selective_work(tl_selective *s, tl_rng *rng)
{
    tl_selective_figures figures;
    for (int i = 0; i < ITEMS; i++) {
        bool flagged = tl_rng_below(rng, 4) == 0;
        tl_selective_add(s, flagged, flagged || tl_rng_below(rng, 9) == 0,
                         tl_rng_below(rng, 3) == 0, flagged ? 1 : 0.1, 0.1);
    }
    (void)tl_selective_read(s, TL_SELECTIVE_RUNNING, 0.95, &figures, NULL);
}

static void selective_make(tl_blob *blob, tl_rng *rng)
{
    static tl_selective s;
    tl_selective_options options = tl_selective_options_default();
    TL_ASSERT(tl_selective_init(&s, &options, NULL) == TL_OK);
    selective_work(&s, rng);
    tl_selective_save(&s, blob);
}

static void selective_try(tl_blob_reader *reader, tl_rng *rng)
{
    static tl_selective s;
    if (tl_selective_load(reader, &s, NULL) == TL_OK) selective_work(&s, rng);
}

/* ---- Scores ---------------------------------------------------------------------------------- */

static void calibrator_work(tl_calibrator *c, tl_rng *rng)
{
    for (int i = 0; i < ITEMS; i++)
        tl_calibrator_add(c, tl_rng_unit(rng), tl_rng_below(rng, 2) == 0, 0.5);
    double p = tl_calibrator_read(c, 0.3);
    TL_ASSERT(p >= 0 && p <= 1);
}

static void calibrator_make(tl_blob *blob, tl_rng *rng)
{
    static tl_calibrator c;
    tl_calibrator_init(&c);
    calibrator_work(&c, rng);
    tl_calibrator_save(&c, blob);
}

static void calibrator_try(tl_blob_reader *reader, tl_rng *rng)
{
    static tl_calibrator c;
    if (tl_calibrator_load(reader, &c, NULL) == TL_OK) calibrator_work(&c, rng);
}

static void conformal_work(tl_conformal *c, tl_rng *rng)
{
    for (int i = 0; i < ITEMS; i++) {
        double p = tl_conformal_step(c, tl_rng_unit(rng));
        TL_ASSERT(p > 0 && p <= 1);
    }
}

static void conformal_make(tl_blob *blob, tl_rng *rng)
{
    static tl_conformal c;
    tl_conformal_init(&c, 0, 1, 5);
    conformal_work(&c, rng);
    tl_conformal_save(&c, blob);
}

static void conformal_try(tl_blob_reader *reader, tl_rng *rng)
{
    static tl_conformal c;
    if (tl_conformal_load(reader, &c, NULL) == TL_OK) conformal_work(&c, rng);
}

/* ---- Labels ---------------------------------------------------------------------------------- */

static void suspects_work(tl_suspects *s, tl_rng *rng)
{
    char words[TL_SUSPECTS_WORDS_BYTES];
    for (int i = 0; i < ITEMS; i++) {
        float p[TL_SUSPECTS_CLASS_MAX] = { (float)tl_rng_unit(rng), 0.5f };
        (void)tl_suspects_see(s, p, (uint32_t)tl_rng_below(rng, 2));
    }
    tl_suspects_words(s, words);
}

static void suspects_make(tl_blob *blob, tl_rng *rng)
{
    static tl_suspects s;
    tl_suspects_init(&s, 3);
    suspects_work(&s, rng);
    tl_suspects_save(&s, blob);
}

static void suspects_try(tl_blob_reader *reader, tl_rng *rng)
{
    static tl_suspects s;
    if (tl_suspects_load(reader, &s, NULL) == TL_OK) suspects_work(&s, rng);
}

static void trust_work(tl_trust *t, tl_rng *rng)
{
    tl_trust_reading reading;
    for (int i = 0; i < ITEMS; i++)
        (void)tl_trust_see(t, tl_rng_below(rng, 9), tl_rng_below(rng, 80),
                           tl_rng_below(rng, 4) == 0);
    for (uint64_t source = 0; source < 80; source++) (void)tl_trust_read(t, source, &reading);
}

static void trust_make(tl_blob *blob, tl_rng *rng)
{
    static tl_trust t;
    tl_trust_init(&t);
    trust_work(&t, rng);
    tl_trust_save(&t, blob);
}

static void trust_try(tl_blob_reader *reader, tl_rng *rng)
{
    static tl_trust t;
    if (tl_trust_load(&t, reader, NULL) == TL_OK) trust_work(&t, rng);
}

static void automatic_work(tl_automatic *a, tl_rng *rng)
{
    tl_automatic_reading reading;
    for (int i = 0; i < ITEMS; i++)
        tl_automatic_audit(a, tl_rng_below(rng, 2) == 0, tl_rng_unit(rng),
                           tl_rng_below(rng, 50) != 0);
    tl_automatic_read(a, &reading);
}

static void automatic_make(tl_blob *blob, tl_rng *rng)
{
    static tl_automatic a;
    tl_automatic_policy policy = tl_automatic_policy_default();
    tl_automatic_init(&a, &policy);
    automatic_work(&a, rng);
    tl_automatic_save(&a, blob);
}

static void automatic_try(tl_blob_reader *reader, tl_rng *rng)
{
    static tl_automatic a;
    if (tl_automatic_load(reader, &a, NULL) == TL_OK) automatic_work(&a, rng);
}

/* ---------------------------------------------------------------------------------------------- */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const struct {
        void (*make)(tl_blob *blob, tl_rng *rng);
        void (*use)(tl_blob_reader *reader, tl_rng *rng);
    } KINDS[] = { { zones_make, zones_try },         { check_make, check_try },
                  { selective_make, selective_try }, { calibrator_make, calibrator_try },
                  { conformal_make, conformal_try }, { suspects_make, suspects_try },
                  { trust_make, trust_try },         { automatic_make, automatic_try } };
    static tl_blob base[TL_COUNT_OF(KINDS)];
    static tl_patch_sections sections[TL_COUNT_OF(KINDS)];
    if (bytes == 0) return 0;
    size_t kind = data[0] % TL_COUNT_OF(KINDS);
    tl_rng rng;
    tl_rng_seed(&rng, kind, 0);
    if (base[kind].data == NULL) {
        tl_blob_init(&base[kind]);
        KINDS[kind].make(&base[kind], &rng);
        TL_ASSERT(tl_blob_ok(&base[kind]));
        tl_patch_find(&base[kind], &sections[kind]);
    }
    uint8_t *patched = tl_patch_apply(&base[kind], &sections[kind], data + 1, bytes - 1);
    if (patched == NULL) return 0;
    tl_blob_reader reader;
    tl_blob_reader_init(&reader, patched, base[kind].bytes);
    tl_rng_seed(&rng, kind, 1);
    KINDS[kind].use(&reader, &rng);
    free(patched);
    return 0;
}
