// For tests of the command with real weights.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>

#include "tests/cli/command.h"
#include "tests/support/fetched_data.h"

namespace carat::testing_support {

// Skipped without the weights, or failed where they are required.
class DemoWeightsTest : public CommandTest {
 protected:
  void SetUp() override {
    CommandTest::SetUp();
    if (std::filesystem::exists(DemoWeights())) return;
    if (DataIsRequired()) FAIL() << DemoWeights() << " is missing; scripts/fetch_demo_weights.sh gets it";
    GTEST_SKIP() << DemoWeights() << " is missing; scripts/fetch_demo_weights.sh gets it";
  }
};

}  // namespace carat::testing_support
