/* External ArrayBuffers over memory that lives as long as the process. Two views of one arena
 * in one thread must be the same object, so each environment keeps its own. */
#include "buffers.h"

#include <pthread.h>
#include <stdlib.h>

typedef struct cached_buffer {
  struct cached_buffer *next;
  napi_env env;
  void *data;
  napi_ref reference;
} cached_buffer;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static cached_buffer *cached;

/* The reference itself is dropped by Node-API with the environment. */
static void forget(void *argument) {
  pthread_mutex_lock(&lock);
  for (cached_buffer **link = &cached; *link != NULL; link = &(*link)->next) {
    if (*link != argument) continue;
    *link = (*link)->next;
    break;
  }
  pthread_mutex_unlock(&lock);
  free(argument);
}

static napi_value find(napi_env env, void *data) {
  napi_value buffer = NULL;
  pthread_mutex_lock(&lock);
  for (cached_buffer *entry = cached; entry != NULL; entry = entry->next) {
    if (entry->env == env && entry->data == data) {
      napi_get_reference_value(env, entry->reference, &buffer);
      break;
    }
  }
  pthread_mutex_unlock(&lock);
  return buffer;
}

static void keep(napi_env env, void *data, napi_value buffer) {
  cached_buffer *entry = malloc(sizeof(*entry));
  if (entry == NULL) return;
  entry->env = env;
  entry->data = data;
  if (napi_create_reference(env, buffer, 1, &entry->reference) != napi_ok) {
    free(entry);
    return;
  }
  pthread_mutex_lock(&lock);
  entry->next = cached;
  cached = entry;
  pthread_mutex_unlock(&lock);
  napi_add_env_cleanup_hook(env, forget, entry);
}

static void finalize(napi_env env, void *data, void *hint) {
  (void)env;
  (void)data;
  (void)hint;
}

napi_value process_wide_buffer(napi_env env, void *data, size_t length) {
  napi_value buffer = find(env, data);
  if (buffer != NULL) return buffer;
  if (napi_create_external_arraybuffer(env, data, length, finalize, NULL, &buffer) != napi_ok)
    return NULL;
  /* V8 counts the whole length as memory it could free and would collect garbage for nothing. */
  int64_t adjusted;
  napi_adjust_external_memory(env, -(int64_t)length, &adjusted);
  keep(env, data, buffer);
  return buffer;
}
