/* simdisk_impl.h - the simulated disk of simdisk.h. Included by tests, once in a program. */
#ifndef TL_JOURNAL_SIMDISK_IMPL_H
#define TL_JOURNAL_SIMDISK_IMPL_H

#include "base/env.h"
#include "base/rng.h"
#include "journal/test/simdisk.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

enum { SIM_FILES_MAX = 16, SIM_REGIONS_MAX = 64, SIM_NAME_BYTES = 256, SIM_FAULTS = 3 };

/* A write, or a truncation to `offset`; a deletion starts a new file under the old name. */
typedef struct sim_change {
    struct sim_change *next;
    bool is_truncation, is_deletion;
    uint64_t offset, bytes;
    uint8_t data[];
} sim_change;

typedef struct sim_bytes {
    uint8_t *data;
    uint64_t bytes, capacity;
} sim_bytes;

typedef struct sim_node {
    char name[SIM_NAME_BYTES];
    bool used, exists, exists_synced;
    sim_bytes now, synced;
    sim_change *first, **last; /* since the last sync, in order */
    int open_count;
    /* SQLite's five-state lock. */
    int shared_count;
    void *reserved_by, *pending_by, *exclusive_by;
    /* Shared memory of the WAL's index: it does not survive the power. */
    void *regions[SIM_REGIONS_MAX];
    int region_count, shm_users;
    int shm_shared[SQLITE_SHM_NLOCK];
    void *shm_exclusive[SQLITE_SHM_NLOCK];
} sim_node;

struct tl_simdisk {
    sqlite3_vfs vfs; /* first */
    char name[64];
    pthread_mutex_t mutex;
    tl_rng rng;
    sim_node nodes[SIM_FILES_MAX];
    uint64_t operations, off_at;
    bool lie;
    uint64_t fault_at[SIM_FAULTS], fault_times[SIM_FAULTS], fault_seen[SIM_FAULTS];
};

typedef struct sim_file {
    sqlite3_file base; /* first */
    tl_simdisk *disk;
    sim_node *node;
    int lock;
    bool delete_on_close, shm_used;
    uint16_t shm_shared_mask, shm_exclusive_mask;
} sim_file;

/* ---- Bytes -------------------------------------------------------------------------------------
 */

static bool sim_resize(sim_bytes *b, uint64_t bytes)
{
    if (bytes > b->capacity) {
        uint64_t capacity = b->capacity == 0 ? 8192 : b->capacity;
        while (capacity < bytes) capacity *= 2;
        uint8_t *wider = realloc(b->data, capacity);
        if (wider == NULL) return false;
        b->data = wider;
        b->capacity = capacity;
    }
    if (bytes > b->bytes) memset(b->data + b->bytes, 0, bytes - b->bytes);
    b->bytes = bytes;
    return true;
}

static bool sim_put(sim_bytes *b, uint64_t offset, const uint8_t *data, uint64_t bytes)
{
    if (offset + bytes > b->bytes && !sim_resize(b, offset + bytes)) return false;
    memcpy(b->data + offset, data, bytes);
    return true;
}

static bool sim_copy(sim_bytes *to, const sim_bytes *from)
{
    if (!sim_resize(to, from->bytes)) return false;
    if (from->bytes > 0) memcpy(to->data, from->data, from->bytes);
    return true;
}

static void sim_changes_free(sim_node *node)
{
    while (node->first != NULL) {
        sim_change *next = node->first->next;
        free(node->first);
        node->first = next;
    }
    node->last = &node->first;
}

static bool sim_change_add(sim_node *node, bool is_truncation, uint64_t offset, const void *data,
                           uint64_t bytes)
{
    sim_change *change = malloc(sizeof *change + bytes);
    if (change == NULL) return false;
    *change = (sim_change){ .is_truncation = is_truncation, .offset = offset, .bytes = bytes };
    if (bytes > 0) memcpy(change->data, data, bytes);
    *node->last = change;
    node->last = &change->next;
    return true;
}

/* ---- Faults ------------------------------------------------------------------------------------
 */

