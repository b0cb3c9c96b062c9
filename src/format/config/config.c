/* config.c - reading the configuration: libyaml's events, held against the table of keys. */
#include "format/config.h"

#include "base/arena.h"
#include "format/config/config_internal.h"
#include "format/file.h"
#include "format/json.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

enum { MEMORY_BYTES_MAX = 4 << 20 };

typedef struct owned_config {
    tl_config config; /* first: what callers see */
    tl_arena arena;
} owned_config;

typedef struct reader {
    yaml_parser_t parser;
    yaml_event_t event; /* the current one */
    const char *source;
    const tl_config_defaults *defaults;
    tl_config *config;
    tl_arena *arena;
    tl_error *err;
} reader;

/* ---- Events -----------------------------------------------------------------------------------
 */

static tl_status fail_at(const reader *r, size_t line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static tl_status fail_at(const reader *r, size_t line, const char *format, ...)
{
    char text[TL_ERROR_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return tl_fail(r->err, TL_EINVAL, "%s, line %zu: %s", r->source, line + 1, text);
}

static size_t line_of(const reader *r)
{
    return r->event.start_mark.line;
}

static tl_status fail_memory(const reader *r)
{
    return tl_fail(r->err, TL_ENOMEM, "%s: out of memory", r->source);
}

/* Nothing in a configuration needs these, and an alias can make a small file very large. */
static tl_status check_plain(const reader *r)
{
    const yaml_event_t *e = &r->event;
    const yaml_char_t *anchor = NULL, *tag = NULL;
    if (e->type == YAML_ALIAS_EVENT)
        return fail_at(r, line_of(r), "aliases (*name) are not supported; write the value out");
    if (e->type == YAML_SCALAR_EVENT) anchor = e->data.scalar.anchor, tag = e->data.scalar.tag;
    if (e->type == YAML_SEQUENCE_START_EVENT)
        anchor = e->data.sequence_start.anchor, tag = e->data.sequence_start.tag;
    if (e->type == YAML_MAPPING_START_EVENT)
        anchor = e->data.mapping_start.anchor, tag = e->data.mapping_start.tag;
    if (anchor != NULL)
        return fail_at(r, line_of(r), "anchors (&name) are not supported; write the value out");
    if (tag != NULL) return fail_at(r, line_of(r), "tags (!type) are not supported; leave it out");
    return TL_OK;
}

static tl_status next(reader *r)
{
    yaml_event_delete(&r->event);
    memset(&r->event, 0, sizeof r->event);
    if (yaml_parser_parse(&r->parser, &r->event)) return check_plain(r);
    const yaml_parser_t *p = &r->parser;
    if (p->error == YAML_MEMORY_ERROR) return fail_memory(r);
    size_t line = p->error == YAML_READER_ERROR ? p->mark.line : p->problem_mark.line;
    return fail_at(r, line, "not YAML: %s", p->problem == NULL ? "malformed" : p->problem);
}

static const char *event_text(const reader *r)
{
    switch (r->event.type) {
    case YAML_SCALAR_EVENT: return "a value";
    case YAML_SEQUENCE_START_EVENT: return "a list";
    case YAML_MAPPING_START_EVENT: return "a group of keys";
    default: return "nothing";
    }
}

static const char *scalar(const reader *r)
{
    return (const char *)r->event.data.scalar.value;
}

/* "key:" with nothing after it, or null: the same as leaving the key out. */
static bool is_empty(const reader *r)
{
    if (r->event.type != YAML_SCALAR_EVENT) return false;
    if (r->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE) return false;
    const char *text = scalar(r);
    return *text == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0;
}

static tl_status check_scalar(const reader *r, const char *key)
{
    if (r->event.type != YAML_SCALAR_EVENT)
        return fail_at(r, line_of(r), "%s: expected a single value, found %s", key, event_text(r));
    if (strlen(scalar(r)) != r->event.data.scalar.length)
        return fail_at(r, line_of(r), "%s: has a NUL character in it", key);
    return TL_OK;
}

/* ---- Values -----------------------------------------------------------------------------------
 */

static bool parse_uint(const char *text, uint64_t *out)
{
    uint64_t value = 0;
    if (*text == '\0') return false;
    for (; *text != '\0'; text++)
        if (*text < '0' || *text > '9' || __builtin_mul_overflow(value, (uint64_t)10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value))
            return false;
    *out = value;
    return true;
}

bool tl_config_parse_bytes(const char *text, uint64_t *out)
{
    static const struct {
        const char *name;
        double bytes;
    } UNITS[] = { { "", 1 },         { "B", 1 },       { "KB", 1e3 },     { "MB", 1e6 },
                  { "GB", 1e9 },     { "TB", 1e12 },   { "KiB", 0x1p10 }, { "MiB", 0x1p20 },
                  { "GiB", 0x1p30 }, { "TiB", 0x1p40 } };
    size_t digits = strspn(text, "0123456789.");
    const char *unit = text + digits;
    while (*unit == ' ') unit++;
    double value;
    if (!tl_json_parse_number(text, digits, &value)) return false;
    for (size_t i = 0; i < TL_COUNT_OF(UNITS); i++) {
        if (strcasecmp(unit, UNITS[i].name) != 0) continue;
        value *= UNITS[i].bytes;
        if (value > 0x1p63) return false;
        *out = (uint64_t)value;
        return true;
    }
    return false;
}

static bool parse_bool(const char *text, bool *out)
{
    static const char *const WORDS[] = { "false", "true", "no", "yes", "off", "on" };
    for (size_t i = 0; i < TL_COUNT_OF(WORDS); i++) {
        if (strcasecmp(text, WORDS[i]) != 0) continue;
        *out = i % 2 == 1;
        return true;
    }
    return false;
}

static tl_status keep_text(reader *r, const char *text, const char **out)
{
    char *copy = tl_arena_strndup(r->arena, text, strlen(text));
    if (copy == NULL) return fail_memory(r);
    *out = copy;
    return TL_OK;
}

static tl_status read_number(reader *r, const tl_config_field *f, void *to)
{
    const char *text = scalar(r);
    double value = 0;
    uint64_t whole = 0;
    bool fits;
    if (f->type == TL_CONFIG_FLOAT || f->type == TL_CONFIG_DOUBLE)
        fits = tl_json_parse_number(text, strlen(text), &value);
    else
        fits = f->type == TL_CONFIG_BYTES ? tl_config_parse_bytes(text, &whole)
                                          : parse_uint(text, &whole);
    if (!fits) {
        const char *want = f->type == TL_CONFIG_BYTES    ? "a size such as 4096, 16MB or 50 GiB"
                           : f->type == TL_CONFIG_UINT32 ? "a whole number"
                           : f->type == TL_CONFIG_UINT64 ? "a whole number"
                                                         : "a number";
        return fail_at(r, line_of(r), "%s: \"%.40s\" is not %s", f->key, text, want);
    }
    if (f->type == TL_CONFIG_UINT64) {
        memcpy(to, &whole, sizeof whole);
        return TL_OK;
    }
    if (f->type != TL_CONFIG_FLOAT && f->type != TL_CONFIG_DOUBLE) value = (double)whole;
    if (!(value >= f->minimum && value <= f->maximum))
        return fail_at(r, line_of(r), "%s: %.40s is out of range, expected %.10g to %.10g", f->key,
                       text, f->minimum, f->maximum);
    uint32_t small = (uint32_t)(whole & UINT32_MAX);
    float single = (float)value;
    if (f->type == TL_CONFIG_UINT32) memcpy(to, &small, sizeof small);
    if (f->type == TL_CONFIG_BYTES) memcpy(to, &whole, sizeof whole);
    if (f->type == TL_CONFIG_FLOAT) memcpy(to, &single, sizeof single);
    if (f->type == TL_CONFIG_DOUBLE) memcpy(to, &value, sizeof value);
    return TL_OK;
}

/* "64x48" */
static tl_status read_size(reader *r, const tl_config_field *f, void *to)
{
    char text[32] = "";
    uint64_t height, width;
    if (strlen(scalar(r)) < sizeof text) memcpy(text, scalar(r), strlen(scalar(r)));
    char *times = strchr(text, 'x');
    if (times != NULL) *times = '\0';
    if (times == NULL || !parse_uint(text, &height) || !parse_uint(times + 1, &width))
        return fail_at(r, line_of(r), "%s: \"%.40s\" is not a height x width such as 64x64", f->key,
                       scalar(r));
    uint64_t limit = (uint64_t)f->maximum;
    if (height < 1 || width < 1 || height > limit || width > limit)
        return fail_at(r, line_of(r), "%s: sides are 1 to %llu pixels", f->key,
                       (unsigned long long)limit);
    uint32_t sides[2] = { (uint32_t)height, (uint32_t)width };
    memcpy(to, sides, sizeof sides);
    return TL_OK;
}

/* "127.0.0.1:8080", "[::1]:8080" */
static tl_status read_address(reader *r, const tl_config_field *f, tl_config_server *to)
{
    const char *text = scalar(r), *colon = strrchr(text, ':'), *start = text, *end = colon;
    uint64_t port = 0;
    bool bracket = *text == '[' && colon != NULL && colon > text + 2 && colon[-1] == ']';
    if (bracket) start++, end--;
    bool good = colon != NULL && end > start && parse_uint(colon + 1, &port) && port <= 65535;
    for (const char *p = start; good && p < end; p++)
        good = isalnum((unsigned char)*p) || strchr(bracket ? ".-_:%" : ".-_", *p) != NULL;
    if (!good)
        return fail_at(r, line_of(r),
                       "%s: \"%.60s\" is not address:port such as 127.0.0.1:8080 or [::1]:8080",
                       f->key, text);
    to->host = tl_arena_strndup(r->arena, start, (size_t)(end - start));
    if (to->host == NULL) return fail_memory(r);
    to->port = (uint32_t)port;
    return TL_OK;
}

static tl_status read_choice(reader *r, const tl_config_field *f, void *to)
{
    char words[128] = "";
    for (int i = 0; f->choices[i] != NULL; i++) {
        if (strcmp(scalar(r), f->choices[i]) == 0) {
            memcpy(to, &i, sizeof i); /* enums are ints here: asserted in the writer */
            return TL_OK;
        }
        snprintf(words + strlen(words), sizeof words - strlen(words), "%s%s", i > 0 ? ", " : "",
                 f->choices[i]);
    }
    return fail_at(r, line_of(r), "%s: \"%.40s\" is not one of: %s", f->key, scalar(r), words);
}

static tl_status read_name(reader *r, const tl_config_field *f, const char **to)
{
    const char *text = scalar(r);
    size_t bytes = strlen(text);
    bool good = bytes >= 1 && bytes < TL_TEXT_BYTES_MAX;
    for (size_t i = 0; i < bytes; i++)
        good = good && (isalnum((unsigned char)text[i]) || strchr("._-", text[i]) != NULL);
    if (!good)
        return fail_at(r, line_of(r),
                       "%s: \"%.64s\" is no name: 1 to %d letters, digits, '.', '_' or '-'", f->key,
                       text, TL_TEXT_BYTES_MAX - 1);
    return keep_text(r, text, to);
}

static tl_status read_one_name(reader *r, const tl_config_field *f, const char **names,
                               size_t count)
{
    tl_status status = check_scalar(r, f->key);
    if (status != TL_OK) return status;
    if (count == (size_t)f->maximum)
        return fail_at(r, line_of(r), "%s: more than %d names", f->key, (int)f->maximum);
    const char *text = scalar(r);
    size_t bytes = strlen(text);
    bool good = bytes >= 1 && bytes < TL_TEXT_BYTES_MAX;
    for (size_t i = 0; i < bytes; i++) good = good && (unsigned char)text[i] >= 0x20;
    if (!good)
        return fail_at(r, line_of(r), "%s: a name is 1 to %d bytes of printable text", f->key,
                       TL_TEXT_BYTES_MAX - 1);
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], text) == 0)
            return fail_at(r, line_of(r), "%s: \"%s\" is there twice", f->key, text);
    return keep_text(r, text, &names[count]);
}

