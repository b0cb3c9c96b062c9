#include "loop/report/asked.h"

#include <stdlib.h>

struct tl_report_asked {
    size_t count; /* newest first; the last one is as the loop was made */
    int64_t since_us[TL_ASKED_CHANGES_MAX + 1];
    tl_loop_config config[TL_ASKED_CHANGES_MAX + 1];
};

static tl_status note(tl_report_asked *asked, const char *config, int64_t since_us, tl_error *err)
{
    tl_status status = tl_loop_config_read(config, &asked->config[asked->count], err);
    if (status == TL_OK) asked->since_us[asked->count++] = since_us;
    return status;
}

static tl_status read_all(tl_report_asked *asked, tl_journal_reader *reader, uint32_t loop,
                          tl_arena *arena, tl_error *err)
{
    tl_record record;
    uint64_t below = UINT64_MAX;
    const char *name, *config;
    while (asked->count < TL_ASKED_CHANGES_MAX) {
        tl_arena_reset(arena);
        tl_status status =
            tl_journal_next_event(reader, loop, "configure", below, arena, &record, err);
        if (status == TL_ENOTFOUND) break;
        if (status == TL_OK)
            status = note(asked, record.as.event.body, record.as.event.time_us, err);
        if (status != TL_OK) return status;
        below = record.position;
    }
    tl_status status = tl_journal_loop_info(reader, loop, arena, &name, &config, err);
    return status == TL_OK ? note(asked, config, INT64_MIN, err) : status;
}

tl_status tl_report_asked_read(tl_journal_reader *reader, uint32_t loop, tl_report_asked **out,
                               tl_error *err)
{
    tl_report_asked *asked = calloc(1, sizeof *asked);
    if (asked == NULL) return tl_fail(err, TL_ENOMEM, "who was asked");
    tl_arena arena;
    tl_arena_init(&arena, 16 << 20);
    tl_status status = read_all(asked, reader, loop, &arena, err);
    tl_arena_destroy(&arena);
    if (status == TL_OK)
        *out = asked;
    else
        tl_report_asked_free(asked);
    return status;
}

void tl_report_asked_free(tl_report_asked *asked)
{
    free(asked);
}

uint64_t tl_report_asked_of(const tl_report_asked *asked, const tl_prediction_record *p)
{
    size_t i = 0;
    while (i + 1 < asked->count && p->time_us < asked->since_us[i]) i++;
    return tl_people_asked(&asked->config[i], p);
}