/* Counts an operation; false: the power is off. */
static bool sim_operate(tl_simdisk *disk)
{
    if (disk->operations >= disk->off_at) return false;
    disk->operations++;
    return true;
}

static bool sim_is_faulty(tl_simdisk *disk, tl_simdisk_fault fault)
{
    uint64_t seen = ++disk->fault_seen[fault];
    uint64_t at = disk->fault_at[fault];
    return at > 0 && seen >= at && seen - at < disk->fault_times[fault];
}

/* ---- Files -------------------------------------------------------------------------------------
 */

static sim_node *sim_find(tl_simdisk *disk, const char *name)
{
    for (int i = 0; i < SIM_FILES_MAX; i++)
        if (disk->nodes[i].used && strcmp(disk->nodes[i].name, name) == 0) return &disk->nodes[i];
    return NULL;
}

static sim_node *sim_add(tl_simdisk *disk, const char *name)
{
    for (int i = 0; i < SIM_FILES_MAX; i++) {
        sim_node *node = &disk->nodes[i];
        if (node->used) continue;
        *node = (sim_node){ .used = true };
        node->last = &node->first;
        sqlite3_snprintf(sizeof node->name, node->name, "%s", name);
        return node;
    }
    return NULL;
}

static void sim_shm_free(sim_node *node)
{
    for (int i = 0; i < node->region_count; i++) free(node->regions[i]);
    node->region_count = 0;
    memset(node->shm_shared, 0, sizeof node->shm_shared);
    memset(node->shm_exclusive, 0, sizeof node->shm_exclusive);
}

static int sim_unlock_to(sim_file *file, int level)
{
    sim_node *node = file->node;
    if (node->exclusive_by == file && level < SQLITE_LOCK_EXCLUSIVE) node->exclusive_by = NULL;
    if (node->pending_by == file && level < SQLITE_LOCK_EXCLUSIVE) node->pending_by = NULL;
    if (node->reserved_by == file && level < SQLITE_LOCK_RESERVED) node->reserved_by = NULL;
    if (level == SQLITE_LOCK_NONE && file->lock >= SQLITE_LOCK_SHARED) node->shared_count--;
    if (level < file->lock) file->lock = level;
    return SQLITE_OK;
}

static int sim_close(sqlite3_file *base)
{
    sim_file *file = (sim_file *)base;
    tl_simdisk *disk = file->disk;
    pthread_mutex_lock(&disk->mutex);
    sim_unlock_to(file, SQLITE_LOCK_NONE);
    file->node->open_count--;
    if (file->delete_on_close) file->node->exists = false;
    pthread_mutex_unlock(&disk->mutex);
    return SQLITE_OK;
}

static int sim_read(sqlite3_file *base, void *out, int bytes, sqlite3_int64 offset)
{
    sim_file *file = (sim_file *)base;
    pthread_mutex_lock(&file->disk->mutex);
    int rc = SQLITE_OK;
    if (file->disk->operations >= file->disk->off_at) {
        rc = SQLITE_IOERR_READ;
    } else {
        const sim_bytes *now = &file->node->now;
        uint64_t from = (uint64_t)offset, want = (uint64_t)bytes;
        uint64_t have = from < now->bytes ? now->bytes - from : 0;
        if (have > want) have = want;
        if (have > 0) memcpy(out, now->data + from, have);
        if (have < want) memset((uint8_t *)out + have, 0, want - have);
        if (have < want) rc = SQLITE_IOERR_SHORT_READ;
    }
    pthread_mutex_unlock(&file->disk->mutex);
    return rc;
}

static int sim_write_locked(sim_file *file, const void *data, uint64_t bytes, uint64_t offset)
{
    tl_simdisk *disk = file->disk;
    sim_node *node = file->node;
    if (!sim_operate(disk)) return SQLITE_IOERR_WRITE;
    if (offset + bytes > node->now.bytes && sim_is_faulty(disk, TL_SIMDISK_FULL))
        return SQLITE_FULL;
    if (sim_is_faulty(disk, TL_SIMDISK_WRITE)) return SQLITE_IOERR_WRITE;
    if (!sim_put(&node->now, offset, data, bytes) ||
        !sim_change_add(node, false, offset, data, bytes))
        return SQLITE_IOERR_NOMEM;
    return SQLITE_OK;
}