static tl_status read_names(reader *r, const tl_config_field *f, const char *const **out,
                            size_t *out_count)
{
    size_t line = line_of(r), count = 0;
    if (r->event.type != YAML_SEQUENCE_START_EVENT)
        return fail_at(r, line, "%s: expected a list such as %s, found %s", f->key,
                       f->example != NULL ? f->example : "[ok, scratch]", event_text(r));
    const char **names = tl_arena_alloc(r->arena, (size_t)f->maximum * sizeof *names);
    if (names == NULL) return fail_memory(r);
    tl_status status = next(r);
    for (; status == TL_OK && r->event.type != YAML_SEQUENCE_END_EVENT; count++) {
        status = read_one_name(r, f, names, count);
        if (status == TL_OK) status = next(r);
    }
    if (status != TL_OK) return status;
    if (count < (size_t)f->minimum)
        return fail_at(r, line, "%s: at least 2 classes are needed, found %zu", f->key, count);
    *out = names;
    *out_count = count;
    return TL_OK;
}

/* ---- Groups of keys ---------------------------------------------------------------------------
 */

/* How many letters to change, add or leave out to get from a to b (Levenshtein), for short words.
 */
static size_t edits(const char *a, const char *b)
{
    enum { WORD_MAX = 40 };
    size_t rows = strlen(a), columns = strlen(b), row[WORD_MAX + 1];
    if (rows > WORD_MAX || columns > WORD_MAX) return WORD_MAX;
    for (size_t j = 0; j <= columns; j++) row[j] = j;
    for (size_t i = 1; i <= rows; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= columns; j++) {
            size_t change = diagonal + (a[i - 1] != b[j - 1]);
            size_t other = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = change < other ? change : other;
        }
    }
    return row[columns];
}

