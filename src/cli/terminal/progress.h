/* progress.h - a bar on standard error while long work goes on, where that is a terminal.
 * Layer: cli. One thread. */
#ifndef TL_CLI_PROGRESS_H
#define TL_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct tl_progress {
    const char *what; /* "Exporting" */
    bool live;
    int64_t started_ns, drawn_ns;
} tl_progress;

void tl_progress_begin(tl_progress *progress, const char *what);
/* `total` 0: not known. Draws at most ten times a second. */
void tl_progress_show(tl_progress *progress, uint64_t done, uint64_t total);
/* Takes the bar away. */
void tl_progress_end(tl_progress *progress);

#endif
