#include "base/byte_size.h"

#include <algorithm>
#include <array>
#include <optional>

namespace carat {

namespace {

constexpr uint64_t kMostBytes = UINT64_MAX / 2;

std::optional<uint64_t> UnitBytes(std::string_view unit) {
  struct Unit {
    std::string_view name;
    uint64_t bytes;
  };
  constexpr uint64_t kKilo = 1000, kKibi = 1024;
  constexpr std::array kUnits = {Unit{"b", 1},
                                 Unit{"kb", kKilo},
                                 Unit{"mb", kKilo * kKilo},
                                 Unit{"gb", kKilo * kKilo * kKilo},
                                 Unit{"tb", kKilo * kKilo * kKilo * kKilo},
                                 Unit{"k", kKibi},
                                 Unit{"m", kKibi * kKibi},
                                 Unit{"g", kKibi * kKibi * kKibi},
                                 Unit{"t", kKibi * kKibi * kKibi * kKibi}};
  std::string lower(unit.substr(0, 4));
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  if (lower.size() == 3 && lower.ends_with("ib")) lower.resize(1);  // "MiB" is what "M" is short for
  const auto* found = std::ranges::find(kUnits, lower, &Unit::name);
  return found == kUnits.end() ? std::nullopt : std::optional(found->bytes);
}

}  // namespace

Result<uint64_t> ParseByteSize(std::string_view text) {
  const auto fail = [text](const std::string& what) {
    constexpr size_t kShown = 40;
    const std::string shown(text.substr(0, kShown));
    return Fail(ErrorCode::kUsage, "'" + shown + (text.size() > kShown ? "..." : "") + "' " + what +
                                       "; 1500MB, 1.5GB or 1400MiB would work");
  };
  const size_t end = std::min(text.find_first_not_of("0123456789."), text.size());
  const std::string_view number = text.substr(0, end);
  const size_t point = std::min(number.find('.'), number.size());
  const std::string_view whole = number.substr(0, point), fraction = number.substr(std::min(point + 1, number.size()));
  if (whole.empty() || number.ends_with('.') || fraction.find('.') != fraction.npos)
    return fail("is no amount of memory");
  const std::string_view unit = text.substr(std::min(text.find_first_not_of(' ', end), text.size()));
  if (unit.empty()) return fail("has no unit");
  const std::optional<uint64_t> scale = UnitBytes(unit);
  if (!scale) return fail("has a unit that is none of B, KB, MB, GB, TB, K, M, G, T, KiB, MiB, GiB, TiB");

  uint64_t bytes = 0;
  for (const char digit : whole) {
    if (bytes > kMostBytes) break;
    bytes = bytes * 10 + static_cast<uint64_t>(digit - '0');
  }
  if (bytes > kMostBytes / *scale) return fail("is more than any machine has");
  bytes *= *scale;
  uint64_t part = 0;  // the fraction's bytes: from its last digit to its first, which drops nothing too early
  for (size_t i = fraction.size(); i > 0; --i)
    part = (static_cast<uint64_t>(fraction[i - 1] - '0') * *scale + part) / 10;
  return bytes + part;
}

std::string MegabyteText(uint64_t bytes) {
  const uint64_t tenths = bytes / 100'000 + (bytes % 100'000 > 0 ? 1 : 0);
  std::string digits = std::to_string(tenths / 10);
  for (size_t i = digits.size(); i > 3; i -= 3) digits.insert(i - 3, 1, ',');
  return digits + "." + std::to_string(tenths % 10) + " MB";
}

}  // namespace carat
