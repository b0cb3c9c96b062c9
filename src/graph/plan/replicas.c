/* Training with several threads: each has a replica of the plan for its share of the items, with an
 * arena of its own. Live normalisation sums its moments over the threads, and gradients are summed
 * in the order of the threads: for one number of threads, results repeat bit for bit. */
#include "graph/plan/plan_internal.h"
#include "tensor/kernels/kernels.h"

#include <stdlib.h>

/* Shares of gradients are whole cache lines. */
enum { LINE_FLOATS = TL_ALIGN_BYTES / sizeof(float) };

/* What a task hands to the members. */
typedef struct replica_job {
    tl_plan *plan;
    float *flat;
    const float *flat_read, *output_grad;
    float *grad;
} replica_job;

static tl_range items_of(const tl_plan *plan, uint32_t member)
{
    return tl_team_range(plan->batch_max, 1, member, plan->replica_count);
}

/* ---- Create ---------------------------------------------------------------------------------- */

static tl_status make_replica(tl_plan *plan, uint32_t member, tl_error *err)
{
    const tl_graph *g = plan->graph;
    const tl_range items = items_of(plan, member);
    tl_status status = tl_plan_begin(plan->graph, plan->mode, (uint32_t)(items.end - items.begin),
                                     &plan->replicas[member], err);
    if (status != TL_OK) return status;
    tl_plan *replica = plan->replicas[member];
    replica->member = member;
    replica->first_item = (uint32_t)items.begin;
    replica->batch_all = plan->batch_max;
    replica->precision = plan->precision;
    replica->loss_outputs = plan->loss_outputs;
    replica->trained_stages = plan->trained_stages;
    replica->exchange = plan->exchange;
    replica->outside = calloc(g->tensor_count + 1, sizeof *replica->outside);
    if (member > 0) replica->grad = calloc(g->float_count + 1, sizeof *replica->grad);
    if (replica->outside == NULL || (member > 0 && replica->grad == NULL))
        return tl_fail(err, TL_ENOMEM, "gradient of %zu numbers", g->float_count);
    for (uint32_t t = 0; t < g->tensor_count; t++) {
        if (!plan->external[t]) continue;
        replica->outside[t] =
            tl_plan_tensor(plan, t) + items.begin * tl_shape_count(&g->tensors[t]);
    }
    return tl_plan_compile(replica, err);
}

/* The first failure among the members. */
static tl_status first_failure(const tl_plan *plan, tl_error *err)
{
    for (uint32_t m = 0; m < plan->replica_count; m++)
        if (plan->failures[m].status != TL_OK)
            return tl_fail(err, plan->failures[m].status, "%s", plan->failures[m].text);
    return TL_OK;
}

/* The most numbers that normalisation exchanges at a time: two a channel, and one. */
static size_t exchange_max(const tl_graph *graph)
{
    size_t most = 0;
    for (size_t t = 0; t < graph->tensor_count; t++) {
        const size_t channels = tl_shape_channels(&graph->tensors[t]);
        if (channels > most) most = channels;
    }
    return 2 * most + 1;
}

tl_status tl_plan_make_replicas(tl_plan *plan, uint32_t count, tl_error *err)
{
    plan->replicas = calloc(count, sizeof *plan->replicas);
    plan->failures = calloc(count, sizeof *plan->failures);
    if (plan->replicas == NULL || plan->failures == NULL)
        return tl_fail(err, TL_ENOMEM, "%u replicas", count);
    plan->replica_count = count;
    tl_status status = tl_plan_place_outside(plan, err);
    if (status == TL_OK) status = tl_team_create(count, &plan->team, err);
    if (status == TL_OK)
        status = tl_exchange_create(plan->team, exchange_max(plan->graph), &plan->exchange, err);
    /* One after the other: oneDNN keeps primitives, so that the next of equal size finds its own. */
    for (uint32_t m = 0; m < count && status == TL_OK; m++) status = make_replica(plan, m, err);
    return status;
}

void tl_plan_free_replicas(tl_plan *plan)
{
    for (uint32_t r = 0; plan->replicas != NULL && r < plan->replica_count; r++)
        tl_plan_destroy(&plan->replicas[r]);
    free(plan->replicas);
    free(plan->failures);
    if (plan->replica_count == 0) return; /* a replica's exchange is its plan's */
    tl_exchange_destroy(&plan->exchange);
    tl_team_destroy(&plan->team);
}

/* ---- Run ------------------------------------------------------------------------------------- */

static void forward_member(void *arg, uint32_t member)
{
    const replica_job *job = arg;
    tl_error *failure = &job->plan->failures[member];
    failure->status = tl_plan_forward_steps(job->plan->replicas[member], job->flat, failure);
}

tl_status tl_plan_forward_replicas(tl_plan *plan, float *flat, tl_error *err)
{
    replica_job job = { .plan = plan, .flat = flat };
    tl_team_run(plan->team, forward_member, &job);
    return first_failure(plan, err);
}

/* Add the replicas' gradients to member 0's, which is the caller's vector. */
static void sum_gradients(const replica_job *job, uint32_t member)
{
    const tl_plan *plan = job->plan;
    const tl_range range =
        tl_team_range(plan->graph->float_count, LINE_FLOATS, member, plan->replica_count);
    float *sum = job->grad + range.begin;
    for (uint32_t r = 1; r < plan->replica_count; r++)
        tl_kernels_get()->add(range.end - range.begin, sum, plan->replicas[r]->grad + range.begin,
                              sum);
}

static void backward_member(void *arg, uint32_t member)
{
    const replica_job *job = arg;
    tl_plan *replica = job->plan->replicas[member];
    tl_error *failure = &job->plan->failures[member];
    failure->status = tl_plan_backward_steps(replica, job->flat_read, job->output_grad,
                                             member == 0 ? job->grad : replica->grad, failure);
    tl_team_barrier(job->plan->team);
    sum_gradients(job, member);
}

tl_status tl_plan_backward_replicas(tl_plan *plan, const float *flat, const float *output_grad,
                                    float *grad, tl_error *err)
{
    replica_job job = { .plan = plan, .flat_read = flat, .output_grad = output_grad, .grad = grad };
    tl_team_run(plan->team, backward_member, &job);
    return first_failure(plan, err);
}

/* ---- Other work ------------------------------------------------------------------------------ */

uint32_t tl_plan_threads(const tl_plan *plan)
{
    return plan->team == NULL ? 1 : tl_team_members(plan->team);
}

void tl_plan_share(const tl_plan *plan, void (*work)(void *arg, uint32_t member), void *arg)
{
    TL_ASSERT(tl_plan_trains(plan));
    if (plan->team == NULL)
        work(arg, 0);
    else
        tl_team_run(plan->team, work, arg);
}