static tl_status fail_unknown_key(const reader *r, const tl_config_table *table)
{
    const char *key = scalar(r), *nearest = NULL;
    size_t least = 1 + strlen(key) / 2;
    char known[TL_ERROR_TEXT_BYTES] = "";
    for (size_t i = 0; i < table->count; i++) {
        size_t distance = edits(key, table->fields[i].key);
        if (distance < least) least = distance, nearest = table->fields[i].key;
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i > 0 ? ", " : "",
                 table->fields[i].key);
    }
    if (nearest != NULL)
        return fail_at(r, line_of(r), "unknown key \"%.40s\"; did you mean \"%s\"?", key, nearest);
    return fail_at(r, line_of(r), "unknown key \"%.40s\"; known here: %s", key, known);
}

static tl_status read_group(reader *r, const tl_config_table *table, const char *name, void *base);
static tl_status read_loops(reader *r, const tl_config_field *f);

static tl_status read_scalar(reader *r, const tl_config_field *f, void *base)
{
    void *to = (char *)base + f->offset;
    tl_status status = check_scalar(r, f->key);
    if (status != TL_OK) return status;
    switch (f->type) {
    case TL_CONFIG_TEXT: return keep_text(r, scalar(r), to);
    case TL_CONFIG_NAME: return read_name(r, f, to);
    case TL_CONFIG_ADDRESS: return read_address(r, f, to);
    case TL_CONFIG_SIZE: return read_size(r, f, to);
    case TL_CONFIG_CHOICE: return read_choice(r, f, to);
    case TL_CONFIG_BOOL:
        if (parse_bool(scalar(r), to)) return TL_OK;
        return fail_at(r, line_of(r), "%s: \"%.40s\" is neither true nor false", f->key, scalar(r));
    default: return read_number(r, f, to);
    }
}

