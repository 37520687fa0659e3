/* Maps a dma-buf as another process, without a guard, and says what an access gives. Takes a line
 * at a time and answers each with one: a number in hexadecimal, "ok", or the name of what failed.
 * The dma-buf is descriptor 3. */
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define FD 3
#define PAGE 4096UL
#define MAPPINGS 8
#define LINE 128

static volatile uint32_t *mappings[MAPPINGS];
static sigjmp_buf after_fault;
/* The child that shares what was mapped when it was forked. */
static FILE *to_child;
static FILE *from_child;

static void on_sigbus(int signal_number) {
  (void)signal_number;
  siglongjmp(after_fault, 1);
}

static const char *outcome(bool is_done) { return is_done ? "ok" : strerrorname_np(errno); }

/* map <slot> <shared|private> <r|rw> <first page> <pages> */
static void map(const char *words, char *answer) {
  unsigned slot, first, pages;
  char kind[LINE], access[LINE];
  if (sscanf(words, "%u %s %s %u %u", &slot, kind, access, &first, &pages) != 5 ||
      slot >= MAPPINGS)
    abort();
  int protection = PROT_READ | (strcmp(access, "rw") == 0 ? PROT_WRITE : 0);
  int flags = strcmp(kind, "private") == 0 ? MAP_PRIVATE : MAP_SHARED;
  void *memory = mmap(NULL, pages * PAGE, protection, flags, FD, (off_t)(first * PAGE));
  if (memory != MAP_FAILED) mappings[slot] = memory;
  sprintf(answer, "%s", outcome(memory != MAP_FAILED));
}

/* read <slot> <byte>, write <slot> <byte> <value>: one access of four bytes. */
static void touch(const char *words, bool is_write, char *answer) {
  unsigned slot, byte, value = 0;
  int count = sscanf(words, "%u %u %x", &slot, &byte, &value);
  if (count < (is_write ? 3 : 2) || slot >= MAPPINGS || !mappings[slot]) abort();
  if (sigsetjmp(after_fault, 1) != 0) {
    strcpy(answer, "SIGBUS");
    return;
  }
  volatile uint32_t *at = mappings[slot] + byte / 4;
  if (is_write) {
    *at = value;
    strcpy(answer, "ok");
  } else {
    sprintf(answer, "0x%x", *at);
  }
}

static uint64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* watch <slot> <byte> <ms>: what a read gives, and again each time when it gives something else. */
static void watch(const char *words, char *answer) {
  unsigned duration_ms;
  char last[LINE] = "", next[LINE];
  if (sscanf(words, "%*u %*u %u", &duration_ms) != 1) abort();
  answer[0] = 0;
  for (uint64_t end_ms = now_ms() + duration_ms; now_ms() < end_ms;) {
    touch(words, false, next);
    if (strcmp(last, next) == 0 || strlen(answer) + strlen(next) + 2 >= LINE) continue;
    if (answer[0]) strcat(answer, " ");
    strcat(answer, next);
    strcpy(last, next);
  }
}

static unsigned slot_of(const char *words) {
  unsigned slot;
  if (sscanf(words, "%u", &slot) != 1 || slot >= MAPPINGS || !mappings[slot]) abort();
  return slot;
}

static void serve(void);

/* The child answers lines that begin with "child". */
static void start_child(char *answer) {
  int down[2], up[2];
  if (pipe(down) != 0 || pipe(up) != 0) abort();
  if (fork() == 0) {
    if (dup2(down[0], 0) != 0 || dup2(up[1], 1) != 1) abort();
    close(down[1]);
    close(up[0]);
    serve();
    _exit(0);
  }
  close(down[0]);
  close(up[1]);
  to_child = fdopen(down[1], "w");
  from_child = fdopen(up[0], "r");
  strcpy(answer, "ok");
}

static void ask_child(const char *line, char *answer) {
  fputs(line, to_child);
  fflush(to_child);
  if (!fgets(answer, LINE, from_child)) strcpy(answer, "gone");
  answer[strcspn(answer, "\n")] = 0;
}

static void answer_to(const char *line, char *answer) {
  if (strncmp(line, "map ", 4) == 0) {
    map(line + 4, answer);
  } else if (strncmp(line, "read ", 5) == 0) {
    touch(line + 5, false, answer);
  } else if (strncmp(line, "write ", 6) == 0) {
    touch(line + 6, true, answer);
  } else if (strncmp(line, "watch ", 6) == 0) {
    watch(line + 6, answer);
  } else if (strncmp(line, "unmap ", 6) == 0) {
    unsigned slot = slot_of(line + 6);
    sprintf(answer, "%s", outcome(munmap((void *)mappings[slot], PAGE) == 0));
  } else if (strncmp(line, "allow-writing ", 14) == 0) {
    void *memory = (void *)mappings[slot_of(line + 14)];
    sprintf(answer, "%s", outcome(mprotect(memory, PAGE, PROT_READ | PROT_WRITE) == 0));
  } else if (strncmp(line, "grow ", 5) == 0) {
    void *memory = (void *)mappings[slot_of(line + 5)];
    memory = mremap(memory, PAGE, 2 * PAGE, MREMAP_MAYMOVE);
    sprintf(answer, "%s", outcome(memory != MAP_FAILED));
  } else if (strncmp(line, "where ", 6) == 0) {
    sprintf(answer, "%lx", (unsigned long)mappings[slot_of(line + 6)]);
  } else if (strcmp(line, "close\n") == 0) {
    sprintf(answer, "%s", outcome(close(FD) == 0));
  } else if (strcmp(line, "fork\n") == 0) {
    start_child(answer);
  } else if (strncmp(line, "child ", 6) == 0) {
    ask_child(line + 6, answer);
  } else {
    abort();
  }
}

static void serve(void) {
  char line[LINE], answer[LINE];
  /* Not stdio's buffer: a child would inherit lines that are meant for its parent. */
  for (size_t length = 0; read(0, line + length, 1) == 1;) {
    if (line[length++] != '\n') {
      if (length + 1 >= sizeof line) abort();
      continue;
    }
    line[length] = 0;
    length = 0;
    answer_to(line, answer);
    strcat(answer, "\n");
    if (write(1, answer, strlen(answer)) < 0) abort();
  }
}

int main(void) {
  struct sigaction action = {.sa_handler = on_sigbus};
  if (sigaction(SIGBUS, &action, NULL) != 0) return 1;
  serve();
  return 0;
}
