/* The report of a loop that runs: a connection of its own, so that nothing waits for it. */
#include "loop/report/report.h"
#include "loop/threads/runtime.h"

tl_status tl_loop_report(tl_loop *loop, const tl_report_options *options, tl_report **out,
                         tl_error *err)
{
    tl_journal_reader *reader = NULL;
    tl_status status = tl_journal_reader_open(loop->runtime->journal, &reader, err);
    if (status == TL_OK) status = tl_report_make(reader, loop->number, options, out, err);
    tl_journal_reader_close(&reader);
    return status;
}
