#include "gemma/config.h"

namespace carat::gemma {

void AssignKvLayers(DecoderConfig& config, int shared_layers) {
  const int first_shared = config.layer_count() - shared_layers;
  int last_owner[2] = {0, 0};  // by kind
  for (int layer = 0; layer < config.layer_count(); ++layer) {
    LayerConfig& it = config.layers[static_cast<size_t>(layer)];
    int& owner = last_owner[static_cast<size_t>(it.kind)];
    if (layer < first_shared) owner = layer;
    it.kv_layer = owner;
  }
}

}  // namespace carat::gemma
