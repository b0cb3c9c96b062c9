/* Chains: convolutions in a row, each the only reader of what the one before wrote.
 *
 * At high resolution what lies between them overflows the core's cache. So a chain runs a few rows
 * of its output at a time, and of every tensor between only a window of rows exists: rows that the
 * next strip needs again are moved to its top, rows that are missing are computed below them.
 * Nothing is computed twice, except where threads meet: each has windows of its own. */
#include "graph/plan/plan_internal.h"

#include <string.h>

enum {
    CHAIN_MAX = 3,            /* steps: expand, depthwise, project; more were not faster */
    JOIN_BYTES = 512 << 10,   /* a tensor that large does not stay in the second-level cache */
    WINDOWS_BYTES = 480 << 10 /* of a chain: beside weights and strips, they do */
};

/* Rows of its input that a step reads for some rows of its output. */
static tl_range rows_read(const plan_step *step, tl_range rows)
{
    const tl_window *w = &step->state.attrs->window;
    const size_t limit = w->pad_top + step->state.inputs[0].dim[0];
    size_t begin = rows.begin * w->stride_h, end = (rows.end - 1) * w->stride_h + w->kernel_h;
    if (rows.begin == rows.end) end = begin;
    begin = begin < w->pad_top ? w->pad_top : begin < limit ? begin : limit;
    end = end < begin ? begin : end < limit ? end : limit;
    return (tl_range){ begin - w->pad_top, end - w->pad_top };
}

static size_t row_bytes(const plan_step *step)
{
    return (size_t)step->state.output.dim[1] * step->state.output.dim[2] * sizeof(float);
}

/* ---- Create ---------------------------------------------------------------------------------- */

static bool fits(const plan_step *step)
{
    return step->state.needs.rows && step->state.inputs[0].rank == 3;
}

/* Step s goes on with the large tensor that the one before wrote, and nobody else reads it. */
static bool goes_on(const tl_plan *plan, size_t s)
{
    const uint32_t x = plan->steps[s - 1].node->output;
    const tl_node *node = plan->steps[s].node;
    if (!fits(&plan->steps[s]) || node->inputs[0] != x || plan->external[x]) return false;
    if (node->input_count > 1 && node->inputs[1] == x) return false;
    return plan->buffers[plan->tensor_buffer[x]].last == s &&
           tl_plan_tensor_bytes(plan, x, 1) >= JOIN_BYTES;
}

/* Rows of each tensor between for `rows` of the output; the bytes of all. */
static size_t set_windows(plan_step *steps, size_t count, size_t rows)
{
    size_t bytes = 0;
    for (size_t s = count - 1; s > 0; s--) {
        const tl_window *w = &steps[s].state.attrs->window;
        rows = (rows - 1) * w->stride_h + w->kernel_h;
        if (rows > steps[s - 1].state.output.dim[0]) rows = steps[s - 1].state.output.dim[0];
        steps[s - 1].window_bytes = tl_align(rows * row_bytes(&steps[s - 1]));
        bytes += steps[s - 1].window_bytes;
    }
    return bytes;
}

static void make_chain(tl_plan *plan, size_t first, size_t count)
{
    plan_step *steps = &plan->steps[first];
    const size_t height = steps[count - 1].state.output.dim[0];
    size_t rows = 1;
    while (rows < height && set_windows(steps, count, rows + 1) <= WINDOWS_BYTES) rows++;
    set_windows(steps, count, rows);
    steps[0].chain = (uint32_t)count;
    steps[0].chain_rows = (uint32_t)rows;
    for (size_t s = 0; s + 1 < count; s++)
        plan->buffers[plan->tensor_buffer[steps[s].node->output]].bytes =
            steps[s].window_bytes * (size_t)plan->threads;
}

void tl_plan_choose_chains(tl_plan *plan)
{
    if (tl_plan_trains(plan)) return;
    for (size_t s = 0, count; s < plan->joint; s += count) {
        count = 1;
        if (!fits(&plan->steps[s])) continue;
        while (count < CHAIN_MAX && s + count < plan->joint && goes_on(plan, s + count)) count++;
        if (count > 1) make_chain(plan, s, count);
    }
}

