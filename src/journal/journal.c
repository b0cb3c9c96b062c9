/* Opening, closing, and what other threads may ask of a journal. */
#include "journal/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { QUEUE_MAX_DEFAULT = 8192 };

/* ---- Folder and lock ---------------------------------------------------------------------------
 */

tl_status tl_journal_locate(const char *path, char file[JOURNAL_PATH_BYTES_MAX], tl_error *err)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return tl_fail(err, TL_ENOTFOUND, "no journal at %s: %s", path, strerror(errno));
    int bytes = S_ISDIR(info.st_mode)
                    ? snprintf(file, JOURNAL_PATH_BYTES_MAX, "%s/" JOURNAL_FILE_NAME, path)
                    : snprintf(file, JOURNAL_PATH_BYTES_MAX, "%s", path);
    if (bytes >= JOURNAL_PATH_BYTES_MAX) return tl_fail(err, TL_ELIMIT, "the path is too long");
    if (stat(file, &info) != 0)
        return tl_fail(err, TL_ENOTFOUND, "no journal in %s: %s", path, strerror(errno));
    return TL_OK;
}

/* Make a new name in a folder survive a power cut. */
static void folder_sync(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    (void)fsync(fd);
    close(fd);
}

static tl_status folder_make(const char *folder, tl_error *err)
{
    char part[JOURNAL_PATH_BYTES_MAX];
    size_t bytes = strlen(folder);
    for (size_t i = 1; i <= bytes; i++) {
        if (folder[i] != '/' && folder[i] != '\0') continue;
        memcpy(part, folder, i);
        part[i] = '\0';
        if (mkdir(part, 0777) == 0) {
            char *slash = strrchr(part, '/');
            if (slash != NULL) *slash = '\0';
            folder_sync(slash == NULL ? "." : (part[0] == '\0' ? "/" : part));
        } else if (errno != EEXIST && errno != EISDIR) {
            tl_status status = errno == ENOSPC ? TL_ENOSPC : TL_EIO;
            return tl_fail(err, status, "cannot make the folder %s: %s", part, strerror(errno));
        }
    }
    return TL_OK;
}

static tl_status lock_fail(int fd, const char *folder, tl_error *err)
{
    char pid[32] = "";
    ssize_t got = pread(fd, pid, sizeof pid - 1, 0);
    if (got < 0) got = 0;
    pid[strcspn(pid, "\n")] = '\0';
    return tl_fail(err, TL_EBUSY, "the journal in %s is served by process %s; stop it first",
                   folder, got > 0 ? pid : "(unknown)");
}

/* Held as long as the descriptor is open; the kernel releases it when the process dies. */
static tl_status lock_take(tl_journal *journal, tl_error *err)
{
    char path[JOURNAL_PATH_BYTES_MAX + 32];
    snprintf(path, sizeof path, "%s/" JOURNAL_LOCK_NAME, journal->folder);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0)
        return tl_fail(err, errno == ENOSPC ? TL_ENOSPC : TL_EIO, "cannot open %s: %s", path,
                       strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        tl_status status = errno == EWOULDBLOCK
                               ? lock_fail(fd, journal->folder, err)
                               : tl_fail(err, TL_EIO, "cannot lock %s: %s", path, strerror(errno));
        close(fd);
        return status;
    }
    char pid[32];
    int bytes = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    /* For the message only: a full disk must not keep a journal from opening. */
    if (ftruncate(fd, 0) == 0 && pwrite(fd, pid, (size_t)bytes, 0) != bytes) (void)ftruncate(fd, 0);
    journal->lock_fd = fd;
    return TL_OK;
}

/* ---- Open and close ----------------------------------------------------------------------------
 */

static tl_status handle_fill(tl_journal *journal, const tl_journal_options *options, tl_error *err)
{
    journal->lock_fd = -1;
    journal->options = *options;
    journal->options.path = journal->options.vfs = NULL; /* borrowed: use the copies */
    journal->env = options->env != NULL ? options->env : tl_env_system();
    if (journal->options.queue_max == 0) journal->options.queue_max = QUEUE_MAX_DEFAULT;
    if (strlen(options->path) + 32 > JOURNAL_PATH_BYTES_MAX)
        return tl_fail(err, TL_ELIMIT, "the path of the journal is too long");
    size_t bytes = strlen(options->path) + sizeof "/" JOURNAL_FILE_NAME;
    journal->folder = strdup(options->path);
    journal->file = malloc(bytes);
    journal->vfs = options->vfs != NULL ? strdup(options->vfs) : NULL;
    if (journal->folder == NULL || journal->file == NULL ||
        (options->vfs != NULL && journal->vfs == NULL))
        return tl_fail(err, TL_ENOMEM, "no memory for a journal");
    snprintf(journal->file, bytes, "%s/" JOURNAL_FILE_NAME, options->path);
    atomic_store(&journal->days_until_full, -1.0);
    return TL_OK;
}

