#include "engine/timeline.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace carat {
namespace {

constexpr TokenId kPlace = 9;

// Soft tokens of width 2 whose numbers count from `first` on.
std::shared_ptr<const SoftTokens> Picture(int count, float first) {
  auto tokens = std::make_shared<SoftTokens>();
  tokens->count = count;
  for (int i = 0; i < 2 * count; ++i) tokens->vectors.push_back(first + static_cast<float>(i));
  return tokens;
}

// 1 2 [a a a] 3 [b b] 4
struct Prompt {
  explicit Prompt(float a = 10, float b = 20)
      : soft{{.position = 2, .tokens = Picture(3, a), .count = 3},
             {.position = 6, .tokens = Picture(2, b), .count = 2}} {}
  TokenView view() const { return {ids, soft, 0}; }
  std::vector<TokenId> ids = {1, 2, kPlace, kPlace, kPlace, 3, kPlace, kPlace, 4};
  std::vector<SoftRun> soft;
};

// The segments as text: ids, and of soft tokens the first number of each.
std::string Shown(const TokenView& tokens) {
  std::vector<gemma::Segment> segments;
  CutIntoSegments(tokens, segments);
  std::string out;
  for (const gemma::Segment& segment : segments) {
    out += out.empty() ? "" : " | ";
    for (const TokenId id : segment.ids) out += std::to_string(id) + " ";
    for (size_t i = 0; i < segment.soft.size(); i += 2) out += "s" + std::to_string(int(segment.soft[i])) + " ";
  }
  return out;
}

TEST(TimelineTest, SegmentsAlternateBetweenTextAndSoftTokens) {
  EXPECT_EQ(Shown(Prompt().view()), "1 2  | s10 s12 s14  | 3  | s20 s22  | 4 ");
  EXPECT_EQ(Shown(Prompt().view().Part(3, 4)), "s12 s14  | 3  | s20 ");
  EXPECT_EQ(Shown(Prompt().view().From(7)), "s22  | 4 ");
  EXPECT_EQ(Shown(Prompt().view().Part(0, 2)), "1 2 ");
  EXPECT_EQ(Shown(Prompt().view().Part(5, 1)), "3 ");
}

TEST(TimelineTest, PiecesPutTogetherAreTheWhole) {
  const Prompt prompt;
  for (int64_t cut = 0; cut <= prompt.view().size(); ++cut) {
    Timeline timeline;
    timeline.Append(prompt.view().Part(0, cut));
    timeline.Append(prompt.view().From(cut));
    EXPECT_EQ(Shown(timeline.view()), Shown(prompt.view())) << cut;
    EXPECT_EQ(timeline.soft().size(), 2u) << "a run that was cut is one run again";
  }
}

TEST(TimelineTest, TruncatesInsideARun) {
  Timeline timeline;
  timeline.Append(Prompt().view());
  timeline.Truncate(7);
  EXPECT_EQ(Shown(timeline.view()), "1 2  | s10 s12 s14  | 3  | s20 ");
  timeline.Truncate(3);
  EXPECT_EQ(Shown(timeline.view()), "1 2  | s10 ");
  timeline.Truncate(2);
  EXPECT_TRUE(timeline.soft().empty());
}

TEST(TimelineTest, PicturesAreEqualIfTheirVectorsAre) {
  EXPECT_EQ(CommonLength(Prompt().view(), Prompt().view()), 9) << "though the vectors lie elsewhere";
  EXPECT_EQ(CommonLength(Prompt(10, 20).view(), Prompt(11, 20).view()), 2) << "the ids are equal, the picture is not";
  EXPECT_EQ(CommonLength(Prompt(10, 20).view(), Prompt(10, 21).view()), 6);
  EXPECT_EQ(CommonLength(Prompt().view().Part(0, 4), Prompt().view()), 4);

  Prompt text;
  text.soft.clear();
  EXPECT_EQ(CommonLength(Prompt().view(), text.view()), 2) << "the placeholder's id alone is no picture";
  text.ids[1] = 7;
  EXPECT_EQ(CommonLength(Prompt().view(), text.view()), 1);
}

}  // namespace
}  // namespace carat
