/* Volatile 32-bit loads and stores of four registers in a shared mapping, four a turn. */
#include "floor.h"

static volatile uint32_t *registers;
static volatile uint32_t sink;

static void load(uint64_t operations) {
  /* Four sums: one would measure the chain of additions. */
  uint32_t a = 0, b = 0, c = 0, d = 0;
  for (uint64_t i = 0; i < operations; i += 4) {
    a += registers[0];
    b += registers[1];
    c += registers[2];
    d += registers[3];
  }
  sink = a + b + c + d;
}

static void store(uint64_t operations) {
  for (uint64_t i = 0; i < operations; i += 4) {
    registers[0] = (uint32_t)i;
    registers[1] = (uint32_t)i;
    registers[2] = (uint32_t)i;
    registers[3] = (uint32_t)i;
  }
}

int main(void) {
  registers = map_shared();
  const operation operations[] = {{"load", load}, {"store", store}};
  return serve_samples(operations, 2);
}