static tl_status read_only_open(tl_journal *journal, tl_error *err)
{
    if (journal->vfs == NULL) {
        char file[JOURNAL_PATH_BYTES_MAX];
        tl_status status = tl_journal_locate(journal->folder, file, err);
        if (status != TL_OK) return status;
        char *copy = strdup(file);
        if (copy == NULL) return tl_fail(err, TL_ENOMEM, "no memory for a journal");
        free(journal->file);
        journal->file = copy;
    }
    tl_journal_reader *reader;
    tl_status status = tl_journal_reader_open(journal, &reader, err);
    if (status != TL_OK) return status;
    uint64_t last;
    status = tl_journal_last_position(reader, &last, err);
    if (status == TL_OK) atomic_store(&journal->last_position, last);
    tl_journal_reader_close(&reader);
    return status;
}

/* What a crash left in the WAL goes into the file, and the WAL starts anew: frames whose sync
 * failed are written again rather than built upon. */
static tl_status writer_recover(tl_journal *journal, tl_error *err)
{
    int64_t page_bytes;
    tl_status status = tl_db_int64(journal->db, "PRAGMA page_size", 4096, &page_bytes, err);
    if (status != TL_OK) return status;
    journal->page_bytes = (uint64_t)page_bytes;
    int rc = tl_wal_truncate(journal);
    if (rc != SQLITE_OK && tl_db_status(journal->db, rc) != TL_ENOSPC)
        return tl_db_fail(err, journal->db, rc, "recovering the journal");
    rc = tl_quota_measure(journal);
    if (rc != SQLITE_OK) return tl_db_fail(err, journal->db, rc, "journal");
    tl_quota_publish(journal);
    status = tl_clock_start(journal, err);
    tl_quota_publish(journal);
    return status;
}

static tl_status writer_start(tl_journal *journal, tl_error *err)
{
    journal->slots = malloc(GROUP_ENTRIES_MAX * sizeof *journal->slots);
    journal->popped = malloc(GROUP_ENTRIES_MAX * sizeof *journal->popped);
    if (journal->slots == NULL || journal->popped == NULL)
        return tl_fail(err, TL_ENOMEM, "no memory for a journal");
    tl_status status = tl_queue_create(journal->options.queue_max, &journal->queue);
    if (status != TL_OK) return tl_fail(err, status, "no memory for the journal's queue");
    int rc = pthread_create(&journal->thread, NULL, tl_writer_main, journal);
    if (rc != 0)
        return tl_fail(err, TL_ENOMEM, "cannot start the journal's thread: %s", strerror(rc));
    journal->thread_started = true;
    (void)pthread_setname_np(journal->thread, "tl-journal");
    return TL_OK;
}

static tl_status serving_open(tl_journal *journal, tl_error *err)
{
    tl_status status = TL_OK;
    if (journal->vfs == NULL) {
        status = folder_make(journal->folder, err);
        if (status == TL_OK) status = lock_take(journal, err);
        if (status != TL_OK) return status;
    }
    status = tl_db_open_writer(journal->file, journal->vfs, journal->options.relaxed, journal->env,
                               &journal->db, err);
    if (status != TL_OK) return status;
    if (journal->vfs == NULL) folder_sync(journal->folder);
    tl_wal_install(journal);
    status = tl_writer_prepare(journal, err);
    if (status == TL_OK) status = writer_recover(journal, err);
    if (status == TL_OK) status = writer_start(journal, err);
    return status;
}

tl_status tl_journal_open(const tl_journal_options *options, tl_journal **out, tl_error *err)
{
    TL_ASSERT(options != NULL);
    TL_ASSERT(options->path != NULL);
    if (sodium_init() < 0) return tl_fail(err, TL_EIO, "libsodium does not start");
    tl_journal *journal = calloc(1, sizeof *journal);
    if (journal == NULL) return tl_fail(err, TL_ENOMEM, "no memory for a journal");
    tl_status status = handle_fill(journal, options, err);
    if (status == TL_OK)
        status = options->read_only ? read_only_open(journal, err) : serving_open(journal, err);
    if (status != TL_OK) {
        tl_journal_close(&journal);
        return status;
    }
    *out = journal;
    return TL_OK;
}

void tl_journal_close(tl_journal **journal_at)
{
    tl_journal *journal = *journal_at;
    if (journal == NULL) return;
    if (journal->queue != NULL) tl_queue_close(journal->queue);
    if (journal->thread_started) pthread_join(journal->thread, NULL);
    tl_queue_destroy(&journal->queue);
    tl_writer_finalize(journal);
    tl_wal_close(journal);
    sqlite3_close(journal->db);
    if (journal->lock_fd >= 0) close(journal->lock_fd);
    free(journal->slots);
    free(journal->popped);
    free(journal->folder);
    free(journal->file);
    free(journal->vfs);
    free(journal);
    *journal_at = NULL;
}

/* ---- Submitting --------------------------------------------------------------------------------
 */

static bool has_prediction(const tl_journal_entry *entry)
{
    for (size_t i = 0; i < entry->count; i++)
        if (entry->records[i].kind == TL_RECORD_PREDICTION) return true;
    return false;
}

