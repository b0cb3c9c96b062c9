/* config_write.c - the template that `tightloop init` writes, and the reference, from the table. */
#include "format/config.h"
#include "format/config/config_internal.h"
#include "format/json.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

_Static_assert(sizeof(tl_durability) == sizeof(int) && sizeof(tl_input_form) == sizeof(int) &&
                   sizeof(tl_learning) == sizeof(int) && sizeof(tl_precision) == sizeof(int),
               "choices are read and written as int");

/* Safe without quotes: begins like a word or a path, and is no word that YAML takes for something
 * else. */
static bool is_plain(const char *text)
{
    static const char *const WORDS[] = {
        "true", "false", "yes", "no", "on", "off", "null", "y", "n"
    };
    bool path = strncmp(text, "./", 2) == 0 || strncmp(text, "../", 3) == 0 || *text == '/';
    if (!path && !isalpha((unsigned char)*text)) return false;
    for (const char *p = text; *p != '\0'; p++)
        if (!isalnum((unsigned char)*p) && strchr("._-/", *p) == NULL) return false;
    for (size_t i = 0; i < TL_COUNT_OF(WORDS); i++)
        if (strcasecmp(text, WORDS[i]) == 0) return false;
    return true;
}

static void write_text(const char *value, tl_text *out)
{
    if (is_plain(value))
        tl_text_puts(out, value);
    else
        tl_json_write_string(out, value); /* JSON's quoted form is one of YAML's */
}

static void write_bytes(uint64_t value, tl_text *out)
{
    static const struct {
        uint64_t bytes;
        const char *name;
    } UNITS[] = { { 1u << 30, "GiB" }, { 1000000000, "GB" }, { 1u << 20, "MiB" },
                  { 1000000, "MB" },   { 1u << 10, "KiB" },  { 1000, "KB" } };
    for (size_t i = 0; i < TL_COUNT_OF(UNITS); i++) {
        if (value == 0 || value % UNITS[i].bytes != 0) continue;
        tl_text_printf(out, "%llu%s", (unsigned long long)(value / UNITS[i].bytes), UNITS[i].name);
        return;
    }
    tl_json_write_uint64(out, value);
}

static void write_address(const tl_config_server *server, tl_text *out)
{
    bool ipv6 = strchr(server->host, ':') != NULL;
    tl_text_printf(out, ipv6 ? "\"[%s]:%u\"" : "%s:%u", server->host, server->port);
}

static void write_names(const char *const *names, size_t count, tl_text *out)
{
    tl_text_puts(out, "[");
    for (size_t i = 0; i < count; i++) {
        if (i > 0) tl_text_puts(out, ", ");
        write_text(names[i], out);
    }
    tl_text_puts(out, "]");
}

static bool has_value(const tl_config_field *f, const void *base)
{
    const void *at = (const char *)base + f->offset;
    const tl_loop_options *loop = base; /* of the lists of names */
    if (f->type == TL_CONFIG_TEXT || f->type == TL_CONFIG_NAME)
        return *(const char *const *)at != NULL;
    if (f->type == TL_CONFIG_CLASSES) return loop->class_count > 0;
    if (f->type == TL_CONFIG_PEOPLE) return loop->person_count > 0;
    return true;
}

/* The value as it is written in a file. */
static void write_value(const tl_config_field *f, const void *base, tl_text *out)
{
    const void *at = (const char *)base + f->offset;
    const uint32_t *u32 = at;
    const tl_loop_options *loop = base;
    switch (f->type) {
    case TL_CONFIG_TEXT:
    case TL_CONFIG_NAME: write_text(*(const char *const *)at, out); break;
    case TL_CONFIG_ADDRESS: write_address(base, out); break;
    case TL_CONFIG_BOOL: tl_json_write_bool(out, *(const bool *)at); break;
    case TL_CONFIG_UINT32: tl_json_write_uint64(out, *u32); break;
    case TL_CONFIG_UINT64: tl_json_write_uint64(out, *(const uint64_t *)at); break;
    case TL_CONFIG_BYTES: write_bytes(*(const uint64_t *)at, out); break;
    case TL_CONFIG_FLOAT: tl_json_write_float(out, *(const float *)at); break;
    case TL_CONFIG_DOUBLE: tl_json_write_double(out, *(const double *)at); break;
    case TL_CONFIG_SIZE: tl_text_printf(out, "%ux%u", u32[0], u32[1]); break;
    case TL_CONFIG_CHOICE: tl_text_puts(out, f->choices[*(const int *)at]); break;
    case TL_CONFIG_CLASSES: write_names(loop->classes, loop->class_count, out); break;
    case TL_CONFIG_PEOPLE: write_names(loop->people, loop->person_count, out); break;
    case TL_CONFIG_SECTION:
    case TL_CONFIG_LOOPS: break;
    }
}

/* ---- Template ---------------------------------------------------------------------------------
 */

static void write_group(const tl_config_table *table, const void *base, const char *indent,
                        const char *first_indent, const tl_loop_options *loop, tl_text *out);

/* Without a value: a comment that shows how one looks. */
static void write_line(const tl_config_field *f, const void *base, const char *indent,
                       const char *key_indent, tl_text *out)
{
    if (!has_value(f, base)) {
        tl_text_printf(out, "%s# %s: %s\n", indent, f->key, f->example);
        return;
    }
    tl_text_printf(out, "%s%s: ", key_indent, f->key);
    write_value(f, base, out);
    tl_text_puts(out, "\n");
}