/* The event is the value's first; on return it is the value's last. */
static tl_status read_value(reader *r, const tl_config_field *f, void *base)
{
    tl_loop_options *loop = base; /* of the lists of names */
    if (is_empty(r)) return TL_OK;
    switch (f->type) {
    case TL_CONFIG_SECTION: return read_group(r, f->section, f->key, (char *)base + f->offset);
    case TL_CONFIG_LOOPS: return read_loops(r, f);
    case TL_CONFIG_CLASSES: return read_names(r, f, &loop->classes, &loop->class_count);
    case TL_CONFIG_PEOPLE: return read_names(r, f, &loop->people, &loop->person_count);
    default: return read_scalar(r, f, base);
    }
}

static tl_status read_group(reader *r, const tl_config_table *table, const char *name, void *base)
{
    uint64_t seen = 0;
    if (r->event.type != YAML_MAPPING_START_EVENT)
        return fail_at(r, line_of(r), "%s: expected a group of keys, found %s", name,
                       event_text(r));
    for (;;) {
        tl_status status = next(r);
        if (status != TL_OK) return status;
        if (r->event.type == YAML_MAPPING_END_EVENT) return TL_OK;
        status = check_scalar(r, "key");
        if (status != TL_OK) return status;
        size_t i = 0;
        while (i < table->count && strcmp(scalar(r), table->fields[i].key) != 0) i++;
        if (i == table->count) return fail_unknown_key(r, table);
        if ((seen >> i & 1) != 0)
            return fail_at(r, line_of(r), "key \"%s\" is given twice", table->fields[i].key);
        seen |= (uint64_t)1 << i;
        status = next(r);
        if (status == TL_OK) status = read_value(r, &table->fields[i], base);
        if (status != TL_OK) return status;
    }
}

