/* Checks that mappings and the arena share. */
#ifndef LESSOR_MEMORY_H
#define LESSOR_MEMORY_H

#include "addon.h"

size_t page_bytes(void);

/* Page size of what is mapped: of the huge page for hugetlb. mmap rounds lengths up to it, and a
 * range that is not a multiple would cover its neighbours. -errno when the descriptor is bad. */
int64_t mapping_unit(int fd);

#endif
