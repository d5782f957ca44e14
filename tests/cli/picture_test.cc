// Pictures and videos on the command line, with a tiny random model that sees (tools/reference/seeing.py): what it says
// means nothing, but what it is shown is known.
#include <filesystem>
#include <string>
#include <vector>

#include "base/base64.h"
#include "base/json.h"
#include "tests/cli/command.h"
#include "tests/cli/terminal.h"

namespace carat::testing_support {
namespace {

class PictureTest : public CommandTest {
 protected:
  Outcome Run(std::vector<std::string> arguments, const Surroundings& surroundings = {}) {
    arguments.insert(arguments.begin(), {"run", kModel, "--temperature", "0", "--max-tokens", "4"});
    return RunCarat(arguments, surroundings);
  }
  Json RunJson(std::vector<std::string> arguments, const Surroundings& surroundings = {}) {
    arguments.push_back("--json");
    const Outcome outcome = Run(std::move(arguments), surroundings);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    const auto json = ParseJson(outcome.out, "the answer");
    EXPECT_TRUE(json) << json.error().message;
    return json ? *json : Json::object();
  }
  // A video of a moving pattern: 64 x 48 at 5 frames per second.
  std::string MakeVideo(int frames) {
    const std::string path = Path("clip.mp4");
    const std::string command = "ffmpeg -v error -nostdin -y -f lavfi -i testsrc=size=64x48:rate=5 -frames:v " +
                                std::to_string(frames) + " -pix_fmt yuv420p '" + path + "'";
    EXPECT_EQ(std::system(command.c_str()), 0) << "ffmpeg, which these tests need: " << command;
    return path;
  }

  const std::string kFolder = Data("vision/model-causal");
  const std::string kModel = kFolder + "/model";
  const std::string kPicture = kFolder + "/0-0.png";
};

TEST_F(PictureTest, ReportsHowAPictureWasSeen) {
  const Json json = RunJson({"What is shown here?", "-i", kPicture});
  ASSERT_EQ(json["media"].size(), 1u);
  const Json& medium = json["media"][0];
  EXPECT_EQ(medium["name"], kPicture);
  EXPECT_EQ(medium["frames"], 1);
  EXPECT_EQ(medium["encoded"], true);
  // Units of 12 pixels here, and a budget of 70.
  EXPECT_EQ(medium["tokens"].get<int>(),
            (medium["seen_width"].get<int>() / 12) * (medium["seen_height"].get<int>() / 12));
  EXPECT_GT(medium["tokens"], 35);
  EXPECT_LE(medium["tokens"], 70);
  EXPECT_GT(json["encode_seconds"], 0);
  const Json larger = RunJson({"What is shown here?", "-i", kPicture, "--image-tokens", "140"});
  EXPECT_GT(larger["media"][0]["tokens"], 70);
}

TEST_F(PictureTest, TheSamePictureTwiceIsEncodedOnce) {
  const Json one = RunJson({"Compare.", "-i", kPicture});
  const Json two = RunJson({"Compare.", "-i", kPicture, "--input", kPicture});
  EXPECT_EQ(two["media"][0]["encoded"], true);
  EXPECT_EQ(two["media"][1]["encoded"], false);
  EXPECT_EQ(two["prompt_tokens"].get<int>() - one["prompt_tokens"].get<int>(),
            one["media"][0]["tokens"].get<int>() + 2);
}

// By path, from stdin, and in the messages of a client: the same prompt, and so the same answer.
TEST_F(PictureTest, ComesFromWhereverItLies) {
  const Json by_path = RunJson({"What is shown here?", "-i", kPicture});
  const std::string bytes = Read(kPicture);
  const Json from_stdin = RunJson({"What is shown here?", "-i", "-"}, {.input = bytes});
  const std::string by_name =
      Write("path.json", R"([{"role": "user", "content": [{"type": "image", "path": ")" + kPicture +
                             R"("}, {"type": "text", "text": "What is shown here?"}]}])");
  const Json named = RunJson({"--messages", by_name});
  for (const Json& other : {from_stdin, named}) {
    EXPECT_EQ(other["text"], by_path["text"]);
    EXPECT_EQ(other["prompt_tokens"], by_path["prompt_tokens"]);
    EXPECT_EQ(other["media"][0]["tokens"], by_path["media"][0]["tokens"]);
  }
}

