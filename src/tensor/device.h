/* device.h - the processor as the graph sees it: streams and teams of threads. Layer: tensor. */
#ifndef TL_TENSOR_DEVICE_H
#define TL_TENSOR_DEVICE_H

#include "base/status.h"

struct dnnl_stream;

/* A oneDNN stream for one owner thread. TL_ENOMEM. */
tl_status tl_device_create_stream(struct dnnl_stream **out, tl_error *err);
void tl_device_destroy_stream(struct dnnl_stream **stream); /* NULL-safe */

/* Set the number of threads that oneDNN uses for calls from this thread; returns what it was.
 *
 * oneDNN is built with GNU OpenMP, whose teams spin for some milliseconds after each parallel
 * region unless OMP_WAIT_POLICY=passive was in the environment when the process started (the
 * library reads it once, before main). A team of one never spins, so only processes that ask for
 * more threads need the variable: their program sets it and starts itself again. */
int tl_device_set_threads(int threads);

/* Whether oneDNN convolves bf16 on this processor (AVX-512), and whether it does so in tiles
 * (AMX-BF16): only there is it faster than float32. */
bool tl_device_runs_bf16(void);
bool tl_device_prefers_bf16(void);

#endif
