#include "engine/weight_pages.h"

#include <algorithm>

#include "base/resident.h"
#include "gemma/census.h"

namespace carat {

namespace {

// All pages that some of `bytes` are on.
std::span<const std::byte> WholePages(std::span<const std::byte> bytes) {
  const uint64_t page = PageBytes();
  const uint64_t before = reinterpret_cast<uintptr_t>(bytes.data()) % page;
  return {bytes.data() - before, RoundUpToPages(before + bytes.size())};
}

const std::byte* EndOf(std::span<const std::byte> bytes) { return bytes.data() + bytes.size(); }

}  // namespace

PageRanges WeightPages(const gemma::Model& model) { return PagesOf(gemma::WeightBytes(model)); }

PageRanges PagesOf(std::vector<std::span<const std::byte>> parts) {
  std::ranges::transform(parts, parts.begin(), WholePages);
  std::ranges::sort(parts, {}, [](std::span<const std::byte> part) { return part.data(); });
  PageRanges pages;
  for (const std::span<const std::byte> part : parts) {
    if (pages.empty() || part.data() > EndOf(pages.back())) {
      pages.push_back(part);
    } else {
      pages.back() = {pages.back().data(), std::max(EndOf(pages.back()), EndOf(part))};
    }
  }
  return pages;
}

uint64_t TotalBytes(const PageRanges& pages) {
  uint64_t bytes = 0;
  for (const std::span<const std::byte> part : pages) bytes += part.size();
  return bytes;
}

void Release(const PageRanges& pages) {
  for (const std::span<const std::byte> part : pages) ReleaseMapped(part.data(), part.size());
}

void ExpectAll(const PageRanges& pages, const MappedFile& file) {
  const std::byte *begin = file.bytes().data(), *end = EndOf(file.bytes());
  for (const std::span<const std::byte> part : pages)
    if (part.data() >= begin && part.data() < end) file.ExpectAll({part.data(), std::min(EndOf(part), end)});
}

void KeepOnly(const PageRanges& pages, std::span<const MappedFile> files) {
  for (const MappedFile& file : files) {
    const std::byte* end = EndOf(file.bytes());
    const std::byte* at = file.bytes().data();
    for (const std::span<const std::byte> part : pages) {
      if (part.data() >= end || EndOf(part) <= at) continue;
      if (part.data() > at) file.ExpectRows({at, part.data()});
      at = std::min(EndOf(part), end);
    }
    if (at < end) file.ExpectRows({at, end});
    file.Forget();
  }
}

}  // namespace carat
