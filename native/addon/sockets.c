#include "addon.h"

void register_sockets(napi_env env, napi_value exports) {
  (void)env;
  (void)exports;
}
