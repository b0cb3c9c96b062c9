/* export.h - a recorded version as an ONNX file. Layer: loop. Any thread, with a reader of its own. */
#ifndef TL_LOOP_VERSION_EXPORT_H
#define TL_LOOP_VERSION_EXPORT_H

#include "journal/journal.h"
#include "loop/config.h"

typedef struct tl_version_export_options {
    uint64_t version;
    const char *const *classes; /* those of now, in the order of the outputs */
    size_t class_count;
    bool trainable; /* see tl_onnx_export_options */
} tl_version_export_options;

/* The network of loop `loop` (a number of the journal) with that version's weights. Its output is the
 * logits of the network's own last layer; there may be more than classes, for those to come. The
 * fast head is not in it. Metadata: loop, version, classes, and how pixels become numbers ("mean" and
 * "std" of bytes 0..255).
 * Errors: TL_ENOTFOUND (no such version, or its weights are not kept), those of the journal, of the
 * importer and of tl_onnx_export_file. */
tl_status tl_version_export(tl_journal_reader *reader, uint32_t loop, const tl_loop_config *config,
                            const tl_version_export_options *options, const char *path,
                            tl_error *err);

#endif
