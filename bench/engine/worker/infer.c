/* Inference in turns. The outputs of the first run go into a file, for the comparison with the peer:
 * all outputs one after the other as floats, each [batch, ...shape]. */
#include "bench/engine/worker/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct inference {
    const worker_options *options;
    tl_plan *plan;
    tl_weights *weights;
    const worker_network *network;
} inference;

static tl_status run(void *context, tl_error *err)
{
    inference *infer = context;
    return tl_plan_infer(infer->plan, infer->weights, infer->options->batch, err);
}

/* From numbers that a training step just left to the first answer of a plan that is there. */
static tl_status deploy(void *context, tl_error *err)
{
    inference *infer = context;
    tl_weights *weights = NULL;
    tl_status status = tl_plan_create_weights(infer->plan, infer->network->flat, &weights, err);
    if (status != TL_OK) return status;
    tl_weights *old = infer->weights;
    infer->weights = weights;
    tl_weights_release(&old);
    return run(context, err);
}

static tl_status write_outputs(const inference *infer, const tl_graph *graph, tl_error *err)
{
    FILE *file = fopen(infer->options->output, "wb");
    if (file == NULL) return tl_fail(err, TL_EIO, "%s cannot be written", infer->options->output);
    bool good = true;
    for (size_t i = 0; i < tl_graph_output_count(graph); i++) {
        const size_t count =
            infer->options->batch * tl_shape_count(tl_graph_output_shape(graph, i));
        good = good && fwrite(tl_plan_output(infer->plan, i), sizeof(float), count, file) == count;
    }
    good = fclose(file) == 0 && good;
    return good ? TL_OK : tl_fail(err, TL_EIO, "%s cannot be written", infer->options->output);
}

static tl_status prepare(inference *infer, const worker_network *network, tl_error *err)
{
    const tl_plan_options options = { .batch_max = infer->options->batch,
                                      .mode = TL_PLAN_INFER,
                                      .threads = infer->options->threads,
                                      .precision = infer->options->bf16 ? TL_PRECISION_BF16
                                                                        : TL_PRECISION_FLOAT32 };
    tl_status status = tl_plan_create(network->graph, &options, &infer->plan, err);
    if (status == TL_OK)
        status = tl_weights_create(network->graph, network->flat, &infer->weights, err);
    if (status == TL_OK) status = worker_fill(infer->options, network, infer->plan, err);
    if (status != TL_OK || infer->options->output == NULL) return status;
    status = run(infer, err);
    return status == TL_OK ? write_outputs(infer, network->graph, err) : status;
}

static uint64_t count_macs(const tl_plan *plan)
{
    uint64_t macs = 0;
    for (size_t i = 0; i < tl_plan_node_count(plan); i++) {
        tl_node_cost cost;
        tl_plan_node_cost(plan, i, &cost);
        macs += cost.macs;
    }
    return macs;
}

tl_status worker_infer(const worker_options *options, tl_error *err)
{
    worker_network network = { .graph = NULL };
    inference infer = { .options = options, .network = &network };
    tl_status status = worker_network_load(options, &network, err);
    if (status == TL_OK) status = prepare(&infer, &network, err);
    if (status == TL_OK) {
        char ready[128];
        snprintf(ready, sizeof ready, "{\"macs\": %llu, \"plan_bytes\": %zu}",
                 (unsigned long long)count_macs(infer.plan), tl_plan_bytes(infer.plan));
        status = worker_turns(options->deploy ? deploy : run, &infer, ready, err);
    }
    tl_weights_release(&infer.weights);
    tl_plan_destroy(&infer.plan);
    worker_network_close(&network);
    return status;
}
