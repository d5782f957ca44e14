// carat run without a terminal, with the tiny chat models (tools/reference/chat_model.py): they know capitals, a tool
// and how to repeat a word.
#include <algorithm>
#include <string>
#include <vector>

#include "base/json.h"
#include "tests/cli/command.h"

namespace carat::testing_support {
namespace {

class RunCommandTest : public CommandTest {
 protected:
  // The most likely answer, unless the arguments say otherwise.
  Outcome Run(std::vector<std::string> arguments, const Surroundings& surroundings = {}) {
    arguments.insert(arguments.begin(), {"run", kModel, "--temperature", "0"});
    return RunCarat(arguments, surroundings);
  }
  static Json Parse(const Outcome& outcome) {
    EXPECT_EQ(std::count(outcome.out.begin(), outcome.out.end(), '\n'), 1) << outcome.out << outcome.err;
    const auto json = ParseJson(outcome.out, "the answer");
    EXPECT_TRUE(json) << json.error().message;
    return json ? *json : Json();
  }

  const std::string kModel = Data("chat-models/gemma4");
  const std::string kTools = R"([{"type": "function", "function": {"name": "get_time", "description": "The time"}}])";
  const std::string kFrance = "What is the capital of France?";
};

TEST_F(RunCommandTest, AnswersOnStdoutAndNothingElse) {
  const Outcome outcome = Run({"What", "is the capital", "of France?"});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(outcome.out, "Paris.\n");
  EXPECT_EQ(outcome.err, "");
}

TEST_F(RunCommandTest, ReadsThePromptFromStdin) {
  EXPECT_EQ(Run({}, {.input = "What is the capital of Italy?\n"}).out, "Rome.\n");
  // Both: what is piped in comes behind the prompt.
  const Json both = Parse(Run({"Name", "--json"}, {.input = "a\nb\n"}));
  const Json one = Parse(Run({"Name\n\na\nb", "--json"}));
  EXPECT_EQ(both["prompt_tokens"], one["prompt_tokens"]);
  EXPECT_EQ(both["text"], one["text"]);
}

TEST_F(RunCommandTest, ShowsThoughtsOnStderr) {
  const Outcome outcome = Run({kFrance, "--think", "--system", "Be brief."});
  EXPECT_EQ(outcome.out, "Paris.\n");
  EXPECT_EQ(outcome.err, "The user wants a capital.\n");
}

TEST_F(RunCommandTest, PrintsJson) {
  const Outcome outcome = Run({kFrance, "--think", "--json", "--seed", "9"});
  EXPECT_EQ(outcome.err, "");
  const Json json = Parse(outcome);
  EXPECT_EQ(json["text"], "Paris.");
  EXPECT_EQ(json["thought"], "The user wants a capital.");
  EXPECT_EQ(json["tool_calls"], Json::array());
  EXPECT_EQ(json["stop"], "end_of_turn");
  EXPECT_EQ(json["model"], "gemma4");
  EXPECT_EQ(json["seed"], 9);
  EXPECT_EQ(json["message"]["role"], "assistant");
  EXPECT_EQ(json["message"]["reasoning_content"], "The user wants a capital.");
  EXPECT_GT(json["prompt_tokens"], 10);
  EXPECT_GT(json["answer_tokens"], 5);
  for (const char* key :
       {"load_seconds", "prefill_seconds", "decode_seconds", "peak_memory_bytes", "weight_bytes",
        "weight_bytes_resident", "token_bytes", "kv_bytes", "scratch_bytes", "ple_bytes", "ple_bytes_read"})
    EXPECT_GT(json[key], 0) << key;
}

// A call goes out as a line of JSON; its result comes back in the messages.
TEST_F(RunCommandTest, CallsTools) {
  const std::string tools = Write("tools.json", kTools);
  const std::string question = "What time is it in Paris?";
  const Outcome outcome = Run({question, "--tools", tools});
  EXPECT_EQ(outcome.out, "{\"id\":\"call_1\",\"name\":\"get_time\",\"arguments\":{\"city\":\"Paris\"}}\n");
  EXPECT_EQ(outcome.err, "");
  EXPECT_EQ(outcome.exit_code, 0);

  const Json call = Parse(Run({question, "--tools", tools, "--json"}));
  EXPECT_EQ(call["stop"], "tool_calls");
  EXPECT_EQ(call["tool_calls"][0]["arguments"]["city"], "Paris");
  const Json messages = {{{"role", "user"}, {"content", question}},
                         call["message"],
                         {{"role", "tool"}, {"tool_call_id", call["tool_calls"][0]["id"]}, {"content", "noon"}}};
  const std::string file = Write("messages.json", messages.dump());
  EXPECT_EQ(Run({"--tools", tools, "--messages", file}).out, "It is noon in Paris.\n");
  EXPECT_EQ(Run({"--tools", tools, "--messages", "-"}, {.input = messages.dump()}).out, "It is noon in Paris.\n");
  // A further question comes behind them.
  EXPECT_EQ(Run({"--tools", "-", "--messages", file, "What is the capital of Italy?"}, {.input = kTools}).out,
            "Rome.\n");
}

TEST_F(RunCommandTest, ContinuesATextWithoutTheChatFormat) {
  const Json json = Parse(Run({"--raw", "--max-tokens", "3", "--json", "a a a a"}));
  EXPECT_EQ(json["prompt_tokens"], 5);  // with the token that starts every prompt
  EXPECT_EQ(json["answer_tokens"], 3);
  EXPECT_EQ(json["decoded_tokens"], 2);
  EXPECT_EQ(json["stop"], "max_tokens");
  EXPECT_FALSE(json.contains("message"));
  EXPECT_EQ(Run({"--raw", "--max-tokens", "3"}, {.input = "a a a a\n"}).out, json["text"].get<std::string>() + "\n");
  EXPECT_TRUE(FailsWith(Run({"--raw", "--think", "x"}), 2, "--think"));
  EXPECT_TRUE(FailsWith(Run({"--raw", "--messages", "x"}), 2, "--messages"));
  // In the environment they are meant for chats.
  for (const char* name : {"CARAT_SYSTEM", "CARAT_THINK", "CARAT_TOOLS", "CARAT_MESSAGES"}) {
    const Surroundings surroundings = {.environment = {{name, "1"}}};
    EXPECT_EQ(Run({"--raw", "--max-tokens", "3", "a a a a"}, surroundings).exit_code, 0) << name;
    EXPECT_TRUE(FailsWith(Run({"--raw", "--system", "x", "a"}, surroundings), 2, "--system"));
  }
}

TEST_F(RunCommandTest, ASystemMessageComesFromOnePlace) {
  const std::string messages = R"([{"role": "system", "content": "Be brief."}, {"role": "user", "content": ")";
  const std::string file = Write("messages.json", messages + kFrance + "\"}]");
  EXPECT_TRUE(FailsWith(Run({"--messages", file, "--system", "Be long."}), 2,
                        file + ": begins with a system message, and --system gives another one"));
  EXPECT_EQ(Run({"--messages", file, "--system", "Be brief."}).out, "Paris.\n");
  // The environment holds a default.
  const auto prompt_tokens = [&](const Surroundings& surroundings) {
    return Parse(Run({"--messages", file, "--json"}, surroundings))["prompt_tokens"];
  };
  EXPECT_EQ(prompt_tokens({.environment = {{"CARAT_SYSTEM", "Be very, very long."}}}), prompt_tokens({}));
  const std::string plain = Write("plain.json", R"([{"role": "user", "content": ")" + kFrance + "\"}]");
  EXPECT_EQ(Run({"--messages", plain, "--system", "Be brief."}).out, "Paris.\n");
}

