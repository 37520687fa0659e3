/* Readiness of descriptors on the event loop of the calling thread. Handles belong to one
 * environment and are closed by its clean-up hook: a loop that still has some aborts the process
 * when its worker ends. */
#include "addon.h"

#include <stdlib.h>
#include <string.h>

/* The part of uv.h that is needed; its ABI is fixed for a major version of libuv. */
typedef struct uv_poll_s uv_poll_t;
typedef struct uv_handle_s uv_handle_t;
size_t uv_handle_size(int type);
const char *uv_handle_type_name(int type);
void *uv_handle_get_data(const uv_handle_t *handle);
void uv_handle_set_data(uv_handle_t *handle, void *data);
int uv_poll_init(struct uv_loop_s *loop, uv_poll_t *handle, int fd);
int uv_poll_start(uv_poll_t *handle, int events, void (*callback)(uv_poll_t *, int, int));
void uv_close(uv_handle_t *handle, void (*callback)(uv_handle_t *));
void uv_ref(uv_handle_t *handle);
void uv_unref(uv_handle_t *handle);
#define UV_POLL 8
#define UV_READABLE 1
#define UV_WRITABLE 2

typedef struct poll_environment poll_environment;

typedef struct poll_handle {
  poll_environment *owner;
  napi_ref callback; /* NULL once stopped */
  int32_t slot;
  int32_t events;
  /* The uv_poll_t follows, as large as the running libuv says. */
} poll_handle;

struct poll_environment {
  napi_env env;
  struct uv_loop_s *loop;
  napi_async_cleanup_hook_handle hook;
  poll_handle **slots;
  int32_t slot_count;
  int32_t first_unused; /* slots from here on were never handed out */
  int32_t *free_slots;  /* as long as `slots` */
  int32_t free_count;
  size_t open_count; /* handles that libuv has not finished closing */
  bool ending;
};

static uv_poll_t *uv_of(poll_handle *handle) { return (uv_poll_t *)(handle + 1); }

static void maybe_finish(poll_environment *owner) {
  if (!owner->ending || owner->open_count > 0) return;
  napi_async_cleanup_hook_handle hook = owner->hook;
  free(owner->slots);
  free(owner->free_slots);
  free(owner);
  napi_remove_async_cleanup_hook(hook);
}

static void on_closed(uv_handle_t *uv) {
  poll_handle *handle = uv_handle_get_data(uv);
  poll_environment *owner = handle->owner;
  free(handle);
  owner->open_count--;
  maybe_finish(owner);
}

static void stop(poll_handle *handle) {
  poll_environment *owner = handle->owner;
  napi_delete_reference(owner->env, handle->callback);
  handle->callback = NULL;
  owner->slots[handle->slot] = NULL;
  owner->free_slots[owner->free_count++] = handle->slot;
  uv_close((uv_handle_t *)uv_of(handle), on_closed);
}

static void on_environment_end(napi_async_cleanup_hook_handle hook, void *data) {
  (void)hook;
  poll_environment *owner = data;
  owner->ending = true;
  for (int32_t slot = 0; slot < owner->first_unused; slot++) {
    if (owner->slots[slot] != NULL) stop(owner->slots[slot]);
  }
  maybe_finish(owner);
}

static void on_ready(uv_poll_t *uv, int status, int events) {
  poll_handle *handle = uv_handle_get_data((uv_handle_t *)uv);
  napi_env env = handle->owner->env;
  if (status < 0) {
    /* POLLERR, for example a reset by the peer: libuv stopped the handle. The next system call on
     * the descriptor tells which error it is. */
    uv_poll_start(uv, handle->events, on_ready);
    events = handle->events;
  }
  napi_handle_scope scope;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return;
  napi_value callback;
  napi_value receiver;
  napi_value argument;
  napi_value result;
  napi_get_reference_value(env, handle->callback, &callback);
  napi_get_global(env, &receiver);
  napi_create_int32(env, events, &argument);
  /* The callback may stop this handle: it must not be touched afterwards. */
  if (napi_make_callback(env, NULL, receiver, callback, 1, &argument, &result) ==
      napi_pending_exception) {
    napi_value error;
    if (napi_get_and_clear_last_exception(env, &error) == napi_ok) napi_fatal_exception(env, error);
  }
  napi_close_handle_scope(env, scope);
}

static poll_environment *environment_of(napi_env env, napi_callback_info info,
                                        call_arguments *call) {
  void *data = NULL;
  *call = (call_arguments){.env = env, .count = ARGUMENTS_MAX};
  napi_get_cb_info(env, info, &call->count, call->value, NULL, &data);
  return data;
}

