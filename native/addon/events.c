#include "addon.h"

void register_events(napi_env env, napi_value exports) {
  (void)env;
  (void)exports;
}
