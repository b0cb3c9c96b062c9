/* log.h - lines for the person who runs the process, on standard error. Layer: base. Any thread. */
#ifndef TL_BASE_LOG_H
#define TL_BASE_LOG_H

typedef enum tl_log_level { TL_LOG_DEBUG, TL_LOG_INFO, TL_LOG_WARNING, TL_LOG_ERROR } tl_log_level;

/* Lines below `level` are dropped; default TL_LOG_WARNING, so that a library is quiet. */
void tl_log_set_level(tl_log_level level);
/* One line, no newline in it: "2026-01-31T12:00:00.000Z warning journal: ...". */
void tl_log(tl_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
