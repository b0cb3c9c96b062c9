#include "bench/judgement/lib/judgement.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "stats/interval.h"

unsigned judgement_option(int argc, char **argv, const char *name, unsigned otherwise)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0) return (unsigned)strtoul(argv[i + 1], NULL, 10);
    return otherwise;
}

void judgement_progress(const char *what, unsigned done, unsigned all)
{
    static time_t last;
    time_t now = time(NULL);
    if (done == all || last == 0) last = now;
    if (now - last < 10) return;
    last = now;
    fprintf(stderr, "%s: %u of %u\n", what, done, all);
}

const char *judgement_share(unsigned hits, unsigned count, char *text)
{
    tl_interval interval = tl_interval_exact(hits, count, 0.95);
    snprintf(text, JUDGEMENT_SHARE_BYTES, "%.4f [%.4f, %.4f]",
             count == 0 ? 0 : (double)hits / count, interval.low, interval.high);
    return text;
}

void judgement_figure(char *figures, const char *name, const char *suffix, double value)
{
    size_t length = strlen(figures);
    char number[32];
    if (isfinite(value))
        snprintf(number, sizeof number, "%.6g", value);
    else
        snprintf(number, sizeof number, "null");
    snprintf(figures + length, JUDGEMENT_FIGURES_BYTES - length, "%s\"%s%s\": %s",
             length == 0 ? "" : ", ", name, suffix, number);
}

void judgement_last_line(const char *bench, const char *figures, double ratio, double bar, bool met)
{
    printf("{\"bench\": \"%s\", \"figures\": {%s}, \"ratio\": %.4g, \"bar\": %.4g, \"met\": %s}\n",
           bench, figures, ratio, bar, met ? "true" : "false");
}

int judgement_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double judgement_median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, judgement_compare);
    return values[count / 2];
}
