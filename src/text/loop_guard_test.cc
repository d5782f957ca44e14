#include "text/loop_guard.h"

#include <gtest/gtest.h>

namespace carat::text {
namespace {

// How many tokens the guard takes of `lead` and then `unit` over and over, up to `limit`, before it says stop.
int TokensUntilStop(const std::vector<TokenId>& lead, const std::vector<TokenId>& unit, int limit,
                    const LoopGuardOptions& options = {}) {
  LoopGuard guard(options);
  for (int i = 0; i < limit; ++i) {
    const size_t at = static_cast<size_t>(i);
    const TokenId token = at < lead.size() ? lead[at] : unit[(at - lead.size()) % unit.size()];
    if (guard.Push(token)) return i + 1;
  }
  return limit;
}

TEST(LoopGuard, StopsAtRepeatedTokensAndSequences) {
  EXPECT_EQ(TokensUntilStop({}, {7}, 10000), 256);
  EXPECT_EQ(TokensUntilStop({1, 2, 3}, {7}, 10000), 259);
  EXPECT_EQ(TokensUntilStop({}, {7, 8}, 10000), 256);
  EXPECT_EQ(TokensUntilStop({}, {7, 8, 7, 9, 1, 1, 2, 3, 4, 5, 6, 7}, 10000), 24 * 12);
  std::vector<TokenId> longest(32);
  for (TokenId i = 0; i < 32; ++i) longest[static_cast<size_t>(i)] = i;
  EXPECT_EQ(TokensUntilStop({5, 5, 5}, longest, 10000), 3 + 24 * 32);
}

TEST(LoopGuard, LetsOtherTextPass) {
  std::vector<TokenId> too_long(33);
  for (TokenId i = 0; i < 33; ++i) too_long[static_cast<size_t>(i)] = i;
  EXPECT_EQ(TokensUntilStop({}, too_long, 10000), 10000);

  LoopGuard guard;  // rows of a table: the same tokens but for a number that counts
  for (TokenId row = 0; row < 2000; ++row) {
    for (const TokenId token : {10, 11, 1000 + row, 12, 12, 12}) EXPECT_FALSE(guard.Push(token));
  }
  LoopGuard almost;  // a long rule, then something else, over and over
  for (int block = 0; block < 100; ++block) {
    for (int i = 0; i < 254; ++i) EXPECT_FALSE(almost.Push(7));
    EXPECT_FALSE(almost.Push(8));
  }
}

TEST(LoopGuard, FollowsItsOptions) {
  EXPECT_EQ(TokensUntilStop({}, {1}, 100, {.max_period = 1, .min_repeats = 3, .min_tokens = 0}), 3);
  EXPECT_EQ(TokensUntilStop({}, {1, 2}, 100, {.max_period = 1, .min_repeats = 3, .min_tokens = 0}), 100);
  EXPECT_EQ(TokensUntilStop({}, {1, 2}, 100, {.max_period = 2, .min_repeats = 3, .min_tokens = 0}), 6);
  EXPECT_EQ(TokensUntilStop({}, {1, 2}, 100, {.max_period = 2, .min_repeats = 3, .min_tokens = 9}), 9);
}

}  // namespace
}  // namespace carat::text
