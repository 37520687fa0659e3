/* memcpy of 1 MiB inside one shared mapping. */
#include "floor.h"

static uint8_t *memory;

static void copy(uint64_t operations) {
  for (uint64_t i = 0; i < operations; i++) {
    memcpy(memory + (1 << 20), memory, 1 << 20);
    __asm__ volatile("" ::: "memory");
  }
}

int main(void) {
  memory = (uint8_t *)map_shared();
  const operation operations[] = {{"copy", copy}};
  return serve_samples(operations, 1);
}