static poll_handle *handle_argument(const poll_environment *owner, const call_arguments *call) {
  int32_t slot = int32_argument(call, 0, -1);
  return slot >= 0 && slot < owner->first_unused ? owner->slots[slot] : NULL;
}

/* Makes room for one more handle in both tables, so that stopping one can never fail. */
static bool reserve_slot(poll_environment *owner) {
  if (owner->free_count > 0 || owner->first_unused < owner->slot_count) return true;
  int32_t count = owner->slot_count == 0 ? 64 : owner->slot_count * 2;
  poll_handle **slots = realloc(owner->slots, (size_t)count * sizeof *slots);
  if (slots == NULL) return false;
  owner->slots = slots;
  int32_t *free_slots = realloc(owner->free_slots, (size_t)count * sizeof *free_slots);
  if (free_slots == NULL) return false;
  owner->free_slots = free_slots;
  owner->slot_count = count;
  return true;
}

static napi_value call_poll_start(napi_env env, napi_callback_info info) {
  call_arguments call;
  poll_environment *owner = environment_of(env, info, &call);
  int32_t events = int32_argument(&call, 1, 0);
  if (call.count < 3) return int64_result(env, -EINVAL);
  if (owner->ending) return int64_result(env, -ECANCELED);
  if (!reserve_slot(owner)) return int64_result(env, -ENOMEM);
  poll_handle *handle = calloc(1, sizeof *handle + uv_handle_size(UV_POLL));
  if (handle == NULL) return int64_result(env, -ENOMEM);
  handle->owner = owner;
  handle->events = events & (UV_READABLE | UV_WRITABLE);
  int result = uv_poll_init(owner->loop, uv_of(handle), int32_argument(&call, 0, -1));
  if (result < 0) {
    free(handle);
    return int64_result(env, result);
  }
  uv_handle_set_data((uv_handle_t *)uv_of(handle), handle);
  owner->open_count++;
  handle->slot =
      owner->free_count > 0 ? owner->free_slots[--owner->free_count] : owner->first_unused++;
  owner->slots[handle->slot] = handle;
  napi_create_reference(env, call.value[2], 1, &handle->callback);
  result = uv_poll_start(uv_of(handle), handle->events, on_ready);
  if (result < 0) {
    stop(handle);
    return int64_result(env, result);
  }
  return int64_result(env, handle->slot);
}

static napi_value call_poll_update(napi_env env, napi_callback_info info) {
  call_arguments call;
  poll_handle *handle = handle_argument(environment_of(env, info, &call), &call);
  if (handle == NULL) return int64_result(env, -EBADF);
  handle->events = int32_argument(&call, 1, 0) & (UV_READABLE | UV_WRITABLE);
  return int64_result(env, uv_poll_start(uv_of(handle), handle->events, on_ready));
}

static napi_value call_poll_stop(napi_env env, napi_callback_info info) {
  call_arguments call;
  poll_handle *handle = handle_argument(environment_of(env, info, &call), &call);
  if (handle == NULL) return int64_result(env, -EBADF);
  stop(handle);
  return int64_result(env, 0);
}

/* Whether the handle keeps the event loop alive. */
static napi_value call_poll_reference(napi_env env, napi_callback_info info) {
  call_arguments call;
  poll_handle *handle = handle_argument(environment_of(env, info, &call), &call);
  if (handle == NULL) return int64_result(env, -EBADF);
  if (bool_argument(&call, 1))
    uv_ref((uv_handle_t *)uv_of(handle));
  else
    uv_unref((uv_handle_t *)uv_of(handle));
  return int64_result(env, 0);
}

static void export_with(poll_environment *owner, napi_value exports, const char *name,
                        napi_callback callback) {
  napi_value function;
  napi_create_function(owner->env, name, NAPI_AUTO_LENGTH, callback, owner, &function);
  napi_set_named_property(owner->env, exports, name, function);
}

void register_poll(napi_env env, napi_value exports) {
  poll_environment *owner = calloc(1, sizeof *owner);
  if (owner == NULL || strcmp(uv_handle_type_name(UV_POLL), "poll") != 0 ||
      napi_get_uv_event_loop(env, &owner->loop) != napi_ok ||
      napi_add_async_cleanup_hook(env, on_environment_end, owner, &owner->hook) != napi_ok) {
    free(owner);
    napi_throw_error(env, NULL, "lessor: this Node offers no event loop that the addon can use");
    return;
  }
  owner->env = env;
  export_with(owner, exports, "pollStart", call_poll_start);
  export_with(owner, exports, "pollUpdate", call_poll_update);
  export_with(owner, exports, "pollStop", call_poll_stop);
  export_with(owner, exports, "pollReference", call_poll_reference);
}
