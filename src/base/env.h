/* env.h - time and randomness as an interface, so that a whole loop can run in a simulation from
 * one seed. Layer: base. The functions of an environment may be called from any thread. */
#ifndef TL_BASE_ENV_H
#define TL_BASE_ENV_H

#include "base/status.h"

typedef struct tl_env {
    void *context;
    int64_t (*wall_us)(void *context); /* Unix time; may jump in either direction */
    int64_t (*mono_ns)(void *context); /* never goes back; for spans only */
    void (*random)(void *context, void *out, size_t bytes); /* unpredictable outside simulations */
} tl_env;

/* The machine's clocks and the kernel's randomness. */
const tl_env *tl_env_system(void);

static inline int64_t tl_env_wall_us(const tl_env *env)
{
    return env->wall_us(env->context);
}
static inline int64_t tl_env_mono_ns(const tl_env *env)
{
    return env->mono_ns(env->context);
}

#endif
