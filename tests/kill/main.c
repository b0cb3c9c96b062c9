/* kill: SIGKILL at random moments under load. Nothing acknowledged may be missing, the journal must
 * be sound, and the loop after a restart must be the one that replaying the journal gives, at every
 * position at which anybody saw it.
 *
 *     kill_test [--kills N] [--lives N] [--seed N] [--seconds N] [--eager]
 *
 * A journal goes through up to --lives kills, then a new one is begun; every third one holds
 * images.
 * --eager makes the worker report before it is answered: then the checker must find something
 * missing, and that is the success. The last line is a line of JSON with what was checked. */
#include "base/env.h"
#include "base/log.h"
#include "tests/kill/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct settings {
    uint64_t kills, lives, seed, seconds;
    bool eager;
} settings;

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)info, (void)type, (void)walk;
    return remove(path);
}

static int64_t now_ms(void)
{
    return tl_env_mono_ns(tl_env_system()) / 1000000;
}

/* ---- One life -------------------------------------------------------------------------------- */

/* A process of its own, begun anew: nothing of the checker is in it. */
static pid_t start_worker(const ledger *l, uint64_t seed, bool eager, int *fd)
{
    int ends[2];
    char seed_text[32], fd_text[16];
    if (pipe(ends) != 0) return -1;
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
    snprintf(seed_text, sizeof seed_text, "%llu", (unsigned long long)seed);
    snprintf(fd_text, sizeof fd_text, "%d", ends[1]);
    pid_t pid = fork();
    if (pid == 0) {
        execl("/proc/self/exe", "kill_test", "--worker", l->path, seed_text, fd_text,
              l->images ? "images" : "features", eager ? "eager" : "honest", (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    *fd = ends[0];
    return pid;
}

/* Take what the worker says until then; -1: until it is gone. True: it said READY. */
static bool listen_until(ledger *l, int fd, int64_t until_ms, char *partial, size_t *partial_bytes)
{
    bool ready = false;
    for (;;) {
        int64_t left = until_ms < 0 ? -1 : until_ms - now_ms();
        if (until_ms >= 0 && left <= 0) return ready;
        struct pollfd wait = { .fd = fd, .events = POLLIN };
        if (poll(&wait, 1, (int)left) <= 0) continue;
        char buffer[64 * sizeof(kill_report)];
        memcpy(buffer, partial, *partial_bytes);
        ssize_t got = read(fd, buffer + *partial_bytes, sizeof buffer - *partial_bytes);
        if (got <= 0) return ready;
        size_t have = *partial_bytes + (size_t)got, at = 0;
        for (; at + sizeof(kill_report) <= have; at += sizeof(kill_report)) {
            kill_report report;
            memcpy(&report, buffer + at, sizeof report);
            ready = ready || report.kind == KILL_READY;
            ledger_take(l, &report);
        }
        *partial_bytes = have - at;
        memcpy(partial, buffer + at, *partial_bytes);
        if (ready && until_ms < 0) continue;
    }
}

/* Start the worker, kill it at a random moment, hear it out. */
static bool live_and_die(ledger *l, tl_rng *rng, bool eager)
{
    int fd = -1;
    char partial[sizeof(kill_report)];
    size_t partial_bytes = 0;
    l->life = l->count;
    pid_t pid = start_worker(l, tl_rng_u64(rng), eager, &fd);
    if (pid < 0) return false;
    bool early = tl_rng_below(rng, 6) == 0; /* while it opens, or soon after */
    int64_t begin = now_ms(), span = (int64_t)tl_rng_below(rng, early ? 60 : 350);
    bool ready = listen_until(l, fd, begin + (early ? span : 40 + span), partial, &partial_bytes);
    kill(pid, SIGKILL);
    int how = 0;
    waitpid(pid, &how, 0);
    listen_until(l, fd, -1, partial, &partial_bytes);
    close(fd);
    l->counts->kills++;
    l->counts->kills_while_opening += !ready;
    if (!WIFSIGNALED(how) || WTERMSIG(how) != SIGKILL) {
        if (l->trouble[0] == '\0')
            snprintf(l->trouble, sizeof l->trouble, "the worker ended by itself (%d)", how);
        return false;
    }
    return true;
}

/* ---- Many lives ------------------------------------------------------------------------------ */

/* True: everything was there. */
static bool run_journal(const settings *s, tl_rng *rng, int64_t deadline_ms, kill_counts *counts)
{
    char path[] = "/tmp/tightloop-kill-XXXXXX";
    if (mkdtemp(path) == NULL) return false;
    ledger l;
    ledger_begin(&l, path, counts->journals % 3 == 2, counts);
    for (uint64_t life = 0; life < s->lives && counts->kills < s->kills; life++) {
        if (now_ms() >= deadline_ms || !live_and_die(&l, rng, s->eager)) break;
        ledger_check(&l);
        if (l.trouble[0] == '\0' && tl_rng_below(rng, 3) != 0) ledger_restart(&l, rng);
        if (l.trouble[0] != '\0') break;
    }
    if (l.trouble[0] == '\0') ledger_check(&l); /* after the last restart */
    bool good = l.trouble[0] == '\0';
    if (!good)
        printf("kill %llu, journal %s: %s\n", (unsigned long long)counts->kills, path, l.trouble);
    if (good || s->eager) nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    ledger_end(&l);
    return good;
}

static void print_counts(const kill_counts *c, bool good, double seconds)
{
    printf("{\"kills\":%llu,\"kills_while_opening\":%llu,\"journals\":%llu,"
           "\"acknowledgements\":%llu,\"predictions_checked\":%llu,\"feedback_checked\":%llu,"
           "\"digests_checked\":%llu,\"restarts\":%llu,\"requests_repeated\":%llu,"
           "\"requests_repeated_unanswered\":%llu,\"records_walked\":%llu,"
           "\"judgements_retrained\":%llu,\"checkpoints_compared\":%llu,\"seconds\":%.1f,"
           "\"nothing_missing\":%s}\n",
           (unsigned long long)c->kills, (unsigned long long)c->kills_while_opening,
           (unsigned long long)c->journals, (unsigned long long)c->reports,
           (unsigned long long)c->predictions, (unsigned long long)c->feedback,
           (unsigned long long)c->digests, (unsigned long long)c->restarts,
           (unsigned long long)c->retries, (unsigned long long)c->retries_unanswered,
           (unsigned long long)c->records, (unsigned long long)c->judgements,
           (unsigned long long)c->checkpoints, seconds, good ? "true" : "false");
}

static int run(const settings *s)
{
    kill_counts counts = { 0 };
    tl_rng rng;
    bool good = true;
    int64_t begin = now_ms(), deadline_ms = begin + (int64_t)s->seconds * 1000;
    tl_rng_seed(&rng, s->seed, 0x6b11);
    printf("seed %llu\n", (unsigned long long)s->seed);
    fflush(stdout);
    while (good && counts.kills < s->kills && now_ms() < deadline_ms)
        good = run_journal(s, &rng, deadline_ms, &counts);
    print_counts(&counts, good, (double)(now_ms() - begin) / 1e3);
    if (s->eager) printf("%s\n", good ? "the lie was not noticed" : "the lie was noticed");
    return good != s->eager ? 0 : 1;
}

static int run_worker(char **args)
{
    kill_worker_options options = { .path = args[0],
                                    .seed = strtoull(args[1], NULL, 10),
                                    .fd = atoi(args[2]),
                                    .images = strcmp(args[3], "images") == 0,
                                    .eager = strcmp(args[4], "eager") == 0 };
    return kill_worker_run(&options);
}

static bool read_number(int argc, char **argv, int *i, const char *name, uint64_t *out)
{
    if (strcmp(argv[*i], name) != 0 || *i + 1 >= argc) return false;
    *out = strtoull(argv[++*i], NULL, 10);
    return true;
}

int main(int argc, char **argv)
{
    if (argc == 7 && strcmp(argv[1], "--worker") == 0) return run_worker(argv + 2);
    settings s = {
        .kills = 20, .lives = 8, .seconds = 3600, .seed = (uint64_t)tl_env_wall_us(tl_env_system())
    };
    tl_log_set_level(TL_LOG_ERROR);
    for (int i = 1; i < argc; i++) {
        bool known = read_number(argc, argv, &i, "--kills", &s.kills) ||
                     read_number(argc, argv, &i, "--lives", &s.lives) ||
                     read_number(argc, argv, &i, "--seed", &s.seed) ||
                     read_number(argc, argv, &i, "--seconds", &s.seconds);
        if (!known && strcmp(argv[i], "--eager") == 0)
            s.eager = true;
        else if (!known) {
            fprintf(stderr, "usage: kill_test [--kills N] [--lives N] [--seed N] [--seconds N] "
                            "[--eager]\n");
            return 2;
        }
    }
    return run(&s);
}
