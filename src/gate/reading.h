/* reading.h - numbers of a saved state that are checked as they are read: one out of range fails the
 * reader. Layer: gate, inside it. */
#ifndef TL_GATE_READING_H
#define TL_GATE_READING_H

#include <math.h>

#include "gate/internal.h"

static inline bool read_flag(tl_blob_reader *reader)
{
    uint8_t value = tl_blob_read_u8(reader);
    if (value > 1) reader->failed = true;
    return value == 1;
}

static inline double read_finite(tl_blob_reader *reader)
{
    double value = tl_blob_read_f64(reader);
    if (!isfinite(value)) reader->failed = true;
    return value;
}

static inline double read_in(tl_blob_reader *reader, double low, double high)
{
    double value = tl_blob_read_f64(reader);
    if (!(value >= low && value <= high)) {
        reader->failed = true;
        return low;
    }
    return value;
}

static inline int64_t read_time(tl_blob_reader *reader)
{
    uint64_t value = tl_blob_read_u64(reader);
    if (value > (uint64_t)TL_GATE_TIME_MAX_US) {
        reader->failed = true;
        return 0;
    }
    return (int64_t)value;
}

#endif
