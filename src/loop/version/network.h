/* network.h - the network of a loop: from an ONNX file or built in, with a last layer for the loop's
 * classes. Layer: loop. Any thread.
 *
 * A loop is a function of its journal, its network too: the file's bytes are kept there (as "version
 * 0"), their hash is in the loop's description, and from then on the file itself is not needed. */
#ifndef TL_LOOP_NETWORK_H
#define TL_LOOP_NETWORK_H

#include "graph/classifier.h"
#include "loop/item/items.h"

/* Of a file, and of what one item's features cost to come by. A version's weights must be readable
 * in one piece, too. */
enum { TL_MODEL_BYTES_MAX = 100 << 20 };

/* The number under which the journal keeps the file's bytes. */
enum { TL_NETWORK_VERSION = 0 };

/* Multiply-adds an item up to which learning is continuous unless somebody says otherwise: beyond,
 * replaying sixteen items for each label takes a processor longer than labels take to come. */
enum { TL_CONTINUOUS_MACS_MAX = 10000000 };

/* The fast head's features at most: solving it takes 2 ms for so many. Further ones are sketched. */
enum { TL_FAST_FEATURES_MAX = 512 };

typedef struct tl_network_facts {
    size_t parameters;
    uint64_t macs;                    /* multiply-adds of one item, forward */
    uint32_t height, width, channels; /* of the input; height 0: a vector of `channels` numbers */
    tl_classifier_report head;
    /* By tl_network_probe. */
    size_t serve_bytes;      /* plan for answering, with a runtime's default batch, and weights */
    size_t campaign_bytes;   /* a campaign beside that, with the default number of threads */
    uint32_t campaign_batch; /* items of one of its steps */
} tl_network_facts;

/* Whether the loop's network comes from a file. */
bool tl_network_from_file(const tl_loop_config *config);

/* The bytes of an ONNX file (malloc'ed) and their hash. Errors: TL_ENOTFOUND, TL_EIO, TL_ELIMIT. */
tl_status tl_network_read_file(const char *path, void **data, size_t *bytes,
                               char hash[TL_MODEL_HASH_BYTES], tl_error *err);

/* The network of `config`; `data` are the file's bytes, NULL for a built-in one. *flat is malloc'ed.
 * `facts` may be NULL. Errors: those of the importer, and of tl_graph_classifier. */
tl_status tl_network_make(const tl_loop_config *config, const void *data, size_t bytes,
                          tl_graph **graph, float **flat, tl_network_facts *facts, tl_error *err);

/* Fill in what a new loop's configuration takes from its network: planes, and learning where that
 * is auto. Errors: TL_ESHAPE when the network does not take what the loop's items give. */
tl_status tl_network_settle(tl_loop_config *config, const tl_graph *graph, tl_error *err);

/* What a model is, before there is a loop: with sizes of 0, at the size that the file has, or 224.
 * `classes` and `keep_head` as of the loop to be. */
tl_status tl_network_probe(const char *model, uint32_t height, uint32_t width, uint32_t classes,
                           bool keep_head, tl_network_facts *out, tl_error *err);

/* What was done with the model, for people: "backbone of ... features". */
void tl_network_describe(const tl_network_facts *facts, uint32_t classes, char *out, size_t bytes);

#endif
