/* The SIGBUS guard. One handler for the process, installed once, over a static table of ranges
 * that it reads without locks. The handler makes one raw mmap over what lost its memory, counts
 * the fault, and returns, so that the faulting instruction runs again. Everything else goes to
 * the handler that was there before.
 *
 * An entry changes only while its sequence is odd and no handler is at work in it. A handler
 * first announces itself in `handlers` and then reads the sequence again: either it sees the
 * change or the writer sees it (both sequentially consistent). */
#include "guard.h"

#include "buffers.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Windows, and 2 MiB extents of client memory: an arena of 4 GiB holds at most 2048 of these. */
#define SLOTS 8192
#define CHUNK_BYTES ((uintptr_t)2 << 20)
/* Headers older than the kernel that lessor needs. */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

#define ONES_BYTES_MIN ((size_t)64 << 10)

typedef struct {
  _Atomic uintptr_t start; /* 0 in a free entry */
  _Atomic uintptr_t end;
  _Atomic uint32_t sequence;
  _Atomic uint32_t handlers;
  _Atomic int mode;
  _Atomic int protection;
  _Atomic bool claimed; /* a handler of this life of the entry remaps it to ones, or has */
} guard_entry;

static guard_entry entries[SLOTS];
static _Atomic int32_t faults[SLOTS];
/* One past the highest slot ever used; slot 0 is the total. */
static _Atomic int slots_end = 1;

/* Under `lock`, which no handler takes. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int free_slots[SLOTS];
static int free_count;
static size_t ones_bytes;

/* The number never changes: a larger file takes the place of the old one by dup3. */
static _Atomic int ones_fd = -1;

static _Atomic uintptr_t previous_handler = (uintptr_t)SIG_DFL;
static _Atomic int previous_flags;

/* mmap by number: interposed wrappers are not async-signal-safe. */
static bool remap(uintptr_t start, uintptr_t end, int protection, int flags, int fd) {
  int fixed = flags | MAP_FIXED | MAP_PRIVATE;
  long at = syscall(SYS_mmap, start, end - start, protection, fixed, fd, 0);
  return at == (long)start;
}

static void count_fault(int slot) {
  /* Before the remap: a thread that reads replaced bytes finds the flag set. */
  atomic_fetch_add(&faults[slot], 1);
  atomic_fetch_add(&faults[0], 1);
}

static bool repair_ones(guard_entry *entry, int slot) {
  bool unclaimed = false;
  /* The loser of a race runs its instruction again, until the winner's pages are there. */
  if (!atomic_compare_exchange_strong(&entry->claimed, &unclaimed, true)) return true;
  count_fault(slot);
  if (remap(entry->start, entry->end, entry->protection, 0, ones_fd)) return true;
  atomic_store(&entry->claimed, false);
  return false;
}

static bool repair_zeros(guard_entry *entry, int slot, uintptr_t address) {
  uintptr_t start = entry->start;
  uintptr_t end = entry->end;
  uintptr_t chunk = address & ~(CHUNK_BYTES - 1);
  uintptr_t chunk_start = chunk < start ? start : chunk;
  uintptr_t chunk_end = end - chunk < CHUNK_BYTES ? end : chunk + CHUNK_BYTES;
  int flags = MAP_ANONYMOUS | MAP_NORESERVE;
  count_fault(slot);
  if (remap(chunk_start, chunk_end, entry->protection, flags, -1)) return true;
  /* A huge page larger than the chunk cannot be split. */
  return remap(start, end, entry->protection, flags, -1);
}

static bool repair(guard_entry *entry, int slot, uintptr_t address) {
  for (;;) {
    uint32_t sequence = atomic_load(&entry->sequence);
    if (sequence & 1) return false; /* being added or removed: nobody may touch the range */
    atomic_fetch_add(&entry->handlers, 1);
    if (atomic_load(&entry->sequence) != sequence) {
      atomic_fetch_sub(&entry->handlers, 1);
      continue;
    }
    bool repaired = false;
    if (address >= entry->start && address < entry->end) {
      repaired = entry->mode == GUARD_ONES ? repair_ones(entry, slot)
                                           : repair_zeros(entry, slot, address);
    }
    atomic_fetch_sub(&entry->handlers, 1);
    return repaired;
  }
}

