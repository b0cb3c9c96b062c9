#include "cli/model.h"

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

tl_status tl_model_choose(tl_loop_options *loop, char *text, size_t bytes, tl_error *err)
{
    tl_network_facts facts;
    uint32_t classes = (uint32_t)loop->class_count;
    tl_status status = tl_network_probe(loop->model_path, loop->height, loop->width, classes,
                                        loop->keep_head, &facts, err);
    if (status != TL_OK) return status;
    tl_network_describe(&facts, classes, text, bytes);
    if (facts.height == 0) {
        loop->input = TL_INPUT_FEATURES;
        loop->feature_count = facts.channels;
        return TL_OK;
    }
    loop->input = TL_INPUT_IMAGE;
    if (loop->height == 0) loop->height = facts.height;
    if (loop->width == 0) loop->width = facts.width;
    bool pair = loop->has_template && facts.channels == 3;
    if (loop->channels == 0) loop->channels = pair || facts.channels != 3 ? 1 : 3;
    bool given = loop->normalisation != NULL || tl_network_find(loop->model_path) != NULL;
    if (loop->normalisation == NULL)
        loop->normalisation = tl_model_normalisation(loop->model_path, facts.channels);
    size_t used = strlen(text);
    snprintf(text + used, bytes - used, ". Images of %ux%u, %s, pixels as %s%s", loop->height,
             loop->width,
             pair                  ? "as three planes: image, template and difference"
             : loop->channels == 3 ? "in colour"
                                   : "grey",
             loop->normalisation, !given ? " (a guess: check it against how it was trained)" : "");
    return TL_OK;
}
