// `carat run` with a tiny model that was taught to see colours (tools/reference/seeing_chat.py): what it says is what
// is shown, in the order in which it is shown.
#include <cstdlib>
#include <string>
#include <vector>

#include "tests/cli/command.h"

namespace carat::testing_support {
namespace {

class ColourTest : public CommandTest {
 protected:
  Outcome Ask(const std::string& question, const std::vector<std::string>& files,
              const std::vector<std::string>& options = {}) {
    std::vector<std::string> arguments = {"run", kModel, question, "--temperature", "0"};
    for (const std::string& file : files) arguments.insert(arguments.end(), {"-i", file});
    arguments.insert(arguments.end(), options.begin(), options.end());
    return RunCarat(arguments);
  }
  std::string Picture(const std::string& colour) const { return kModel + "/" + colour + ".png"; }
  // Two seconds of one colour, then two of another.
  std::string MakeVideo(const std::string& first, const std::string& second) {
    const std::string path = Path("clip.mp4");
    const std::string show = "-loop 1 -framerate 5 -t 2 -i '";
    const std::string command = "ffmpeg -v error -nostdin -y " + show + Picture(first) + "' " + show + Picture(second) +
                                "' -filter_complex '[0][1]concat' -pix_fmt yuv420p '" + path + "'";
    EXPECT_EQ(std::system(command.c_str()), 0) << "ffmpeg, which this test needs: " << command;
    return path;
  }

  const std::string kModel = Data("chat-models/gemma4-sees");
};

TEST_F(ColourTest, NamesTheColourOfAPicture) {
  for (const char* colour : {"red", "green", "blue", "yellow", "black", "white"}) {
    std::string answer = std::string(colour) + ".\n";
    answer[0] = static_cast<char>(answer[0] - 'a' + 'A');
    EXPECT_EQ(Ask("What colour is it?", {Picture(colour)}).out, answer);
    EXPECT_EQ(Ask("What colour is it?", {Picture(colour)}, {"--exact"}).out, answer);
  }
}

TEST_F(ColourTest, SeesPicturesInTheirOrder) {
  EXPECT_EQ(Ask("What colours are they?", {Picture("red"), Picture("blue")}).out, "Red and blue.\n");
  EXPECT_EQ(Ask("What colours are they?", {Picture("blue"), Picture("red")}).out, "Blue and red.\n");
  EXPECT_EQ(Ask("What colours are they?", {Picture("green"), Picture("green")}).out, "Green and green.\n");
}

TEST_F(ColourTest, SeesFramesInTheirOrder) {
  EXPECT_EQ(Ask("What happens?", {MakeVideo("red", "blue")}).out, "Red turns blue.\n");
  EXPECT_EQ(Ask("What happens?", {MakeVideo("white", "black")}).out, "White turns black.\n");
}

}  // namespace
}  // namespace carat::testing_support
