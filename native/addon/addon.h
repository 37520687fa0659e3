/* Shared by the files of the addon. One system call per function; failures are negative errnos;
 * no policy, no structure layouts: those are built by src/uapi and arrive as bytes. */
#ifndef LESSOR_ADDON_H
#define LESSOR_ADDON_H

#include <errno.h>
#include <node_api.h>
#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>

#define ARGUMENTS_MAX 8

/* The arguments of a call; a missing one reads as undefined. */
typedef struct {
  napi_env env;
  size_t count;
  napi_value value[ARGUMENTS_MAX];
} call_arguments;

/* Bytes of a typed array, Buffer, DataView or ArrayBuffer; { NULL, 0 } for anything else. */
typedef struct {
  uint8_t *data;
  size_t length;
} byte_view;

call_arguments arguments_of(napi_env env, napi_callback_info info);
int64_t int64_argument(const call_arguments *call, size_t index, int64_t otherwise);
int32_t int32_argument(const call_arguments *call, size_t index, int32_t otherwise);
bool bool_argument(const call_arguments *call, size_t index);
byte_view bytes_argument(const call_arguments *call, size_t index);
/* A NUL-terminated copy the caller frees, or NULL. */
char *string_argument(const call_arguments *call, size_t index);

napi_value int64_result(napi_env env, int64_t value);
/* `result` of a system call: itself, or -errno when it is -1. */
napi_value call_result(napi_env env, int64_t result);
napi_value undefined_result(napi_env env);

/* Adds a function to the exports under `name`. */
void export_function(napi_env env, napi_value exports, const char *name, napi_callback callback);

/* One per file; adds that file's functions to the exports. */
void register_memory(napi_env env, napi_value exports);
void register_guard(napi_env env, napi_value exports);
void register_arena(napi_env env, napi_value exports);
void register_sockets(napi_env env, napi_value exports);
void register_poll(napi_env env, napi_value exports);
void register_events(napi_env env, napi_value exports);
void register_processes(napi_env env, napi_value exports);
void register_files(napi_env env, napi_value exports);

#endif
