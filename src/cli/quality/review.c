/* review.c - `tightloop review`: what people are asked, the most valuable first. */
#include "cli/target.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static tl_target_options where;
static struct {
    const char *person;
    uint64_t limit;
    bool json;
} values = { .limit = 20 };

static const tl_option options[] = {
    TL_TARGET_OPTIONS(where),
    { "person", 'p', TL_OPTION_TEXT, "NAME", "Only what that one of review.people is asked.",
      &values.person, 0, 0 },
    { "limit", 'n', TL_OPTION_WHOLE, "N", "How many to list at most.", &values.limit, 1,
      TL_REVIEW_LIST_MAX },
    { "json", 0, TL_OPTION_FLAG, NULL, "Print JSON.", &values.json, 0, 0 },
};

static const char *text_of(const tl_json *value, const char *key)
{
    return tl_json_get_text(value, key, "");
}

static const char *when(const tl_json *value, const char *key, char out[32])
{
    double seconds = 0.0;
    struct tm local;
    (void)tl_json_number(tl_json_get(value, key), &seconds);
    time_t at = (time_t)seconds;
    out[0] = '\0';
    if (localtime_r(&at, &local) != NULL) strftime(out, 32, "%F %T", &local);
    return out;
}

/* Where it is, of what was told: "board SN-4711, line 7". */
static void print_place(const tl_json *review)
{
    static const char *const keys[] = { "board", "lot", "part", "line", "site" };
    bool any = false;
    for (size_t i = 0; i < TL_COUNT_OF(keys); i++) {
        const char *text = text_of(review, keys[i]);
        if (*text == '\0') continue;
        printf("%s%s %s", any ? ", " : "    ", keys[i], text);
        any = true;
    }
    if (any) printf("\n");
}

static void print_review(const tl_json *review)
{
    char came[32], until[32];
    printf("%s  of %s, to be answered by %s\n", text_of(review, "prediction_id"),
           when(review, "time", came), when(review, "until", until));
    if (*text_of(review, "person") != '\0') printf("    %s: ", text_of(review, "person"));
    printf("%s%s", *text_of(review, "person") == '\0' ? "    " : "", text_of(review, "words"));
    if (*text_of(review, "label") != '\0') printf(" (\"%s\")", text_of(review, "label"));
    printf("\n");
    print_place(review);
}

static void print_people(const tl_json *people)
{
    const tl_json *first = tl_json_first(people);
    for (const tl_json *p = first; p != NULL; p = p->next) {
        uint64_t open = 0;
        (void)tl_json_uint64(tl_json_get(p, "open"), &open);
        printf("%s%s %" PRIu64, p == first ? "Asked: " : ", ", text_of(p, "name"), open);
    }
    if (first != NULL) printf("\n");
}

static void print_all(const tl_json *answer)
{
    uint64_t open = 0, shown = 0;
    const tl_json *first = tl_json_first(tl_json_get(answer, "reviews"));
    (void)tl_json_uint64(tl_json_get(answer, "open"), &open);
    for (const tl_json *r = first; r != NULL; r = r->next) shown++;
    if (open == 0) {
        printf("Loop %s: nobody is asked anything at the moment.\n", text_of(answer, "name"));
        return;
    }
    print_people(tl_json_get(answer, "people"));
    printf("Loop %s: %" PRIu64 " open review%s%s%s", text_of(answer, "name"), open,
           open == 1 ? "" : "s", values.person != NULL ? " of " : "",
           values.person != NULL ? values.person : "");
    if (shown < open) printf("; the first %" PRIu64, shown);
    printf(":\n");
    for (const tl_json *r = first; r != NULL; r = r->next) print_review(r);
}

static int run(const tl_arguments *arguments)
{
    (void)arguments;
    tl_error err;
    tl_target *target;
    tl_target_answer got;
    if (tl_target_open(&where, false, &target, &err) != TL_OK)
        return tl_command_fail(&tl_command_review, &err);
    int code = TL_EXIT_OK;
    if (tl_target_reviews(target, values.person, (uint32_t)values.limit, &got, &err) != TL_OK) {
        code = tl_command_fail(&tl_command_review, &err);
    } else if (values.json) {
        fwrite(got.text, 1, got.bytes, stdout);
        putchar('\n');
    } else {
        print_all(got.json);
    }
    tl_target_close(&target);
    return code;
}

const tl_command tl_command_review = {
    .name = "review",
    .summary = "what people are asked, the most valuable first",
    .details =
        "The items that were put up for review and wait for an answer: first those that a verdict "
        "on a version waits for, then unclear ones, then what is flagged, with the audits among "
        "them. A blind one is to be judged without the model's word, so neither that nor the rule "
        "is told, and its place in the list does not give it away. An answer is feedback on the "
        "prediction's id; what nobody answers in time counts against a new version.",
    .example = "tightloop review --url http://127.0.0.1:8080\n"
               "tightloop review --journal tightloop-journal --limit 5 --json",
    .options = options,
    .option_count = TL_COUNT_OF(options),
    .run = run,
};
