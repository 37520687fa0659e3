/* vfio-user-server <socket path>: a device with one region of plain memory. Prints a line when it
 * listens, serves one client, ends with it. */
#include "vfio-user.h"

#include <sys/mman.h>

#define MAPS_MAX 64

static struct {
  uint64_t address;
  uint64_t size;
  void *memory;
} maps[MAPS_MAX];
static size_t map_count;
static uint8_t region[REGION_BYTES];

/* Turns the request into its reply. */
static void answer(int client, struct message *message, size_t payload_bytes) {
  if ((message->header.flags & NO_REPLY) != 0) return;
  fill_header(message, message->header.id, message->header.command, REPLY, payload_bytes);
  send_message(client, message, -1);
}

static void map_memory(int client, struct message *message, int fd) {
  const struct dma_map *map = &message->payload.map;
  check(map_count < MAPS_MAX && fd >= 0, "DMA_MAP");
  int readable = (map->flags & 1) != 0 ? PROT_READ : 0;
  int writable = (map->flags & 2) != 0 ? PROT_WRITE : 0;
  void *memory = mmap(NULL, map->size, readable | writable, MAP_SHARED, fd, (off_t)map->offset);
  if (memory == MAP_FAILED) die("mmap");
  close(fd);
  maps[map_count].address = map->address;
  maps[map_count].size = map->size;
  maps[map_count].memory = memory;
  map_count++;
  answer(client, message, 0);
}

static void unmap_memory(int client, struct message *message) {
  const struct dma_unmap *unmap = &message->payload.unmap;
  for (size_t i = 0; i < map_count; i++) {
    if (maps[i].address != unmap->address || maps[i].size != unmap->size) continue;
    munmap(maps[i].memory, maps[i].size);
    maps[i] = maps[--map_count];
    answer(client, message, sizeof *unmap);
    return;
  }
  check(false, "DMA_UNMAP");
}

/* Reads or writes the client's memory by message; the client sends nothing else meanwhile. */
static void access_memory(int client, uint16_t command, uint32_t times) {
  static struct message message;
  static uint8_t memory[DMA_BYTES];
  int fd;
  for (uint32_t i = 0; i < times; i++) {
    size_t data_bytes = command == DMA_WRITE ? DMA_BYTES : 0;
    fill_header(&message, (uint16_t)i, command, 0, sizeof message.payload.dma + data_bytes);
    message.payload.dma = (struct dma_access){.address = 0, .count = DMA_BYTES};
    uint8_t *data = message.payload.bytes + sizeof message.payload.dma;
    if (command == DMA_WRITE) memcpy(data, memory, DMA_BYTES);
    send_message(client, &message, -1);
    check(receive_message(client, &message, &fd), "DMA reply");
    check(message.header.flags == REPLY && message.header.id == (uint16_t)i, "DMA reply");
    if (command == DMA_READ) memcpy(memory, data, DMA_BYTES);
  }
}

static void write_region(int client, struct message *message) {
  const struct region_access access = message->payload.access;
  memcpy(region + access.offset, message->payload.bytes + sizeof access, access.count);
  answer(client, message, sizeof access);
  uint32_t times;
  if (access.offset != DMA_READ_DOORBELL && access.offset != DMA_WRITE_DOORBELL) return;
  memcpy(&times, region + access.offset, sizeof times);
  access_memory(client, access.offset == DMA_READ_DOORBELL ? DMA_READ : DMA_WRITE, times);
}

static void serve(int client) {
  static struct message message;
  int fd;
  while (receive_message(client, &message, &fd)) {
    const struct region_access *access = &message.payload.access;
    switch (message.header.command) {
      case VERSION:
        message.payload.bytes[2] = 0;
        message.payload.bytes[3] = 0;
        answer(client, &message, 4);
        break;
      case DMA_MAP:
        map_memory(client, &message, fd);
        break;
      case DMA_UNMAP:
        unmap_memory(client, &message);
        break;
      case REGION_READ:
      case REGION_WRITE:
        check(access->region == 0 && access->offset <= REGION_BYTES &&
                  access->count <= REGION_BYTES - access->offset, "region access");
        if (message.header.command == REGION_WRITE) {
          write_region(client, &message);
          break;
        }
        memcpy(message.payload.bytes + sizeof *access, region + access->offset, access->count);
        answer(client, &message, sizeof *access + access->count);
        break;
      default:
        message.header.error = ENOSYS;
        message.header.size = sizeof message.header;
        message.header.flags = ERROR_REPLY;
        send_message(client, &message, -1);
    }
  }
}

int main(int argc, char **argv) {
  check(argc == 2, "usage: vfio-user-server <socket path>");
  struct sockaddr_un address = address_of(argv[1]);
  int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (listener < 0) die("socket");
  if (bind(listener, (const struct sockaddr *)&address, sizeof address) != 0) die("bind");
  if (listen(listener, 1) != 0) die("listen");
  puts("ready");
  fflush(stdout);
  int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
  if (client < 0) die("accept");
  serve(client);
  return 0;
}
