/* config_fuzz.c - any bytes as a configuration: no crash, and what is accepted reads back the same
 * from its template. */
#include "format/config.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const tl_config_defaults DEFAULTS = {
        .runtime = { .trainer_threads = 1,
                     .batch_max = 32,
                     .queue_max = 4096,
                     .precision = TL_PRECISION_AUTO },
        .loop = { .height = 64,
                  .width = 64,
                  .channels = 1,
                  .feature_range = 16,
                  .publish_every_labels = 32,
                  .campaign_labels = 256,
                  .gate = { .alpha = 0.05,
                            .cost_miss = 1,
                            .cost_false_alarm = 1,
                            .alarm_days = 90,
                            .take_back_days = 90,
                            .timeout_s = 86400,
                            .drift_items = 1000000 },
                  .review = { .escapes = 0.01,
                              .confidence = 0.95,
                              .disagreements = 0.05,
                              .automatic_precision = 0.995 } },
    };
    tl_config *config = NULL, *again = NULL;
    tl_error err;
    if (tl_config_parse((const char *)data, bytes, "fuzz", &DEFAULTS, &config, &err) != TL_OK) {
        TL_ASSERT(config == NULL);
        TL_ASSERT(err.text[0] != '\0');
        return 0;
    }
    if (config->loop_count > 0) {
        tl_config_defaults defaults = { config->runtime, DEFAULTS.loop };
        tl_text text;
        tl_text_init(&text, 1 << 20);
        tl_config_write_template(&defaults, &config->loops[0], &text);
        TL_ASSERT(tl_text_ok(&text));
        tl_status status = tl_config_parse(text.data, text.bytes, "again", &DEFAULTS, &again, &err);
        TL_ASSERT(status == TL_OK);
        TL_ASSERT(again->loop_count == 1);
        const tl_loop_options *a = &config->loops[0], *b = &again->loops[0];
        TL_ASSERT(strcmp(a->name, b->name) == 0);
        TL_ASSERT(a->class_count == b->class_count);
        for (size_t i = 0; i < a->class_count; i++)
            TL_ASSERT(strcmp(a->classes[i], b->classes[i]) == 0);
        TL_ASSERT(a->seed == b->seed);
        TL_ASSERT(a->feature_range == b->feature_range);
        TL_ASSERT(a->audit_rate == b->audit_rate);
        TL_ASSERT(a->gate.alpha == b->gate.alpha && a->gate.unit == b->gate.unit);
        TL_ASSERT(a->review.escapes == b->review.escapes);
        TL_ASSERT(config->runtime.quota_bytes == again->runtime.quota_bytes);
        TL_ASSERT(strcmp(config->runtime.path, again->runtime.path) == 0);
        tl_config_destroy(&again);
        tl_text_destroy(&text);
    }
    tl_config_destroy(&config);
    return 0;
}
