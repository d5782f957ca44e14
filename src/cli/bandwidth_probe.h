// How fast this machine reads memory: the limit of decoding, which reads every weight once per token.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace carat::cli {

// Plain code on huge pages, in the way of reading that this CPU takes best. Shared machines change from minute to
// minute, so a figure is good for what is measured just before or after it.
class BandwidthProbe {
 public:
  // Takes 256 MiB, or an eighth of the memory that is free if that is less, and tries the ways of reading.
  explicit BandwidthProbe(int threads);
  // Bytes per second of all threads together; 0 if there was no memory.
  double Run() const;
  uint64_t bytes() const { return buffers_.size() * words_ * sizeof(uint64_t); }

 private:
  // Sums up a buffer. What it does with the sum does not matter, but it must do something.
  using Reader = uint64_t (*)(const uint64_t* memory, size_t words);
  struct Free {
    void operator()(uint64_t* memory) const;
  };

  double Run(Reader reader, int passes) const;

  size_t words_ = 0;  // of each buffer
  std::vector<std::unique_ptr<uint64_t, Free>> buffers_;
  Reader best_ = nullptr;
};

}  // namespace carat::cli
