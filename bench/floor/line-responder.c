/* The other end of the bare line: answers each number in word 0 with the same number in word 32,
 * two cache lines further. The number 0xffffffff ends it. */
#include "floor.h"

int main(void) {
  volatile uint32_t *words = map_shared();
  uint32_t last = 0;
  for (;;) {
    uint32_t asked = words[0];
    if (asked == last) continue;
    last = asked;
    words[32] = asked;
    if (asked == UINT32_MAX) return 0;
  }
}
