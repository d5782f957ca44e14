// How fast this machine reads memory: the limit of decoding, which reads every weight once per token.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace carat::cli {

// Plain code on huge pages, one stream per thread. Shared machines change from minute to minute, so a figure is good
// for what is measured just before or after it.
class BandwidthProbe {
 public:
  // Takes 256 MiB per thread; less, if there is less.
  explicit BandwidthProbe(int threads);
  // Bytes per second of all threads together; 0 if there was no memory.
  double Run() const;

 private:
  struct Free {
    void operator()(uint64_t* memory) const;
  };
  std::vector<std::unique_ptr<uint64_t, Free>> buffers_;
};

}  // namespace carat::cli
