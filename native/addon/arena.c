/* Arenas: large reservations of address space, each seen as one ArrayBuffer by every thread.
 * Ranges inside are mapped over in place and return to PROT_NONE; a hole is never left, because
 * the next mmap of anyone in the process could fall into it. */
#include "buffers.h"
#include "guard.h"
#include "memory.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define ARENAS 16
#define ALIGNMENT ((size_t)2 << 20)
#define RESERVED_FLAGS (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)

typedef struct {
  uint8_t *base;
  size_t length;
} arena;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static arena arenas[ARENAS];
static _Atomic int arena_count;

/* By id, from 1; NULL when there is none. */
static const arena *arena_of(const call_arguments *call) {
  int id = int32_argument(call, 0, 0);
  return id < 1 || id > atomic_load(&arena_count) ? NULL : &arenas[id - 1];
}

/* The range that arguments name, or NULL. */
static void *range_of(const arena *at, int64_t offset, int64_t length, int64_t unit) {
  if (at == NULL || offset < 0 || length <= 0 || offset % unit != 0 || length % unit != 0)
    return NULL;
  if ((uint64_t)offset > at->length) return NULL;
  if ((uint64_t)length > at->length - (uint64_t)offset) return NULL;
  return at->base + offset;
}

/* Aligned to 2 MiB, so that huge pages fit; the surplus is given back. */
static void *reserve(size_t length) {
  uint8_t *whole = mmap(NULL, length + ALIGNMENT, PROT_NONE, RESERVED_FLAGS, -1, 0);
  if (whole == MAP_FAILED) return NULL;
  size_t before = (ALIGNMENT - (uintptr_t)whole % ALIGNMENT) % ALIGNMENT;
  if (before > 0) munmap(whole, before);
  munmap(whole + before + length, ALIGNMENT - before);
  return whole + before;
}

static int64_t create(size_t length) {
  if (arena_count == ARENAS) return -ENOSPC;
  void *base = reserve(length);
  if (base == NULL) return -errno;
  arenas[arena_count] = (arena){base, length};
  return ++arena_count;
}

static napi_value create_call(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  int64_t length = int64_argument(&call, 0, 0);
  if (length <= 0 || length > (int64_t)1 << 32 || (size_t)length % ALIGNMENT != 0)
    return int64_result(env, -EINVAL);
  pthread_mutex_lock(&lock);
  int64_t id = create((size_t)length);
  pthread_mutex_unlock(&lock);
  return int64_result(env, id);
}

static napi_value buffer_call(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  const arena *at = arena_of(&call);
  if (at == NULL) return int64_result(env, -ENOENT);
  napi_value buffer = process_wide_buffer(env, at->base, at->length);
  return buffer != NULL ? buffer : int64_result(env, -ENOMEM);
}

static int map_none(void *start, size_t length) {
  void *at = mmap(start, length, PROT_NONE, RESERVED_FLAGS | MAP_FIXED, -1, 0);
  return at == start ? 0 : -errno;
}

/* Some kernels take the old mapping away before they refuse the new one. */
static void close_hole(void *start, size_t length) {
  if (map_none(start, length) == 0) return;
  fputs("lessor: part of an arena was lost and cannot be reserved again\n", stderr);
  abort();
}

static int place(void *start, size_t length, int protection, int fd, int64_t offset, int mode) {
  int slot = mode == GUARD_NONE ? 0 : guard_add(start, length, mode, protection);
  if (slot < 0) return slot;
  if (mmap(start, length, protection, MAP_SHARED | MAP_FIXED, fd, offset) == start) return slot;
  int failure = errno;
  close_hole(start, length);
  if (slot > 0) guard_remove(slot, start, length);
  return -failure;
}

static napi_value place_call(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  int fd = int32_argument(&call, 2, -1);
  int64_t fd_offset = int64_argument(&call, 3, -1);
  int64_t length = int64_argument(&call, 4, -1);
  int mode = int32_argument(&call, 6, -1);
  int64_t unit = mapping_unit(fd);
  if (unit < 0) return int64_result(env, unit);
  void *start = range_of(arena_of(&call), int64_argument(&call, 1, -1), length, unit);
  /* mmap checks alignment before it touches what is there, but a huge page it would round up. */
  if (start == NULL || fd_offset < 0 || fd_offset % unit != 0 || (uintptr_t)start % unit != 0 ||
      mode < GUARD_NONE || mode > GUARD_ZEROS)
    return int64_result(env, -EINVAL);
  int protection = bool_argument(&call, 5) ? PROT_READ | PROT_WRITE : PROT_READ;
  return int64_result(env, place(start, (size_t)length, protection, fd, fd_offset, mode));
}

static napi_value zero_call(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  int64_t length = int64_argument(&call, 2, -1);
  void *start = range_of(arena_of(&call), int64_argument(&call, 1, -1), length, page_bytes());
  if (start == NULL) return int64_result(env, -EINVAL);
  guard_settle(start, (size_t)length);
  int flags = RESERVED_FLAGS | MAP_FIXED;
  void *at = mmap(start, (size_t)length, PROT_READ | PROT_WRITE, flags, -1, 0);
  return int64_result(env, at == start ? 0 : -errno);
}

static napi_value clear_call(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  int64_t length = int64_argument(&call, 2, -1);
  int slot = int32_argument(&call, 3, 0);
  void *start = range_of(arena_of(&call), int64_argument(&call, 1, -1), length, page_bytes());
  if (start == NULL) return int64_result(env, -EINVAL);
  int failure = map_none(start, (size_t)length);
  if (failure == 0 && slot != 0) failure = guard_remove(slot, start, (size_t)length);
  return int64_result(env, failure);
}

void register_arena(napi_env env, napi_value exports) {
  export_function(env, exports, "arenaCreate", create_call);
  export_function(env, exports, "arenaBuffer", buffer_call);
  export_function(env, exports, "arenaPlace", place_call);
  export_function(env, exports, "arenaZero", zero_call);
  export_function(env, exports, "arenaClear", clear_call);
}
