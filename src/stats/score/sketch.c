#include "stats/score/sketch.h"

#include "base/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SKETCH_VERSION = 1, ROWS = TL_SKETCH_ROWS, CELLS = TL_SKETCH_CELLS };
enum { SIGN_COUNT = TL_SKETCH_ROWS * TL_SKETCH_BITS, ROTATIONS = 2, WIDTH_MIN = 16, LANES = 4 };

/* Four at a time: both compilers have them, on every machine. */
typedef float four __attribute__((vector_size(16)));

struct tl_sketch {
    uint32_t dimension, width; /* width: the power of two that holds it */
    uint64_t seed, sum;        /* sum: of all counts */
    four *memory;              /* what the next three are parts of, in fours */
    four *centred;             /* [width], work */
    four *rotated;             /* [width], work */
    four *signs;               /* [blocks, ROTATIONS, width], +-1 */
    float *centre;             /* [dimension] */
    uint16_t counts[ROWS][CELLS];
};

/* ---- Hashing --------------------------------------------------------------------------------- */

/* A block is one rotation of the embedding into `width` signs. */
static uint32_t block_count(uint32_t width)
{
    return (SIGN_COUNT + width - 1) / width;
}

static void butterfly(four *low, four *high)
{
    four a = *low, b = *high;
    *low = a + b;
    *high = a - b;
}

/* Unnormalised Walsh-Hadamard transform in place, of n fours, n a power of two: across the fours by
 * butterflies, within each by hand. */
static void hadamard(four *x, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        float a = x[i][0] + x[i][1], b = x[i][0] - x[i][1];
        float c = x[i][2] + x[i][3], d = x[i][2] - x[i][3];
        x[i] = (four){ a + c, b + d, a - c, b - d };
    }
    for (uint32_t half = 1; half < n; half *= 2)
        for (uint32_t i = 0; i < n; i += 2 * half)
            for (uint32_t k = i; k < i + half; k++) butterfly(&x[k], &x[k + half]);
}

/* Only the direction counts, and sums must stay finite: scaled to 1 at most. */
static void take_centre(tl_sketch *s, const float *x)
{
    float *out = (float *)s->centred, scale = 0.0f;
    for (uint32_t i = 0; i < s->dimension; i++) {
        float value = x[i] - s->centre[i];
        out[i] = isfinite(value) ? value : 0.0f;
        scale = fmaxf(scale, fabsf(out[i]));
    }
    if (scale > 0.0f)
        for (uint32_t i = 0; i < s->dimension; i++) out[i] /= scale;
}

static void rotate(tl_sketch *s, uint32_t block)
{
    uint32_t fours = s->width / LANES;
    const four *signs = s->signs + (size_t)block * ROTATIONS * fours;
    for (uint32_t i = 0; i < fours; i++) s->rotated[i] = s->centred[i];
    for (uint32_t r = 0; r < ROTATIONS; r++) {
        for (uint32_t i = 0; i < fours; i++) s->rotated[i] *= signs[r * fours + i];
        hadamard(s->rotated, fours);
    }
}

/* The cell of each row. */
static void hash(tl_sketch *s, const float *x, uint16_t cells[ROWS])
{
    const float *rotated = (const float *)s->rotated;
    take_centre(s, x);
    memset(cells, 0, ROWS * sizeof cells[0]);
    uint32_t sign = 0;
    for (uint32_t block = 0; block < block_count(s->width); block++) {
        rotate(s, block);
        for (uint32_t i = 0; i < s->width && sign < SIGN_COUNT; i++, sign++) {
            uint16_t *cell = &cells[sign / TL_SKETCH_BITS];
            *cell = (uint16_t)(*cell << 1 | (rotated[i] > 0.0f));
        }
    }
}

/* ---- Lifecycle ------------------------------------------------------------------------------- */

tl_status tl_sketch_create(uint32_t dimension, uint64_t seed, const float *centre, tl_sketch **out,
                           tl_error *err)
{
    if (dimension < 1 || dimension > TL_SKETCH_DIMENSION_MAX)
        return tl_fail(err, TL_EINVAL, "embeddings of %u numbers; use 1 to %d", dimension,
                       TL_SKETCH_DIMENSION_MAX);
    uint32_t width = WIDTH_MIN;
    while (width < dimension) width *= 2;
    size_t fours = width / LANES, sign_fours = (size_t)block_count(width) * ROTATIONS * fours;
    tl_sketch *s = calloc(1, sizeof *s);
    four *memory = calloc(2 * fours + sign_fours, sizeof *memory);
    float *taken = calloc(dimension, sizeof *taken);
    if (s == NULL || memory == NULL || taken == NULL) {
        free(s);
        free(memory);
        free(taken);
        return tl_fail(err, TL_ENOMEM, "no memory for a sketch of embeddings");
    }
    s->dimension = dimension;
    s->width = width;
    s->seed = seed;
    s->centred = s->memory = memory;
    s->rotated = s->centred + fours;
    s->signs = s->rotated + fours;
    s->centre = taken;
    if (centre != NULL) memcpy(s->centre, centre, dimension * sizeof(float));
    tl_rng rng;
    tl_rng_seed(&rng, seed, 0);
    for (size_t i = 0; i < sign_fours; i++)
        for (int k = 0; k < LANES; k++) s->signs[i][k] = tl_rng_u64(&rng) >> 63 ? 1.0f : -1.0f;
    *out = s;
    return TL_OK;
}