static bool repair_address(uintptr_t address) {
  int end = atomic_load(&slots_end);
  for (int slot = 1; slot < end; slot++) {
    guard_entry *entry = &entries[slot];
    if (address < atomic_load_explicit(&entry->start, memory_order_relaxed)) continue;
    if (address >= atomic_load_explicit(&entry->end, memory_order_relaxed)) continue;
    if (repair(entry, slot, address)) return true;
  }
  return false;
}

/* To whoever handled SIGBUS before; the default is to die of it. */
static void pass_on(int number, siginfo_t *info, void *context) {
  uintptr_t handler = atomic_load(&previous_handler);
  bool is_fault = info->si_code > 0;
  if (handler != (uintptr_t)SIG_DFL && handler != (uintptr_t)SIG_IGN) {
    if (atomic_load(&previous_flags) & SA_SIGINFO)
      ((void (*)(int, siginfo_t *, void *))handler)(number, info, context);
    else
      ((void (*)(int))handler)(number);
    return;
  }
  if (handler == (uintptr_t)SIG_IGN && !is_fault) return;
  struct sigaction action;
  memset(&action, 0, sizeof(action));
  action.sa_handler = SIG_DFL;
  sigaction(SIGBUS, &action, NULL);
  /* A fault happens again by itself; a signal that was sent does not. */
  if (!is_fault) raise(SIGBUS);
}

static void on_sigbus(int number, siginfo_t *info, void *context) {
  int saved = errno;
  if (info->si_code != BUS_ADRERR || !repair_address((uintptr_t)info->si_addr))
    pass_on(number, info, context);
  errno = saved;
}

static bool is_installed(const struct sigaction *action) {
  return (action->sa_flags & SA_SIGINFO) && action->sa_sigaction == on_sigbus;
}

static int fill_with_ones(int fd, size_t length) {
  static const size_t block_bytes = 4096;
  uint8_t block[4096];
  memset(block, 0xff, sizeof(block));
  for (size_t offset = 0; offset < length; offset += block_bytes)
    if (pwrite(fd, block, block_bytes, (off_t)offset) != (ssize_t)block_bytes)
      return errno == 0 ? -EIO : -errno;
  int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
  return fcntl(fd, F_ADD_SEALS, seals) == 0 ? 0 : -errno;
}

