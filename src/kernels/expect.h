// GoogleTest's side of testing.h.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "kernels/testing.h"

namespace carat::kernels::testing {

// For INSTANTIATE_TEST_SUITE_P over tables.
inline std::string TableName(const ::testing::TestParamInfo<const Kernels*>& info) {
  return std::string(info.param->name);
}

template <typename A, typename B>
void ExpectSameBits(const A& actual, const B& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  const int64_t i = FirstDifference(actual, expected);
  if (i >= 0)
    ADD_FAILURE() << "element " << i << " is " << ::testing::PrintToString(actual[static_cast<size_t>(i)])
                  << ", expected " << ::testing::PrintToString(expected[static_cast<size_t>(i)]);
}

}  // namespace carat::kernels::testing
