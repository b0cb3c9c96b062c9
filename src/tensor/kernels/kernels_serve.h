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

/* ---- Turning --------------------------------------------------------------------------------- */

/* Where number i of the rows goes, and the next one. */
typedef struct turn_place {
    const tl_turn_args *args;
    size_t channel, tap;
} turn_place;

INLINE turn_place turn_at(const tl_turn_args *t, size_t i)
{
    return (turn_place){ t, i / t->taps, i % t->taps };
}

INLINE float *turn_next(turn_place *at)
{
    const tl_turn_args *t = at->args;
    float *to = t->to + (at->tap * t->channels + at->channel) * t->to_step;
    if (++at->tap == t->taps) at->tap = 0, at->channel++;
    return to;
}

/* Numbers begin..end-1, a multiple of 4, of rows r to r + 3. */
static void turn_rows_4(const tl_turn_args *t, size_t r, size_t begin, size_t end)
{
    const size_t inner = t->channels * t->taps;
    turn_place at = turn_at(t, begin);
    for (size_t i = begin; i < end; i += 4) {
        vec4 tile[4], half[4];
        UNROLL for (size_t n = 0; n < 4; n++)
            memcpy(&tile[n], t->from + (r + n) * inner + i, sizeof tile[n]);
        UNROLL for (size_t n = 0; n < 2; n++)
        {
            half[2 * n] = __builtin_shufflevector(tile[n], tile[n + 2], 0, 4, 1, 5);
            half[2 * n + 1] = __builtin_shufflevector(tile[n], tile[n + 2], 2, 6, 3, 7);
        }
        UNROLL for (size_t n = 0; n < 2; n++)
        {
            tile[2 * n] = __builtin_shufflevector(half[n], half[n + 2], 0, 4, 1, 5);
            tile[2 * n + 1] = __builtin_shufflevector(half[n], half[n + 2], 2, 6, 3, 7);
        }
        UNROLL for (size_t n = 0; n < 4; n++) memcpy(turn_next(&at) + r, &tile[n], sizeof tile[n]);
    }
}

#if PANEL_WIDTH == 16
#define TURN_ROUND(a, b)                                                                           \
    UNROLL for (size_t n = 0; n < 8; n++)                                                          \
    {                                                                                              \
        b[2 * n] = __builtin_shufflevector(a[n], a[n + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5,   \
                                           21, 6, 22, 7, 23);                                      \
        b[2 * n + 1] = __builtin_shufflevector(a[n], a[n + 8], 8, 24, 9, 25, 10, 26, 11, 27, 12,   \
                                               28, 13, 29, 14, 30, 15, 31);                        \
    }

/* The same of rows r to r + 15: four rounds of taking turns between one half and the other. */
static size_t turn_rows_16(const tl_turn_args *t, size_t r, size_t begin, size_t end)
{
    const size_t inner = t->channels * t->taps;
    turn_place at = turn_at(t, begin);
    size_t i = begin;
    for (; i + 16 <= end; i += 16) {
        vec16 tile[16], half[16];
        UNROLL for (size_t n = 0; n < 16; n++)
            memcpy(&tile[n], t->from + (r + n) * inner + i, sizeof tile[n]);
        TURN_ROUND(tile, half)
        TURN_ROUND(half, tile)
        TURN_ROUND(tile, half)
        TURN_ROUND(half, tile)
        UNROLL for (size_t n = 0; n < 16; n++) memcpy(turn_next(&at) + r, &tile[n], sizeof tile[n]);
    }
    return i;
}
#undef TURN_ROUND
#endif

/* The next stretch of some rows: that is a jump away, which processors do not foresee. */
static void turn_prefetch(const tl_turn_args *t, size_t r, size_t rows, size_t begin, size_t end)
{
    const size_t line = TL_ALIGN_BYTES / sizeof(float);
    for (size_t n = 0; n < rows; n++)
        for (size_t i = begin; i < end; i += line)
            __builtin_prefetch(t->from + (r + n) * t->channels * t->taps + i);
}

/* A stretch of every row in turn: what it is turned into stays in the first-level cache. */
static void k_turn(const tl_turn_args *t)
{
    const size_t stretch = 64;
    for (size_t begin = 0, end; begin < t->count; begin = end) {
        end = begin + stretch < t->count ? begin + stretch : t->count;
        const size_t next = end + stretch < t->count ? end + stretch : t->count;
        size_t r = 0;
#if PANEL_WIDTH == 16
        for (; r + 16 <= t->rows; r += 16) {
            turn_prefetch(t, r, 16, end, next);
            const size_t done = turn_rows_16(t, r, begin, end);
            for (size_t n = 0; n < 16; n += 4) turn_rows_4(t, r + n, done, end);
        }
#endif
        for (; r < t->rows; r += 4) {
            turn_prefetch(t, r, 4, end, next);
            turn_rows_4(t, r, begin, end);
        }
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
