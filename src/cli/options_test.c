/* Options: what is accepted, what is refused and with which words; help; nearest words. */
#include "cli/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct {
    bool flag;
    const char *text, *choice;
    uint64_t whole;
    double real;
} values;

static const tl_option options[] = {
    { "verbose", 'v', TL_OPTION_FLAG, NULL, "Say more.", &values.flag, 0, 0 },
    { "name", 'n', TL_OPTION_TEXT, "NAME", "A name.", &values.text, 0, 0 },
    { "order", 0, TL_OPTION_CHOICE, "site|shuffled", "An order.", &values.choice, 0, 0 },
    { "count", 'c', TL_OPTION_WHOLE, "N", "A count.", &values.whole, 1, 100 },
    { "share", 0, TL_OPTION_REAL, "X", "A share.", &values.real, 0, 1 },
};

static const tl_command command = { .name = "try",
                                    .summary = "for tests",
                                    .arguments = "[WORD]",
                                    .argument_max = 2,
                                    .details = "Nothing.",
                                    .example = "tightloop try",
                                    .options = options,
                                    .option_count = TL_COUNT_OF(options) };

static tl_arguments arguments;
static bool wants_help;
static tl_error err;

static tl_status parse(const char *line)
{
    static char copy[256];
    char *words[32];
    int count = 0;
    memset(&values, 0, sizeof values);
    values.whole = 7;
    strcpy(copy, line);
    for (char *word = strtok(copy, " "); word != NULL; word = strtok(NULL, " "))
        words[count++] = word;
    return tl_options_parse(&command, count, words, &arguments, &wants_help, &err);
}

static void takes_every_form(void **state)
{
    (void)state;
    assert_int_equal(parse("--name a --count=5 -v --share 0.25 --order shuffled w"), TL_OK);
    assert_string_equal(values.text, "a");
    assert_int_equal(values.whole, 5);
    assert_true(values.flag);
    assert_true(values.real == 0.25);
    assert_string_equal(values.choice, "shuffled");
    assert_int_equal(arguments.count, 1);
    assert_int_equal(parse("-n a -c9 -nb"), TL_OK);
    assert_string_equal(values.text, "b");
    assert_int_equal(values.whole, 9);
    assert_int_equal(parse(""), TL_OK);
    assert_int_equal(values.whole, 7);
    assert_int_equal(parse("-- -v --name"), TL_OK);
    assert_int_equal(arguments.count, 2);
    assert_false(values.flag);
    assert_int_equal(parse("-"), TL_OK); /* a word, as everywhere */
    assert_string_equal(arguments.items[0], "-");
    assert_int_equal(parse("--share 1e-1"), TL_OK);
    assert_true(values.real == 0.1);
    assert_int_equal(parse("--name=--count"), TL_OK);
    assert_string_equal(values.text, "--count");
}

static void refuses_with_reasons(void **state)
{
    (void)state;
    static const char *const lines[][2] = {
        { "--cuont 1", "did you mean --count?" },
        { "--verb", "did you mean --verbose?" },
        { "--zzz", "unknown option --zzz" },
        { "-x", "unknown option -x" },
        { "--name", "wants a value: NAME" },
        { "--verbose=1", "takes no value" },
        { "--count 0", "whole number from 1 to 100" },
        { "--count 101", "not \"101\"" },
        { "--count -1", "whole number" },
        { "--count 0x10", "whole number" },
        { "--count 5.0", "whole number" },
        { "--count 99999999999999999999", "whole number" },
        { "--share 1.01", "from 0 to 1" },
        { "--share x", "from 0 to 1" },
        { "--share inf", "from 0 to 1" },
        { "--order sit", "one of site|shuffled" },
        { "--order site|shuffled", "one of" },
        { "--name=", "empty value" },
        { "a b c", "one word too many: \"c\"" },
        { "a b c d e f g h i", "too many words" },
    };
    for (size_t i = 0; i < TL_COUNT_OF(lines); i++) {
        assert_int_equal(parse(lines[i][0]), TL_EINVAL);
        if (strstr(err.text, lines[i][1]) == NULL)
            fail_msg("\"%s\" says \"%s\", not \"%s\"", lines[i][0], err.text, lines[i][1]);
    }
}

static void help_wins(void **state)
{
    (void)state;
    assert_int_equal(parse("--nonsense --help"), TL_OK);
    assert_true(wants_help);
    assert_int_equal(parse("-- --help"), TL_OK);
    assert_false(wants_help);
}

static void finds_near_words(void **state)
{
    (void)state;
    static const char *const names[] = { "serve", "status", "versions", "version" };
    assert_string_equal(tl_nearest("sevre", names, 4), "serve"); /* neighbours swapped: one edit */
    assert_string_equal(tl_nearest("server", names, 4), "serve");
    assert_string_equal(tl_nearest("stats", names, 4), "status");
    assert_string_equal(tl_nearest("version", names, 4), "version");
    assert_null(tl_nearest("deploy", names, 4));
    assert_null(tl_nearest("", names, 4));
    char longest[300];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_null(tl_nearest(longest, names, 4));
}

static void wraps_text(void **state)
{
    (void)state;
    tl_text text;
    tl_text_init(&text, 1000);
    tl_wrap(&text, "one two three four\n\nfive", 0, 2, 9);
    assert_string_equal(text.data, "one two\n  three\n  four\n\n  five");
    tl_text_clear(&text);
    tl_wrap(&text, "unbreakable-word and", 0, 0, 5);
    assert_string_equal(text.data, "unbreakable-word\nand");
    tl_text_destroy(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_every_form), cmocka_unit_test(refuses_with_reasons),
        cmocka_unit_test(help_wins),        cmocka_unit_test(finds_near_words),
        cmocka_unit_test(wraps_text),
    };
    return cmocka_run_group_tests_name("cli/options", tests, NULL, NULL);
}
