#include "cli/model.h"

#include "cli/terminal/terminal.h"
#include "networks/networks.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* Files say nothing of it; but they have telling names. */
const char *tl_model_normalisation(const char *model, uint32_t channels)
{
    static const struct {
        const char *part, *normalisation;
    } KNOWN[] = { { "efficientnetlite", "efficientnet_lite" },
                  { "mobilenet", "imagenet" },
                  { "resnet", "imagenet" },
                  { "yolo", "unit" } };
    const tl_network *network = tl_network_find(model);
    if (network != NULL) return network->pixels;
    char plain[512];
    size_t count = 0;
    const char *name = strrchr(model, '/');
    for (name = name == NULL ? model : name + 1; *name != '\0' && count + 1 < sizeof plain; name++)
        if (isalnum((unsigned char)*name)) plain[count++] = (char)tolower((unsigned char)*name);
    plain[count] = '\0';
    for (size_t i = 0; i < TL_COUNT_OF(KNOWN); i++)
        if (strstr(plain, KNOWN[i].part) != NULL) return KNOWN[i].normalisation;
    return channels == 3 ? "imagenet" : "symmetric";
}

/* A detector is taken for its features; nobody is to find out later that its boxes are gone. */
static void tell_dropped(const tl_loop_options *loop, const tl_network_facts *facts, tl_text *out)
{
    const tl_network *network = tl_network_find(loop->model_path);
    const bool boxes = network != NULL && network->task == TL_NETWORK_DETECT;
    if (boxes || facts->head.pooled)
        tl_text_printf(out,
                       ". %s dropped: a loop tells the class of a whole image; `tightloop train` "
                       "trains detectors",
                       boxes ? "Its boxes are"
                             : "Its own output (a detector's boxes, or a map) is");
}

static void tell_memory(const tl_loop_options *loop, const tl_network_facts *facts, tl_text *out)
{
    char serve[32], campaign[32];
    tl_human_bytes((double)facts->serve_bytes, serve);
    tl_human_bytes((double)facts->campaign_bytes, campaign);
    tl_text_printf(out, ". Memory: %s for answering", serve);
    const bool small = facts->macs <= TL_CONTINUOUS_MACS_MAX;
    if (facts->campaign_bytes > 0 &&
        (loop->learning == TL_LEARNING_CAMPAIGN || (loop->learning == TL_LEARNING_AUTO && !small)))
        tl_text_printf(out, ", %s for a campaign (%u images a step)", campaign,
                       facts->campaign_batch);
}

/* What was found in the file, what was chosen, what is dropped, and the memory that it takes. */
static void tell(const tl_loop_options *loop, const tl_network_facts *facts, bool guessed,
                 tl_text *out)
{
    char found[256];
    tl_network_describe(facts, (uint32_t)loop->class_count, found, sizeof found);
    tl_text_puts(out, found);
    tell_dropped(loop, facts, out);
    const bool pair = loop->has_template && facts->channels == 3;
    if (loop->input == TL_INPUT_IMAGE)
        tl_text_printf(out, ". Images of %ux%u, %s, pixels as %s%s", loop->height, loop->width,
                       pair                  ? "as three planes: image, template and difference"
                       : loop->channels == 3 ? "in colour"
                                             : "grey",
                       loop->normalisation,
                       guessed ? " (a guess: check it against how it was trained)" : "");
    tell_memory(loop, facts, out);
}

tl_status tl_model_choose(tl_loop_options *loop, tl_text *text, tl_error *err)
{
    tl_network_facts facts;
    bool guessed = false;
    tl_status status = tl_network_probe(loop->model_path, loop->height, loop->width,
                                        (uint32_t)loop->class_count, loop->keep_head, &facts, err);
    if (status != TL_OK) return status;
    if (facts.height == 0) {
        loop->input = TL_INPUT_FEATURES;
        loop->feature_count = facts.channels;
    } else {
        loop->input = TL_INPUT_IMAGE;
        if (loop->height == 0) loop->height = facts.height;
        if (loop->width == 0) loop->width = facts.width;
        bool pair = loop->has_template && facts.channels == 3;
        if (loop->channels == 0) loop->channels = pair || facts.channels != 3 ? 1 : 3;
        guessed = loop->normalisation == NULL && tl_network_find(loop->model_path) == NULL;
        if (loop->normalisation == NULL)
            loop->normalisation = tl_model_normalisation(loop->model_path, facts.channels);
    }
    if (text != NULL) tell(loop, &facts, guessed, text);
    return TL_OK;
}
