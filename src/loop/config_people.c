/* Who reviews: checked, as JSON in the loop's description, as bytes in a checkpoint. */
#include "loop/config.h"

#include <stdio.h>
#include <string.h>

static bool is_there(const tl_loop_config *config, const char *name)
{
    for (uint32_t i = 0; i < config->person_count; i++)
        if (strcmp(config->people[i], name) == 0) return true;
    return false;
}

/* False: no name, one too many, or there already. */
static bool add(tl_loop_config *config, const char *name)
{
    if (config->person_count == TL_PERSON_COUNT_MAX || !tl_name_is_valid(name) ||
        is_there(config, name))
        return false;
    snprintf(config->people[config->person_count++], TL_TEXT_BYTES_MAX, "%s", name);
    return true;
}

tl_status tl_loop_people_take(const tl_loop_options *options, tl_loop_config *out, tl_error *err)
{
    if (options->person_count > TL_PERSON_COUNT_MAX)
        return tl_fail(err, TL_EINVAL, "review.people has %zu names; give at most %d",
                       options->person_count, TL_PERSON_COUNT_MAX);
    for (size_t i = 0; i < options->person_count; i++)
        if (options->people == NULL || options->people[i] == NULL || !add(out, options->people[i]))
            return tl_fail(err, TL_EINVAL,
                           "review.people: a name is 1 to %d bytes without control characters, and "
                           "there once; look at number %zu",
                           TL_TEXT_BYTES_MAX - 1, i + 1);
    return TL_OK;
}

void tl_loop_people_write(const tl_loop_config *config, tl_json_writer *w)
{
    tl_json_array(w);
    for (uint32_t i = 0; i < config->person_count; i++) tl_json_string(w, config->people[i]);
    tl_json_array_end(w);
}

bool tl_loop_people_read(const tl_json *list, tl_loop_config *config)
{
    config->person_count = 0;
    for (const tl_json *item = tl_json_first(list); item != NULL; item = item->next) {
        const char *name;
        if (!tl_json_text(item, &name) || !add(config, name)) return false;
    }
    return true;
}

bool tl_loop_people_equal(const tl_loop_config *a, const tl_loop_config *b)
{
    if (a->person_count != b->person_count) return false;
    for (uint32_t i = 0; i < a->person_count; i++)
        if (strcmp(a->people[i], b->people[i]) != 0) return false;
    return true;
}

void tl_loop_people_copy(tl_loop_config *to, const tl_loop_config *from)
{
    memcpy(to->people, from->people, sizeof to->people);
    to->person_count = from->person_count;
}

void tl_loop_people_save(const tl_loop_config *config, tl_blob *blob)
{
    tl_blob_u32(blob, config->person_count);
    for (uint32_t i = 0; i < config->person_count; i++)
        tl_blob_bytes(blob, config->people[i], TL_TEXT_BYTES_MAX);
}

tl_status tl_loop_people_load(tl_blob_reader *body, tl_loop_config *config, tl_error *err)
{
    uint32_t count = tl_blob_read_u32(body);
    config->person_count = 0;
    bool sound = count <= TL_PERSON_COUNT_MAX;
    for (uint32_t i = 0; i < count && sound; i++) {
        const char *name = tl_blob_read_bytes(body, TL_TEXT_BYTES_MAX);
        sound = name != NULL && memchr(name, '\0', TL_TEXT_BYTES_MAX) != NULL && add(config, name);
    }
    return sound ? TL_OK : tl_fail(err, TL_ECORRUPT, "a checkpoint has damaged names of people");
}
