/* Memory objects and guarded mappings of them. */
#include "memory.h"

#include "guard.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define HUGETLBFS_MAGIC 0x958458f6

/* Referenced by the buffer object (by napi_wrap) and by its backing store: either may go first. */
typedef struct {
  void *address;
  size_t length;
  int protection;
  int slot;
  bool mapped;
  int references;
} mapping;

static const napi_type_tag mapping_tag = {0x6c6573736f722d6d, 0x656d6f72792d6d61};

size_t page_bytes(void) { return (size_t)sysconf(_SC_PAGESIZE); }

int64_t mapping_unit(int fd) {
  struct statfs status;
  if (fstatfs(fd, &status) != 0) return -errno;
  if ((uint32_t)status.f_type == HUGETLBFS_MAGIC) return status.f_bsize;
  return (int64_t)page_bytes();
}

static void release(mapping *map) {
  if (--map->references == 0) free(map);
}

static void unmap_now(mapping *map) {
  if (!map->mapped) return;
  map->mapped = false;
  if (map->slot != 0) guard_remove(map->slot, map->address, map->length);
  munmap(map->address, map->length);
}

static void object_gone(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  release(data);
}

/* Unmaps only what nobody disposed of. */
static void backing_gone(napi_env env, void *data, void *hint) {
  (void)data;
  mapping *map = hint;
  if (map->mapped) {
    int64_t adjusted;
    napi_adjust_external_memory(env, (int64_t)map->length, &adjusted);
  }
  unmap_now(map);
  release(map);
}

static mapping *mapping_of(const call_arguments *call) {
  void *map = NULL;
  bool tagged = false;
  if (call->count < 1) return NULL;
  if (napi_check_object_type_tag(call->env, call->value[0], &mapping_tag, &tagged) != napi_ok ||
      !tagged)
    return NULL;
  if (napi_unwrap(call->env, call->value[0], &map) != napi_ok) return NULL;
  return map;
}

/* Wraps a fresh mapping; on failure unmaps it and returns NULL. */
static napi_value mapping_buffer(napi_env env, mapping *map, size_t length) {
  napi_value buffer;
  int64_t adjusted;
  /* One for us, which napi_wrap takes over, and one for the backing store. */
  map->references = 2;
  if (napi_create_external_arraybuffer(env, map->address, length, backing_gone, map, &buffer) !=
      napi_ok) {
    napi_value ignored;
    napi_get_and_clear_last_exception(env, &ignored);
    unmap_now(map);
    release(map);
    return NULL;
  }
  napi_adjust_external_memory(env, -(int64_t)map->length, &adjusted);
  if (napi_type_tag_object(env, buffer, &mapping_tag) == napi_ok &&
      napi_wrap(env, buffer, map, object_gone, NULL, NULL) == napi_ok)
    return buffer;
  napi_detach_arraybuffer(env, buffer);
  unmap_now(map);
  release(map);
  return NULL;
}

/* Maps and guards; 0 or -errno. */
static int map_guarded(mapping *map, int fd, int64_t offset, enum guard_mode mode) {
  map->address = mmap(NULL, map->length, map->protection, MAP_SHARED, fd, offset);
  if (map->address == MAP_FAILED) return -errno;
  map->mapped = true;
  if (mode == GUARD_NONE) return 0;
  map->slot = guard_add(map->address, map->length, mode, map->protection);
  if (map->slot > 0) return 0;
  munmap(map->address, map->length);
  return map->slot;
}

static napi_value map_call(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  int fd = int32_argument(&call, 0, -1);
  int64_t offset = int64_argument(&call, 1, -1);
  int64_t length = int64_argument(&call, 2, -1);
  bool writable = bool_argument(&call, 3);
  int mode = int32_argument(&call, 4, -1);
  byte_view slot_out = bytes_argument(&call, 5);
  int64_t unit = mapping_unit(fd);
  if (unit < 0) return int64_result(env, unit);
  if (offset < 0 || length <= 0 || length > INT64_MAX / 2 || mode < GUARD_NONE ||
      mode > GUARD_ZEROS || slot_out.length < sizeof(int32_t))
    return int64_result(env, -EINVAL);
  if (unit != (int64_t)page_bytes() && (length % unit != 0 || offset % unit != 0))
    return int64_result(env, -EINVAL);
  mapping *map = calloc(1, sizeof(*map));
  if (map == NULL) return int64_result(env, -ENOMEM);
  map->length = (size_t)((length + unit - 1) / unit * unit);
  map->protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
  int failure = map_guarded(map, fd, offset, mode);
  if (failure != 0) {
    free(map);
    return int64_result(env, failure);
  }
  *(int32_t *)(void *)slot_out.data = map->slot;
  napi_value buffer = mapping_buffer(env, map, (size_t)length);
  return buffer != NULL ? buffer : int64_result(env, -EFBIG);
}