static void write_field(const tl_config_field *f, const void *base, const char *indent,
                        const char *key_indent, const tl_loop_options *loop, tl_text *out)
{
    char deeper[32], first[32];
    snprintf(deeper, sizeof deeper, "%s  ", indent);
    snprintf(first, sizeof first, "%s- ", deeper);
    tl_text_printf(out, "%s# %s\n", indent, f->help);
    if (f->type == TL_CONFIG_SECTION) {
        tl_text_printf(out, "%s%s:\n", indent, f->key);
        write_group(f->section, (const char *)base + f->offset, deeper, deeper, loop, out);
    } else if (f->type == TL_CONFIG_LOOPS) {
        tl_text_printf(out, "%s%s:\n", indent, f->key);
        snprintf(deeper, sizeof deeper, "%s    ", indent);
        write_group(f->section, loop, deeper, first, NULL, out);
    } else {
        write_line(f, base, indent, key_indent, out);
    }
}

static void write_group(const tl_config_table *table, const void *base, const char *indent,
                        const char *first_indent, const tl_loop_options *loop, tl_text *out)
{
    for (size_t i = 0; i < table->count; i++) {
        const tl_config_field *f = &table->fields[i];
        write_field(f, base, indent, i == 0 ? first_indent : indent, loop, out);
        if (*indent == '\0' && i + 1 < table->count) tl_text_puts(out, "\n");
    }
}

void tl_config_write_template(const tl_config_defaults *defaults, const tl_loop_options *loop,
                              tl_text *out)
{
    TL_ASSERT(loop->name != NULL);
    TL_ASSERT(loop->class_count >= 2);
    tl_config config = { 0 };
    tl_config_set_defaults(&config, defaults);
    tl_text_puts(out,
                 "# Configuration of tightloop. Every key is here with its default; what is left "
                 "out keeps it.\n# Start with: tightloop serve --config <this file>\n\n");
    write_group(&TL_CONFIG_TABLE, &config, "", "", loop, out);
}

/* ---- Reference --------------------------------------------------------------------------------
 */

static void write_accepted(const tl_config_field *f, tl_text *out)
{
    switch (f->type) {
    case TL_CONFIG_TEXT: tl_text_puts(out, "text"); break;
    case TL_CONFIG_NAME: tl_text_puts(out, "name, needed"); break;
    case TL_CONFIG_ADDRESS: tl_text_puts(out, "address:port"); break;
    case TL_CONFIG_BOOL: tl_text_puts(out, "true, false"); break;
    case TL_CONFIG_UINT64: tl_text_puts(out, "whole number"); break;
    case TL_CONFIG_UINT32: tl_text_printf(out, "%.10g to %.10g", f->minimum, f->maximum); break;
    case TL_CONFIG_FLOAT:
    case TL_CONFIG_DOUBLE:
        tl_text_printf(out, "number, %.10g to %.10g", f->minimum, f->maximum);
        break;
    case TL_CONFIG_BYTES: tl_text_puts(out, "size with unit"); break;
    case TL_CONFIG_SIZE: tl_text_printf(out, "height x width, to %.10g", f->maximum); break;
    case TL_CONFIG_CHOICE:
        for (int i = 0; f->choices[i] != NULL; i++)
            tl_text_printf(out, "%s%s", i > 0 ? ", " : "", f->choices[i]);
        break;
    case TL_CONFIG_CLASSES:
        tl_text_printf(out, "list of %.10g to %.10g names, needed", f->minimum, f->maximum);
        break;
    case TL_CONFIG_PEOPLE: tl_text_printf(out, "list of up to %.10g names", f->maximum); break;
    case TL_CONFIG_SECTION:
    case TL_CONFIG_LOOPS: break;
    }
}

static void write_rows(const tl_config_table *table, const char *prefix, const void *base,
                       tl_text *out)
{
    for (size_t i = 0; i < table->count; i++) {
        const tl_config_field *f = &table->fields[i];
        if (f->type == TL_CONFIG_SECTION) {
            char deeper[64];
            snprintf(deeper, sizeof deeper, "%s%s.", prefix, f->key);
            write_rows(f->section, deeper, (const char *)base + f->offset, out);
            continue;
        }
        tl_text_printf(out, "| `%s%s` | ", prefix, f->key);
        write_accepted(f, out);
        tl_text_puts(out, " | ");
        tl_text_puts(out, has_value(f, base) ? "`" : "none");
        if (has_value(f, base)) {
            write_value(f, base, out);
            tl_text_puts(out, "`");
        }
        tl_text_printf(out, " | %s |\n", f->help);
    }
}

void tl_config_write_reference(const tl_config_defaults *defaults, tl_text *out)
{
    tl_config config = { 0 };
    tl_config_set_defaults(&config, defaults);
    tl_text_puts(
        out,
        "# Configuration\n\n"
        "`tightloop init` writes a commented file with every key; `tightloop serve` reads it. The "
        "file is YAML, at most 256 KiB, one document, without anchors, aliases and tags. A key "
        "that "
        "is left out, or has no value, keeps its default. Unknown and repeated keys are errors, "
        "and every error names the line. Sizes take the units B, KB, MB, GB, TB (powers of 1000) "
        "and KiB, MiB, GiB, TiB (powers of 1024).\n");
    for (size_t i = 0; i < TL_CONFIG_TABLE.count; i++) {
        const tl_config_field *f = &TL_CONFIG_TABLE.fields[i];
        bool loops = f->type == TL_CONFIG_LOOPS;
        tl_text_printf(out, "\n## `%s`\n\n%s", f->key, f->help);
        if (loops)
            tl_text_printf(out, " A list of at most %.10g; each has these keys.", f->maximum);
        tl_text_puts(out, "\n\n| key | takes | default | meaning |\n|---|---|---|---|\n");
        write_rows(f->section, "",
                   loops ? (const void *)&defaults->loop : (const char *)&config + f->offset, out);
    }
}
