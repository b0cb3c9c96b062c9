/* token.c - `tightloop token`: bearer tokens of a server. */
#include "cli/command.h"
#include "server/tokens.h"

#include <stdio.h>
#include <string.h>

static struct {
    const char *file, *config, *rights;
    bool json;
} values = { .rights = "predict,feedback" };

static const tl_option options[] = {
    { "file", 'f', TL_OPTION_FILE, "FILE",
      "The tokens file; without it the one that the configuration names.", &values.file, 0, 0 },
    { "config", 'c', TL_OPTION_FILE, "FILE", "The configuration. [tightloop.yaml]", &values.config,
      0, 0 },
    { "rights", 'r', TL_OPTION_TEXT, "RIGHTS",
      "For create: predict, feedback, admin, with commas between.", &values.rights, 0, 0 },
    { "json", 0, TL_OPTION_FLAG, NULL, "Print JSON.", &values.json, 0, 0 },
};

static const char *const actions[] = { "create", "list", "revoke", NULL };

static int fail(const tl_error *err)
{
    return tl_command_fail(&tl_command_token, err);
}

static int create(const char *path, const char *name)
{
    tl_error err;
    unsigned rights;
    char token[TL_TOKEN_TEXT_BYTES], rights_text[32];
    if (tl_rights_parse(values.rights, &rights, &err) != TL_OK)
        return tl_command_misuse(&tl_command_token, &err);
    if (tl_tokens_create(path, name, rights, token, &err) != TL_OK) return fail(&err);
    tl_rights_format(rights, rights_text);
    if (values.json) {
        printf("{\"name\":\"%s\",\"rights\":\"%s\",\"token\":\"%s\"}\n", name, rights_text, token);
    } else {
        printf("%s\n", token);
        fprintf(stderr,
                "This is the token of \"%s\" (%s). It is shown only now: %s keeps its hash.\n",
                name, rights_text, path);
    }
    return TL_EXIT_OK;
}

static int list(const char *path)
{
    static tl_token_info tokens[TL_TOKEN_COUNT_MAX];
    tl_error err;
    size_t count;
    char rights[32];
    if (tl_tokens_list(path, tokens, TL_TOKEN_COUNT_MAX, &count, &err) != TL_OK) return fail(&err);
    if (values.json) printf("[");
    for (size_t i = 0; i < count; i++) {
        tl_rights_format(tokens[i].rights, rights);
        if (values.json)
            printf("%s{\"name\":\"%s\",\"rights\":\"%s\"}", i > 0 ? "," : "", tokens[i].name,
                   rights);
        else
            printf("%-24s %s\n", tokens[i].name, rights);
    }
    if (values.json) printf("]\n");
    if (!values.json && count == 0) printf("There are no tokens in %s.\n", path);
    return TL_EXIT_OK;
}

static int revoke(const char *path, const char *name)
{
    tl_error err;
    if (tl_tokens_revoke(path, name, &err) != TL_OK) return fail(&err);
    if (values.json)
        printf("{\"name\":\"%s\",\"revoked\":true}\n", name);
    else
        printf("Revoked \"%s\"; a running server forgets it within a second.\n", name);
    return TL_EXIT_OK;
}

static int act(const char *action, const char *name, const char *path)
{
    if (strcmp(action, "list") == 0) return list(path);
    return strcmp(action, "create") == 0 ? create(path, name) : revoke(path, name);
}

static int run(const tl_arguments *arguments)
{
    tl_error err;
    const char *action = arguments->items[0];
    const char *name = arguments->count > 1 ? arguments->items[1] : NULL;
    bool known = strcmp(action, "create") == 0 || strcmp(action, "revoke") == 0;
    if (!known && strcmp(action, "list") != 0) {
        tl_fail(&err, TL_EINVAL, "ACTION is create, list or revoke, not \"%.40s\"", action);
        return tl_command_misuse(&tl_command_token, &err);
    }
    if (known != (name != NULL)) {
        tl_fail(&err, TL_EINVAL, known ? "%s wants the NAME of a token" : "%s takes no name",
                action);
        return tl_command_misuse(&tl_command_token, &err);
    }
    if (values.file != NULL) return act(action, name, values.file);
    tl_config *config;
    if (tl_command_config(values.config, NULL, false, &config, &err) != TL_OK) return fail(&err);
    int code;
    if (config->server.tokens_file == NULL) {
        tl_fail(&err, TL_EINVAL,
                "the configuration names no tokens_file; name one there or with --file");
        code = fail(&err);
    } else {
        code = act(action, name, config->server.tokens_file);
    }
    tl_config_destroy(&config);
    return code;
}

const tl_command tl_command_token = {
    .name = "token",
    .summary = "create, list and revoke the tokens that clients show to a server",
    .arguments = "create|list|revoke [NAME]",
    .argument_min = 1,
    .argument_max = 2,
    .argument_choices = actions,
    .details =
        "A token gives its bearer rights: to predict, to give feedback, to administer. Feedback "
        "is recorded as coming from the token's NAME. The token itself is printed once, on "
        "standard output; the file keeps only its hash. To rotate a token, create a new one, "
        "hand it out, and revoke the old one: a running server follows by itself.",
    .example = "tightloop token create line-4 --rights predict,feedback --file tokens",
    .options = options,
    .option_count = TL_COUNT_OF(options),
    .run = run,
};