static int sim_write(sqlite3_file *base, const void *data, int bytes, sqlite3_int64 offset)
{
    sim_file *file = (sim_file *)base;
    pthread_mutex_lock(&file->disk->mutex);
    int rc = sim_write_locked(file, data, (uint64_t)bytes, (uint64_t)offset);
    pthread_mutex_unlock(&file->disk->mutex);
    return rc;
}

static int sim_truncate(sqlite3_file *base, sqlite3_int64 bytes)
{
    sim_file *file = (sim_file *)base;
    pthread_mutex_lock(&file->disk->mutex);
    int rc = SQLITE_OK;
    if (!sim_operate(file->disk)) {
        rc = SQLITE_IOERR_TRUNCATE;
    } else if (!sim_resize(&file->node->now, (uint64_t)bytes) ||
               !sim_change_add(file->node, true, (uint64_t)bytes, NULL, 0)) {
        rc = SQLITE_IOERR_NOMEM;
    }
    pthread_mutex_unlock(&file->disk->mutex);
    return rc;
}

static bool sim_save(sim_node *node)
{
    for (sim_change *c = node->first; c != NULL; c = c->next) {
        bool done = c->is_truncation ? sim_resize(&node->synced, c->offset)
                                     : sim_put(&node->synced, c->offset, c->data, c->bytes);
        if (!done) return false;
    }
    sim_changes_free(node);
    node->exists_synced = node->exists;
    return true;
}

static int sim_sync(sqlite3_file *base, int flags)
{
    (void)flags;
    sim_file *file = (sim_file *)base;
    tl_simdisk *disk = file->disk;
    pthread_mutex_lock(&disk->mutex);
    int rc = SQLITE_OK;
    if (!sim_operate(disk)) {
        rc = SQLITE_IOERR_FSYNC;
    } else if (sim_is_faulty(disk, TL_SIMDISK_SYNC)) {
        rc = SQLITE_IOERR_FSYNC;
        sim_changes_free(file->node); /* marked clean without having been written */
    } else if (!disk->lie && !sim_save(file->node)) {
        rc = SQLITE_IOERR_NOMEM;
    }
    pthread_mutex_unlock(&disk->mutex);
    return rc;
}

static int sim_file_size(sqlite3_file *base, sqlite3_int64 *out)
{
    sim_file *file = (sim_file *)base;
    pthread_mutex_lock(&file->disk->mutex);
    *out = (sqlite3_int64)file->node->now.bytes;
    pthread_mutex_unlock(&file->disk->mutex);
    return SQLITE_OK;
}

/* ---- Locks -------------------------------------------------------------------------------------
 */

static bool sim_held_by_other(const void *holder, const sim_file *file)
{
    return holder != NULL && holder != file;
}

static int sim_lock_locked(sim_file *file, int level)
{
    sim_node *node = file->node;
    if (level <= file->lock) return SQLITE_OK;
    if (sim_held_by_other(node->exclusive_by, file)) return SQLITE_BUSY;
    if (level == SQLITE_LOCK_SHARED) {
        if (sim_held_by_other(node->pending_by, file)) return SQLITE_BUSY;
        node->shared_count++;
    }
    if (level == SQLITE_LOCK_RESERVED) {
        if (sim_held_by_other(node->reserved_by, file)) return SQLITE_BUSY;
        node->reserved_by = file;
    }
    if (level == SQLITE_LOCK_EXCLUSIVE) {
        if (sim_held_by_other(node->pending_by, file)) return SQLITE_BUSY;
        node->pending_by = file;
        if (node->shared_count > 1) return SQLITE_BUSY;
        node->exclusive_by = file;
    }
    file->lock = level;
    return SQLITE_OK;
}

static int sim_lock(sqlite3_file *base, int level)
{
    sim_file *file = (sim_file *)base;
    pthread_mutex_lock(&file->disk->mutex);
    int rc = sim_lock_locked(file, level);
    pthread_mutex_unlock(&file->disk->mutex);
    return rc;
}

