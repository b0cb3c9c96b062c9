/* simdisk.h - a disk in memory, as an SQLite VFS, for tests: it remembers what was synced, and a
 * power cut drops or tears what was not; writes and syncs can be made to fail. Layer: journal;
 * tests only.
 *
 * Not part of the library: the implementation is in simdisk_impl.h, which a test includes once.
 * Any thread may use the disk through SQLite; the functions below are for the test's own thread.
 *
 * What a cut does to a file: starting from its synced content, each write since then, sector by
 * sector and in order, happens, does not happen, or happens to a prefix of the sector (bytes
 * outside of what was written never change: SQLite's "powersafe overwrite", as on its default VFS).
 * A file made or deleted without a sync may be there or not. After a sync that failed, what it
 * should have saved is readable until the cut and lost after it, as on Linux, however often the
 * file is synced again. */
#ifndef TL_JOURNAL_SIMDISK_H
#define TL_JOURNAL_SIMDISK_H

#include <stdbool.h>
#include <stdint.h>

typedef struct tl_simdisk tl_simdisk;

/* Registers the VFS under `name` (not the default one); NULL: out of memory. */
tl_simdisk *tl_simdisk_create(const char *name, uint64_t seed);
/* All files must be closed. NULL-safe. */
void tl_simdisk_destroy(tl_simdisk **disk);

/* Writes, truncations, syncs and deletions so far. */
uint64_t tl_simdisk_operations(tl_simdisk *disk);
/* Power fails when `operations` more of them have happened; from then on everything fails. */
void tl_simdisk_cut_after(tl_simdisk *disk, uint64_t operations);
bool tl_simdisk_is_off(tl_simdisk *disk);
/* All files must be closed. What survived is drawn; the disk works again. */
void tl_simdisk_power_on(tl_simdisk *disk);

/* Syncs say that all is well and save nothing (synchronous=OFF, or a drive that lies). */
void tl_simdisk_lie(tl_simdisk *disk, bool lie);
typedef enum tl_simdisk_fault {
    TL_SIMDISK_FULL,  /* writes that make a file longer: no space left */
    TL_SIMDISK_WRITE, /* writes: input/output error */
    TL_SIMDISK_SYNC   /* syncs: input/output error */
} tl_simdisk_fault;
/* From the nth (1: the next) operation of that kind on, `times` of them fail. */
void tl_simdisk_fail(tl_simdisk *disk, tl_simdisk_fault fault, uint64_t nth, uint64_t times);

/* Flip one bit of a file; false: no such byte. */
bool tl_simdisk_flip(tl_simdisk *disk, const char *file, uint64_t offset, unsigned bit);
uint64_t tl_simdisk_size(tl_simdisk *disk, const char *file);

#endif
