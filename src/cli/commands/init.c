/* init.c - `tightloop init`: a commented configuration to start from. */
#include "cli/command.h"
#include "cli/model.h"
#include "cli/terminal/terminal.h"
#include "networks/networks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct {
    const char *output, *loop, *classes, *input, *model, *normalisation, *learning, *journal;
    uint64_t height, width, channels, features;
    bool has_template, keep_head, force, json;
} values = { .loop = "inspection", .classes = "ok,defect", .input = "image", .learning = "auto" };

static const tl_option options[] = {
    { "output", 'o', TL_OPTION_FILE, "FILE", "Where to write; \"-\" prints it. [tightloop.yaml]",
      &values.output, 0, 0 },
    { "loop", 'l', TL_OPTION_TEXT, "NAME", "Name of the loop.", &values.loop, 0, 0 },
    { "classes", 'c', TL_OPTION_TEXT, "A,B,...",
      "Names of the classes; the first one means nothing to flag.", &values.classes, 0, 0 },
    { "input", 'i', TL_OPTION_CHOICE, "image|features", "What the loop predicts on.", &values.input,
      0, 0 },
    { "height", 0, TL_OPTION_WHOLE, "N",
      "Pixels of height; images are scaled on the way in. [64, or the model's]", &values.height, 8,
      TL_IMAGE_SIDE_MAX },
    { "width", 0, TL_OPTION_WHOLE, "N", "Pixels of width. [64, or the model's]", &values.width, 8,
      TL_IMAGE_SIDE_MAX },
    { "channels", 0, TL_OPTION_WHOLE, "N", "1 grey or 3 colour. [1, or the model's]",
      &values.channels, 1, 3 },
    { "template", 't', TL_OPTION_FLAG, NULL, "Each image comes with its template, a golden sample.",
      &values.has_template, 0, 0 },
    { "features", 0, TL_OPTION_WHOLE, "N", "How many numbers, for --input features.",
      &values.features, 0, TL_FEATURE_COUNT_MAX },
    { "model", 'm', TL_OPTION_FILE, "FILE",
      "ONNX model to start from, or the name of a built-in network; without one a small network "
      "learns from nothing.",
      &values.model, 0, 0 },
    { "keep-head", 0, TL_OPTION_FLAG, NULL,
      "Keep the model's own last layer, which must have as many classes.", &values.keep_head, 0,
      0 },
    { "normalisation", 0, TL_OPTION_TEXT, "HOW",
      "How pixels become the model's numbers: symmetric, unit, imagenet, efficientnet_lite, or "
      "MEAN,MEAN,MEAN/STD,STD,STD. [guessed by the model's name]",
      &values.normalisation, 0, 0 },
    { "learning", 0, TL_OPTION_CHOICE, "auto|continuous|campaign|off",
      "How the network learns: a little with each label, in campaigns, or not at all.",
      &values.learning, 0, 0 },
    { "journal", 'j', TL_OPTION_FOLDER, "DIR", "Folder of the journal. [./tightloop-journal]",
      &values.journal, 0, 0 },
    { "force", 'f', TL_OPTION_FLAG, NULL, "Overwrite the file when it is there.", &values.force, 0,
      0 },
    { "json", 0, TL_OPTION_FLAG, NULL, "Print what was done as JSON.", &values.json, 0, 0 },
};

static tl_text about_model; /* what was found in it, for people */

/* Cut "a,b" up in place. */
static tl_status split_classes(char *text, const char **out, size_t *count, tl_error *err)
{
    *count = 0;
    for (char *at = text; at != NULL;) {
        char *comma = strchr(at, ',');
        if (comma != NULL) *comma++ = '\0';
        if (at[0] == '\0' || strlen(at) >= TL_TEXT_BYTES_MAX)
            return tl_fail(err, TL_EINVAL, "--classes: names have 1 to %d bytes",
                           TL_TEXT_BYTES_MAX - 1);
        if (*count == TL_CLASS_COUNT_MAX)
            return tl_fail(err, TL_ELIMIT, "--classes: at most %d", TL_CLASS_COUNT_MAX);
        for (size_t i = 0; i < *count; i++)
            if (strcmp(out[i], at) == 0)
                return tl_fail(err, TL_EINVAL, "--classes: \"%s\" is there twice", at);
        out[(*count)++] = at;
        at = comma;
    }
    return *count >= 2 ? TL_OK : tl_fail(err, TL_EINVAL, "--classes: want at least two");
}