static tl_status push(tl_journal *journal, tl_journal_entry *entry, tl_error *err)
{
    if (journal->options.read_only)
        return tl_fail(err, TL_EPERM, "the journal is open for reading only");
    if (atomic_load_explicit(&journal->broken, memory_order_relaxed))
        return tl_fail(err, TL_EIO,
                       "the journal is read-only after a failed write; restart to go on");
    tl_status status = tl_queue_push(journal->queue, entry);
    if (status == TL_EFULL)
        return tl_fail(err, status, "%zu entries wait for the journal; try again shortly",
                       journal->options.queue_max);
    if (status != TL_OK) return tl_fail(err, status, "the journal is shutting down");
    return TL_OK;
}

tl_status tl_journal_submit(tl_journal *journal, tl_journal_entry *entry, tl_error *err)
{
    TL_ASSERT(journal != NULL);
    TL_ASSERT(entry->done != NULL);
    if (entry->count == 0) return tl_fail(err, TL_EINVAL, "an entry without records");
    if (atomic_load_explicit(&journal->over_quota, memory_order_relaxed) && has_prediction(entry))
        return tl_fail(
            err, TL_ENOSPC,
            "the journal has reached its quota of %llu bytes; raise it, or set retention",
            (unsigned long long)journal->options.quota_bytes);
    return push(journal, entry, err);
}

static void command_init(tl_command *command, command_kind kind)
{
    *command = (tl_command){ .kind = kind, .entry.done = tl_command_done };
    pthread_mutex_init(&command->mutex, NULL);
    pthread_cond_init(&command->finished, NULL);
}

static void command_wait(tl_command *command)
{
    pthread_mutex_lock(&command->mutex);
    while (!command->is_finished) pthread_cond_wait(&command->finished, &command->mutex);
    pthread_mutex_unlock(&command->mutex);
}

static void command_destroy(tl_command *command)
{
    pthread_mutex_destroy(&command->mutex);
    pthread_cond_destroy(&command->finished);
}

static tl_status command_answer(const tl_command *command, tl_error *err)
{
    if (command->status != TL_OK && err != NULL) *err = command->err;
    return command->status;
}

static void append_done(tl_journal_entry *entry, tl_status status, const tl_error *err)
{
    tl_command_done(entry->context, status, err);
}

tl_status tl_journal_append(tl_journal *journal, tl_record *records, size_t count, tl_error *err)
{
    tl_command waiter;
    command_init(&waiter, COMMAND_LOOP_OPEN);
    tl_journal_entry entry = {
        .records = records, .count = count, .done = append_done, .context = &waiter.entry
    };
    tl_status status = tl_journal_submit(journal, &entry, err);
    if (status == TL_OK) {
        command_wait(&waiter);
        status = command_answer(&waiter, err);
    }
    command_destroy(&waiter);
    return status;
}

static tl_status loop_find_read_only(tl_journal *journal, const char *name, uint32_t *loop,
                                     char **config_out, tl_error *err)
{
    tl_journal_reader *reader;
    tl_status status = tl_journal_reader_open(journal, &reader, err);
    if (status != TL_OK) return status;
    status = tl_reader_find_loop(reader, name, loop, config_out, err);
    tl_journal_reader_close(&reader);
    return status;
}

tl_status tl_journal_loop_open(tl_journal *journal, const char *name, const char *config,
                               uint32_t *loop, char **config_out, tl_error *err)
{
    if (journal->options.read_only)
        return loop_find_read_only(journal, name, loop, config_out, err);
    tl_command command;
    command_init(&command, COMMAND_LOOP_OPEN);
    command.name = name;
    command.config = config;
    tl_status status = push(journal, &command.entry, err);
    if (status == TL_OK) {
        command_wait(&command);
        status = command_answer(&command, err);
    }
    command_destroy(&command);
    if (status == TL_OK) *loop = command.loop;
    if (status == TL_OK && config_out != NULL) {
        *config_out = command.found_config;
    } else {
        free(command.found_config);
    }
    return status;
}

tl_status tl_journal_version_drop_weights(tl_journal *journal, uint32_t loop, uint64_t number,
                                          tl_error *err)
{
    tl_command *command = calloc(1, sizeof *command);
    if (command == NULL) return tl_fail(err, TL_ENOMEM, "no memory for a journal command");
    *command = (tl_command){ .kind = COMMAND_DROP_WEIGHTS,
                             .entry.done = tl_command_done,
                             .loop = loop,
                             .number = number,
                             .detached = true };
    tl_status status = push(journal, &command->entry, err);
    if (status != TL_OK) free(command);
    return status;
}

void tl_journal_describe(tl_journal *journal, tl_journal_state *out)
{
    *out = (tl_journal_state){
        .bytes = atomic_load(&journal->used_bytes),
        .wal_bytes = atomic_load(&journal->wal_bytes),
        .quota_bytes = journal->options.quota_bytes,
        .commits = atomic_load(&journal->commits),
        .records = atomic_load(&journal->last_position),
        .images = atomic_load(&journal->images),
        .commit_ms_p50 = tl_histogram_quantile_ns(&journal->commit_ns, 0.50) / 1e6,
        .commit_ms_p99 = tl_histogram_quantile_ns(&journal->commit_ns, 0.99) / 1e6,
        .days_until_full = atomic_load(&journal->days_until_full),
    };
}
