/* Does to a foreign descriptor what can block for ever, so that nobody else has to. Descriptor 3
 * is a stream to the pool: one request at a time, the answer first, then everything foreign is
 * closed (which can block too), then "ready". Ends with the stream. Messages are in host order and
 * described in src/os/helper/protocol.ts. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CHANNEL 3
#define FDS_MAX 253
#define BYTES_MAX 65536

enum { OPERATION_TRUNCATE = 1, OPERATION_SEAL = 2, OPERATION_ACCEPT = 3, OPERATION_RECEIVE = 4 };
enum { KIND_RESULT = 1, KIND_READY = 2 };

typedef struct {
  uint32_t operation;
  uint32_t number; /* seals; most descriptors to pass on */
  uint64_t value;  /* length; most bytes to receive */
} request_message;

typedef struct {
  uint32_t kind;
  uint32_t error; /* errno, or 0 */
  uint64_t value; /* length */
  uint32_t seals;
  uint32_t byte_count; /* bytes that follow */
  uint32_t fd_count;   /* descriptors that came, kept and refused; kept ones travel with this */
  uint32_t refused_count;
  uint32_t message_flags;
  uint32_t reserved;
} reply_message;

_Static_assert(sizeof(request_message) == 16, "request");
_Static_assert(sizeof(reply_message) == 40, "reply");

typedef union {
  struct cmsghdr header;
  uint8_t space[CMSG_SPACE(FDS_MAX * sizeof(int))];
} control_space;

typedef struct {
  reply_message reply;
  int fds[FDS_MAX]; /* kept ones first */
  size_t kept;
  size_t held;
} outcome;

static uint8_t received[BYTES_MAX];

/* Takes the descriptors out of a received message. */
static size_t take_fds(struct msghdr *message, int *fds) {
  size_t count = 0;
  for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL;
       header = CMSG_NXTHDR(message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    size_t found = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    memcpy(fds + count, CMSG_DATA(header), found * sizeof(int));
    count += found;
  }
  return count;
}

/* Reads a whole request. False at end-of-file. */
static bool read_request(request_message *request, int *lent) {
  size_t have = 0;
  *lent = -1;
  while (have < sizeof *request) {
    control_space control;
    struct iovec data = {(uint8_t *)request + have, sizeof *request - have};
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    ssize_t result = recvmsg(CHANNEL, &message, MSG_CMSG_CLOEXEC);
    if (result < 0 && errno == EINTR) continue;
    if (result <= 0) return false;
    int fds[FDS_MAX];
    if (take_fds(&message, fds) > 0) *lent = fds[0];
    have += (size_t)result;
  }
  return true;
}

/* Sends a reply, its descriptors with the first byte. False when nobody reads any more. */
static bool write_reply(const reply_message *reply, const int *fds, size_t fd_count) {
  size_t sent = 0;
  size_t total = sizeof *reply + reply->byte_count;
  while (sent < total) {
    struct iovec data[2];
    size_t parts = 0;
    if (sent < sizeof *reply) {
      data[parts++] = (struct iovec){(uint8_t *)reply + sent, sizeof *reply - sent};
      data[parts++] = (struct iovec){received, reply->byte_count};
    } else {
      size_t offset = sent - sizeof *reply;
      data[parts++] = (struct iovec){received + offset, reply->byte_count - offset};
    }
    struct msghdr message = {.msg_iov = data, .msg_iovlen = parts};
    control_space control;
    if (sent == 0 && fd_count > 0) {
      memset(&control, 0, sizeof control);
      message.msg_control = &control;
      message.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
      struct cmsghdr *header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
      memcpy(CMSG_DATA(header), fds, fd_count * sizeof(int));
    }
    ssize_t result = sendmsg(CHANNEL, &message, MSG_NOSIGNAL);
    if (result < 0 && errno == EINTR) continue;
    if (result < 0) return false;
    sent += (size_t)result;
  }
  return true;
}

static bool is_event_fd(int fd) {
  static const char name[] = "anon_inode:[eventfd]";
  char path[32];
  char link[sizeof name];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(path, link, sizeof link);
  return length == (ssize_t)sizeof name - 1 && memcmp(link, name, sizeof name - 1) == 0;
}

