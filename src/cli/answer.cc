#include "cli/answer.h"

#include <fmt/format.h>

#include "base/json.h"
#include "base/try.h"
#include "cli/proc.h"

namespace carat::cli {
namespace {

std::string_view StopName(StopReason stop) {
  switch (stop) {
    case StopReason::kEndOfTurn:
      return "end_of_turn";
    case StopReason::kToolCalls:
      return "tool_calls";
    case StopReason::kMaxTokens:
      return "max_tokens";
    case StopReason::kContextFull:
      return "context_full";
    case StopReason::kCancelled:
      return "cancelled";
    case StopReason::kLoop:
      return "loop";
  }
  return "";
}

std::string Bytes(uint64_t bytes) {
  const auto count = static_cast<double>(bytes);
  if (bytes >= uint64_t{1} << 30) return fmt::format("{:.2f} GiB", count / (1 << 30));
  if (bytes >= uint64_t{1} << 20) return fmt::format("{:.1f} MiB", count / (1 << 20));
  return fmt::format("{:.1f} KiB", count / (1 << 10));
}

std::string TokensInTime(int tokens, double seconds) {
  std::string out = fmt::format("{} tokens in {:.2f} s", tokens, seconds);
  if (tokens > 0 && seconds > 0) out += fmt::format(", {:.1f} tokens/s", tokens / seconds);
  return out;
}

}  // namespace

ReplyCallback AnswerPrinter::Callback() {
  return [this](const ReplyEvent& event) { return Show(event); };
}

bool AnswerPrinter::Show(const ReplyEvent& event) {
  if (event.kind == ReplyEvent::Kind::kToolCall) {
    ShowCall(*event.call);
  } else if (!event.text.empty()) {
    event.kind == ReplyEvent::Kind::kThought ? ShowThought(event.text) : ShowText(event.text);
  }
  return written_ && !console_.interrupted();
}

void AnswerPrinter::ShowThought(std::string_view text) {
  if (!in_thought_) {
    if (line_open_ && console_.stdout_is_terminal()) console_.Note("\n");
    console_.Note(console_.dim());
  }
  in_thought_ = true;
  console_.NoteUntrusted(text);
}

void AnswerPrinter::EndThought() {
  if (in_thought_) console_.Note(fmt::format("{}\n", console_.plain()));
  in_thought_ = false;
}

void AnswerPrinter::ShowText(std::string_view text) {
  EndThought();
  Keep(console_.WriteUntrusted(text));
  line_open_ = text.back() != '\n';
}

void AnswerPrinter::ShowCall(const ToolCall& call) {
  EndThought();
  Keep(console_.WriteUntrusted((line_open_ ? "\n" : "") + ToolCallJson(call) + "\n"));
  line_open_ = false;
}

void AnswerPrinter::Keep(Status written) {
  if (written_) written_ = std::move(written);
}

Status AnswerPrinter::Finish() {
  EndThought();
  if (line_open_) Keep(console_.Write("\n"));
  line_open_ = false;
  return written_;
}

std::string ToolCallJson(const ToolCall& call) {
  return fmt::format(R"({{"id":{},"name":{},"arguments":{}}})", JsonText(call.id), JsonText(call.name),
                     call.arguments_json);
}

std::string ReplyJson(const Reply& reply, const Session& session, std::string_view message) {
  // Put together as text: arguments keep the digits that the model wrote.
  std::string calls;
  for (const ToolCall& call : reply.tool_calls) calls += (calls.empty() ? "" : ",") + ToolCallJson(call);
  const Engine& engine = session.engine();
  const EngineStats stats = engine.stats();
  std::string out =
      fmt::format(R"({{"model":{},"text":{},"thought":{},"tool_calls":[{}],"stop":"{}")", JsonText(engine.info().name),
                  JsonText(reply.text), JsonText(reply.thought), calls, StopName(reply.stop));
  if (!message.empty()) out += fmt::format(R"(,"message":{})", message);
  Json media = Json::array();
  for (const MediumReport& it : reply.media) {
    media.push_back({{"name", it.name},
                     {"width", it.width},
                     {"height", it.height},
                     {"seen_width", it.seen_width},
                     {"seen_height", it.seen_height},
                     {"frames", it.frames},
                     {"tokens", it.tokens},
                     {"encoded", it.encoded}});
  }
  const Json numbers = {{"media", std::move(media)},
                        {"encode_seconds", reply.encode_seconds},
                        {"prompt_tokens", reply.prompt_tokens},
                        {"reused_tokens", reply.reused_tokens},
                        {"answer_tokens", reply.answer_tokens},
                        {"decoded_tokens", reply.decoded_tokens},
                        {"load_seconds", stats.load_seconds},
                        {"prefill_seconds", reply.prefill_seconds},
                        {"decode_seconds", reply.decode_seconds},
                        {"peak_memory_bytes", ProcBytes("/proc/self/status", "VmHWM")},
                        {"weight_bytes", engine.info().weight_bytes},
                        {"weight_bytes_resident", stats.weight_bytes_resident},
                        {"token_bytes", engine.info().token_bytes},
                        {"kv_bytes", session.kv_bytes()},
                        {"scratch_bytes", session.scratch_bytes()},
                        {"ple_bytes", engine.info().ple_bytes},
                        {"ple_bytes_resident", stats.ple_bytes_resident},
                        {"ple_bytes_read", stats.ple_bytes_read},
                        {"seed", session.seed()}};
  return out + "," + JsonText(numbers).substr(1) + "\n";
}

std::string MediumText(const MediumReport& medium) {
  std::string size =
      fmt::format("{} x {}, seen as {} x {}", medium.width, medium.height, medium.seen_width, medium.seen_height);
  if (medium.frames != 1) size = fmt::format("{} frames of {}", medium.frames, size);
  return fmt::format("media    {}: {}, {} tokens{}\n", WithoutControls(medium.name, /*lines=*/false), size,
                     medium.tokens, medium.encoded ? "" : "; encoded before");
}

std::string StatsText(const Reply& reply, const Session& session) {
  const EngineStats stats = session.engine().stats();
  std::string prefill = TokensInTime(reply.prompt_tokens - reply.reused_tokens, reply.prefill_seconds);
  if (reply.reused_tokens > 0) prefill += fmt::format("; {} more were in the cache", reply.reused_tokens);
  std::string out;
  out += fmt::format("load     {:.2f} s\n", stats.load_seconds);
  for (const MediumReport& it : reply.media) out += MediumText(it);
  if (!reply.media.empty()) out += fmt::format("encode   {:.2f} s\n", reply.encode_seconds);
  out += fmt::format("prefill  {}\n", prefill);
  out += fmt::format("decode   {}\n", TokensInTime(reply.decoded_tokens, reply.decode_seconds));
  out += fmt::format("memory   {} at the peak; resident now:\n", Bytes(ProcBytes("/proc/self/status", "VmHWM")));
  const ModelInfo& info = session.engine().info();
  out += fmt::format("weights  {} of the files and their copies; {} are read for a decoded token\n",
                     Bytes(stats.weight_bytes_resident), Bytes(info.token_bytes));
  if (info.ple_bytes > 0) {
    out += fmt::format("PLE      {} of the table's {}; {} were read, row by row\n", Bytes(stats.ple_bytes_resident),
                       Bytes(info.ple_bytes), Bytes(stats.ple_bytes_read));
  }
  out += fmt::format("cache    {} of keys and values\n", Bytes(session.kv_bytes()));
  out += fmt::format("scratch  {} for activations\n", Bytes(session.scratch_bytes()));
  out += fmt::format("context  {} of {} tokens\n", session.length(), session.context());
  out += fmt::format("seed     {}\n", session.seed());
  return out;
}

std::string StopText(const Reply& reply, const Session& session) {
  switch (reply.stop) {
    case StopReason::kMaxTokens:
      return fmt::format("the answer was stopped after {} tokens, as --max-tokens says", reply.answer_tokens);
    case StopReason::kContextFull: {
      const int most = session.engine().info().max_positions;
      return fmt::format(
          "the answer was cut off after {} tokens: the context of {} tokens is full{}", reply.answer_tokens,
          session.context(),
          session.context() < most ? fmt::format("; a larger --context (at most {}) would work", most) : "");
    }
    case StopReason::kCancelled:
      return fmt::format("the answer was interrupted after {} tokens", reply.answer_tokens);
    case StopReason::kLoop:
      return fmt::format("the answer was stopped after {} tokens: the model repeats itself", reply.answer_tokens);
    case StopReason::kEndOfTurn:
    case StopReason::kToolCalls:
      break;
  }
  return "";
}

Status ShowAnswer(Console& console, const Session& session, const AnswerForm& form, const Generate& generate,
                  const std::function<std::string(const Reply&)>& json_line) {
  Result<Reply> reply;
  if (form.json) {
    reply = generate([&](const ReplyEvent&) { return !console.interrupted(); });
    TRY(reply);
    TRY(console.Write(json_line(*reply)));
  } else {
    AnswerPrinter printer(console);
    reply = generate(printer.Callback());
    TRY(printer.Finish());
    TRY(reply);
  }
  if (form.stats) console.Note(StatsText(*reply, session));
  const std::string stop = StopText(*reply, session);
  if (reply->stop == StopReason::kContextFull) return Fail(ErrorCode::kDoesNotFit, stop);
  if (reply->stop == StopReason::kCancelled) return Fail(ErrorCode::kInterrupted, stop);
  if (reply->stop == StopReason::kLoop) console.Note(fmt::format("carat: {}\n", stop));
  return {};
}

}  // namespace carat::cli
