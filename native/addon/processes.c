/* Processes: pidfds, process attributes, becoming another program. */
#include "addon.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static napi_value call_pidfd_open(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  return call_result(env, syscall(SYS_pidfd_open, int32_argument(&call, 0, -1), 0));
}

static napi_value call_pidfd_send_signal(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  return call_result(env, syscall(SYS_pidfd_send_signal, int32_argument(&call, 0, -1),
                                  int32_argument(&call, 1, -1), NULL, 0));
}

static napi_value call_set_dumpable(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  return call_result(env, prctl(PR_SET_DUMPABLE, bool_argument(&call, 0) ? 1ul : 0ul, 0, 0, 0));
}

static napi_value call_fcntl(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  return call_result(env, fcntl(int32_argument(&call, 0, -1), int32_argument(&call, 1, -1),
                                (long)int64_argument(&call, 2, 0)));
}

static napi_value call_dup3(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  return call_result(env, dup3(int32_argument(&call, 0, -1), int32_argument(&call, 1, -1),
                               int32_argument(&call, 2, 0)));
}

static napi_value call_get_file_limit(napi_env env, napi_callback_info info) {
  (void)info;
  struct rlimit limit;
  int result = getrlimit(RLIMIT_NOFILE, &limit);
  return call_result(env, result == 0 ? (int64_t)limit.rlim_cur : -1);
}

/* The soft limit alone; the hard one stays. */
static napi_value call_set_file_limit(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return call_result(env, -1);
  limit.rlim_cur = (rlim_t)int64_argument(&call, 0, 0);
  return call_result(env, setrlimit(RLIMIT_NOFILE, &limit));
}

/* Every signal to its default, none blocked. */
static napi_value call_reset_signals(napi_env env, napi_callback_info info) {
  (void)info;
  for (int number = 1; number <= SIGRTMAX; number++) signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  return call_result(env, sigprocmask(SIG_SETMASK, &none, NULL));
}

static void free_strings(char **strings) {
  for (char **string = strings; string != NULL && *string != NULL; string++) free(*string);
  free(strings);
}

/* A NULL-terminated copy of an array of strings, or NULL when it is none. */
static char **strings_argument(const call_arguments *call, size_t index) {
  uint32_t count = 0;
  if (index >= call->count ||
      napi_get_array_length(call->env, call->value[index], &count) != napi_ok)
    return NULL;
  char **strings = calloc((size_t)count + 1, sizeof *strings);
  for (uint32_t at = 0; strings != NULL && at < count; at++) {
    call_arguments element = {.env = call->env, .count = 1};
    if (napi_get_element(call->env, call->value[index], at, &element.value[0]) != napi_ok ||
        (strings[at] = string_argument(&element, 0)) == NULL) {
      free_strings(strings);
      return NULL;
    }
  }
  return strings;
}

static napi_value call_execve(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  char *path = string_argument(&call, 0);
  char **arguments = strings_argument(&call, 1);
  char **environment = strings_argument(&call, 2);
  int result = -1;
  if (path == NULL || arguments == NULL || environment == NULL)
    errno = EINVAL;
  else
    result = execve(path, arguments, environment);
  int error = errno;
  free(path);
  free_strings(arguments);
  free_strings(environment);
  errno = error;
  return call_result(env, result);
}

/* No clean-up: that of Node would find its event loop's descriptors replaced. */
static napi_value call_exit_now(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  _exit(int32_argument(&call, 0, 1));
}

void register_processes(napi_env env, napi_value exports) {
  export_function(env, exports, "pidfdOpen", call_pidfd_open);
  export_function(env, exports, "pidfdSendSignal", call_pidfd_send_signal);
  export_function(env, exports, "setDumpable", call_set_dumpable);
  export_function(env, exports, "fcntl", call_fcntl);
  export_function(env, exports, "dup3", call_dup3);
  export_function(env, exports, "getFileLimit", call_get_file_limit);
  export_function(env, exports, "setFileLimit", call_set_file_limit);
  export_function(env, exports, "resetSignals", call_reset_signals);
  export_function(env, exports, "execve", call_execve);
  export_function(env, exports, "exitNow", call_exit_now);
}
