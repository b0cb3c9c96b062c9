/* Names of sites: evidence knows them by hash, people by what they are called. */
#include "loop/core/internal.h"

#include <stdio.h>
#include <string.h>

static const tl_site_name *find(const tl_core *core, uint64_t hash)
{
    for (size_t i = 0; i < core->site_count; i++)
        if (core->sites[i].hash == hash) return &core->sites[i];
    return NULL;
}

void tl_core_site_note(tl_core *core, const char *name, uint64_t hash)
{
    if (hash == 0 || core->site_count == TL_SITE_NAME_MAX || find(core, hash) != NULL) return;
    tl_site_name *site = &core->sites[core->site_count++];
    site->hash = hash;
    snprintf(site->name, sizeof site->name, "%s", name);
}

const char *tl_core_site_name(const tl_core *core, uint64_t hash)
{
    const tl_site_name *site = find(core, hash);
    return site == NULL ? "(name not kept)" : site->name;
}

void tl_core_sites_save(const tl_core *core, tl_blob *blob)
{
    tl_blob_u32(blob, (uint32_t)core->site_count);
    for (size_t i = 0; i < core->site_count; i++)
        tl_blob_bytes(blob, core->sites[i].name, sizeof core->sites[i].name);
}

tl_status tl_core_sites_load(tl_core *core, tl_blob_reader *body, tl_error *err)
{
    uint32_t count = tl_blob_read_u32(body);
    if (count > TL_SITE_NAME_MAX)
        return tl_fail(err, TL_ECORRUPT, "a checkpoint has the names of %u sites", count);
    core->site_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        char name[TL_TEXT_BYTES_MAX];
        const char *saved = tl_blob_read_bytes(body, sizeof name);
        if (saved == NULL || memchr(saved, '\0', sizeof name) == NULL)
            return tl_fail(err, TL_ECORRUPT, "a checkpoint has a damaged site");
        memcpy(name, saved, sizeof name);
        tl_core_site_note(core, name, tl_shadow_site_of(name));
    }
    return TL_OK;
}