static tl_status make_options(char *classes, const char **names, tl_loop_options *out,
                              tl_error *err)
{
    *out = tl_loop_options_default();
    tl_status status = split_classes(classes, names, &out->class_count, err);
    if (status != TL_OK) return status;
    out->name = values.loop;
    out->classes = names;
    out->input = strcmp(values.input, "image") == 0 ? TL_INPUT_IMAGE : TL_INPUT_FEATURES;
    if (out->input == TL_INPUT_FEATURES && values.features == 0)
        return tl_fail(err, TL_EINVAL, "--input features wants --features N");
    if (values.channels == 2) return tl_fail(err, TL_EINVAL, "--channels is 1 or 3");
    static const char *const LEARNING[] = { "auto", "continuous", "campaign", "off" };
    for (int i = 0; i < 4; i++)
        if (strcmp(values.learning, LEARNING[i]) == 0) out->learning = (tl_learning)i;
    out->keep_head = values.keep_head;
    out->normalisation = values.normalisation;
    out->height = (uint32_t)values.height;
    out->width = (uint32_t)values.width;
    out->channels = (uint32_t)values.channels;
    out->has_template = values.has_template;
    out->feature_count = (uint32_t)values.features;
    out->model_path = values.model;
    if (values.model != NULL) return TL_OK; /* it fills in the rest */
    if (out->height == 0) out->height = 64;
    if (out->width == 0) out->width = 64;
    if (out->channels == 0) out->channels = 1;
    return values.keep_head ? tl_fail(err, TL_EINVAL, "--keep-head wants a --model") : TL_OK;
}

static tl_status write_file(const char *path, const tl_text *text, tl_error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (values.force ? O_TRUNC : O_EXCL), 0644);
    if (fd < 0 && errno == EEXIST)
        return tl_fail(err, TL_ECONFLICT, "%.160s is there already; --force overwrites it", path);
    if (fd < 0) return tl_fail(err, TL_EIO, "cannot write %.160s: %s", path, strerror(errno));
    size_t done = 0;
    while (done < text->bytes) {
        ssize_t n = write(fd, text->data + done, text->bytes - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        done += (size_t)n;
    }
    bool whole = done == text->bytes;
    if (close(fd) != 0 || !whole)
        return tl_fail(err, TL_EIO, "cannot write all of %.160s: %s", path, strerror(errno));
    return TL_OK;
}

static int tell(const char *path)
{
    if (values.json) {
        tl_text text;
        tl_json_writer w;
        tl_text_init(&text, 1 << 16);
        tl_json_begin(&w, &text);
        tl_json_object(&w);
        tl_json_key(&w, "written");
        tl_json_string(&w, path);
        tl_json_key(&w, "loop");
        tl_json_string(&w, values.loop);
        if (values.model != NULL) tl_json_key(&w, "model"), tl_json_string(&w, about_model.data);
        tl_json_object_end(&w);
        int code = tl_command_print(&tl_command_init, &text);
        tl_text_destroy(&text);
        return code;
    }
    printf("Wrote %s: the loop \"%s\" with the classes %s.\n", path, values.loop, values.classes);
    if (values.model != NULL) printf("%s: %s.\n", values.model, about_model.data);
    printf("Look through it, then start it with: tightloop serve --config %s\n", path);
    return TL_EXIT_OK;
}

/* A file that is not there or damaged is nobody's wrong usage; a wish that a built-in network cannot
 * fulfil is. */
static int fail_model(const tl_error *err)
{
    return err->status == TL_EINVAL && tl_network_find(values.model) != NULL
               ? tl_command_misuse(&tl_command_init, err)
               : tl_command_fail(&tl_command_init, err);
}

static int run(const tl_arguments *arguments)
{
    (void)arguments;
    tl_error err;
    const char *names[TL_CLASS_COUNT_MAX];
    const char *path = values.output != NULL ? values.output : TL_CONFIG_NAME;
    tl_loop_options loop;
    tl_config_defaults defaults = tl_command_config_defaults();
    defaults.runtime.path = values.journal;
    char *classes = strdup(values.classes);
    if (classes == NULL) return TL_EXIT_FAILURE;
    int code;
    tl_config *check = NULL;
    tl_text text;
    tl_text_init(&text, TL_CONFIG_BYTES_MAX);
    tl_text_init(&about_model, 4096);
    if (make_options(classes, names, &loop, &err) != TL_OK) {
        code = tl_command_misuse(&tl_command_init, &err);
        goto done;
    }
    if (values.model != NULL && tl_model_choose(&loop, &about_model, &err) != TL_OK) {
        code = fail_model(&err);
        goto done;
    }
    /* Read back what was written: a name with odd characters is refused here, not by `serve`. */
    tl_config_write_template(&defaults, &loop, &text);
    if (tl_config_parse(text.data, text.bytes, "the new configuration", &defaults, &check, &err) !=
        TL_OK) {
        code = tl_command_misuse(&tl_command_init, &err);
    } else if (strcmp(path, "-") == 0) {
        code = fwrite(text.data, 1, text.bytes, stdout) == text.bytes ? 0 : TL_EXIT_FAILURE;
    } else if (write_file(path, &text, &err) != TL_OK) {
        code = tl_command_fail(&tl_command_init, &err);
    } else {
        code = tell(path);
    }
done:
    tl_config_destroy(&check);
    tl_text_destroy(&text);
    tl_text_destroy(&about_model);
    free(classes);
    return code;
}

const tl_command tl_command_init = {
    .name = "init",
    .summary = "write a commented configuration to start from",
    .details =
        "Writes a configuration with every setting, what it means, and one loop. It refuses to "
        "overwrite a file unless told to.",
    .example = "tightloop init --loop boards --classes ok,open,short --template\n"
               "tightloop init --model efficientnet_lite0.onnx --classes ok,scratch,dent\n"
               "tightloop serve",
    .options = options,
    .option_count = TL_COUNT_OF(options),
    .run = run,
};