TEST_F(PictureTest, ShowsFramesOfAVideo) {
  const std::string video = MakeVideo(23);
  const Json json = RunJson({"What happens?", "-i", video});
  EXPECT_EQ(json["media"][0]["frames"], 4);  // as the model's processor says
  EXPECT_EQ(json["media"][0]["width"], 64);
  EXPECT_EQ(RunJson({"What happens?", "-i", video, "--video-frames", "6"})["media"][0]["frames"], 6);
  EXPECT_EQ(RunJson({"What happens?", "-i", video, "--video-fps", "1"})["media"][0]["frames"], 4);
  EXPECT_EQ(RunJson({"What happens?", "-i", MakeVideo(2)})["media"][0]["frames"], 2);  // there are no more
  // What cannot fit is known before anything is encoded.
  EXPECT_TRUE(FailsWith(Run({"What happens?", "-i", MakeVideo(23), "--video-frames", "23", "--context", "512"}), 6,
                        "the context holds 512"));
}

TEST_F(PictureTest, SaysWhatIsWrong) {
  const std::string broken = Write("broken.png", Read(kPicture).substr(0, 200));
  EXPECT_TRUE(FailsWith(Run({"What?", "-i", broken}), 5, "broken.png"));
  EXPECT_TRUE(FailsWith(Run({"What?", "-i", Path("missing.png")}), 5, "missing.png: no such file"));
  EXPECT_TRUE(FailsWith(Run({"What?", "-i", Write("text.txt", "Only words.")}), 5, "text.txt"));
  EXPECT_TRUE(FailsWith(Run({"What?", "-i", "-"}), 5, "standard input"));
  EXPECT_TRUE(FailsWith(Run({"What?", "-i", kPicture, "--image-tokens", "300"}), 2, "--image-tokens"));
  EXPECT_TRUE(FailsWith(Run({"What?", "-i", kPicture, "--context", "60"}), 6, "the context holds 60"));
  EXPECT_TRUE(FailsWith(RunCarat({"run", Data("chat-models/gemma4"), "What?", "-i", kPicture}), 2, "does not see"));
  EXPECT_TRUE(FailsWith(Run({"--raw", "x", "-i", kPicture}), 2, "--input"));
  const std::string http =
      Write("http.json",
            R"([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a/b.png"}}]}])");
  EXPECT_TRUE(FailsWith(Run({"--messages", http}), 2, "nothing is fetched"));
}

// What the template would pass over in silence is refused.
TEST_F(PictureTest, NoPictureIsDropped) {
  const auto complaint = [&](const std::string& messages) { return Run({"--messages", Write("m.json", messages)}); };
  const std::string image = R"({"type": "image", "path": ")" + kPicture + R"("})";
  EXPECT_TRUE(
      FailsWith(complaint(R"([{"role": "system", "content": [)" + image + R"(]}, {"role": "user", "content": "x"}])"),
                2, "the system's message cannot bring pictures"));
  for (const std::string type : {"video_url", "input_image", "input_audio"})
    EXPECT_TRUE(FailsWith(complaint(R"([{"role": "user", "content": [{"type": ")" + type + R"("}]}])"), 2, "part 0"));
  EXPECT_TRUE(
      FailsWith(complaint(R"([{"role": "user", "content": [{"type": "video", "url": "data:video/mp4;base64,AA"}]}])"),
                2, "videos are read from files"));
}

// A conversation that is saved shows the same again.
TEST_F(PictureTest, MessagesKeepTheirPictures) {
  const Json first = RunJson({"What is shown here?", "-i", "-"}, {.input = Read(kPicture)});
  const std::string url = "data:image/png;base64," + EncodeBase64(Read(kPicture));
  const Json again = RunJson(
      {"--messages", Write("m.json", R"([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": ")" +
                                         url + R"("}}, {"type": "text", "text": "What is shown here?"}]}])")});
  EXPECT_EQ(again["text"], first["text"]);
  EXPECT_EQ(again["media"][0]["tokens"], first["media"][0]["tokens"]);
}

