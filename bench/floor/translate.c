/* translate <mappings> <dense|scattered>: random walks of a 4-level table with one word an entry,
 * laid out and filled as in children/translate.ts, with the same checks on the way. */
#include "floor.h"

#define NODE_WORDS 512
#define NUMBER_SHIFT 8
#define ADDRESSES (1u << 20)
#define VALID 1u
#define READ 2u
#define LARGE 8u

static uint32_t *words;
static uint32_t node_count;
static uint32_t root;
static double *addresses;
static uint32_t next;
static volatile double sink;

static uint32_t random_state;

static double random_below(double end) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 17;
  random_state ^= random_state << 5;
  return (double)(uint64_t)((double)random_state / 4294967296.0 * end);
}

static uint32_t child(uint32_t node, uint32_t index) {
  uint32_t *entry = &words[node * NODE_WORDS + index];
  if (*entry == 0) *entry = node_count++ << NUMBER_SHIFT | VALID;
  return *entry >> NUMBER_SHIFT;
}

static void map_page(uint64_t iova, uint32_t page) {
  uint32_t node = child(child(child(root, iova >> 39), (iova >> 30) & 511), (iova >> 21) & 511);
  words[node * NODE_WORDS + ((iova >> 12) & 511)] = page << NUMBER_SHIFT | VALID | READ;
}

static double translate(double address) {
  const volatile uint32_t *table = words;
  uint64_t iova = (uint64_t)address;
  uint32_t node = root;
  for (int shift = 39; shift >= 21; shift -= 9) {
    uint32_t link = table[node * NODE_WORDS + ((iova >> shift) & 511)];
    if ((link & (VALID | LARGE)) != VALID) return -1;
    node = link >> NUMBER_SHIFT;
  }
  uint32_t leaf = table[node * NODE_WORDS + ((iova >> 12) & 511)];
  if ((leaf & (VALID | READ)) != (VALID | READ)) return -1;
  return (double)(leaf >> NUMBER_SHIFT) * 4096 + (double)(iova & 4095);
}

static void walk(uint64_t operations) {
  double sum = 0;
  for (uint64_t i = 0; i < operations; i++) {
    sum += translate(addresses[next]);
    next = (next + 1) & (ADDRESSES - 1);
  }
  sink = sum;
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  uint32_t count = (uint32_t)atoi(argv[1]);
  int dense = strcmp(argv[2], "dense") == 0;
  /* As the pool of nodes is: anonymous, advised to huge pages. */
  size_t length = 1ull << 31;
  int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  words = mmap(NULL, length, PROT_READ | PROT_WRITE, flags, -1, 0);
  double *starts = malloc(count * sizeof *starts);
  double *pages = malloc(count * sizeof *pages);
  addresses = malloc(ADDRESSES * sizeof *addresses);
  if (words == MAP_FAILED || !starts || !pages || !addresses) return 1;
  madvise(words, length, MADV_HUGEPAGE);
  node_count = 1;
  root = node_count++;
  random_state = count;
  uint64_t part_pages = (1ull << 34) / count;
  uint64_t iova = 0x10000000;
  for (uint32_t i = 0; i < count; i++) {
    pages[i] = dense ? 1 + random_below(16) : 1;
    if (!dense) iova = (i * part_pages + (uint64_t)random_below((double)part_pages)) * 4096;
    starts[i] = (double)iova;
    for (uint32_t page = 0; page < pages[i]; page++, iova += 4096)
      map_page(iova, (uint32_t)random_below(1 << 20));
  }
  for (uint32_t i = 0; i < ADDRESSES; i++) {
    uint32_t index = (uint32_t)random_below(count);
    addresses[i] = starts[index] + random_below(pages[index] * 4096);
  }
  const operation operations[] = {{"translate", walk}};
  return serve_samples(operations, 1);
}
