#include "addon.h"

void register_guard(napi_env env, napi_value exports) {
  (void)env;
  (void)exports;
}
