#include "addon.h"

void register_arena(napi_env env, napi_value exports) {
  (void)env;
  (void)exports;
}
