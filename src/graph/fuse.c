/* Folding of nodes into their neighbours. The only place that knows what particular operators mean
 * to each other. A node is folded only when nobody else reads the tensor between. */
#include "graph/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct program {
    const tl_graph *graph;
    tl_node *steps;
    bool *dead;
    size_t count;
    uint32_t *readers;  /* of each tensor; outputs and features count as one more */
    uint32_t *producer; /* step of each tensor, TL_NONE for inputs */
} program;

static void count_readers(program *p)
{
    const tl_graph *g = p->graph;
    for (size_t t = 0; t < g->tensor_count; t++) p->producer[t] = TL_NONE;
    for (size_t s = 0; s < p->count; s++) {
        p->producer[p->steps[s].output] = (uint32_t)s;
        for (uint32_t i = 0; i < p->steps[s].input_count; i++) p->readers[p->steps[s].inputs[i]]++;
    }
    for (size_t i = 0; i < g->output_count; i++) p->readers[g->outputs[i]]++;
    if (g->features != TL_NONE) p->readers[g->features]++;
}

/* The step that makes `tensor`, when only one other step reads it; else NULL. */
static tl_node *only_producer(const program *p, uint32_t tensor, uint32_t readers)
{
    uint32_t step = p->producer[tensor];
    return step == TL_NONE || p->readers[tensor] != readers ? NULL : &p->steps[step];
}

/* `into` takes over the output of step `s`, which goes. */
static void absorb(program *p, tl_node *into, size_t s)
{
    into->output = p->steps[s].output;
    p->producer[into->output] = (uint32_t)(into - p->steps);
    p->dead[s] = true;
}

/* x * sigmoid(x) and x * hard_sigmoid(x) become one function of x. */
static void fuse_gate(program *p, size_t s)
{
    tl_node *mul = &p->steps[s];
    if (mul->kind != TL_OP_MUL) return;
    for (int i = 0; i < 2; i++) {
        tl_node *gate = only_producer(p, mul->inputs[i], 1);
        if (gate == NULL || gate->input_count != 1 || gate->inputs[0] != mul->inputs[1 - i])
            continue;
        tl_op_kind kind = TL_OP_COUNT;
        if (gate->kind == TL_OP_SIGMOID) kind = TL_OP_SILU;
        if (gate->kind == TL_OP_HARD_SIGMOID && fabsf(gate->attrs.alpha - 1.0f / 6.0f) < 1e-7f &&
            gate->attrs.beta == 0.5f)
            kind = TL_OP_HARD_SWISH;
        if (kind == TL_OP_COUNT) continue;
        gate->kind = kind;
        p->readers[gate->inputs[0]]--;
        absorb(p, gate, s);
        return;
    }
}

/* Serving: conv then batch_norm is a conv with other weights. */
static void fold_norm(program *p, size_t s)
{
    tl_node *norm = &p->steps[s];
    if (norm->kind != TL_OP_BATCH_NORM) return;
    tl_node *conv = only_producer(p, norm->inputs[0], 1);
    if (conv == NULL || conv->kind != TL_OP_CONV || conv->attrs.folded_norm) return;
    TL_ASSERT(conv->param_count + norm->param_count <= TL_OP_PARAM_MAX);
    conv->attrs.folded_norm = true;
    conv->attrs.epsilon = norm->attrs.epsilon;
    for (uint32_t i = 0; i < norm->param_count; i++)
        conv->params[conv->param_count++] = norm->params[i];
    absorb(p, conv, s);
}

static void fuse_activation(program *p, size_t s, tl_op_mode mode)
{
    const tl_node *act = &p->steps[s];
    if (act->input_count != 1) return;
    tl_node *before = only_producer(p, act->inputs[0], 1);
    if (before == NULL || before->attrs.activation.kind != TL_OP_COUNT) return;
    const tl_op *op = tl_op_get(before->kind);
    uint64_t kinds = mode == TL_MODE_INFER ? op->fuses_infer : op->fuses_train;
    if (act->kind >= 64 || (kinds >> act->kind & 1u) == 0) return;
    before->attrs.activation = (tl_activation){ act->kind, act->attrs.alpha, act->attrs.beta };
    absorb(p, before, s);
}

/* Serving: conv then add of something that is there by then is one pass. The convolution moves to
 * where the addition was. */
static void fuse_add(program *p, size_t s)
{
    tl_node *add = &p->steps[s];
    const tl_shape *tensors = p->graph->tensors;
    if (add->kind != TL_OP_ADD || add->attrs.activation.kind != TL_OP_COUNT) return;
    if (!tl_shape_equal(&tensors[add->inputs[0]], &tensors[add->inputs[1]])) return;
    for (int i = 1; i >= 0; i--) {
        const tl_node *conv = only_producer(p, add->inputs[i], 1);
        if (conv == NULL || conv->kind != TL_OP_CONV || conv->attrs.fused_add) continue;
        const uint32_t other = add->inputs[1 - i], output = add->output;
        p->dead[conv - p->steps] = true;
        *add = *conv;
        add->attrs.fused_add = true;
        add->inputs[add->input_count++] = other;
        add->output = output;
        return;
    }
}

static void fuse(program *p, tl_op_mode mode)
{
    for (size_t s = 0; s < p->count; s++)
        if (!p->dead[s]) fuse_gate(p, s);
    for (size_t s = 0; s < p->count && mode == TL_MODE_INFER; s++)
        if (!p->dead[s]) fold_norm(p, s);
    for (size_t s = 0; s < p->count; s++)
        if (!p->dead[s]) fuse_activation(p, s, mode);
    for (size_t s = 0; s < p->count && mode == TL_MODE_INFER; s++)
        if (!p->dead[s]) fuse_add(p, s);
}

tl_status tl_program_make(const tl_graph *graph, tl_op_mode mode, tl_node **steps, size_t *count,
                          tl_error *err)
{
    program p = { .graph = graph, .count = graph->node_count };
    p.steps = malloc((p.count + 1) * sizeof *p.steps);
    p.dead = calloc(p.count + 1, sizeof *p.dead);
    p.readers = calloc(graph->tensor_count + 1, sizeof *p.readers);
    p.producer = malloc((graph->tensor_count + 1) * sizeof *p.producer);
    bool made = p.steps != NULL && p.dead != NULL && p.readers != NULL && p.producer != NULL;
    if (made) {
        memcpy(p.steps, graph->nodes, p.count * sizeof *p.steps);
        count_readers(&p);
        fuse(&p, mode);
        size_t kept = 0;
        for (size_t s = 0; s < p.count; s++)
            if (!p.dead[s]) p.steps[kept++] = p.steps[s];
        *steps = p.steps;
        *count = kept;
    } else {
        free(p.steps);
    }
    free(p.dead);
    free(p.readers);
    free(p.producer);
    return made ? TL_OK : tl_fail(err, TL_ENOMEM, "program of %zu nodes", graph->node_count);
}
