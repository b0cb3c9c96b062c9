#include "graph/onnx/export/internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const export_order EXPORT_PLAIN = { { 0, 1, 2, 3, 4, 5 } };
const export_order EXPORT_IMAGE = { { 2, 0, 1, 3, 4, 5 } };
_Static_assert(TL_RANK_MAX == 6, "orders have as many axes as shapes");

/* ---- Bookkeeping ----------------------------------------------------------------------------- */

void export_fail(onnx_export *e, tl_status status, const char *format, ...)
{
    if (e->status != TL_OK) return;
    char text[160];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    e->status = e->node == NULL ? tl_fail(e->err, status, "%s", text)
                                : tl_fail(e->err, status, "%s (%s): %s", e->node->name,
                                          tl_op_get(e->node->kind)->name, text);
}

void *export_alloc(onnx_export *e, size_t bytes)
{
    if (e->status != TL_OK) return NULL;
    void *out = tl_arena_alloc(e->arena, bytes + 1);
    if (out == NULL)
        export_fail(e, TL_ENOMEM, "ONNX export");
    else
        memset(out, 0, bytes + 1);
    return out;
}

static char *copy_text(onnx_export *e, const char *text)
{
    char *out = export_alloc(e, strlen(text));
    return out == NULL ? NULL : strcpy(out, text);
}

static size_t occurrences(const char *const *names, size_t count, const char *name)
{
    size_t found = 0;
    for (size_t i = 0; names != NULL && i < count; i++)
        found += names[i] != NULL && strcmp(names[i], name) == 0;
    return found;
}

size_t export_given_count(const onnx_export *e, const char *name)
{
    return occurrences(e->options->input_names, e->graph->input_count, name) +
           occurrences(e->options->output_names, e->graph->output_count, name);
}

bool export_is_taken(const onnx_export *e, const char *name)
{
    return tl_graph_find_param(e->graph, name) != SIZE_MAX || export_given_count(e, name) > 0;
}

const char *export_name(onnx_export *e)
{
    char name[TL_NAME_BYTES + 24];
    do
        snprintf(name, sizeof name, "/%s/%zu", e->node == NULL ? "graph" : e->node->name,
                 e->name_count++);
    while (export_is_taken(e, name));
    const char *copy = copy_text(e, name);
    return copy == NULL ? "" : copy;
}

/* Append to a growing array in the arena. */
static void append(onnx_export *e, void *array, size_t *count, size_t *room, void *item)
{
    void **old;
    memcpy(&old, array, sizeof old);
    if (*count == *room) {
        size_t more = *room == 0 ? 64 : 2 * *room;
        void **grown = export_alloc(e, more * sizeof *grown);
        if (grown == NULL) return;
        if (*count > 0) memcpy(grown, old, *count * sizeof *grown);
        memcpy(array, &grown, sizeof grown);
        old = grown;
        *room = more;
    }
    old[(*count)++] = item;
}

/* ---- Nodes and attributes -------------------------------------------------------------------- */

Onnx__NodeProto *export_node(onnx_export *e, const char *op, const char *output,
                             const char *const *inputs, size_t count)
{
    Onnx__NodeProto *node = export_alloc(e, sizeof *node);
    char **names = export_alloc(e, (count + 1) * sizeof *names);
    if (names == NULL) return NULL;
    onnx__node_proto__init(node);
    node->op_type = copy_text(e, op);
    node->name = node->op_type == NULL ? NULL : copy_text(e, output);
    for (size_t i = 0; i < count; i++) names[i] = copy_text(e, inputs[i]);
    names[count] = copy_text(e, output);
    node->n_input = count;
    node->input = names;
    node->n_output = 1;
    node->output = names + count;
    append(e, &e->nodes, &e->node_count, &e->node_room, node);
    return e->status == TL_OK ? node : NULL;
}

static Onnx__AttributeProto *attribute(onnx_export *e, Onnx__NodeProto *node, const char *name,
                                       Onnx__AttributeProto__AttributeType type)
{
    enum { MOST = 12 };
    if (node == NULL) return NULL;
    if (node->attribute == NULL)
        node->attribute = export_alloc(e, MOST * sizeof(Onnx__AttributeProto *));
    Onnx__AttributeProto *out = export_alloc(e, sizeof *out);
    if (out == NULL) return NULL;
    TL_ASSERT(node->n_attribute < MOST);
    onnx__attribute_proto__init(out);
    out->name = copy_text(e, name);
    out->has_type = 1;
    out->type = type;
    node->attribute[node->n_attribute++] = out;
    return out;
}