static int sim_unlock(sqlite3_file *base, int level)
{
    sim_file *file = (sim_file *)base;
    pthread_mutex_lock(&file->disk->mutex);
    int rc = sim_unlock_to(file, level);
    pthread_mutex_unlock(&file->disk->mutex);
    return rc;
}

static int sim_check_reserved(sqlite3_file *base, int *out)
{
    sim_file *file = (sim_file *)base;
    pthread_mutex_lock(&file->disk->mutex);
    *out = file->node->reserved_by != NULL || file->node->exclusive_by != NULL;
    pthread_mutex_unlock(&file->disk->mutex);
    return SQLITE_OK;
}

static int sim_file_control(sqlite3_file *base, int op, void *argument)
{
    (void)base, (void)op, (void)argument;
    return SQLITE_NOTFOUND;
}

static int sim_sector_size(sqlite3_file *base)
{
    (void)base;
    return 4096;
}

static int sim_characteristics(sqlite3_file *base)
{
    (void)base;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

/* ---- Shared memory -----------------------------------------------------------------------------
 */

static int sim_shm_map_locked(sim_file *file, int region, int bytes, bool extend,
                              void volatile **out)
{
    sim_node *node = file->node;
    *out = NULL;
    if (region >= SIM_REGIONS_MAX) return SQLITE_FULL;
    if (!file->shm_used) node->shm_users++;
    file->shm_used = true;
    if (region >= node->region_count && !extend) return SQLITE_OK;
    while (node->region_count <= region) {
        void *memory = calloc(1, (size_t)bytes);
        if (memory == NULL) return SQLITE_NOMEM;
        node->regions[node->region_count++] = memory;
    }
    *out = node->regions[region];
    return SQLITE_OK;
}

static int sim_shm_map(sqlite3_file *base, int region, int bytes, int extend, void volatile **out)
{
    sim_file *file = (sim_file *)base;
    pthread_mutex_lock(&file->disk->mutex);
    int rc = sim_shm_map_locked(file, region, bytes, extend != 0, out);
    pthread_mutex_unlock(&file->disk->mutex);
    return rc;
}

static bool sim_shm_free_for(const sim_file *file, int slot, bool exclusive)
{
    const sim_node *node = file->node;
    if (sim_held_by_other(node->shm_exclusive[slot], file)) return false;
    int own = (file->shm_shared_mask >> slot) & 1;
    return !exclusive || node->shm_shared[slot] - own == 0;
}

static void sim_shm_take(sim_file *file, int slot, bool exclusive)
{
    uint16_t bit = (uint16_t)(1u << slot);
    if (exclusive) {
        file->node->shm_exclusive[slot] = file;
        file->shm_exclusive_mask |= bit;
    } else if ((file->shm_shared_mask & bit) == 0) {
        file->node->shm_shared[slot]++;
        file->shm_shared_mask |= bit;
    }
}

static void sim_shm_release(sim_file *file, int slot)
{
    uint16_t bit = (uint16_t)(1u << slot);
    if ((file->shm_exclusive_mask & bit) != 0) file->node->shm_exclusive[slot] = NULL;
    if ((file->shm_shared_mask & bit) != 0) file->node->shm_shared[slot]--;
    file->shm_exclusive_mask &= (uint16_t)~bit;
    file->shm_shared_mask &= (uint16_t)~bit;
}

static int sim_shm_lock(sqlite3_file *base, int offset, int count, int flags)
{
    sim_file *file = (sim_file *)base;
    bool exclusive = (flags & SQLITE_SHM_EXCLUSIVE) != 0, lock = (flags & SQLITE_SHM_LOCK) != 0;
    int rc = SQLITE_OK;
    pthread_mutex_lock(&file->disk->mutex);
    for (int i = offset; i < offset + count && lock; i++)
        if (!sim_shm_free_for(file, i, exclusive)) rc = SQLITE_BUSY;
    for (int i = offset; i < offset + count && rc == SQLITE_OK; i++) {
        if (lock) {
            sim_shm_take(file, i, exclusive);
        } else {
            sim_shm_release(file, i);
        }
    }
    pthread_mutex_unlock(&file->disk->mutex);
    return rc;
}

static void sim_shm_barrier(sqlite3_file *base)
{
    sim_file *file = (sim_file *)base;
    pthread_mutex_lock(&file->disk->mutex);
    pthread_mutex_unlock(&file->disk->mutex);
}

static int sim_shm_unmap(sqlite3_file *base, int delete_flag)
{
    (void)delete_flag;
    sim_file *file = (sim_file *)base;
    pthread_mutex_lock(&file->disk->mutex);
    for (int i = 0; i < SQLITE_SHM_NLOCK; i++) sim_shm_release(file, i);
    if (file->shm_used && --file->node->shm_users == 0) sim_shm_free(file->node);
    file->shm_used = false;
    pthread_mutex_unlock(&file->disk->mutex);
    return SQLITE_OK;
}

/* ---- The file system ---------------------------------------------------------------------------
 */

static const sqlite3_io_methods SIM_METHODS = {
    .iVersion = 2,
    .xClose = sim_close,
    .xRead = sim_read,
    .xWrite = sim_write,
    .xTruncate = sim_truncate,
    .xSync = sim_sync,
    .xFileSize = sim_file_size,
    .xLock = sim_lock,
    .xUnlock = sim_unlock,
    .xCheckReservedLock = sim_check_reserved,
    .xFileControl = sim_file_control,
    .xSectorSize = sim_sector_size,
    .xDeviceCharacteristics = sim_characteristics,
    .xShmMap = sim_shm_map,
    .xShmLock = sim_shm_lock,
    .xShmBarrier = sim_shm_barrier,
    .xShmUnmap = sim_shm_unmap,
};

static int sim_open_locked(tl_simdisk *disk, const char *name, sim_file *file, int flags)
{
    if (disk->operations >= disk->off_at) return SQLITE_CANTOPEN;
    sim_node *node = sim_find(disk, name);
    if ((node == NULL || !node->exists) && (flags & SQLITE_OPEN_CREATE) == 0)
        return SQLITE_CANTOPEN;
    if (node == NULL) node = sim_add(disk, name);
    if (node == NULL) return SQLITE_CANTOPEN;
    node->exists = true;
    node->open_count++;
    *file = (sim_file){ .disk = disk, .node = node };
    file->delete_on_close = (flags & SQLITE_OPEN_DELETEONCLOSE) != 0;
    file->base.pMethods = &SIM_METHODS;
    return SQLITE_OK;
}

static int sim_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *base, int flags,
                    int *flags_out)
{
    tl_simdisk *disk = (tl_simdisk *)vfs;
    base->pMethods = NULL;
    if (name == NULL) return SQLITE_CANTOPEN;
    pthread_mutex_lock(&disk->mutex);
    int rc = sim_open_locked(disk, name, (sim_file *)base, flags);
    pthread_mutex_unlock(&disk->mutex);
    if (flags_out != NULL) *flags_out = flags;
    return rc;
}

