// Amounts of memory as people write them: "1500MB", "1.5 GiB".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "carat/result.h"

namespace carat {

// A number, perhaps with a decimal fraction, and its unit in capitals or small letters: B; KB, MB, GB, TB are powers of
// 1000; K, M, G, T and KiB, MiB, GiB, TiB are powers of 1024. Parts of a byte are dropped. Error: kUsage, also for an
// amount without a unit and for one of 2^63 bytes or more.
Result<uint64_t> ParseByteSize(std::string_view text);

// In decimal megabytes with one digit behind the point, rounded up, so that a sum of what is shown is enough:
// "1,405.8 MB".
std::string MegabyteText(uint64_t bytes);

}  // namespace carat
