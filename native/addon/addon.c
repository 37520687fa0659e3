/* Entry of the addon and the conversions every file uses. */
#include "addon.h"

#include <stdlib.h>

call_arguments arguments_of(napi_env env, napi_callback_info info) {
  call_arguments call = {.env = env, .count = ARGUMENTS_MAX};
  napi_get_cb_info(env, info, &call.count, call.value, NULL, NULL);
  return call;
}

int64_t int64_argument(const call_arguments *call, size_t index, int64_t otherwise) {
  int64_t value = otherwise;
  if (index < call->count && napi_get_value_int64(call->env, call->value[index], &value) != napi_ok)
    return otherwise;
  return value;
}

int32_t int32_argument(const call_arguments *call, size_t index, int32_t otherwise) {
  int32_t value = otherwise;
  if (index < call->count && napi_get_value_int32(call->env, call->value[index], &value) != napi_ok)
    return otherwise;
  return value;
}

bool bool_argument(const call_arguments *call, size_t index) {
  bool value = false;
  if (index < call->count) napi_get_value_bool(call->env, call->value[index], &value);
  return value;
}

byte_view bytes_argument(const call_arguments *call, size_t index) {
  byte_view view = {NULL, 0};
  if (index >= call->count) return view;
  napi_value value = call->value[index];
  bool is = false;
  void *data = NULL;
  if (napi_is_typedarray(call->env, value, &is) == napi_ok && is) {
    napi_typedarray_type type;
    size_t length;
    size_t offset;
    napi_value buffer;
    napi_get_typedarray_info(call->env, value, &type, &length, &data, &buffer, &offset);
    size_t width = 1;
    if (type == napi_int16_array || type == napi_uint16_array) width = 2;
    if (type == napi_int32_array || type == napi_uint32_array || type == napi_float32_array)
      width = 4;
    if (type == napi_float64_array || type == napi_bigint64_array || type == napi_biguint64_array)
      width = 8;
    view.data = data;
    view.length = length * width;
  } else if (napi_is_arraybuffer(call->env, value, &is) == napi_ok && is) {
    napi_get_arraybuffer_info(call->env, value, &data, &view.length);
    view.data = data;
  }
  return view;
}

char *string_argument(const call_arguments *call, size_t index) {
  size_t length = 0;
  if (index >= call->count) return NULL;
  if (napi_get_value_string_utf8(call->env, call->value[index], NULL, 0, &length) != napi_ok)
    return NULL;
  char *text = malloc(length + 1);
  if (text == NULL) return NULL;
  napi_get_value_string_utf8(call->env, call->value[index], text, length + 1, &length);
  return text;
}

napi_value int64_result(napi_env env, int64_t value) {
  napi_value result;
  napi_create_int64(env, value, &result);
  return result;
}

napi_value call_result(napi_env env, int64_t result) {
  return int64_result(env, result == -1 ? -(int64_t)errno : result);
}

napi_value undefined_result(napi_env env) {
  napi_value result;
  napi_get_undefined(env, &result);
  return result;
}

void export_function(napi_env env, napi_value exports, const char *name, napi_callback callback) {
  napi_value function;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, NULL, &function);
  napi_set_named_property(env, exports, name, function);
}

NAPI_MODULE_INIT() {
  register_memory(env, exports);
  register_guard(env, exports);
  register_arena(env, exports);
  register_sockets(env, exports);
  register_poll(env, exports);
  register_events(env, exports);
  register_processes(env, exports);
  register_files(env, exports);
  return exports;
}
