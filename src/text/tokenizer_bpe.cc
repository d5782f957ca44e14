#include "text/tokenizer_bpe.h"

#include <algorithm>
#include <functional>

namespace carat::text {
namespace {

uint64_t Order(uint32_t rank, int32_t place) { return uint64_t{rank} << 32 | static_cast<uint32_t>(place); }

}  // namespace

void PairEncoder::Flush(std::vector<TokenId>& out) {
  const auto count = static_cast<int32_t>(symbols_.size());
  if (count == 0) return;
  for (int32_t i = 0; i < count; ++i) {
    symbols_[i].previous = i - 1;
    symbols_[i].next = i + 1 < count ? i + 1 : -1;
    Rate(i);
    if (symbols_[i].rank != MergeTable::kNoRank) offered_.push_back(Order(symbols_[i].rank, i));
  }
  std::sort(offered_.begin(), offered_.end());
  for (size_t next = 0; next < offered_.size() || !arisen_.empty();) {
    uint64_t best = 0;
    if (arisen_.empty() || (next < offered_.size() && offered_[next] < arisen_.front())) {
      best = offered_[next++];
    } else {
      best = arisen_.front();
      std::pop_heap(arisen_.begin(), arisen_.end(), std::greater<>());
      arisen_.pop_back();
    }
    // Out of date if either symbol has changed: the pair's rank is another one then, or none.
    const auto place = static_cast<int32_t>(best & UINT32_MAX);
    if (symbols_[place].rank == best >> 32) Join(place);
  }
  for (int32_t i = 0; i >= 0; i = symbols_[i].next) out.push_back(symbols_[i].id);
  symbols_.clear();
  offered_.clear();
}

void PairEncoder::Join(int32_t left) {
  Symbol& symbol = symbols_[left];
  Symbol& right = symbols_[symbol.next];
  symbol.id = symbol.result;
  symbol.next = right.next;
  right.rank = MergeTable::kNoRank;
  if (symbol.next >= 0) symbols_[symbol.next].previous = left;
  for (const int32_t changed : {symbol.previous, left}) {
    if (changed < 0) continue;
    Rate(changed);
    if (symbols_[changed].rank == MergeTable::kNoRank) continue;
    arisen_.push_back(Order(symbols_[changed].rank, changed));
    std::push_heap(arisen_.begin(), arisen_.end(), std::greater<>());
  }
}

void PairEncoder::Rate(int32_t left) {
  Symbol& symbol = symbols_[left];
  const MergeTable::Merge merge =
      symbol.next >= 0 ? merges_.Find(symbol.id, symbols_[symbol.next].id) : MergeTable::Merge{};
  symbol.rank = merge.rank;
  symbol.result = merge.result;
}

}  // namespace carat::text
