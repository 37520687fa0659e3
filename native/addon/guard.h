/* The SIGBUS guard: what to do when memory that someone else owns is truncated under us. */
#ifndef LESSOR_GUARD_H
#define LESSOR_GUARD_H

#include "addon.h"

/* The numbers of src/os/native-memory.ts. */
enum guard_mode { GUARD_NONE = 0, GUARD_ONES = 1, GUARD_ZEROS = 2 };

/* Installs the handler where it is not (any more). 0 or -errno. */
int guard_install(void);

/* Guards [start, start + length). Returns its slot, from 1, or -errno: ENOSPC when the table is
 * full, EEXIST when part of the range is guarded already. */
int guard_add(void *start, size_t length, enum guard_mode mode, int protection);

/* Frees a slot whose range lies inside [start, start + length), once no handler is at work in
 * it. 0, or -EINVAL when the slot is not in use or guards something else. */
int guard_remove(int slot, void *start, size_t length);

/* Makes slots inside the range answer later faults by zeros, and waits for handlers at work: what
 * is mapped there after this stays. */
void guard_settle(void *start, size_t length);

/* Maps private all-ones pages over a range. 0 or -errno. */
int guard_fill_ones(void *start, size_t length, int protection);

#endif
