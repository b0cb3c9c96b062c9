/* infer.h - bodies of the Open Inference Protocol to items and back. Layer: server; knows nothing
 * of HTTP, so that it can be fuzzed alone. Any thread; one owner thread per arena and parser. */
#ifndef TL_SERVER_INFER_H
#define TL_SERVER_INFER_H

#include "base/arena.h"
#include "base/text.h"
#include "format/json.h"

typedef enum tl_output { TL_OUTPUT_SCORES, TL_OUTPUT_LABEL, TL_OUTPUT_FLAGGED } tl_output;

enum { TL_OUTPUT_COUNT = 3 };

/* How the caller wants its answer: all that is kept of a request while it waits. */
typedef struct tl_infer_form {
    bool has_id;
    char id[TL_REQUEST_ID_BYTES_MAX]; /* echoed */
    size_t output_count;
    struct {
        tl_output output;
        bool binary;
    } outputs[TL_OUTPUT_COUNT];
} tl_infer_form;

typedef struct tl_infer_request {
    tl_item *items; /* in the arena; images may point into the body */
    size_t count;
    uint64_t version;       /* from the parameters; 0: not given */
    const char *request_id; /* from the parameters, in the arena; NULL: not given */
    tl_infer_form form;
} tl_infer_request;

/* Read a request.
 *   json_bytes  length of the JSON part; the rest of the body are binary tensors
 * Errors: TL_EINVAL, TL_ESHAPE, TL_ELIMIT, TL_EUNSUPPORTED (a datatype or an option), TL_ENOMEM;
 * *out is then unspecified. What it points to lives as long as the arena and the body. */
tl_status tl_infer_read(tl_json_parser *parser, tl_arena *arena, const tl_loop_info *loop,
                        const void *body, size_t bytes, size_t json_bytes, tl_infer_request *out,
                        tl_error *err);

/* Append the answer to `text`: JSON, then binary tensors if any were asked for. Returns the length
 * of the JSON when binary tensors follow, else 0. */
size_t tl_infer_write(const tl_infer_form *form, const tl_loop_info *loop,
                      const tl_prediction *predictions, size_t count, tl_text *text);

/* True when the form asks for at least one binary tensor. */
bool tl_infer_is_binary(const tl_infer_form *form);

#endif