TEST_F(PictureTest, SeveralTowersBesideAModelAreNamed) {
  for (const char* name : {"model.gguf", "mmproj-model.gguf"})
    std::filesystem::copy_file(kFolder + "/gguf/" + name, Path(name));
  const std::vector<std::string> run = {"run", Path("model.gguf"), "What?", "-i", kPicture, "--temperature",
                                        "0",   "--max-tokens",     "2"};
  EXPECT_EQ(RunCarat(run).exit_code, 0);
  std::filesystem::copy_file(kFolder + "/gguf/mmproj-model.gguf", Path("mmproj-other.gguf"));
  const Outcome several = RunCarat(run);
  EXPECT_EQ(several.exit_code, 2);
  EXPECT_NE(several.err.find("(mmproj-model.gguf, mmproj-other.gguf); --mmproj FILE names one"), std::string::npos);
}

TEST_F(PictureTest, APlanHoldsForPictures) {
  const Outcome small = Run({"What?", "-i", kPicture, "--ram", "20MB"});
  EXPECT_EQ(small.exit_code, 6);
  EXPECT_NE(small.err.find("looking "), std::string::npos);  // in the table
  const Json json = RunJson({"What?", "-i", kPicture, "--ram", "1GB"});
  EXPECT_LT(json["peak_memory_bytes"], 1'000'000'000);
  const std::string finer = Write("m.json", R"([{"role": "user", "content": [{"type": "image", "path": ")" + kPicture +
                                                R"(", "max_soft_tokens": 560}]}])");
  EXPECT_TRUE(FailsWith(Run({"--messages", finer, "--ram", "1GB"}), 6, "the memory is planned for 70"));
}

TEST_F(PictureTest, DescribesFileByFile) {
  const std::vector<std::string> model = {"describe", kModel, "--temperature", "0", "--max-tokens", "3"};
  std::vector<std::string> arguments = model;
  arguments.insert(arguments.end(), {kPicture, kPicture});
  const Outcome outcome = RunCarat(arguments);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  const size_t first = outcome.out.find(kPicture + ":\n"), second = outcome.out.rfind(kPicture + ":\n");
  EXPECT_EQ(first, 0u) << outcome.out;
  EXPECT_GT(second, first);
  arguments = model;
  arguments.insert(arguments.end(), {kPicture, "--json"});
  const Outcome json = RunCarat(arguments);
  EXPECT_EQ(json.exit_code, 0) << json.err;
  EXPECT_EQ(ParseJson(json.out, "the description")->at("file"), kPicture);
  // A damaged file is not the others' fault.
  arguments = model;
  arguments.insert(arguments.end(), {Write("broken.png", "\x89PNG\r\n\x1a\n"), kPicture});
  const Outcome some = RunCarat(arguments);
  EXPECT_EQ(some.exit_code, 5);
  EXPECT_NE(some.out.find(kPicture + ":\n"), std::string::npos);
  EXPECT_NE(some.err.find("broken.png"), std::string::npos);
}

TEST_F(PictureTest, AreShownInAChat) {
  Terminal terminal({"run", kModel, "--temperature", "0", "--max-tokens", "4"});
  constexpr const char* kPrompt = "\033[?2004h";
  const auto say = [&](const std::string& message) {
    terminal.Type(message + "\r");
    return terminal.WaitFor(kPrompt);
  };
  terminal.WaitFor(kPrompt);
  EXPECT_NE(say("/image " + kPicture).find("to go with the next message"), std::string::npos);
  say("What is shown here?");
  EXPECT_NE(say("/stats").find(kPicture), std::string::npos);
  EXPECT_NE(say("/image " + Path("missing.png")).find("no such file"), std::string::npos);

  // Dropped onto the terminal: quoted, before the question, and as it begins with a slash.
  say("/clear");
  const std::filesystem::path spaced = Path("a picture.png");
  std::filesystem::copy_file(kPicture, spaced);
  say("'" + spaced.string() + "' What is shown here?");
  EXPECT_NE(say("/stats").find(spaced.string()), std::string::npos);
  say("What else?");
  EXPECT_NE(say("/stats").find("encoded before"), std::string::npos) << "the next turn does not encode it again";
  terminal.Type("/bye\r");
  EXPECT_EQ(terminal.Wait(), 0);
}

}  // namespace
}  // namespace carat::testing_support