static int integer_option(int fd, int name) {
  int value = -1;
  socklen_t length = sizeof value;
  return getsockopt(fd, SOL_SOCKET, name, &value, &length) == 0 ? value : -1;
}

static bool is_listening_stream(int fd) {
  return integer_option(fd, SO_DOMAIN) == AF_UNIX && integer_option(fd, SO_TYPE) == SOCK_STREAM &&
         integer_option(fd, SO_ACCEPTCONN) == 1;
}

/* Memory of shmem or hugetlb: only these know seals, plain files of tmpfs included. */
static bool is_wanted(int fd) {
  return fcntl(fd, F_GET_SEALS) >= 0 || is_event_fd(fd) || is_listening_stream(fd);
}

static void receive(int lent, const request_message *request, outcome *out) {
  control_space control;
  size_t most = request->value < BYTES_MAX ? (size_t)request->value : BYTES_MAX;
  struct iovec data = {received, most};
  struct msghdr message = {.msg_iov = &data,
                           .msg_iovlen = 1,
                           .msg_control = &control,
                           .msg_controllen = sizeof control};
  ssize_t result = recvmsg(lent, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (result < 0) {
    out->reply.error = (uint32_t)errno;
    return;
  }
  int fds[FDS_MAX];
  out->held = take_fds(&message, fds);
  out->reply.message_flags = (uint32_t)message.msg_flags;
  out->reply.fd_count = (uint32_t)out->held;
  out->reply.byte_count = (uint32_t)result;
  /* Kept ones to the front in their order, refused ones to the back. Too many: all are refused. */
  size_t refused = 0;
  for (size_t index = 0; index < out->held; index++) {
    if (out->held <= request->number && is_wanted(fds[index]))
      out->fds[out->kept++] = fds[index];
    else
      out->fds[out->held - ++refused] = fds[index];
  }
  out->reply.refused_count = (uint32_t)refused;
}

static void perform(int lent, const request_message *request, outcome *out) {
  int result = 0;
  struct stat status;
  switch (request->operation) {
    case OPERATION_TRUNCATE:
      result = ftruncate(lent, (off_t)request->value);
      break;
    case OPERATION_SEAL:
      /* Whoever holds the object can make adding fail or do it first: the state decides. */
      fcntl(lent, F_ADD_SEALS, request->number);
      result = fcntl(lent, F_GET_SEALS);
      out->reply.seals = (uint32_t)result;
      if (result >= 0 && (result = fstat(lent, &status)) == 0)
        out->reply.value = (uint64_t)status.st_size;
      break;
    case OPERATION_ACCEPT:
      result = accept4(lent, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
      if (result >= 0) {
        out->fds[0] = result;
        out->kept = out->held = 1;
        out->reply.fd_count = 1;
      }
      break;
    case OPERATION_RECEIVE:
      receive(lent, request, out);
      break;
    default:
      errno = EINVAL;
      result = -1;
  }
  if (result < 0) out->reply.error = (uint32_t)errno;
}

int main(void) {
  /* Started with these descriptors alone, whatever the one who started it forgot to close. */
  syscall(SYS_close_range, CHANNEL + 1, ~0u, 0u);
  for (int number = 1; number <= SIGRTMAX; number++) signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  prctl(PR_SET_NAME, "lessor-helper");
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  int flags = fcntl(CHANNEL, F_GETFL);
  if (flags < 0 || fcntl(CHANNEL, F_SETFL, flags & ~O_NONBLOCK) < 0) return 2;

  for (;;) {
    static const reply_message ready = {.kind = KIND_READY};
    if (!write_reply(&ready, NULL, 0)) return 0;
    request_message request;
    int lent;
    if (!read_request(&request, &lent)) return 0;
    outcome out = {.reply = {.kind = KIND_RESULT}};
    perform(lent, &request, &out);
    if (!write_reply(&out.reply, out.fds, out.kept)) return 0;
    /* The lent one is the pool's own; a foreign one may never come back from close. */
    if (lent >= 0) close(lent);
    for (size_t index = 0; index < out.held; index++) close(out.fds[index]);
  }
}