TEST_F(RunCommandTest, NumbersAndWordsThatMakeNoSense) {
  EXPECT_TRUE(FailsWith(Run({"--max-tokens", "-1", "x"}), 2, "'-1' is no whole number from 0 to"));
  EXPECT_TRUE(FailsWith(Run({"--context", "many", "x"}), 2, "'many' is no whole number from 0 to"));
  EXPECT_TRUE(FailsWith(Run({"--seed", "-1", "x"}), 2, "'-1' is no whole number from 0 to"));
  EXPECT_TRUE(FailsWith(Run({"--seed", "18446744073709551616", "x"}), 2, "is no whole number from 0 to"));
  EXPECT_TRUE(FailsWith(Run({"--kv-type", "f8", "x"}), 2, "'f8' is none of auto, f32, f16, int8"));
  EXPECT_TRUE(FailsWith(Run({"--tools", Write("empty.json", "\n"), "x"}), 2, "empty.json: is empty"));
}

TEST_F(RunCommandTest, ShowsStatistics) {
  const Outcome outcome = Run({kFrance, "--stats"});
  EXPECT_EQ(outcome.out, "Paris.\n");
  for (const char* line :
       {"load ", "prefill ", "decode ", "memory ", "weights ", "cache ", "scratch ", "PLE ", "context ", "seed "})
    EXPECT_NE(outcome.err.find(line), std::string::npos) << line;
  EXPECT_NE(outcome.err.find(" of 4096 tokens"), std::string::npos) << outcome.err;
}