void export_int(onnx_export *e, Onnx__NodeProto *node, const char *name, int64_t value)
{
    Onnx__AttributeProto *a = attribute(e, node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
    if (a == NULL) return;
    a->has_i = 1;
    a->i = value;
}

void export_ints(onnx_export *e, Onnx__NodeProto *node, const char *name, const int64_t *values,
                 size_t count)
{
    Onnx__AttributeProto *a = attribute(e, node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);
    int64_t *copy = export_alloc(e, count * sizeof *copy);
    if (a == NULL || copy == NULL) return;
    memcpy(copy, values, count * sizeof *copy);
    a->n_ints = count;
    a->ints = copy;
}

void export_float(onnx_export *e, Onnx__NodeProto *node, const char *name, float value)
{
    Onnx__AttributeProto *a =
        attribute(e, node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);
    if (a == NULL) return;
    a->has_f = 1;
    a->f = value;
}

void export_text(onnx_export *e, Onnx__NodeProto *node, const char *name, const char *value)
{
    Onnx__AttributeProto *a =
        attribute(e, node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING);
    char *copy = copy_text(e, value);
    if (a == NULL || copy == NULL) return;
    a->has_s = 1;
    a->s.data = (uint8_t *)copy;
    a->s.len = strlen(copy);
}

/* ---- Initializers ---------------------------------------------------------------------------- */

static const char *initializer(onnx_export *e, const char *name, const int64_t *dims, size_t rank,
                               int32_t type, const void *values, size_t size)
{
    Onnx__TensorProto *tensor = export_alloc(e, sizeof *tensor);
    int64_t *copy = export_alloc(e, rank * sizeof *copy);
    if (name == NULL) name = export_name(e);
    char *own_name = copy_text(e, name);
    if (own_name == NULL) return "";
    onnx__tensor_proto__init(tensor);
    size_t bytes = size;
    for (size_t i = 0; i < rank; i++) {
        copy[i] = dims[i];
        bytes *= (size_t)dims[i];
    }
    tensor->name = own_name;
    tensor->n_dims = rank;
    tensor->dims = copy;
    tensor->has_data_type = 1;
    tensor->data_type = type;
    tensor->has_raw_data = 1;
    tensor->raw_data.len = bytes;
    memcpy(&tensor->raw_data.data, &values, sizeof values); /* only read, when it is packed */
    append(e, &e->initializers, &e->initializer_count, &e->initializer_room, tensor);
    return own_name;
}

const char *export_floats(onnx_export *e, const char *name, const int64_t *dims, size_t rank,
                          const float *values)
{
    return initializer(e, name, dims, rank, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, values,
                       sizeof *values);
}

const char *export_integers(onnx_export *e, const int64_t *values, size_t count)
{
    int64_t *copy = export_alloc(e, count * sizeof *copy);
    if (copy == NULL) return "";
    memcpy(copy, values, count * sizeof *copy);
    const int64_t dims[] = { (int64_t)count };
    return initializer(e, NULL, dims, 1, ONNX__TENSOR_PROTO__DATA_TYPE__INT64, copy, sizeof *copy);
}

const char *export_number(onnx_export *e, float value)
{
    float *copy = export_alloc(e, sizeof *copy);
    if (copy == NULL) return "";
    *copy = value;
    return export_floats(e, NULL, NULL, 0, copy);
}

static const char *in_own_shape(onnx_export *e, const char *name, const tl_shape *shape,
                                const float *values)
{
    int64_t dims[TL_RANK_MAX];
    for (uint32_t i = 0; i < shape->rank; i++) dims[i] = shape->dim[i];
    return export_floats(e, name, dims, shape->rank, values);
}

const char *export_param(onnx_export *e, const tl_node *node, uint32_t index)
{
    const tl_param *param = &e->graph->params[node->params[index]];
    return in_own_shape(e, param->name, &param->shape, e->flat + param->offset);
}

void export_reshape(onnx_export *e, const char *output, const char *from, const uint32_t *dims,
                    uint32_t rank)
{
    int64_t shape[TL_RANK_MAX + 1] = { 0 };
    for (uint32_t i = 0; i < rank; i++) shape[1 + i] = dims[i];
    EXPORT_NODE(e, "Reshape", output, from, export_integers(e, shape, 1 + rank));
}

/* ---- Forms of a tensor ----------------------------------------------------------------------- */

const tl_shape *export_shape(const onnx_export *e, uint32_t tensor)
{
    return &e->graph->tensors[tensor];
}

const float *export_constant(const onnx_export *e, uint32_t tensor)
{
    const tl_node *maker = e->tensors[tensor].maker;
    if (maker == NULL || maker->kind != TL_OP_CONSTANT) return NULL;
    return e->flat + e->graph->params[maker->params[0]].offset;
}

const char *export_table(onnx_export *e, uint32_t tensor)
{
    export_tensor *t = &e->tensors[tensor];
    const char *name = t->named ? NULL : e->graph->params[t->maker->params[0]].name;
    t->named = true;
    return in_own_shape(e, name, export_shape(e, tensor), export_constant(e, tensor));
}

static bool same_order(uint32_t rank, export_order a, export_order b)
{
    return memcmp(a.axis, b.axis, rank) == 0;
}

export_order export_order_of(const onnx_export *e, uint32_t tensor)
{
    const export_tensor *t = &e->tensors[tensor];
    return t->form_count == 0 ? EXPORT_PLAIN : t->forms[0].order;
}

int64_t export_position(uint32_t rank, export_order order, uint32_t axis)
{
    uint32_t i = 0;
    while (i < rank && order.axis[i] != axis) i++;
    TL_ASSERT(i < rank);
    return 1 + i;
}

void export_alias(onnx_export *e, uint32_t tensor, export_order order, const char *name)
{
    export_tensor *t = &e->tensors[tensor];
    if (t->form_count == EXPORT_FORMS_MAX) return; /* made again when it is wanted again */
    t->forms[t->form_count].name = name;
    t->forms[t->form_count++].order = order;
}

const char *export_make(onnx_export *e, uint32_t tensor, export_order order)
{
    export_tensor *t = &e->tensors[tensor];
    const uint32_t rank = export_shape(e, tensor)->rank;
    const char *name = NULL;
    if (same_order(rank, order, EXPORT_PLAIN) ||
        (rank == 3 && same_order(rank, order, EXPORT_IMAGE))) {
        name = t->output;
        t->output = NULL;
    }
    if (name == NULL) name = export_name(e);
    export_alias(e, tensor, order, name);
    return name;
}

/* A constant's numbers in another order of its axes. */
static const float *reordered(onnx_export *e, const float *values, const tl_shape *shape,
                              export_order order)
{
    const size_t count = tl_shape_count(shape);
    size_t stride[TL_RANK_MAX], step = 1;
    for (uint32_t a = shape->rank; a-- > 0;) {
        stride[a] = step;
        step *= shape->dim[a];
    }
    float *out = export_alloc(e, count * sizeof *out);
    if (out == NULL) return NULL;
    for (size_t i = 0; i < count; i++) {
        size_t rest = i, from = 0;
        for (uint32_t a = shape->rank; a-- > 0;) {
            const uint32_t axis = order.axis[a];
            from += rest % shape->dim[axis] * stride[axis];
            rest /= shape->dim[axis];
        }
        out[i] = values[from];
    }
    return out;
}

static tl_shape padded_shape(const tl_shape *shape, uint32_t rank)
{
    tl_shape out = { .rank = rank };
    for (uint32_t i = 0; i < rank; i++)
        out.dim[i] = i < rank - shape->rank ? 1 : shape->dim[i - (rank - shape->rank)];
    return out;
}

static const char *want_constant(onnx_export *e, uint32_t tensor, uint32_t rank, export_order order)
{
    const tl_param *param = &e->graph->params[e->tensors[tensor].maker->params[0]];
    const tl_shape shape = padded_shape(export_shape(e, tensor), rank);
    const float *values = export_constant(e, tensor);
    if (!same_order(rank, order, EXPORT_PLAIN)) values = reordered(e, values, &shape, order);
    if (values == NULL) return "";
    int64_t dims[TL_RANK_MAX + 1] = { 1 };
    for (uint32_t i = 0; i < rank; i++) dims[1 + i] = shape.dim[order.axis[i]];
    export_tensor *t = &e->tensors[tensor];
    const char *name = export_floats(e, t->named ? NULL : param->name, dims, 1 + rank, values);
    t->named = true;
    if (rank == export_shape(e, tensor)->rank) export_alias(e, tensor, order, name);
    return name;
}

const char *export_want(onnx_export *e, uint32_t tensor, export_order order)
{
    export_tensor *t = &e->tensors[tensor];
    const uint32_t rank = export_shape(e, tensor)->rank;
    for (uint32_t i = 0; i < t->form_count; i++)
        if (same_order(rank, t->forms[i].order, order)) return t->forms[i].name;
    if (export_constant(e, tensor) != NULL) return want_constant(e, tensor, rank, order);
    if (t->form_count == 0 || e->status != TL_OK) return "";
    int64_t permutation[TL_RANK_MAX + 1] = { 0 };
    for (uint32_t i = 0; i < rank; i++)
        permutation[1 + i] = export_position(rank, t->forms[0].order, order.axis[i]);
    const char *from = t->forms[0].name, *to = export_make(e, tensor, order);
    export_ints(e, EXPORT_NODE(e, "Transpose", to, from), "perm", permutation, 1 + rank);
    return to;
}

bool export_can_pad(const onnx_export *e, uint32_t tensor, uint32_t rank, export_order order)
{
    const tl_shape shape = padded_shape(export_shape(e, tensor), rank);
    if (export_constant(e, tensor) != NULL) return true;
    uint32_t last = 0;
    for (uint32_t i = 0; i < rank; i++) {
        if (shape.dim[order.axis[i]] == 1) continue;
        if (order.axis[i] < last) return false;
        last = order.axis[i];
    }
    return true;
}

const char *export_want_rank(onnx_export *e, uint32_t tensor, uint32_t rank, export_order order)
{
    const tl_shape *own = export_shape(e, tensor);
    if (own->rank == rank) return export_want(e, tensor, order);
    if (export_constant(e, tensor) != NULL) return want_constant(e, tensor, rank, order);
    TL_ASSERT(export_can_pad(e, tensor, rank, order));
    const tl_shape shape = padded_shape(own, rank);
    uint32_t dims[TL_RANK_MAX];
    for (uint32_t i = 0; i < rank; i++) dims[i] = shape.dim[order.axis[i]];
    const char *from = export_want(e, tensor, EXPORT_PLAIN), *to = export_name(e);
    export_reshape(e, to, from, dims, rank);
    return to;
}
