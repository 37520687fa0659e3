#include "addon.h"

void register_processes(napi_env env, napi_value exports) {
  (void)env;
  (void)exports;
}
