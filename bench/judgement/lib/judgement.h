/* judgement.h - what the benchmarks of the gate share: options, progress, shares, the last line. */
#ifndef BENCH_JUDGEMENT_H
#define BENCH_JUDGEMENT_H

#include <stdbool.h>
#include <stddef.h>

enum { JUDGEMENT_FIGURES_BYTES = 4096, JUDGEMENT_SHARE_BYTES = 64 };

/* The number behind `name` among the arguments, else `otherwise`. */
unsigned judgement_option(int argc, char **argv, const char *name, unsigned otherwise);
/* On standard error, now and then, where that is a terminal or a log. */
void judgement_progress(const char *what, unsigned done, unsigned all);
/* "0.023 [0.015, 0.034]", exact interval; written into text[JUDGEMENT_SHARE_BYTES], returned. */
const char *judgement_share(unsigned hits, unsigned count, char *text);
/* Append a figure to `figures` (JUDGEMENT_FIGURES_BYTES, begins empty); its name is name and suffix. */
void judgement_figure(char *figures, const char *name, const char *suffix, double value);
/* The line of JSON that ends every benchmark. */
void judgement_last_line(const char *bench, const char *figures, double ratio, double bar,
                         bool met);
int judgement_compare(const void *a, const void *b); /* doubles, for qsort */
/* The median; sorts. Half of an even number of values: the upper one. */
double judgement_median(double *values, size_t count);

#endif
