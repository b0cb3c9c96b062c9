#include "loop/report/classes.h"

#include "format/json.h"
#include "loop/config.h"

#include <stdlib.h>
#include <string.h>

enum { ARENA_BYTES_MAX = 16 << 20 };

static tl_status read_description(tl_journal_reader *reader, uint32_t loop, tl_arena *arena,
                                  tl_report_classes *out, tl_error *err)
{
    const char *text;
    tl_status status = tl_journal_loop_info(reader, loop, arena, NULL, &text, err);
    if (status != TL_OK) return status;
    tl_loop_config *config = malloc(sizeof *config);
    if (config == NULL) return tl_fail(err, TL_ENOMEM, "a loop's description");
    status = tl_loop_config_read(text, config, err);
    if (status == TL_OK) {
        out->count = config->info.class_count;
        memcpy(out->names, config->info.classes, sizeof out->names);
    }
    free(config);
    return status;
}

static const char *name_of(tl_json_parser *parser, tl_arena *arena, const char *body)
{
    const tl_json *root;
    if (tl_json_parse(parser, body, strlen(body), arena, &root, NULL) != TL_OK) return NULL;
    return tl_json_get_text(root, "name", NULL);
}

/* Events come newest first. */
static tl_status read_added(tl_journal_reader *reader, uint32_t loop, tl_json_parser *parser,
                            tl_arena *arena, tl_report_classes *out, tl_error *err)
{
    const char *added[TL_CLASS_COUNT_MAX];
    uint64_t positions[TL_CLASS_COUNT_MAX], below = UINT64_MAX;
    size_t count = 0;
    tl_status status;
    tl_record record;
    while (count < TL_CLASS_COUNT_MAX &&
           (status = tl_journal_next_event(reader, loop, "class", below, arena, &record, err)) ==
               TL_OK) {
        below = record.position;
        const char *name = name_of(parser, arena, record.as.event.body);
        if (name == NULL || strlen(name) >= TL_TEXT_BYTES_MAX) continue;
        added[count] = name;
        positions[count++] = below;
    }
    if (count < TL_CLASS_COUNT_MAX && status != TL_ENOTFOUND) return status;
    out->third_class_at = out->count > 2 ? 0 : UINT64_MAX;
    for (size_t i = count; i-- > 0 && out->count < TL_CLASS_COUNT_MAX;) {
        strcpy(out->names[out->count++], added[i]);
        if (out->count == 3) out->third_class_at = positions[i];
    }
    return TL_OK;
}

tl_status tl_report_classes_read(tl_journal_reader *reader, uint32_t loop, tl_report_classes *out,
                                 tl_error *err)
{
    tl_json_parser *parser = NULL;
    tl_arena arena;
    tl_arena_init(&arena, ARENA_BYTES_MAX);
    *out = (tl_report_classes){ 0 };
    tl_status status = tl_json_parser_create(NULL, &parser, err);
    if (status == TL_OK) status = read_description(reader, loop, &arena, out, err);
    if (status == TL_OK) status = read_added(reader, loop, parser, &arena, out, err);
    tl_json_parser_destroy(&parser);
    tl_arena_destroy(&arena);
    return status;
}