static int sim_delete(sqlite3_vfs *vfs, const char *name, int sync_folder)
{
    tl_simdisk *disk = (tl_simdisk *)vfs;
    pthread_mutex_lock(&disk->mutex);
    sim_node *node = sim_find(disk, name);
    int rc = SQLITE_OK;
    if (node == NULL || !node->exists) {
        rc = SQLITE_IOERR_DELETE_NOENT;
    } else if (!sim_operate(disk)) {
        rc = SQLITE_IOERR_DELETE;
    } else {
        node->exists = false;
        node->now.bytes = 0;
        /* The old content may come back unless the folder was synced. */
        if (sync_folder && !disk->lie) {
            node->exists_synced = false;
            node->synced.bytes = 0;
        }
        sim_changes_free(node);
        if (!sim_change_add(node, true, 0, NULL, 0)) {
            rc = SQLITE_IOERR_NOMEM;
        } else {
            node->first->is_deletion = true;
        }
    }
    pthread_mutex_unlock(&disk->mutex);
    return rc;
}

static int sim_access(sqlite3_vfs *vfs, const char *name, int flags, int *out)
{
    tl_simdisk *disk = (tl_simdisk *)vfs;
    pthread_mutex_lock(&disk->mutex);
    sim_node *node = sim_find(disk, name);
    *out = node != NULL && node->exists &&
           (flags != SQLITE_ACCESS_EXISTS || node->now.bytes > 0 || node->open_count > 0);
    pthread_mutex_unlock(&disk->mutex);
    return SQLITE_OK;
}