static int create_ones(size_t length) {
  int fd = memfd_create("lessor-ones", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
  if (fd < 0) return -errno;
  errno = 0;
  int failure = fill_with_ones(fd, length);
  if (failure == 0) return fd;
  close(fd);
  return failure;
}

/* Under `lock`. Memory is spent only on windows as large as there are. */
static int grow_ones(size_t length) {
  size_t wanted = ones_bytes == 0 ? ONES_BYTES_MIN : ones_bytes;
  while (wanted < length) wanted *= 2;
  if (wanted == ones_bytes) return 0;
  int fd = create_ones(wanted);
  if (fd < 0) return fd;
  if (atomic_load(&ones_fd) < 0) {
    atomic_store(&ones_fd, fd);
  } else {
    int moved = dup3(fd, atomic_load(&ones_fd), O_CLOEXEC);
    int failure = errno;
    close(fd);
    if (moved < 0) return -failure;
  }
  ones_bytes = wanted;
  return 0;
}

/* Under `lock`. */
static int install(void) {
  int failure = grow_ones(0);
  if (failure != 0) return failure;
  struct sigaction now;
  if (sigaction(SIGBUS, NULL, &now) != 0) return -errno;
  if (is_installed(&now)) return 0;
  atomic_store(&previous_flags, now.sa_flags);
  atomic_store(&previous_handler, (now.sa_flags & SA_SIGINFO) ? (uintptr_t)now.sa_sigaction
                                                              : (uintptr_t)now.sa_handler);
  struct sigaction ours;
  memset(&ours, 0, sizeof(ours));
  ours.sa_sigaction = on_sigbus;
  /* No SA_NODEFER: a fault inside the handler is a bug and must kill. */
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
  return sigaction(SIGBUS, &ours, NULL) == 0 ? 0 : -errno;
}

int guard_install(void) {
  pthread_mutex_lock(&lock);
  int result = install();
  pthread_mutex_unlock(&lock);
  return result;
}

/* Under `lock`. */
static bool is_guarded(uintptr_t start, uintptr_t end) {
  for (int slot = 1; slot < slots_end; slot++)
    if (start < entries[slot].end && end > entries[slot].start) return true;
  return false;
}

/* Under `lock`. */
static int take_slot(void) {
  if (free_count > 0) return free_slots[--free_count];
  return slots_end < SLOTS ? slots_end : -ENOSPC;
}

/* Under `lock`. */
static int add(uintptr_t start, uintptr_t end, enum guard_mode mode, int protection) {
  int failure = mode == GUARD_ONES ? grow_ones(end - start) : 0;
  if (failure != 0) return failure;
  if (is_guarded(start, end)) return -EEXIST;
  int slot = take_slot();
  if (slot < 0) return slot;
  guard_entry *entry = &entries[slot];
  atomic_fetch_add(&entry->sequence, 1);
  atomic_store(&faults[slot], 0);
  entry->mode = mode;
  entry->protection = protection;
  entry->claimed = false;
  entry->end = end;
  entry->start = start;
  atomic_fetch_add(&entry->sequence, 1);
  if (slot == slots_end) slots_end++;
  return slot;
}

int guard_add(void *start, size_t length, enum guard_mode mode, int protection) {
  pthread_mutex_lock(&lock);
  int result = install();
  if (result == 0) result = add((uintptr_t)start, (uintptr_t)start + length, mode, protection);
  pthread_mutex_unlock(&lock);
  return result;
}

static void wait_for_handlers(guard_entry *entry) {
  while (atomic_load(&entry->handlers) != 0) sched_yield();
}

static bool lies_within(const guard_entry *entry, void *start, size_t length) {
  uintptr_t end = (uintptr_t)start + length;
  return entry->start != 0 && entry->start >= (uintptr_t)start && entry->end <= end;
}

int guard_remove(int slot, void *start, size_t length) {
  if (slot < 1 || slot >= SLOTS) return -EINVAL;
  guard_entry *entry = &entries[slot];
  pthread_mutex_lock(&lock);
  bool found = lies_within(entry, start, length);
  if (found) {
    atomic_fetch_add(&entry->sequence, 1);
    wait_for_handlers(entry);
    entry->start = 0;
    entry->end = 0;
    atomic_fetch_add(&entry->sequence, 1);
    free_slots[free_count++] = slot;
  }
  pthread_mutex_unlock(&lock);
  return found ? 0 : -EINVAL;
}

void guard_settle(void *start, size_t length) {
  pthread_mutex_lock(&lock);
  for (int slot = 1; slot < slots_end; slot++) {
    if (!lies_within(&entries[slot], start, length)) continue;
    atomic_store(&entries[slot].mode, GUARD_ZEROS);
    wait_for_handlers(&entries[slot]);
  }
  pthread_mutex_unlock(&lock);
}

int guard_fill_ones(void *start, size_t length, int protection) {
  pthread_mutex_lock(&lock);
  int result = grow_ones(0);
  uintptr_t end = (uintptr_t)start + length;
  for (uintptr_t at = (uintptr_t)start; result == 0 && at < end; at += ones_bytes) {
    uintptr_t piece_end = end - at < ones_bytes ? end : at + ones_bytes;
    if (!remap(at, piece_end, protection, 0, ones_fd)) result = -errno;
  }
  pthread_mutex_unlock(&lock);
  return result;
}

static napi_value install_call(napi_env env, napi_callback_info info) {
  (void)info;
  return int64_result(env, guard_install());
}

static napi_value check_call(napi_env env, napi_callback_info info) {
  (void)info;
  struct sigaction now;
  napi_value result;
  bool installed = sigaction(SIGBUS, NULL, &now) == 0 && is_installed(&now);
  napi_get_boolean(env, installed, &result);
  return result;
}

static napi_value faults_call(napi_env env, napi_callback_info info) {
  (void)info;
  napi_value buffer = process_wide_buffer(env, (void *)faults, sizeof(faults));
  return buffer != NULL ? buffer : int64_result(env, -ENOMEM);
}

void register_guard(napi_env env, napi_value exports) {
  export_function(env, exports, "guardInstall", install_call);
  export_function(env, exports, "guardCheck", check_call);
  export_function(env, exports, "guardFaults", faults_call);
}
