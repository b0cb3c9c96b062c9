/* config_internal.h - the table of all keys of the configuration. Layer: format; not for others. */
#ifndef TL_FORMAT_CONFIG_INTERNAL_H
#define TL_FORMAT_CONFIG_INTERNAL_H

#include "format/config.h"

typedef enum tl_config_type {
    TL_CONFIG_TEXT,    /* const char * */
    TL_CONFIG_NAME,    /* const char *: [A-Za-z0-9._-], 1..63 characters */
    TL_CONFIG_ADDRESS, /* host:port to tl_config_server's host and port */
    TL_CONFIG_BOOL,    /* bool */
    TL_CONFIG_UINT32,  /* uint32_t, minimum..maximum */
    TL_CONFIG_UINT64,  /* uint64_t */
    TL_CONFIG_BYTES,   /* uint64_t, with units */
    TL_CONFIG_FLOAT,   /* float */
    TL_CONFIG_DOUBLE,  /* double */
    TL_CONFIG_SIZE,    /* HEIGHTxWIDTH to two uint32_t in a row */
    TL_CONFIG_CHOICE,  /* an enum, by the words of `choices` */
    TL_CONFIG_CLASSES, /* list of texts to tl_loop_options's classes and class_count */
    TL_CONFIG_PEOPLE,  /* list of texts, or none, to its people and person_count */
    TL_CONFIG_SECTION, /* further keys, of `section`, at the same or another base */
    TL_CONFIG_LOOPS    /* list of sections: the loops */
} tl_config_type;

typedef struct tl_config_table tl_config_table;

typedef struct tl_config_field {
    const char *key;
    tl_config_type type;
    size_t offset;              /* in the section's struct */
    double minimum, maximum;    /* of numbers */
    const char *const *choices; /* ends with NULL; the index is the value */
    const tl_config_table *section;
    const char *example; /* for a template, where there is no default */
    const char *help;
} tl_config_field;

struct tl_config_table {
    const tl_config_field *fields;
    size_t count;
};

extern const tl_config_table TL_CONFIG_TABLE; /* of the whole file; offsets are in tl_config */

/* What an empty file means. No strings are copied. */
void tl_config_set_defaults(tl_config *config, const tl_config_defaults *defaults);

#endif