static int sim_full_pathname(sqlite3_vfs *vfs, const char *name, int bytes, char *out)
{
    (void)vfs;
    sqlite3_snprintf(bytes, out, "%s", name);
    return SQLITE_OK;
}

static int sim_randomness(sqlite3_vfs *vfs, int bytes, char *out)
{
    tl_simdisk *disk = (tl_simdisk *)vfs;
    pthread_mutex_lock(&disk->mutex);
    for (int i = 0; i < bytes; i++) out[i] = (char)tl_rng_u64(&disk->rng);
    pthread_mutex_unlock(&disk->mutex);
    return bytes;
}

static int sim_sleep(sqlite3_vfs *vfs, int us)
{
    (void)vfs;
    return sqlite3_vfs_find(NULL)->xSleep(sqlite3_vfs_find(NULL), us);
}

static int sim_current_time_ms(sqlite3_vfs *vfs, sqlite3_int64 *out)
{
    (void)vfs;
    return sqlite3_vfs_find(NULL)->xCurrentTimeInt64(sqlite3_vfs_find(NULL), out);
}

static int sim_last_error(sqlite3_vfs *vfs, int bytes, char *out)
{
    (void)vfs, (void)bytes, (void)out;
    return 0;
}

/* ---- For the test ------------------------------------------------------------------------------
 */

tl_simdisk *tl_simdisk_create(const char *name, uint64_t seed)
{
    tl_simdisk *disk = calloc(1, sizeof *disk);
    if (disk == NULL) return NULL;
    sqlite3_initialize();
    pthread_mutex_init(&disk->mutex, NULL);
    tl_rng_seed(&disk->rng, seed, 0x5d);
    disk->off_at = UINT64_MAX;
    sqlite3_snprintf(sizeof disk->name, disk->name, "%s", name);
    disk->vfs = (sqlite3_vfs){ .iVersion = 2,
                               .szOsFile = sizeof(sim_file),
                               .mxPathname = SIM_NAME_BYTES - 16,
                               .zName = disk->name,
                               .xOpen = sim_open,
                               .xDelete = sim_delete,
                               .xAccess = sim_access,
                               .xFullPathname = sim_full_pathname,
                               .xRandomness = sim_randomness,
                               .xSleep = sim_sleep,
                               .xGetLastError = sim_last_error,
                               .xCurrentTimeInt64 = sim_current_time_ms };
    sqlite3_vfs_register(&disk->vfs, 0);
    return disk;
}

static void sim_node_free(sim_node *node)
{
    sim_changes_free(node);
    sim_shm_free(node);
    free(node->now.data);
    free(node->synced.data);
    *node = (sim_node){ 0 };
}

void tl_simdisk_destroy(tl_simdisk **disk)
{
    if (*disk == NULL) return;
    sqlite3_vfs_unregister(&(*disk)->vfs);
    for (int i = 0; i < SIM_FILES_MAX; i++)
        if ((*disk)->nodes[i].used) sim_node_free(&(*disk)->nodes[i]);
    pthread_mutex_destroy(&(*disk)->mutex);
    free(*disk);
    *disk = NULL;
}

uint64_t tl_simdisk_operations(tl_simdisk *disk)
{
    pthread_mutex_lock(&disk->mutex);
    uint64_t operations = disk->operations;
    pthread_mutex_unlock(&disk->mutex);
    return operations;
}

void tl_simdisk_cut_after(tl_simdisk *disk, uint64_t operations)
{
    pthread_mutex_lock(&disk->mutex);
    disk->off_at = disk->operations + operations;
    pthread_mutex_unlock(&disk->mutex);
}

bool tl_simdisk_is_off(tl_simdisk *disk)
{
    pthread_mutex_lock(&disk->mutex);
    bool off = disk->operations >= disk->off_at;
    pthread_mutex_unlock(&disk->mutex);
    return off;
}

