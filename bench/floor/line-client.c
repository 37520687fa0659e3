/* Round trips over the bare line, spinning without pause as the JavaScript client does. */
#include "floor.h"

static volatile uint32_t *words;

static void round_trips(uint64_t operations) {
  uint32_t number = words[0];
  for (uint64_t i = 0; i < operations; i++) {
    /* 0xffffffff would end the responder. */
    number = (number + 1) & 0x7fffffff;
    words[0] = number;
    while (words[32] != number) {
    }
  }
}

int main(void) {
  words = map_shared();
  const operation operations[] = {{"roundtrip", round_trips}};
  return serve_samples(operations, 1);
}
