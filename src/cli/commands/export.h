/* export.h - `tightloop export --onnx`: a network as an ONNX file. Layer: cli. */
#ifndef TL_CLI_EXPORT_H
#define TL_CLI_EXPORT_H

#include "base/status.h"

typedef struct tl_export_network {
    const char *model;            /* name of a built-in network */
    const char *path;             /* of the file */
    uint64_t classes, size, seed; /* 0: the network's own; seed 1 */
    bool trainable;
} tl_export_network;

/* Errors: TL_ENOTFOUND (no such network; the text names the nearest), those of tl_network_create and
 * tl_onnx_export_file. */
tl_status tl_export_network_file(const tl_export_network *options, tl_error *err);

#endif
