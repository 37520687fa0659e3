/* Descriptors, and the device nodes that ioctl drives. */
#include "addon.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Where the standard streams end; a duplicate must not become one. */
#define FIRST_FREE_FD 3

static napi_value close_call(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  return call_result(env, close(int32_argument(&call, 0, -1)));
}

static napi_value duplicate_call(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  return call_result(env, fcntl(int32_argument(&call, 0, -1), F_DUPFD_CLOEXEC, FIRST_FREE_FD));
}

static napi_value open_call(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  int flags = int32_argument(&call, 1, 0);
  /* There is no mode to create with. */
  if (flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY))) return int64_result(env, -EINVAL);
  char *path = string_argument(&call, 0);
  if (path == NULL) return int64_result(env, -EINVAL);
  int result = open(path, flags | O_CLOEXEC);
  int failure = errno;
  free(path);
  return int64_result(env, result < 0 ? -failure : result);
}

static napi_value ioctl_call(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  int fd = int32_argument(&call, 0, -1);
  unsigned long request = (unsigned long)int64_argument(&call, 1, 0);
  napi_valuetype type = napi_undefined;
  if (call.count > 2) napi_typeof(env, call.value[2], &type);
  if (type == napi_number) {
    unsigned long value = (unsigned long)int64_argument(&call, 2, 0);
    return call_result(env, ioctl(fd, request, value));
  }
  byte_view bytes = bytes_argument(&call, 2);
  if (bytes.data == NULL) return int64_result(env, -EINVAL);
  return call_result(env, ioctl(fd, request, bytes.data));
}

static napi_value read_call(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  byte_view into = bytes_argument(&call, 1);
  return call_result(env, read(int32_argument(&call, 0, -1), into.data, into.length));
}

static napi_value write_call(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  byte_view bytes = bytes_argument(&call, 1);
  return call_result(env, write(int32_argument(&call, 0, -1), bytes.data, bytes.length));
}

static napi_value pread_call(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  byte_view into = bytes_argument(&call, 1);
  int fd = int32_argument(&call, 0, -1);
  return call_result(env, pread(fd, into.data, into.length, int64_argument(&call, 2, -1)));
}

static napi_value pwrite_call(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  byte_view bytes = bytes_argument(&call, 1);
  int fd = int32_argument(&call, 0, -1);
  return call_result(env, pwrite(fd, bytes.data, bytes.length, int64_argument(&call, 2, -1)));
}

static napi_value poll_now_call(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  struct pollfd one = {.fd = int32_argument(&call, 0, -1),
                       .events = (short)int32_argument(&call, 1, 0)};
  int result = poll(&one, 1, 0);
  return call_result(env, result < 0 ? -1 : one.revents);
}

/* Addresses of user space are below 2^53. Asking for the bytes also takes a small array off the
 * heap of V8, where it could move. */
static napi_value address_of_call(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  byte_view bytes = bytes_argument(&call, 0);
  if (bytes.data == NULL) return int64_result(env, -EINVAL);
  return int64_result(env, (int64_t)(intptr_t)bytes.data);
}

static napi_value directory_entries_call(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  byte_view into = bytes_argument(&call, 1);
  return call_result(env, getdents64(int32_argument(&call, 0, -1), into.data, into.length));
}

void register_files(napi_env env, napi_value exports) {
  export_function(env, exports, "close", close_call);
  export_function(env, exports, "duplicate", duplicate_call);
  export_function(env, exports, "open", open_call);
  export_function(env, exports, "ioctl", ioctl_call);
  export_function(env, exports, "read", read_call);
  export_function(env, exports, "write", write_call);
  export_function(env, exports, "pread", pread_call);
  export_function(env, exports, "pwrite", pwrite_call);
  export_function(env, exports, "pollNow", poll_now_call);
  export_function(env, exports, "addressOf", address_of_call);
  export_function(env, exports, "directoryEntries", directory_entries_call);
}
