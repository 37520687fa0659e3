/* Eventfds, their signal that never blocks, and futexes. */
#include "addon.h"

#include <linux/aio_abi.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define NANOSECONDS_PER_SECOND 1000000000ll
#define REAPED_MAX 64

/* Contexts of one environment, destroyed with it: a terminated worker cannot do so itself. */
typedef struct {
  aio_context_t *contexts;
  size_t count;
} event_environment;

static event_environment *environment_of(napi_env env, napi_callback_info info,
                                         call_arguments *call) {
  void *data = NULL;
  *call = (call_arguments){.env = env, .count = ARGUMENTS_MAX};
  napi_get_cb_info(env, info, &call->count, call->value, NULL, &data);
  return data;
}

static void on_environment_end(void *data) {
  event_environment *owner = data;
  for (size_t index = 0; index < owner->count; index++)
    syscall(SYS_io_destroy, owner->contexts[index]);
  free(owner->contexts);
  free(owner);
}

static napi_value call_event_fd(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  return call_result(env, eventfd((unsigned)int64_argument(&call, 0, 0),
                                  int32_argument(&call, 1, -1)));
}

/* Not read(2): O_NONBLOCK is of the open file, so whoever shares an eventfd can take it away. */
static napi_value call_read_no_wait(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  byte_view bytes = bytes_argument(&call, 1);
  struct iovec vector = {.iov_base = bytes.data, .iov_len = bytes.length};
  return call_result(env, preadv2(int32_argument(&call, 0, -1), &vector, 1, -1, RWF_NOWAIT));
}

static napi_value call_aio_setup(napi_env env, napi_callback_info info) {
  call_arguments call;
  event_environment *owner = environment_of(env, info, &call);
  aio_context_t *grown = realloc(owner->contexts, (owner->count + 1) * sizeof *grown);
  if (grown == NULL) return int64_result(env, -ENOMEM);
  owner->contexts = grown;
  aio_context_t context = 0;
  if (syscall(SYS_io_setup, (unsigned)int32_argument(&call, 0, 0), &context) != 0)
    return call_result(env, -1);
  owner->contexts[owner->count++] = context;
  return int64_result(env, (int64_t)context);
}

static napi_value call_aio_destroy(napi_env env, napi_callback_info info) {
  call_arguments call;
  event_environment *owner = environment_of(env, info, &call);
  aio_context_t context = (aio_context_t)int64_argument(&call, 0, 0);
  for (size_t index = 0; index < owner->count; index++) {
    if (owner->contexts[index] != context) continue;
    owner->contexts[index] = owner->contexts[--owner->count];
    return call_result(env, syscall(SYS_io_destroy, context));
  }
  return int64_result(env, -EINVAL);
}

/* One read of a byte whose completion signals an eventfd. The control block holds pointers, so it
 * is built here. */
static napi_value call_aio_read_and_signal(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  uint8_t byte;
  struct iocb block = {
      .aio_lio_opcode = IOCB_CMD_PREAD,
      .aio_fildes = (uint32_t)int32_argument(&call, 1, -1),
      .aio_buf = (uint64_t)(uintptr_t)&byte,
      .aio_nbytes = 1,
      .aio_flags = IOCB_FLAG_RESFD,
      .aio_resfd = (uint32_t)int32_argument(&call, 2, -1),
  };
  struct iocb *blocks[] = {&block};
  return call_result(env, syscall(SYS_io_submit, (aio_context_t)int64_argument(&call, 0, 0), 1,
                                  blocks));
}

static napi_value call_aio_reap(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  struct io_event events[REAPED_MAX];
  struct timespec now = {0, 0};
  return call_result(env, syscall(SYS_io_getevents, (aio_context_t)int64_argument(&call, 0, 0), 0,
                                  REAPED_MAX, events, &now));
}

/* The word at `index` of a typed array of 32-bit words, or NULL. */
static uint32_t *word_argument(const call_arguments *call) {
  byte_view words = bytes_argument(call, 0);
  int64_t index = int64_argument(call, 1, -1);
  if (index < 0 || (uint64_t)index >= words.length / sizeof(uint32_t)) return NULL;
  return (uint32_t *)words.data + index;
}

static napi_value call_futex_wait(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  uint32_t *word = word_argument(&call);
  int64_t timeout = int64_argument(&call, 3, -1);
  if (word == NULL) return int64_result(env, -EINVAL);
  struct timespec time = {timeout / NANOSECONDS_PER_SECOND, timeout % NANOSECONDS_PER_SECOND};
  return call_result(env, syscall(SYS_futex, word, FUTEX_WAIT, int32_argument(&call, 2, 0),
                                  timeout < 0 ? NULL : &time, NULL, 0));
}

static napi_value call_futex_wake(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  uint32_t *word = word_argument(&call);
  if (word == NULL) return int64_result(env, -EINVAL);
  return call_result(env, syscall(SYS_futex, word, FUTEX_WAKE, int32_argument(&call, 2, 0), NULL,
                                  NULL, 0));
}

static void export_with(napi_env env, event_environment *owner, napi_value exports,
                        const char *name, napi_callback callback) {
  napi_value function;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, owner, &function);
  napi_set_named_property(env, exports, name, function);
}

void register_events(napi_env env, napi_value exports) {
  event_environment *owner = calloc(1, sizeof *owner);
  if (owner == NULL || napi_add_env_cleanup_hook(env, on_environment_end, owner) != napi_ok) {
    free(owner);
    napi_throw_error(env, NULL, "lessor: out of memory");
    return;
  }
  export_function(env, exports, "eventFd", call_event_fd);
  export_function(env, exports, "readNoWait", call_read_no_wait);
  export_with(env, owner, exports, "aioSetup", call_aio_setup);
  export_with(env, owner, exports, "aioDestroy", call_aio_destroy);
  export_function(env, exports, "aioReadAndSignal", call_aio_read_and_signal);
  export_function(env, exports, "aioReap", call_aio_reap);
  export_function(env, exports, "futexWait", call_futex_wait);
  export_function(env, exports, "futexWake", call_futex_wake);
}
