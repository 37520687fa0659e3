/* AF_UNIX stream sockets and descriptor passing. Addresses and option values arrive as bytes. */
#include "addon.h"

#include <string.h>
#include <sys/socket.h>

/* SCM_MAX_FD of the kernel: more cannot travel with one message. */
#define FDS_MAX 253

/* Layout of the numbers that receiveMessage reports: count, message flags, descriptors. */
#define REPORT_COUNT 0
#define REPORT_FLAGS 1
#define REPORT_FDS 2

static napi_value call_socket(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  return call_result(env, socket(int32_argument(&call, 0, -1), int32_argument(&call, 1, -1), 0));
}

static napi_value call_socket_pair(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  byte_view out = bytes_argument(&call, 2);
  if (out.length < 2 * sizeof(int)) return int64_result(env, -EINVAL);
  int pair[2];
  int result = socketpair(int32_argument(&call, 0, -1), int32_argument(&call, 1, -1), 0, pair);
  if (result == 0) memcpy(out.data, pair, sizeof pair);
  return call_result(env, result);
}

static napi_value call_bind(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  byte_view address = bytes_argument(&call, 1);
  return call_result(env, bind(int32_argument(&call, 0, -1),
                               (const struct sockaddr *)address.data, address.length));
}

static napi_value call_connect(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  byte_view address = bytes_argument(&call, 1);
  return call_result(env, connect(int32_argument(&call, 0, -1),
                                  (const struct sockaddr *)address.data, address.length));
}

static napi_value call_listen(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  return call_result(env, listen(int32_argument(&call, 0, -1), int32_argument(&call, 1, 0)));
}

static napi_value call_accept(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  return call_result(env, accept4(int32_argument(&call, 0, -1), NULL, NULL,
                                  int32_argument(&call, 1, 0)));
}

static napi_value call_shutdown(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  return call_result(env, shutdown(int32_argument(&call, 0, -1), int32_argument(&call, 1, -1)));
}

static napi_value call_get_option(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  byte_view value = bytes_argument(&call, 3);
  socklen_t length = (socklen_t)value.length;
  int result = getsockopt(int32_argument(&call, 0, -1), int32_argument(&call, 1, -1),
                          int32_argument(&call, 2, -1), value.data, &length);
  return call_result(env, result == 0 ? (int64_t)length : -1);
}

static napi_value call_set_option(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  byte_view value = bytes_argument(&call, 3);
  return call_result(env, setsockopt(int32_argument(&call, 0, -1), int32_argument(&call, 1, -1),
                                     int32_argument(&call, 2, -1), value.data, value.length));
}

static napi_value call_send_message(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  byte_view bytes = bytes_argument(&call, 1);
  int64_t offset = int64_argument(&call, 2, 0);
  byte_view fds = bytes_argument(&call, 3);
  size_t count = fds.length / sizeof(int);
  int64_t end = int64_argument(&call, 5, (int64_t)bytes.length);
  if (offset < 0 || end < offset || (size_t)end > bytes.length || count > FDS_MAX)
    return int64_result(env, -EINVAL);

  struct iovec data = {.iov_base = bytes.data + offset, .iov_len = (size_t)(end - offset)};
  struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
  union {
    struct cmsghdr header;
    uint8_t space[CMSG_SPACE(FDS_MAX * sizeof(int))];
  } control;
  if (count > 0) {
    memset(&control, 0, CMSG_SPACE(count * sizeof(int)));
    message.msg_control = &control;
    message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(header), fds.data, count * sizeof(int));
  }
  return call_result(env, sendmsg(int32_argument(&call, 0, -1), &message,
                                  int32_argument(&call, 4, 0)));
}

/* Control space is for the most descriptors a message can carry, or for none at all. */
static napi_value call_receive_message(napi_env env, napi_callback_info info) {
  call_arguments call = arguments_of(env, info);
  byte_view bytes = bytes_argument(&call, 1);
  int64_t length = int64_argument(&call, 2, -1);
  byte_view report = bytes_argument(&call, 3);
  bool with_control = bool_argument(&call, 5);
  if (length < 0 || (size_t)length > bytes.length ||
      report.length < (REPORT_FDS + FDS_MAX) * sizeof(int))
    return int64_result(env, -EINVAL);

  struct iovec data = {.iov_base = bytes.data, .iov_len = (size_t)length};
  union {
    struct cmsghdr header;
    uint8_t space[CMSG_SPACE(FDS_MAX * sizeof(int))];
  } control;
  struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
  if (with_control) {
    message.msg_control = &control;
    message.msg_controllen = sizeof control;
  }
  ssize_t result = recvmsg(int32_argument(&call, 0, -1), &message, int32_argument(&call, 4, 0));
  int error = errno;
  int *numbers = (int *)report.data;
  int count = 0;
  if (result >= 0 && with_control) {
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header != NULL;
         header = CMSG_NXTHDR(&message, header)) {
      if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
      size_t found = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      memcpy(numbers + REPORT_FDS + count, CMSG_DATA(header), found * sizeof(int));
      count += (int)found;
    }
  }
  numbers[REPORT_COUNT] = count;
  numbers[REPORT_FLAGS] = result >= 0 ? message.msg_flags : 0;
  errno = error;
  return call_result(env, result);
}

void register_sockets(napi_env env, napi_value exports) {
  export_function(env, exports, "socket", call_socket);
  export_function(env, exports, "socketPair", call_socket_pair);
  export_function(env, exports, "bind", call_bind);
  export_function(env, exports, "connect", call_connect);
  export_function(env, exports, "listen", call_listen);
  export_function(env, exports, "accept", call_accept);
  export_function(env, exports, "shutdown", call_shutdown);
  export_function(env, exports, "getSocketOption", call_get_option);
  export_function(env, exports, "setSocketOption", call_set_option);
  export_function(env, exports, "sendMessage", call_send_message);
  export_function(env, exports, "receiveMessage", call_receive_message);
}
