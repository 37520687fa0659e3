#include "addon.h"

void register_files(napi_env env, napi_value exports) {
  (void)env;
  (void)exports;
}
