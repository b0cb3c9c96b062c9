/* kernels_serve.h - the part of kernels_body.h for serving: products with packed panels, and
 * depthwise convolutions of padded rows. Layer: tensor.
 *
 * A block is up to PANEL_ROWS pixels by PANEL_VECTORS vectors of columns, as the instruction set has
 * registers. Each sum runs over the inputs in their order, whatever the block, so results do not
 * depend on how pixels are cut. */

/* Others take a pass over what was stored. */
static bool acts_in_registers(tl_op_kind kind)
{
    return kind == TL_OP_COUNT || kind == TL_OP_RELU || kind == TL_OP_CLIP ||
           kind == TL_OP_HARD_SWISH;
}

/* The sums of one block of pixels, for all the panel's columns. */
static void panel_sums(const tl_panel_args *p, size_t rows, const float *x, float *to,
                       size_t to_step)
{
#if PANEL_WIDTH == 16
    if (p->width == 32) panel_rows_16(p, rows, x, 0, to, to_step, 2);
    if (p->width == 16) panel_rows_16(p, rows, x, 0, to, to_step, 1);
    if (p->width == 8) panel_rows_8(p, rows, x, 0, to, to_step, 1);
#elif PANEL_WIDTH == 8
    if (p->width == 8) panel_rows_8(p, rows, x, 0, to, to_step, 1);
    for (size_t c = 0; c + 16 <= p->width; c += 16) panel_rows_8(p, rows, x, c, to, to_step, 2);
#else
    for (size_t c = 0; c < p->width; c += 8) panel_rows_4(p, rows, x, c, to, to_step, 2);
#endif
}

/* What is left after the sums: an activation, the columns that are there, the addition. */
static void panel_finish(const tl_panel_args *p, size_t rows, const float *sums, size_t step,
                         const float *add, float *y)
{
    const tl_activation none = { TL_OP_COUNT, 0, 0 };
    const tl_activation *act = acts_in_registers(p->act->kind) ? &none : p->act;
    const float a = act->alpha, b = act->beta;
    const size_t n = p->columns;
#define LOOP(name)                                                                                 \
    for (size_t r = 0; r < rows; r++) {                                                            \
        const float *from = sums + r * step;                                                       \
        float *to = y + r * p->y_step;                                                             \
        IVDEP for (size_t i = 0; i < n; i++) to[i] = f_##name(from[i], a, b);                      \
    }
    if (act != &none || sums != y) FOR_ACTIVATION(act)
#undef LOOP
    for (size_t r = 0; add != NULL && r < rows; r++) {
        float *to = y + r * p->y_step;
        const float *more = add + r * p->add_step;
        IVDEP for (size_t i = 0; i < n; i++) to[i] += more[i];
    }
}

static void k_panel(const tl_panel_args *p)
{
    float partial[PANEL_ROWS * TL_PANEL_MAX]; /* of a panel that is not full */
    const bool full = p->columns == p->width;
    const size_t blocks = (p->rows + PANEL_ROWS - 1) / PANEL_ROWS;
    for (size_t i = 0; i < blocks; i++) {
        const size_t begin = p->rows * i / blocks, rows = p->rows * (i + 1) / blocks - begin;
        const float *add = p->add == NULL ? NULL : p->add + begin * p->add_step;
        float *y = p->y + begin * p->y_step;
        float *to = full ? y : partial;
        const size_t step = full ? p->y_step : p->width;
        panel_sums(p, rows, p->x + begin * p->x_step, to, step);
        panel_finish(p, rows, to, step, add, y);
    }
}

/* ---- Depthwise ------------------------------------------------------------------------------- */

#define PASTE2(a, b)    a##b
#define PASTE(a, b)     PASTE2(a, b)
#define DEPTHWISE(k, s) PASTE(depthwise_pixels_, PANEL_WIDTH)(d, c, k, s)

static void depthwise_channels(const tl_depthwise_row *d, size_t c)
{
    if (d->kernel == 3 && d->stride == 1) DEPTHWISE(3, 1);
    if (d->kernel == 3 && d->stride == 2) DEPTHWISE(3, 2);
    if (d->kernel == 5 && d->stride == 1) DEPTHWISE(5, 1);
    if (d->kernel == 5 && d->stride == 2) DEPTHWISE(5, 2);
}

static void k_depthwise_row(const tl_depthwise_row *d)
{
    size_t c = d->begin;
    for (; c + PANEL_WIDTH <= d->end; c += PANEL_WIDTH) depthwise_channels(d, c);
    if (c < d->end) depthwise_channels(d, d->end - PANEL_WIDTH); /* some once more, the same */
    if (acts_in_registers(d->act->kind)) return;
    for (size_t i = 0; i < d->pixels; i++) {
        float *y = d->y + i * d->channels;
        k_activate(d->act, d->end - d->begin, y + d->begin, y + d->begin);
    }
}