static tl_status check_loop(const reader *r, const tl_loop_options *loop, size_t line)
{
    const char *name = loop->name;
    if (name == NULL) return fail_at(r, line, "this loop has no name; add \"name: ...\"");
    if (loop->class_count == 0)
        return fail_at(r, line, "loop \"%s\" has no classes; add \"classes: [ok, ...]\"", name);
    if (loop->channels == 2)
        return fail_at(r, line, "loop \"%s\": channels is 1 (grey) or 3 (colour)", name);
    if (loop->input == TL_INPUT_FEATURES && loop->feature_count == 0)
        return fail_at(r, line, "loop \"%s\": input is features; add \"features: how many\"", name);
    for (size_t i = 0; i < r->config->loop_count; i++)
        if (strcmp(r->config->loops[i].name, name) == 0)
            return fail_at(r, line, "two loops are called \"%s\"", name);
    return TL_OK;
}

static tl_status read_loops(reader *r, const tl_config_field *f)
{
    if (r->event.type != YAML_SEQUENCE_START_EVENT)
        return fail_at(r, line_of(r), "%s: expected a list (\"- name: ...\"), found %s", f->key,
                       event_text(r));
    tl_config *config = r->config;
    config->loops = tl_arena_alloc(r->arena, TL_CONFIG_LOOP_COUNT_MAX * sizeof *config->loops);
    if (config->loops == NULL) return fail_memory(r);
    for (;;) {
        tl_status status = next(r);
        if (status != TL_OK) return status;
        if (r->event.type == YAML_SEQUENCE_END_EVENT) return TL_OK;
        size_t line = line_of(r);
        if (config->loop_count == TL_CONFIG_LOOP_COUNT_MAX)
            return fail_at(r, line, "more than %d loops", TL_CONFIG_LOOP_COUNT_MAX);
        tl_loop_options loop = r->defaults->loop;
        status = read_group(r, f->section, "loop", &loop);
        if (status == TL_OK) status = check_loop(r, &loop, line);
        if (status != TL_OK) return status;
        config->loops[config->loop_count++] = loop;
    }
}

