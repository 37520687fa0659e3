/* External ArrayBuffers over memory that lives as long as the process, one per environment. */
#ifndef LESSOR_BUFFERS_H
#define LESSOR_BUFFERS_H

#include "addon.h"

/* The environment's buffer over `data`, made at the first call; NULL when V8 refuses it. */
napi_value process_wide_buffer(napi_env env, void *data, size_t length);

#endif
