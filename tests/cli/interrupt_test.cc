// Ctrl-C, on a terminal and with real weights: the tiny models are done before anybody could press it.
#include <string>
#include <vector>

#include "tests/cli/command.h"
#include "tests/cli/demo_weights.h"
#include "tests/cli/terminal.h"
#include "tests/support/fetched_data.h"

namespace carat::testing_support {
namespace {

constexpr const char* kInterrupt = "\x03";
constexpr const char* kPrompt = "\033[?2004h";  // sent before every line that a chat reads

class InterruptTest : public DemoWeightsTest {
 protected:
  // A text of several batches.
  static std::string LongText() {
    std::string text;
    for (int i = 0; i < 10; ++i) text += Read(Data("gemma3-270m/page.txt"));
    return text;
  }
  const std::string kModel = DemoWeights().string();
};

TEST_F(InterruptTest, StopsAnAnswer) {
  Terminal terminal({"run", kModel, "--raw", "The sea, the", "--temperature", "0"});
  terminal.WaitFor(" ");
  terminal.Type(kInterrupt);
  EXPECT_EQ(terminal.Wait(), 130);
  EXPECT_NE(terminal.shown().find("\r\ncarat: the answer was interrupted after "), std::string::npos)
      << terminal.shown();
}

TEST_F(InterruptTest, StopsTheReadingOfAPrompt) {
  Terminal terminal({"run", kModel, "--raw", LongText()});
  terminal.WaitFor("reading  [");
  terminal.Type(kInterrupt);
  EXPECT_EQ(terminal.Wait(), 130);
  EXPECT_NE(terminal.shown().find("\r\033[Kcarat: the prompt was interrupted after "), std::string::npos)
      << terminal.shown();
}

TEST_F(InterruptTest, LeavesTheChatRunning) {
  Terminal terminal({"run", kModel});
  terminal.WaitFor(kPrompt);
  terminal.Type("/set temperature 2\r");
  terminal.WaitFor(kPrompt);
  terminal.Type("Tell me about the sea.\r");
  terminal.WaitFor("sea.\r\n");  // what was typed
  terminal.WaitFor("\033[?2004l");
  terminal.Type(kInterrupt);
  terminal.WaitFor("(the answer was interrupted after ");
  terminal.WaitFor(kPrompt);
  terminal.Type("\033[200~" + LongText() + "\033[201~\r");
  terminal.WaitFor("reading  [");
  terminal.Type(kInterrupt);
  terminal.WaitFor("carat: the prompt was interrupted after ");
  terminal.WaitFor(kPrompt);
  terminal.Type("/bye\r");
  EXPECT_EQ(terminal.Wait(), 0);
}

}  // namespace
}  // namespace carat::testing_support
