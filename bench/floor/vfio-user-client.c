/* vfio-user-client <socket path>: what a VM monitor asks of a device, by blocking calls. Serves the
 * server's DMA messages from its own memory. */
#include "floor.h"
#include "vfio-user.h"

#define IN_FLIGHT 32
#define MAP_BYTES (1024 * 1024)

static int server;
static int memory_fd;
static uint8_t memory[DMA_BYTES];
static uint16_t next_id;

static void ask_access(struct message *message, uint16_t command, uint32_t flags, uint64_t offset,
                       uint32_t value) {
  size_t data_bytes = command == REGION_WRITE ? sizeof value : 0;
  fill_header(message, next_id++, command, flags, sizeof message->payload.access + data_bytes);
  message->payload.access = (struct region_access){.offset = offset, .region = 0, .count = 4};
  memcpy(message->payload.bytes + sizeof message->payload.access, &value, data_bytes);
  send_message(server, message, -1);
}

static void take_reply(struct message *message, uint16_t command) {
  int fd;
  check(receive_message(server, message, &fd), "end of stream");
  check(message->header.command == command && message->header.flags == REPLY, "reply");
}

static void reads(uint64_t operations) {
  struct message message;
  for (uint64_t i = 0; i < operations; i++) {
    ask_access(&message, REGION_READ, 0, 0, 0);
    take_reply(&message, REGION_READ);
  }
}

static void reads_in_flight(uint64_t operations) {
  struct message message;
  uint64_t asked = 0;
  for (; asked < IN_FLIGHT && asked < operations; asked++)
    ask_access(&message, REGION_READ, 0, 0, 0);
  for (uint64_t i = 0; i < operations; i++) {
    take_reply(&message, REGION_READ);
    if (asked++ < operations) ask_access(&message, REGION_READ, 0, 0, 0);
  }
}

/* Done when the server has executed the last one: a read comes after them. */
static void posted_writes(uint64_t operations) {
  struct message message;
  for (uint64_t i = 0; i < operations; i++)
    ask_access(&message, REGION_WRITE, NO_REPLY, 8, (uint32_t)i);
  reads(1);
}

static void maps(uint64_t operations) {
  struct message message;
  for (uint64_t i = 0; i < operations; i++) {
    fill_header(&message, next_id++, DMA_MAP, 0, sizeof message.payload.map);
    message.payload.map = (struct dma_map){sizeof message.payload.map, 3, 0, 0, MAP_BYTES};
    send_message(server, &message, memory_fd);
    take_reply(&message, DMA_MAP);
    fill_header(&message, next_id++, DMA_UNMAP, 0, sizeof message.payload.unmap);
    message.payload.unmap = (struct dma_unmap){sizeof message.payload.unmap, 0, 0, MAP_BYTES};
    send_message(server, &message, -1);
    take_reply(&message, DMA_UNMAP);
  }
}

/* Answers so many of the server's messages. */
static void serve_dma(uint16_t command, uint64_t operations) {
  struct message message;
  int fd;
  for (uint64_t i = 0; i < operations; i++) {
    check(receive_message(server, &message, &fd), "end of stream");
    check(message.header.command == command && message.payload.dma.count == DMA_BYTES, "DMA");
    uint8_t *data = message.payload.bytes + sizeof message.payload.dma;
    size_t data_bytes = command == DMA_READ ? DMA_BYTES : 0;
    if (command == DMA_READ) memcpy(data, memory, DMA_BYTES);
    else memcpy(memory, data, DMA_BYTES);
    fill_header(&message, message.header.id, command, REPLY,
                sizeof message.payload.dma + data_bytes);
    send_message(server, &message, -1);
  }
}

static void dma_reads(uint64_t operations) {
  struct message message;
  ask_access(&message, REGION_WRITE, NO_REPLY, DMA_READ_DOORBELL, (uint32_t)operations);
  serve_dma(DMA_READ, operations);
}

static void dma_writes(uint64_t operations) {
  struct message message;
  ask_access(&message, REGION_WRITE, NO_REPLY, DMA_WRITE_DOORBELL, (uint32_t)operations);
  serve_dma(DMA_WRITE, operations);
}

/* All capabilities at their defaults. */
static void negotiate(void) {
  struct message message;
  fill_header(&message, next_id++, VERSION, 0, 4);
  memset(message.payload.bytes, 0, 4);
  send_message(server, &message, -1);
  take_reply(&message, VERSION);
}

int main(int argc, char **argv) {
  check(argc == 2, "usage: vfio-user-client <socket path>");
  struct sockaddr_un address = address_of(argv[1]);
  server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (server < 0) die("socket");
  if (connect(server, (const struct sockaddr *)&address, sizeof address) != 0) die("connect");
  memory_fd = memfd_create("vfio-user-floor", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (memory_fd < 0 || ftruncate(memory_fd, MAP_BYTES) != 0) die("memfd_create");
  negotiate();
  const operation operations[] = {
      {"read", reads},    {"read32", reads_in_flight}, {"posted", posted_writes},
      {"map", maps},      {"dma-read", dma_reads},     {"dma-write", dma_writes},
  };
  return serve_samples(operations, sizeof operations / sizeof *operations);
}
