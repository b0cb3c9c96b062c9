/* A saved gate with arbitrary edits: loading refuses it, or what loads goes on working. The seeds are
 * the gates that are made here, as they are saved after a while on a line; the first byte chooses. */
#include "base/rng.h"
#include "base/test/patch.h"
#include "gate/gate.h"

enum { GATES = 4, ITEMS = 400 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static tl_gate_policy policy_of(unsigned kind)
{
    tl_gate_policy policy = tl_gate_policy_default();
    if (kind == 1) policy.hostile = 0.1, policy.unit = TL_GATE_UNIT_ITEM;
    if (kind == 2) policy.noise = 0.1, policy.cost_false_alarm = 0.1, policy.promised_error = 0.01;
    if (kind == 3) policy.unit = TL_GATE_UNIT_LOT, policy.promised_error = 0.05;
    return policy;
}

static void work(tl_gate *gate, tl_rng *rng, uint64_t from, int64_t time_us, int count)
{
    for (uint64_t i = 1; i <= (uint64_t)count; i++) {
        bool flagged = tl_rng_below(rng, 4) == 0;
        tl_gate_item item = { .position = from + i,
                              .time_us = time_us + (int64_t)i * 100000,
                              .unit = tl_rng_below(rng, 3) == 0 ? 0 : 1 + i / 3,
                              .site = tl_rng_below(rng, 4),
                              .flagged = flagged,
                              .drawn = tl_rng_below(rng, 5) != 0,
                              .propensity = tl_rng_below(rng, 3) == 0 ? 0.2 : 1,
                              .shadow = { { 7, tl_rng_below(rng, 3) == 0 }, { 9, !flagged } },
                              .shadow_count = 2 };
        if (tl_gate_item_add(gate, &item, NULL) != TL_OK) return;
        if (tl_rng_below(rng, 6) != 0)
            tl_gate_label(gate, item.position, tl_rng_below(rng, 3) != 0,
                          1 + tl_rng_below(rng, 12));
        if (tl_rng_below(rng, 40) == 0) tl_gate_unlabel(gate, item.position - 2);
    }
}

static void make(unsigned kind, tl_blob *blob)
{
    tl_gate_policy policy = policy_of(kind);
    tl_gate *gate = NULL;
    tl_rng rng;
    tl_rng_seed(&rng, kind, 0);
    TL_ASSERT(tl_gate_create(&policy, &gate, NULL) == TL_OK);
    TL_ASSERT(tl_gate_watch(gate, 7, TL_GATE_BETTER, 0, NULL) == TL_OK);
    TL_ASSERT(tl_gate_watch(gate, 9, TL_GATE_HARM | TL_GATE_GAIN, 0, NULL) == TL_OK);
    work(gate, &rng, 0, 1000000, ITEMS);
    tl_blob_init(blob);
    tl_gate_save(gate, blob);
    TL_ASSERT(tl_blob_ok(blob));
    tl_gate_destroy(&gate);
}

/* Everything that a loop does with a gate. */
static void use(tl_gate *gate)
{
    tl_gate_status status;
    tl_gate_standing standing;
    tl_gate_verdict verdict;
    tl_rng rng;
    tl_rng_seed(&rng, 99, 0);
    tl_gate_get_status(gate, &status);
    (void)tl_gate_describe(gate, 7, &standing);
    (void)tl_gate_describe(gate, 9, &standing);
    work(gate, &rng, status.newest, 3600 * 1000000ll, 60);
    while (tl_gate_take_verdict(gate, &verdict)) {
    }
    tl_gate_drop(gate, 9);
    (void)tl_gate_watch(gate, 11, TL_GATE_BETTER, status.newest, NULL);
    tl_gate_restart(gate, status.newest);
    work(gate, &rng, status.newest + 60, 7200 * 1000000ll, 20);
}

/* What loads is saved as what it was loaded from, or at least loads again. */
static void save_again(const tl_gate *gate)
{
    tl_blob blob;
    tl_gate *again = NULL;
    tl_blob_init(&blob);
    tl_gate_save(gate, &blob);
    tl_blob_reader reader;
    tl_blob_reader_init(&reader, blob.data, blob.bytes);
    TL_ASSERT(!tl_blob_ok(&blob) || tl_gate_load(&reader, &again, NULL) == TL_OK);
    tl_gate_destroy(&again);
    tl_blob_destroy(&blob);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static tl_blob base[GATES];
    static tl_patch_sections sections[GATES];
    if (bytes == 0) return 0;
    unsigned kind = data[0] % GATES;
    if (base[kind].data == NULL) {
        make(kind, &base[kind]);
        tl_patch_find(&base[kind], &sections[kind]);
    }
    uint8_t *patched = tl_patch_apply(&base[kind], &sections[kind], data + 1, bytes - 1);
    if (patched == NULL) return 0;
    tl_blob_reader reader;
    tl_gate *gate = NULL;
    tl_error err = { 0 };
    tl_blob_reader_init(&reader, patched, base[kind].bytes);
    if (tl_gate_load(&reader, &gate, &err) == TL_OK) {
        save_again(gate);
        use(gate);
        tl_gate_destroy(&gate);
    } else {
        TL_ASSERT(gate == NULL && err.text[0] != '\0' && bytes > TL_PATCH_EDIT_BYTES);
    }
    free(patched);
    return 0;
}