static napi_value unmap_call(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  mapping *map = mapping_of(&call);
  if (map == NULL) return int64_result(env, -EINVAL);
  /* Optimized code may still hold the address until the buffer is detached. */
  if (napi_detach_arraybuffer(env, call.value[0]) != napi_ok) return int64_result(env, -EINVAL);
  void *removed;
  int64_t adjusted;
  napi_remove_wrap(env, call.value[0], &removed);
  napi_adjust_external_memory(env, (int64_t)map->length, &adjusted);
  unmap_now(map);
  release(map);
  return int64_result(env, 0);
}

static napi_value poison_call(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  mapping *map = mapping_of(&call);
  if (map == NULL) return int64_result(env, -EINVAL);
  return int64_result(env, guard_fill_ones(map->address, map->length, map->protection));
}

static napi_value page_bytes_call(napi_env env, napi_callback_info info) {
  (void)info;
  return int64_result(env, (int64_t)page_bytes());
}

static napi_value memfd_create_call(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  char *name = string_argument(&call, 0);
  if (name == NULL) return int64_result(env, -EINVAL);
  int result = memfd_create(name, (unsigned)int32_argument(&call, 1, 0));
  int failure = errno;
  free(name);
  return int64_result(env, result < 0 ? -failure : result);
}

static napi_value ftruncate_call(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  return call_result(env, ftruncate(int32_argument(&call, 0, -1), int64_argument(&call, 1, -1)));
}

static napi_value add_seals_call(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  int fd = int32_argument(&call, 0, -1);
  return call_result(env, fcntl(fd, F_ADD_SEALS, int32_argument(&call, 1, 0)));
}

static napi_value get_seals_call(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  return call_result(env, fcntl(int32_argument(&call, 0, -1), F_GET_SEALS));
}

static napi_value get_flags_call(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  return call_result(env, fcntl(int32_argument(&call, 0, -1), F_GETFL));
}

/* F_DUPFD_QUERY, which older headers lack. */
static napi_value same_file_call(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  int fd = int32_argument(&call, 0, -1);
  return call_result(env, fcntl(fd, 1024 + 3, int32_argument(&call, 1, -1)));
}

static napi_value fstat_call(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  byte_view out = bytes_argument(&call, 1);
  if (out.length < 3 * sizeof(int64_t)) return int64_result(env, -EINVAL);
  struct stat status;
  if (fstat(int32_argument(&call, 0, -1), &status) != 0) return int64_result(env, -errno);
  int64_t *words = (int64_t *)(void *)out.data;
  words[0] = (int64_t)status.st_dev;
  words[1] = (int64_t)status.st_ino;
  words[2] = status.st_size;
  return int64_result(env, 0);
}

static napi_value fchmod_call(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  int fd = int32_argument(&call, 0, -1);
  return call_result(env, fchmod(fd, (mode_t)int32_argument(&call, 1, 0)));
}

static napi_value reopen_call(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  char path[32];
  snprintf(path, sizeof(path), "/proc/self/fd/%d", int32_argument(&call, 0, -1));
  return call_result(env, open(path, int32_argument(&call, 1, O_RDONLY) | O_CLOEXEC));
}

/* The whole pages inside the view: nobody outside knows where pages begin. */
static napi_value advise_huge_pages_call(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  byte_view view = bytes_argument(&call, 0);
  uintptr_t mask = page_bytes() - 1;
  uintptr_t start = ((uintptr_t)view.data + mask) & ~mask;
  uintptr_t end = ((uintptr_t)view.data + view.length) & ~mask;
  if (start >= end) return int64_result(env, -EINVAL);
  return call_result(env, madvise((void *)start, end - start, MADV_HUGEPAGE));
}

void register_memory(napi_env env, napi_value exports) {
  export_function(env, exports, "pageBytes", page_bytes_call);
  export_function(env, exports, "memfdCreate", memfd_create_call);
  export_function(env, exports, "ftruncate", ftruncate_call);
  export_function(env, exports, "addSeals", add_seals_call);
  export_function(env, exports, "getSeals", get_seals_call);
  export_function(env, exports, "getFlags", get_flags_call);
  export_function(env, exports, "sameFile", same_file_call);
  export_function(env, exports, "fstat", fstat_call);
  export_function(env, exports, "fchmod", fchmod_call);
  export_function(env, exports, "reopen", reopen_call);
  export_function(env, exports, "map", map_call);
  export_function(env, exports, "unmap", unmap_call);
  export_function(env, exports, "poison", poison_call);
  export_function(env, exports, "adviseHugePages", advise_huge_pages_call);
}
