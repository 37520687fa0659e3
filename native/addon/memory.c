#include "addon.h"

void register_memory(napi_env env, napi_value exports) {
  (void)env;
  (void)exports;
}
