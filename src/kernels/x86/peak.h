// How the kernels that find the limit of arithmetic are shaped.
#pragma once

namespace carat::kernels {

// Sums that do not wait for each other: two instructions a cycle, each done after four or five. With one or two
// factors they just fit in 16 registers.
inline constexpr int kPeakSums = 10;

}  // namespace carat::kernels