TEST_F(RunCommandTest, SameSeedSameAnswer) {
  const auto run = [&](const std::string& seed) {
    return RunCarat({"run", kModel, "Hello", "--temperature", "50", "--max-tokens", "30", "--seed", seed}).out;
  };
  EXPECT_EQ(run("5"), run("5"));
  EXPECT_NE(run("5"), run("6"));
}

TEST_F(RunCommandTest, AFullContextIsAnError) {
  const int prompt = Parse(Run({kFrance, "--json"}))["prompt_tokens"].get<int>();
  EXPECT_TRUE(FailsWith(Run({kFrance, "--context", std::to_string(prompt)}), 6,
                        "the prompt has " + std::to_string(prompt) + " tokens"));
  const std::string one_more = std::to_string(prompt + 1);
  const Outcome cut = Run({kFrance, "--context", one_more});
  EXPECT_TRUE(FailsWith(cut, 6, "the answer was cut off after 1 tokens: the context of " + one_more));
  EXPECT_EQ(cut.out, "Paris\n");
  EXPECT_EQ(Run({kFrance, "--context", std::to_string(prompt + 2)}).out, "Paris.\n");
  EXPECT_TRUE(FailsWith(Run({kFrance, "--context", "5000"}), 2, "4096"));
}

TEST_F(RunCommandTest, NoticesLoops) {
  const Outcome outcome = Run({"Repeat a"});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_NE(outcome.err.find("repeats itself"), std::string::npos);
}

TEST_F(RunCommandTest, SpeaksGemma3) {
  const std::string model = Data("chat-models/gemma3");
  EXPECT_EQ(RunCarat({"run", model, kFrance, "--temperature", "0"}).out, "Paris.\n");
  EXPECT_TRUE(FailsWith(RunCarat({"run", model, kFrance, "--think"}), 2, "Gemma 3's chat format has no thinking"));
}

TEST_F(RunCommandTest, OptionsComeFromTheEnvironmentToo) {
  const auto run = [&](const std::string& name, const std::string& value) {
    return Run({kFrance}, {.environment = {{name, value}}});
  };
  EXPECT_EQ(run("CARAT_THINK", "1").err, "The user wants a capital.\n");
  EXPECT_EQ(run("CARAT_MAX_TOKENS", "1").out, "Paris\n");
  EXPECT_EQ(run("CARAT_JSON", "1").out.front(), '{');
  EXPECT_NE(run("CARAT_STATS", "1").err, "");
  EXPECT_EQ(run("CARAT_CONTEXT", "4").exit_code, 6);
  EXPECT_TRUE(FailsWith(run("CARAT_TOOLS", Path("none")), 2, Path("none")));
  EXPECT_TRUE(FailsWith(run("CARAT_MESSAGES", Path("none")), 2, Path("none")));
  EXPECT_NE(run("CARAT_RAW", "1").out, "Paris.\n");
  const Json plain = Parse(Run({kFrance, "--json"}));
  const Json told = Parse(Run({kFrance, "--json"}, {.environment = {{"CARAT_SYSTEM", "Be brief."}}}));
  EXPECT_GT(told["prompt_tokens"], plain["prompt_tokens"]);
  const std::map<std::string, std::string> model = {{"CARAT_MODEL", kModel}, {"CARAT_TEMPERATURE", "0"}};
  EXPECT_EQ(RunCarat({"run"}, {.input = kFrance, .environment = model}).out, "Paris.\n");
  EXPECT_EQ(RunCarat({"run", kFrance}, {.environment = model}).out, "Paris.\n");
  EXPECT_EQ(RunCarat({"run", Data("chat-models/gemma3"), "Hello"}, {.environment = model}).out, "Hello!\n");
}

