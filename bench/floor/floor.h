/* Shared by the C floors: time, shared memory at descriptor 3, and the sampling protocol.
 *
 * A floor reads lines "<what> <samples> <batch>" from stdin. For each it takes that many samples,
 * each over `batch` operations, and answers with one line: nanoseconds per operation, one number
 * per sample. End-of-file ends it. */
#ifndef LESSOR_BENCH_FLOOR_H
#define LESSOR_BENCH_FLOOR_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#define SHARED_FD 3

static inline double now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static inline volatile uint32_t *map_shared(void) {
  struct stat status;
  if (fstat(SHARED_FD, &status) != 0) {
    perror("fstat");
    exit(1);
  }
  size_t bytes = (size_t)status.st_size;
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, SHARED_FD, 0);
  if (memory == MAP_FAILED) {
    perror("mmap");
    exit(1);
  }
  return memory;
}

/* One batch; returns when all its operations are done. */
typedef void (*batch_function)(uint64_t operations);

typedef struct {
  const char *name;
  batch_function run;
} operation;

static inline int serve_samples(const operation *operations, size_t count) {
  char what[32];
  unsigned long samples;
  unsigned long batch;
  while (scanf("%31s %lu %lu", what, &samples, &batch) == 3) {
    batch_function run = NULL;
    for (size_t i = 0; i < count; i++)
      if (strcmp(operations[i].name, what) == 0) run = operations[i].run;
    if (run == NULL) {
      fprintf(stderr, "floor: no operation %s\n", what);
      return 1;
    }
    for (unsigned long i = 0; i < samples; i++) {
      double start = now_ns();
      run(batch);
      double spent = now_ns() - start;
      printf(i == 0 ? "%.4f" : " %.4f", spent / (double)batch);
    }
    putchar('\n');
    fflush(stdout);
  }
  return 0;
}

#endif
