#include "tensor/internal.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static dnnl_engine_t engine;
static void (*omp_set)(int);
static int (*omp_get)(void);

/* The OpenMP runtime is oneDNN's dependency, not ours: it is looked up rather than linked, so that
 * the one that oneDNN was built with is used whatever our compiler prefers. */
static void device_init(void)
{
    if (dnnl_engine_create(&engine, dnnl_cpu, 0) != dnnl_success) engine = NULL;
    void *set = dlsym(RTLD_DEFAULT, "omp_set_num_threads");
    void *get = dlsym(RTLD_DEFAULT, "omp_get_max_threads");
    if (set == NULL || get == NULL) return;
    memcpy(&omp_set, &set, sizeof omp_set);
    memcpy(&omp_get, &get, sizeof omp_get);
}

dnnl_engine_t tl_dnnl_engine(void)
{
    pthread_once(&once, device_init);
    return engine;
}

int tl_device_set_threads(int threads)
{
    TL_ASSERT(threads >= 1);
    pthread_once(&once, device_init);
    if (omp_set == NULL) return 1;
    int before = omp_get();
    if (before != threads) omp_set(threads);
    return before;
}

static bool has(dnnl_cpu_isa_t wanted)
{
    return ((unsigned)dnnl_get_effective_cpu_isa() & (unsigned)wanted) == (unsigned)wanted;
}

bool tl_device_runs_bf16(void)
{
    return has(dnnl_cpu_isa_avx512_core);
}

bool tl_device_prefers_bf16(void)
{
    return has(dnnl_cpu_isa_avx512_core_amx);
}

tl_status tl_device_create_stream(struct dnnl_stream **out, tl_error *err)
{
    dnnl_engine_t made = tl_dnnl_engine();
    if (made == NULL) return tl_fail(err, TL_ENOMEM, "oneDNN has no CPU engine");
    dnnl_stream_t stream = NULL;
    tl_status status = tl_dnnl_check(dnnl_stream_create(&stream, made, dnnl_stream_default_flags),
                                     "create a stream", err);
    if (status != TL_OK) return status;
    *out = stream;
    return TL_OK;
}

void tl_device_destroy_stream(struct dnnl_stream **stream)
{
    if (*stream != NULL) dnnl_stream_destroy(*stream);
    *stream = NULL;
}

tl_status tl_dnnl_check(dnnl_status_t status, const char *what, tl_error *err)
{
    if (status == dnnl_success) return TL_OK;
    if (status == dnnl_out_of_memory) return tl_fail(err, TL_ENOMEM, "oneDNN: %s", what);
    if (status == dnnl_unimplemented)
        return tl_fail(err, TL_EUNSUPPORTED, "oneDNN has no kernel to %s", what);
    return tl_fail(err, TL_EINVAL, "oneDNN refused to %s (status %d)", what, (int)status);
}

/* Packed weights are shared and must not be written. oneDNN writes the padding of a blocked layout
 * whenever a handle is set; a description whose padding counts as data has none to write. */
static dnnl_memory_desc_t without_padding(const dnnl_memory_desc_t *desc)
{
    dnnl_memory_desc_t out = *desc;
    memcpy(out.dims, out.padded_dims, sizeof out.dims);
    return out;
}

static tl_status add_memory(tl_call *call, const tl_call_arg *arg, tl_error *err)
{
    TL_ASSERT(call->arg_count < TL_CALL_ARG_MAX);
    dnnl_memory_desc_t desc = arg->shared ? without_padding(arg->desc) : *arg->desc;
    dnnl_memory_t memory = NULL;
    tl_status status =
        tl_dnnl_check(dnnl_memory_create(&memory, &desc, tl_dnnl_engine(), DNNL_MEMORY_NONE),
                      "describe a buffer", err);
    if (status != TL_OK) return status;
    call->args[call->arg_count].arg = arg->arg;
    call->args[call->arg_count].memory = memory;
    call->arg_count++;
    return TL_OK;
}

tl_status tl_call_create(tl_call *call, const_dnnl_primitive_desc_t desc, const tl_call_arg *args,
                         int arg_count, tl_error *err)
{
    TL_ASSERT(arg_count < TL_CALL_ARG_MAX);
    memset(call, 0, sizeof *call);
    tl_status status =
        tl_dnnl_check(dnnl_primitive_create(&call->primitive, desc), "make a primitive", err);
    for (int i = 0; i < arg_count && status == TL_OK; i++) status = add_memory(call, &args[i], err);
    const dnnl_memory_desc_t *scratch =
        dnnl_primitive_desc_query_md(desc, dnnl_query_scratchpad_md, 0);
    call->scratch_bytes = scratch == NULL ? 0 : dnnl_memory_desc_get_size(scratch);
    if (status == TL_OK && call->scratch_bytes > 0)
        status = add_memory(call, &(tl_call_arg){ DNNL_ARG_SCRATCHPAD, scratch, false }, err);
    if (status != TL_OK) tl_call_destroy(call);
    return status;
}

tl_status tl_call_create_reorder(tl_call *call, const dnnl_memory_desc_t *from,
                                 const dnnl_memory_desc_t *to, tl_error *err)
{
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t desc = NULL;
    tl_status status = tl_dnnl_check(dnnl_primitive_attr_create(&attr), "make attributes", err);
    if (status == TL_OK)
        status =
            tl_dnnl_check(dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user),
                          "set the scratchpad", err);
    if (status == TL_OK)
        status = tl_dnnl_check(dnnl_reorder_primitive_desc_create(&desc, from, tl_dnnl_engine(), to,
                                                                  tl_dnnl_engine(), attr),
                               "reorder weights", err);
    if (status == TL_OK) {
        const tl_call_arg args[] = { { DNNL_ARG_FROM, from, false }, { DNNL_ARG_TO, to, false } };
        status = tl_call_create(call, desc, args, 2, err);
    }
    if (desc != NULL) dnnl_primitive_desc_destroy(desc);
    if (attr != NULL) dnnl_primitive_attr_destroy(attr);
    return status;
}

tl_status tl_call_run(tl_call *call, dnnl_stream_t stream, void *const *buffers, void *scratch,
                      tl_error *err)
{
    int given = call->arg_count - (call->scratch_bytes > 0 ? 1 : 0);
    for (int i = 0; i < call->arg_count; i++) {
        void *handle = i < given ? buffers[i] : scratch;
        if (handle == call->handles[i]) continue;
        tl_status status = tl_dnnl_check(dnnl_memory_set_data_handle(call->args[i].memory, handle),
                                         "set a buffer", err);
        if (status != TL_OK) return status;
        call->handles[i] = handle;
    }
    return tl_dnnl_check(
        dnnl_primitive_execute(call->primitive, stream, call->arg_count, call->args), "run", err);
}

void tl_call_destroy(tl_call *call)
{
    for (int i = 0; i < call->arg_count; i++) dnnl_memory_destroy(call->args[i].memory);
    if (call->primitive != NULL) dnnl_primitive_destroy(call->primitive);
    memset(call, 0, sizeof *call);
}
