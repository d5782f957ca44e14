// What `carat bench` finds.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/limits.h"

namespace carat::cli {

// One of several repetitions is what counts on a machine that others use too: the median, with the range beside it.
class Figures {
 public:
  void Add(double value) { values_.insert(std::ranges::upper_bound(values_, value), value); }
  bool empty() const { return values_.empty(); }
  double median() const { return (values_[(values_.size() - 1) / 2] + values_[values_.size() / 2]) / 2; }
  double smallest() const { return values_.front(); }
  double largest() const { return values_.back(); }

 private:
  std::vector<double> values_;  // ascending
};

struct Prefill {
  int tokens = 0;
  gemma::Operations operations = {};
  Figures tokens_per_s = {};
  Figures operations_per_s = {};
  Figures share = {};  // of the arithmetic limit: the time that it leaves at least, in parts of the time that was taken
};

struct Decode {
  int depth = 0;       // tokens in the context when the first is decoded
  uint64_t bytes = 0;  // of weights, keys and values that the first token behind them reads
  Figures tokens_per_s = {};
  Figures bytes_per_s = {};
  Figures share = {};  // of the memory bandwidth that a probe found just before and after
};

// A limit between the measured places, for plots.
struct LimitPoint {
  int tokens = 0;
  double tokens_per_s = 0;
};

struct Measured {
  std::string model, cpu, kernels;
  int threads = 0, reps = 0;

  Figures load_s, first_token_s, copy_s, agent_s, bandwidth;
  ArithmeticPeak peak;  // zeros: not measured
  std::vector<Prefill> prefill;
  std::vector<Decode> decode;             // by depth
  std::vector<LimitPoint> prefill_limit;  // by the arithmetic
  std::vector<LimitPoint> decode_limit;   // by the bandwidth
  uint64_t peak_memory = 0;               // resident, without what the probe took
  uint64_t kv_bytes = 0;                  // of the longest context
};

inline constexpr int kFirstTokenPrompt = 16;  // tokens, of the time to the first token
inline constexpr int kAgentTokens = 4000;     // of the agent's turn

}  // namespace carat::cli