/* One write, sector by sector: all, nothing, or a prefix of each. */
static void sim_write_survives(tl_simdisk *disk, sim_node *node, const sim_change *change,
                               uint64_t sector, uint64_t share)
{
    uint64_t end = change->offset + change->bytes;
    for (uint64_t at = change->offset; at < end;) {
        uint64_t stop = at - at % sector + sector;
        if (stop > end) stop = end;
        uint64_t bytes = stop - at;
        if (tl_rng_below(&disk->rng, 16) == 0)
            bytes = tl_rng_below(&disk->rng, bytes + 1); /* torn */
        if (tl_rng_below(&disk->rng, 100) < share && bytes > 0) {
            bool put = sim_put(&node->synced, at, change->data + (at - change->offset), bytes);
            TL_ASSERT(put);
        }
        at = stop;
    }
}

static void sim_node_survives(tl_simdisk *disk, sim_node *node)
{
    static const uint64_t SHARES[] = { 0, 50, 90, 100 };
    uint64_t share = SHARES[tl_rng_below(&disk->rng, TL_COUNT_OF(SHARES))];
    uint64_t sector = tl_rng_below(&disk->rng, 2) == 0 ? 512 : 4096;
    bool folder_saved = tl_rng_below(&disk->rng, 2) == 0;
    if (folder_saved) node->exists_synced = node->exists;
    for (sim_change *c = node->first; c != NULL; c = c->next) {
        if (c->is_deletion && !folder_saved) break; /* the old file is back, the new one is not */
        if (!c->is_truncation) {
            sim_write_survives(disk, node, c, sector, share);
        } else if (c->is_deletion || tl_rng_below(&disk->rng, 100) < share) {
            bool cut = sim_resize(&node->synced, c->offset);
            TL_ASSERT(cut);
        }
    }
    sim_changes_free(node);
    sim_shm_free(node);
    node->exists = node->exists_synced;
    if (!node->exists) node->synced.bytes = 0;
    bool copied = sim_copy(&node->now, &node->synced);
    TL_ASSERT(copied);
}

void tl_simdisk_power_on(tl_simdisk *disk)
{
    pthread_mutex_lock(&disk->mutex);
    for (int i = 0; i < SIM_FILES_MAX; i++) {
        if (!disk->nodes[i].used) continue;
        TL_ASSERT(disk->nodes[i].open_count == 0);
        sim_node_survives(disk, &disk->nodes[i]);
    }
    disk->off_at = UINT64_MAX;
    memset(disk->fault_at, 0, sizeof disk->fault_at);
    pthread_mutex_unlock(&disk->mutex);
}

void tl_simdisk_lie(tl_simdisk *disk, bool lie)
{
    pthread_mutex_lock(&disk->mutex);
    disk->lie = lie;
    pthread_mutex_unlock(&disk->mutex);
}

void tl_simdisk_fail(tl_simdisk *disk, tl_simdisk_fault fault, uint64_t nth, uint64_t times)
{
    pthread_mutex_lock(&disk->mutex);
    disk->fault_seen[fault] = 0;
    disk->fault_at[fault] = nth;
    disk->fault_times[fault] = times;
    pthread_mutex_unlock(&disk->mutex);
}

bool tl_simdisk_flip(tl_simdisk *disk, const char *file, uint64_t offset, unsigned bit)
{
    pthread_mutex_lock(&disk->mutex);
    sim_node *node = sim_find(disk, file);
    bool there = node != NULL && offset < node->now.bytes;
    if (there) node->now.data[offset] ^= (uint8_t)(1u << (bit & 7));
    if (there && offset < node->synced.bytes) node->synced.data[offset] = node->now.data[offset];
    pthread_mutex_unlock(&disk->mutex);
    return there;
}

uint64_t tl_simdisk_size(tl_simdisk *disk, const char *file)
{
    pthread_mutex_lock(&disk->mutex);
    sim_node *node = sim_find(disk, file);
    uint64_t bytes = node != NULL && node->exists ? node->now.bytes : 0;
    pthread_mutex_unlock(&disk->mutex);
    return bytes;
}

#endif