void tl_sketch_destroy(tl_sketch **sketch)
{
    if (*sketch == NULL) return;
    free((*sketch)->memory);
    free((*sketch)->centre);
    free(*sketch);
    *sketch = NULL;
}

/* ---- Counting -------------------------------------------------------------------------------- */

double tl_sketch_seen(const tl_sketch *sketch)
{
    return (double)sketch->sum / ROWS;
}

void tl_sketch_halve(tl_sketch *sketch)
{
    sketch->sum = 0;
    for (int r = 0; r < ROWS; r++)
        for (int i = 0; i < CELLS; i++) sketch->sum += sketch->counts[r][i] /= 2;
}

static double novelty(const tl_sketch *s, const uint16_t cells[ROWS])
{
    double sum = 0.0;
    for (int r = 0; r < ROWS; r++) sum += s->counts[r][cells[r]];
    return fmax(log((tl_sketch_seen(s) + 1.0) / (sum / ROWS + 1.0)), 0.0);
}

double tl_sketch_score(tl_sketch *sketch, const float *x)
{
    uint16_t cells[ROWS];
    hash(sketch, x, cells);
    return novelty(sketch, cells);
}

double tl_sketch_add(tl_sketch *sketch, const float *x)
{
    uint16_t cells[ROWS];
    hash(sketch, x, cells);
    double score = novelty(sketch, cells);
    bool full = false;
    for (int r = 0; r < ROWS; r++) full = full || sketch->counts[r][cells[r]] == UINT16_MAX;
    if (full) tl_sketch_halve(sketch);
    for (int r = 0; r < ROWS; r++) sketch->counts[r][cells[r]]++;
    sketch->sum += ROWS;
    return score;
}

tl_status tl_sketch_merge(tl_sketch *sketch, const tl_sketch *other, tl_error *err)
{
    if (sketch->dimension != other->dimension || sketch->seed != other->seed ||
        memcmp(sketch->centre, other->centre, sketch->dimension * sizeof(float)) != 0)
        return tl_fail(err, TL_ECONFLICT,
                       "sketches of other embeddings do not add up; use one dimension, seed and "
                       "centre for all");
    bool full = false;
    for (int r = 0; r < ROWS; r++)
        for (int i = 0; i < CELLS; i++)
            full = full || sketch->counts[r][i] + other->counts[r][i] > UINT16_MAX;
    sketch->sum = 0;
    for (int r = 0; r < ROWS; r++)
        for (int i = 0; i < CELLS; i++) {
            uint32_t count = (uint32_t)sketch->counts[r][i] + other->counts[r][i];
            sketch->counts[r][i] = (uint16_t)(full ? count / 2 : count);
            sketch->sum += sketch->counts[r][i];
        }
    return TL_OK;
}

/* ---- Saved ----------------------------------------------------------------------------------- */

void tl_sketch_save(const tl_sketch *sketch, tl_blob *blob)
{
    size_t section = tl_blob_section_begin(blob, "SKET", SKETCH_VERSION);
    tl_blob_u32(blob, sketch->dimension);
    tl_blob_u64(blob, sketch->seed);
    tl_blob_f32s(blob, sketch->centre, sketch->dimension);
    for (int r = 0; r < ROWS; r++)
        for (int i = 0; i < CELLS; i += 2)
            tl_blob_u32(blob, sketch->counts[r][i] | (uint32_t)sketch->counts[r][i + 1] << 16);
    tl_blob_section_end(blob, section);
}

tl_status tl_sketch_load(tl_blob_reader *reader, tl_sketch **out, tl_error *err)
{
    tl_blob_reader body;
    tl_status status = tl_blob_read_section(reader, "SKET", SKETCH_VERSION, &body, NULL, err);
    if (status != TL_OK) return status;
    uint32_t dimension = tl_blob_read_u32(&body);
    uint64_t seed = tl_blob_read_u64(&body);
    if (dimension < 1 || dimension > TL_SKETCH_DIMENSION_MAX)
        return tl_fail(err, TL_ECORRUPT, "saved sketch has embeddings of %u numbers", dimension);
    tl_sketch *s = NULL;
    status = tl_sketch_create(dimension, seed, NULL, &s, err);
    if (status != TL_OK) return status;
    tl_blob_read_f32s(&body, s->centre, dimension);
    for (int r = 0; r < ROWS; r++)
        for (int i = 0; i < CELLS; i += 2) {
            uint32_t pair = tl_blob_read_u32(&body);
            s->counts[r][i] = (uint16_t)pair;
            s->counts[r][i + 1] = (uint16_t)(pair >> 16);
            s->sum += (uint64_t)s->counts[r][i] + s->counts[r][i + 1];
        }
    status = tl_blob_read_end(&body, "sketch", err);
    if (status == TL_OK)
        *out = s;
    else
        tl_sketch_destroy(&s);
    return status;
}
