#include "base/env.h"

#include <errno.h>
#include <sys/random.h>
#include <time.h>

static int64_t clock_read(clockid_t clock, int64_t units_per_s)
{
    struct timespec now;
    int rc = clock_gettime(clock, &now);
    TL_ASSERT(rc == 0);
    return (int64_t)now.tv_sec * units_per_s + now.tv_nsec / (1000000000 / units_per_s);
}

static int64_t system_wall_us(void *context)
{
    (void)context;
    return clock_read(CLOCK_REALTIME, 1000000);
}

static int64_t system_mono_ns(void *context)
{
    (void)context;
    return clock_read(CLOCK_MONOTONIC, 1000000000);
}

static void system_random(void *context, void *out, size_t bytes)
{
    (void)context;
    unsigned char *at = out;
    while (bytes > 0) {
        ssize_t got = getrandom(at, bytes, 0);
        if (got < 0 && errno == EINTR) continue;
        TL_ASSERT(got > 0); /* cannot fail for the sizes used here once the kernel has booted */
        at += got;
        bytes -= (size_t)got;
    }
}

const tl_env *tl_env_system(void)
{
    static const tl_env system = { NULL, system_wall_us, system_mono_ns, system_random };
    return &system;
}
