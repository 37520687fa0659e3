/* Shared by the vfio-user floors: messages over blocking sockets. A message is sent with one call
 * and read with two, the header alone as its descriptors must be told from those of the next one,
 * as libvfio-user and QEMU do. */
#ifndef LESSOR_BENCH_VFIO_USER_H
#define LESSOR_BENCH_VFIO_USER_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { VERSION = 1, DMA_MAP = 2, DMA_UNMAP = 3, REGION_READ = 9, REGION_WRITE = 10, DMA_READ = 11,
       DMA_WRITE = 12 };
enum { REPLY = 1, NO_REPLY = 0x10, ERROR_REPLY = 0x21 };

/* BAR0 of both servers: a write of n to one of these makes the server read or write 4 KiB of the
 * client's memory n times, one message after the other. */
#define REGION_BYTES 4096
#define DMA_READ_DOORBELL 0x100
#define DMA_WRITE_DOORBELL 0x104
#define DMA_BYTES 4096

struct message_header {
  uint16_t id;
  uint16_t command;
  uint32_t size;
  uint32_t flags;
  uint32_t error;
};

struct region_access {
  uint64_t offset;
  uint32_t region;
  uint32_t count;
};

struct dma_access {
  uint64_t address;
  uint64_t count;
};

struct dma_map {
  uint32_t argsz;
  uint32_t flags;
  uint64_t offset;
  uint64_t address;
  uint64_t size;
};

struct dma_unmap {
  uint32_t argsz;
  uint32_t flags;
  uint64_t address;
  uint64_t size;
};

/* Room for the largest message either floor takes. */
struct message {
  struct message_header header;
  union {
    struct region_access access;
    struct dma_access dma;
    struct dma_map map;
    struct dma_unmap unmap;
    uint8_t bytes[8192];
  } payload;
};

static inline void die(const char *what) {
  fprintf(stderr, "vfio-user floor: %s: %s\n", what, strerror(errno));
  exit(1);
}

static inline void check(bool condition, const char *what) {
  if (!condition) {
    errno = EPROTO;
    die(what);
  }
}

static inline struct sockaddr_un address_of(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  check(strlen(path) < sizeof address.sun_path, "path");
  strcpy(address.sun_path, path);
  return address;
}

/* Sends the whole message, with a descriptor unless `fd` is -1. */
static inline void send_message(int socket, const struct message *message, int fd) {
  struct iovec data = {.iov_base = (void *)message, .iov_len = message->header.size};
  struct msghdr call = {.msg_iov = &data, .msg_iovlen = 1};
  union {
    struct cmsghdr header;
    uint8_t space[CMSG_SPACE(sizeof(int))];
  } control;
  if (fd >= 0) {
    call.msg_control = &control;
    call.msg_controllen = sizeof control;
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
  }
  ssize_t sent = sendmsg(socket, &call, MSG_NOSIGNAL);
  if (sent != (ssize_t)message->header.size) die("sendmsg");
}

/* Reads one message; false at the end of the stream. */
static inline bool receive_message(int socket, struct message *message, int *fd) {
  struct iovec data = {.iov_base = &message->header, .iov_len = sizeof message->header};
  union {
    struct cmsghdr header;
    uint8_t space[CMSG_SPACE(sizeof(int))];
  } control;
  struct msghdr call = {.msg_iov = &data,
                        .msg_iovlen = 1,
                        .msg_control = &control,
                        .msg_controllen = sizeof control};
  ssize_t got = recvmsg(socket, &call, MSG_WAITALL | MSG_CMSG_CLOEXEC);
  if (got == 0 || (got < 0 && errno == ECONNRESET)) return false;
  if (got != sizeof message->header) die("recvmsg");
  *fd = -1;
  struct cmsghdr *found = CMSG_FIRSTHDR(&call);
  if (found != NULL && found->cmsg_type == SCM_RIGHTS) memcpy(fd, CMSG_DATA(found), sizeof *fd);
  size_t size = message->header.size;
  check(size >= sizeof message->header && size <= sizeof *message, "message size");
  size_t rest = size - sizeof message->header;
  if (rest > 0 && recv(socket, &message->payload, rest, MSG_WAITALL) != (ssize_t)rest) die("recv");
  return true;
}

static inline void fill_header(struct message *message, uint16_t id, uint16_t command,
                               uint32_t flags, size_t payload_bytes) {
  uint32_t size = (uint32_t)(sizeof message->header + payload_bytes);
  message->header = (struct message_header){id, command, size, flags, 0};
}

#endif
