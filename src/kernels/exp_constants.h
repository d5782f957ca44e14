// The constants of exp, tanh and gelu, shared by all tables so that all compute the same bits.
//
// exp(x) = 2^n * e^r, n = round(x / ln 2), |r| <= ln 2 / 2; e^r = 1 + r + r^2 * P(r), P of degree 5 (Cephes expf).
// Below -87 the result is 0, above 88 infinity: 2^n then never leaves the normal range, and what a mask has set to
// minus infinity costs no subnormal arithmetic. tanh(x) = x + x^3 * Q(x^2) for |x| < 0.625 (Cephes tanhf), else 1 - 2 /
// (exp(2|x|) + 1) with the sign of x.
#pragma once

#include <cstdint>

namespace carat::kernels {

inline constexpr float kExpLowest = -87.0f;
inline constexpr float kExpHighest = 88.0f;
inline constexpr uint32_t kInfinityBits = 0x7f800000u;
inline constexpr float kLog2E = 1.44269504088896341f;
// Added to a float below 2^22 it leaves the nearest integer in the low bits of the sum.
inline constexpr float kRoundShift = 0x1.8p23f;
// ln 2 in two parts; the first has few bits, so that n times it is exact.
inline constexpr float kLn2High = 0.693359375f;
inline constexpr float kLn2Low = -2.12194440e-4f;
inline constexpr float kExpPoly[6] = {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                                      4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};

inline constexpr float kTanhSmall = 0.625f;
inline constexpr float kTanhPoly[5] = {-5.70498872745e-3f, 2.06390887954e-2f, -5.37397155531e-2f, 1.33314422036e-1f,
                                       -3.33332819422e-1f};

inline constexpr float kGeluMinus2 = -1.5957691216057308f;  // -2 * sqrt(2 / pi)
inline constexpr float kGeluCubic = 0.044715f;

}  // namespace carat::kernels
