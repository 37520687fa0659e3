#include "addon.h"

void register_poll(napi_env env, napi_value exports) {
  (void)env;
  (void)exports;
}
