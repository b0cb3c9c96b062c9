/* model.h - a network from a file, and what a loop around it is like. Layer: cli. Any thread. */
#ifndef TL_CLI_MODEL_H
#define TL_CLI_MODEL_H

#include "format/json.h"
#include "loop/version/network.h"

/* Fill in what `loop` leaves open about its model (model_path is set, classes too): input form, size
 * (0: the model's), channels (0: the model's, or with a template what fits it), normalisation (NULL:
 * guessed by the file's name; static). Adds to `text` (may be NULL) what was found and chosen, what
 * is dropped, and the memory that it takes. Errors: as of tl_network_probe; what does not fit is told
 * when the loop is opened. */
tl_status tl_model_choose(tl_loop_options *loop, tl_text *text, tl_error *err);

/* The normalisation of a built-in network, or a guess by a file's name and its input's channels.
 * Static. */
const char *tl_model_normalisation(const char *model, uint32_t channels);

#endif