TEST_F(RunCommandTest, SaysThatAModelMayNotKnowHowToChat) {
  const std::filesystem::path copy = Path("pretrained");
  std::filesystem::copy(kModel, copy);
  std::filesystem::remove(copy / "chat_template.jinja");
  const auto run = [&](const char* how) { return RunCarat({"run", copy, kFrance, "--temperature", "0", how}); };
  const Outcome outcome = run("--stats");
  EXPECT_EQ(outcome.out, "Paris.\n");
  EXPECT_TRUE(outcome.err.starts_with("carat: pretrained comes without a chat template")) << outcome.err;
  EXPECT_EQ(run("--json").err, "");
  Write("pretrained/tokenizer_config.json", R"({"chat_template": "x"})");
  EXPECT_EQ(run("--think").err.find("template"), std::string::npos);
}

TEST_F(RunCommandTest, Mistakes) {
  EXPECT_TRUE(FailsWith(Run({}), 2, "there is no prompt"));
  EXPECT_TRUE(FailsWith(Run({"--raw"}), 2, "there is no prompt"));
  EXPECT_TRUE(FailsWith(RunCarat({"run"}), 2, "MODEL"));
  EXPECT_TRUE(FailsWith(RunCarat({"run", Path("none.gguf"), "x"}), 3, "none.gguf"));
  EXPECT_TRUE(FailsWith(RunCarat({"run", Write("bad.gguf", "GGUF and nothing more"), "x"}), 4, "bad.gguf"));
  EXPECT_TRUE(FailsWith(RunCarat({"run", Data("golden/hf-e2b/model"), "x"}), 2, "no tokenizer"));
  EXPECT_TRUE(FailsWith(Run({"x", "--max-tokens", "-1"}), 2, "-1"));
  EXPECT_TRUE(FailsWith(Run({"x", "--temperature", "-1"}), 2, "temperature"));
  EXPECT_TRUE(FailsWith(Run({"x", "--tools", "-", "--messages", "-"}), 2, "but one of them only"));
  EXPECT_TRUE(FailsWith(Run({"x", "--tools", Write("tools", "[")}), 2, Path("tools: the list of tools is not valid")));
  EXPECT_TRUE(FailsWith(Run({"x", "--tools", Write("tools", "{}")}), 2, Path("tools: the tools must be a JSON list")));
  EXPECT_TRUE(FailsWith(Run({"--tools", "-", "x"}, {.input = "[1]"}), 2, "standard input: tool 0"));
  EXPECT_TRUE(FailsWith(Run({"--tools", "-", "x"}, {.input = "\n"}), 2, "standard input: is empty"));
  EXPECT_TRUE(FailsWith(Run({"--messages", Write("m", "[1]")}), 2, Path("m: message 0: needs a role")));
  EXPECT_TRUE(FailsWith(Run({"--messages", Write("m", "[")}), 2, Path("m: the list of messages is not valid JSON")));
  EXPECT_TRUE(FailsWith(Run({"--messages", Write("m", "[]")}), 2, "there is nothing to answer"));
  EXPECT_TRUE(FailsWith(Run({"--messages", Write("m", R"([{"role": "user", "content": "x"}, {"role": "assistant",
      "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]}])")}),
                        2, "the model waits for the results of 1 tool call"));
  EXPECT_TRUE(FailsWith(Run({kFrance}, {.stdout_path = "/dev/full"}), 1, "cannot write to standard output"));
  EXPECT_TRUE(FailsWith(Run({kFrance, "--json"}, {.stdout_closed = true}), 1, "cannot write to standard output"));
}

}  // namespace
}  // namespace carat::testing_support