void tl_plan_widen_chains(tl_plan *plan)
{
    for (size_t s = 0; s < plan->step_count; s++) {
        const uint32_t first = (uint32_t)s, last = first + plan->steps[s].chain - 1;
        if (plan->steps[s].chain == 0) continue;
        for (size_t b = 0; b < plan->buffer_count; b++) {
            tl_buffer *buffer = &plan->buffers[b];
            if (buffer->first > first && buffer->first <= last) buffer->first = first;
            if (buffer->last >= first && buffer->last < last) buffer->last = last;
        }
    }
}

/* ---- Run ------------------------------------------------------------------------------------- */

/* Of the output of a step in a chain: which rows its buffer has, and which are to come. */
typedef struct chain_window {
    tl_range held, fresh;
} chain_window;

/* Which rows each step computes for `rows` of the output; windows drop what is not read again. */
static void plan_strip(plan_step *steps, const tl_op_run *runs, size_t count, tl_range rows,
                       chain_window *windows)
{
    windows[count - 1].fresh = rows;
    for (size_t s = count - 1; s > 0; s--) {
        chain_window *w = &windows[s - 1];
        const tl_range read = rows_read(&steps[s], windows[s].fresh);
        w->fresh = (tl_range){ w->held.end, w->held.end };
        if (read.end <= w->held.end) continue;
        const size_t bytes = row_bytes(&steps[s - 1]);
        const size_t kept = read.begin < w->held.end ? w->held.end - read.begin : 0;
        w->fresh = (tl_range){ read.begin + kept, read.end };
        if (kept > 0)
            memmove(runs[s - 1].y, (char *)runs[s - 1].y + (read.begin - w->held.begin) * bytes,
                    kept * bytes);
        w->held = read;
    }
}

/* Where row 0 would lie, given where row `first` does: operators count rows from the image's top. */
static float *before(const float *rows, size_t first, size_t bytes)
{
    return (float *)((uintptr_t)rows - first * bytes);
}

static tl_status run_strip(plan_step *steps, const tl_op_run *runs, size_t count,
                           const chain_window *windows, tl_error *err)
{
    double start = tl_plan_now_s();
    for (size_t s = 0; s < count; s++) {
        const tl_range fresh = windows[s].fresh;
        if (fresh.begin == fresh.end) continue;
        tl_op_run run = runs[s];
        run.row_begin = (uint32_t)fresh.begin;
        run.row_end = (uint32_t)fresh.end;
        if (s > 0)
            run.x[0] = before(runs[s - 1].y, windows[s - 1].held.begin, row_bytes(&steps[s - 1]));
        if (s + 1 < count) run.y = before(run.y, windows[s].held.begin, row_bytes(&steps[s]));
        tl_status status = tl_op_get(steps[s].node->kind)->forward(&steps[s].state, &run, err);
        if (status != TL_OK) return tl_fail_context(err, status, "node %s", steps[s].node->name);
        const double end = tl_plan_now_s();
        if (runs[s].part == 0) steps[s].forward_s += end - start;
        start = end;
    }
    return TL_OK;
}

tl_status tl_plan_run_chain(plan_step *steps, const char *packed, size_t item, size_t within,
                            uint32_t member, uint32_t members, tl_error *err)
{
    const size_t count = steps[0].chain;
    const tl_range rows = tl_team_range(steps[count - 1].state.output.dim[0], 1, member, members);
    tl_op_run runs[CHAIN_MAX];
    chain_window windows[CHAIN_MAX] = { 0 };
    for (size_t s = 0; s < count; s++) {
        runs[s] = tl_plan_run_of(&steps[s], packed, item, within, member);
        runs[s].part = member; /* tells the clock; the rows are given */
        if (s + 1 < count)
            runs[s].y = (float *)(void *)((char *)runs[s].y + member * steps[s].window_bytes);
    }
    tl_status status = TL_OK;
    for (tl_range strip = { rows.begin, 0 }; strip.begin < rows.end && status == TL_OK;
         strip.begin = strip.end) {
        strip.end = strip.begin + steps[0].chain_rows;
        if (strip.end > rows.end) strip.end = rows.end;
        plan_strip(steps, runs, count, strip, windows);
        status = run_strip(steps, runs, count, windows, err);
    }
    return status;
}