/* ---- The whole --------------------------------------------------------------------------------
 */

void tl_config_set_defaults(tl_config *config, const tl_config_defaults *defaults)
{
    config->runtime = defaults->runtime;
    if (config->runtime.path == NULL) config->runtime.path = "./tightloop-journal";
    config->server = (tl_config_server){
        .host = "127.0.0.1",
        .port = 8080,
        .max_body_bytes = 16 << 20,
        .max_connections = 1000,
        .idle_timeout_s = 30,
        .request_timeout_s = 60,
        .io_threads = 1,
    };
}

static tl_status read_document(reader *r)
{
    tl_status status = next(r); /* start of the stream */
    if (status == TL_OK) status = next(r);
    if (status != TL_OK) return status;
    if (r->event.type == YAML_STREAM_END_EVENT) return TL_OK; /* nothing in it: all defaults */
    status = next(r);
    if (status != TL_OK) return status;
    if (!is_empty(r)) status = read_group(r, &TL_CONFIG_TABLE, "file", r->config);
    if (status == TL_OK) status = next(r); /* end of the document */
    if (status == TL_OK) status = next(r);
    if (status != TL_OK) return status;
    if (r->event.type != YAML_STREAM_END_EVENT)
        return fail_at(r, line_of(r), "a second document (\"---\"); expected only one");
    const tl_config_server *server = &r->config->server;
    if ((server->tls_certificate == NULL) != (server->tls_key == NULL))
        return tl_fail(r->err, TL_EINVAL, "%s: server: tls_certificate and tls_key go together",
                       r->source);
    return TL_OK;
}

tl_status tl_config_parse(const char *text, size_t bytes, const char *source,
                          const tl_config_defaults *defaults, tl_config **out, tl_error *err)
{
    TL_ASSERT(defaults != NULL);
    TL_ASSERT(out != NULL);
    if (bytes > TL_CONFIG_BYTES_MAX)
        return tl_fail(err, TL_ELIMIT, "%s: %zu bytes, a configuration has at most %d", source,
                       bytes, TL_CONFIG_BYTES_MAX);
    owned_config *owned = calloc(1, sizeof *owned);
    if (owned == NULL) return tl_fail(err, TL_ENOMEM, "%s: out of memory", source);
    tl_arena_init(&owned->arena, MEMORY_BYTES_MAX);
    tl_config *config = &owned->config;
    tl_config_set_defaults(config, defaults);
    reader r = { .source = source, .defaults = defaults, .config = config, .err = err };
    r.arena = &owned->arena;
    tl_status status = TL_ENOMEM;
    if (yaml_parser_initialize(&r.parser)) {
        yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
        yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, bytes);
        status = read_document(&r);
        yaml_event_delete(&r.event);
        yaml_parser_delete(&r.parser);
    } else {
        status = fail_memory(&r);
    }
    if (status != TL_OK) {
        tl_config_destroy(&config);
        return status;
    }
    *out = config;
    return TL_OK;
}

tl_status tl_config_load(const char *path, const tl_config_defaults *defaults, tl_config **out,
                         tl_error *err)
{
    void *data = NULL;
    size_t bytes = 0;
    tl_status status = tl_file_read(path, TL_CONFIG_BYTES_MAX, &data, &bytes, err);
    if (status != TL_OK) return status;
    status = tl_config_parse(data, bytes, path, defaults, out, err);
    free(data);
    return status;
}

void tl_config_destroy(tl_config **config)
{
    if (*config == NULL) return;
    owned_config *owned = (owned_config *)*config;
    tl_arena_destroy(&owned->arena);
    free(owned);
    *config = NULL;
}
