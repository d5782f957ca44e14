#include "cli/inspect_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>
#include <vector>

namespace carat::cli {
namespace {

constexpr size_t kLineWidth = 100;

std::string Bytes(uint64_t bytes) {
  const auto count = static_cast<double>(bytes);
  if (bytes >= uint64_t{1} << 30) return fmt::format("{:.2f} GiB", count / (1 << 30));
  if (bytes >= uint64_t{1} << 20) return fmt::format("{:.1f} MiB", count / (1 << 20));
  if (bytes >= uint64_t{10} << 10) return fmt::format("{:.1f} KiB", count / (1 << 10));
  return fmt::format("{} bytes", bytes);
}
std::string Bytes(const Json& bytes) { return Bytes(bytes.get<uint64_t>()); }

std::string Count(uint64_t count) {
  if (count >= 1'000'000'000) return fmt::format("{:.2f} G", static_cast<double>(count) / 1e9);
  if (count >= 1'000'000) return fmt::format("{:.1f} M", static_cast<double>(count) / 1e6);
  return fmt::format("{}", count);
}

std::string Plural(uint64_t count, std::string_view word) {
  return fmt::format("{} {}{}", count, word, count == 1 ? "" : "s");
}

std::string String(const Json& value) { return value.get<std::string>(); }
int64_t Number(const Json& value) { return value.get<int64_t>(); }

// "0-3 5-8 10": ascending numbers, neighbours as a range.
std::string Ranges(const std::vector<int>& numbers) {
  std::string out;
  for (size_t begin = 0; begin < numbers.size();) {
    size_t end = begin + 1;
    while (end < numbers.size() && numbers[end] == numbers[end - 1] + 1) ++end;
    if (begin > 0) out += ' ';
    out += fmt::format("{}", numbers[begin]);
    if (end > begin + 1) out += fmt::format("-{}", numbers[end - 1]);
    begin = end;
  }
  return out;
}

// "name   value", and the value's further lines under its first.
class Sheet {
 public:
  void Line(std::string_view name, std::string_view value) { out_ += fmt::format("{:<14}{}\n", name, value); }
  // Items one after the other, in as many lines as they need.
  void Items(std::string_view name, const std::vector<std::string>& items) {
    std::string line;
    for (const std::string& item : items) {
      if (!line.empty() && 14 + line.size() + 3 + item.size() > kLineWidth) {
        Line(name, line);
        name = "";
        line.clear();
      }
      line += (line.empty() ? "" : ", ") + item;
    }
    Line(name, line);
  }
  // Columns as wide as they must be; the first row is the heading. Those in `right` are numbers.
  void Table(const std::vector<std::vector<std::string>>& rows, const std::vector<bool>& right) {
    std::vector<size_t> widths(right.size(), 0);
    for (const auto& row : rows) {
      for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
    }
    for (const auto& row : rows) {
      std::string line;
      for (size_t i = 0; i < row.size(); ++i) {
        line += right[i] ? fmt::format("{:>{}}  ", row[i], widths[i]) : fmt::format("{:<{}}  ", row[i], widths[i]);
      }
      out_ += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
    }
  }
  void Gap() { out_ += '\n'; }
  std::string Take() { return std::move(out_); }

 private:
  std::string out_;
};

void AddFile(const Json& report, Sheet& sheet) {
  const Json& files = report["files"];
  uint64_t bytes = 0;
  for (const Json& file : files) bytes += file["bytes"].get<uint64_t>();
  sheet.Line("model", String(report["name"]));
  sheet.Line("file", String(report["path"]));
  sheet.Line("", fmt::format("{}, {}{}", String(report["container"]), Bytes(bytes),
                             files.size() == 1 ? "" : fmt::format(" in {} files", files.size())));
  sheet.Line("architecture", String(report["architecture"]));
}

// Layers that are alike in one row.
void AddLayers(const Json& decoder, Sheet& sheet) {
  struct Kind {
    std::vector<std::string> cells;  // but for the first
    std::vector<int> layers;
  };
  std::vector<Kind> kinds;
  for (int i = 0; const Json& layer : decoder["layers"]) {
    const int64_t source = Number(layer["kv_layer"]);
    std::vector<std::string> cells = {String(layer["attention"]), fmt::format("{}", Number(layer["kv_heads"])),
                                      fmt::format("{}", Number(layer["head_size"])),
                                      fmt::format("{}", Number(layer["mlp"])),
                                      source == i ? "its own" : fmt::format("those of layer {}", source)};
    auto kind = std::ranges::find(kinds, cells, &Kind::cells);
    if (kind == kinds.end()) kind = kinds.insert(kinds.end(), {std::move(cells), {}});
    kind->layers.push_back(i++);
  }
  std::vector<std::vector<std::string>> rows = {
      {"layers", "attention", "KV heads", "head size", "MLP", "keys and values"}};
  for (const Kind& kind : kinds) {
    std::vector<std::string> row = {Ranges(kind.layers)};
    row.insert(row.end(), kind.cells.begin(), kind.cells.end());
    rows.push_back(std::move(row));
  }
  sheet.Table(rows, {false, false, true, true, true, false});
}

void AddDecoder(const Json& decoder, Sheet& sheet) {
  const auto& layers = decoder["layers"];
  const bool slides = std::ranges::any_of(layers, [](const Json& layer) { return layer["attention"] == "sliding"; });
  sheet.Line("decoder", fmt::format("{}, hidden size {}, {}, vocabulary {}", Plural(layers.size(), "layer"),
                                    Number(decoder["hidden"]), Plural(Number(decoder["query_heads"]), "query head"),
                                    Number(decoder["vocabulary"])));
  std::string positions = fmt::format("up to {} tokens", Number(decoder["max_positions"]));
  if (slides) positions += fmt::format("; sliding layers see the last {}", Number(decoder["window"]));
  sheet.Line("context", positions);
  std::string cache = fmt::format("{} per token", Bytes(decoder["kv_bytes_per_token_global"]));
  if (slides) {
    cache += fmt::format(", and {} for each that sliding layers see", Bytes(decoder["kv_bytes_per_token_sliding"]));
  }
  sheet.Line("KV cache", cache + " (16-bit)");
  if (Number(decoder["ple_width"]) > 0) {
    sheet.Line("per layer", fmt::format("embeddings of {} per layer; a row of {} is read from the file per token",
                                        Number(decoder["ple_width"]), Bytes(decoder["ple_row_bytes"])));
  }
  if (decoder["logit_soft_cap"].get<double>() > 0) {
    sheet.Line("logits", fmt::format("capped at {:g}", decoder["logit_soft_cap"].get<double>()));
  }
  sheet.Gap();
  AddLayers(decoder, sheet);
  sheet.Gap();
}

// Where the bytes of a use are while the model runs.
std::pair<std::string_view, std::string_view> PlaceOf(std::string_view use) {
  if (use == "decoder") return {"resident", "the decoder's weights, mapped"};
  if (use == "per_layer_embeddings") return {"on disk", "per-layer embeddings, read row by row"};
  if (use == "embedding") return {"by rows", "embeddings, mapped: rows of the tokens that occur become resident"};
  if (use == "vision") return {"on disk", "vision encoder, not used yet"};
  if (use == "audio") return {"on disk", "audio encoder, not used yet"};
  return {"on disk", "not needed: keys and values of layers that read others', copies"};
}

void AddSums(const Json& report, Sheet& sheet) {
  std::vector<std::vector<std::string>> rows;
  const auto add = [&rows](const Json& sum, std::string_view name, std::string_view remark) {
    rows.push_back({std::string(name), fmt::format("{}", sum["tensors"].get<size_t>()),
                    Count(sum["elements"].get<uint64_t>()), Bytes(sum["bytes"]), std::string(remark)});
  };
  const std::vector<bool> right = {false, true, true, true, false};
  if (!report["uses"].empty()) {
    rows = {{"place", "tensors", "elements", "bytes", "what"}};
    for (const Json& sum : report["uses"])
      add(sum, PlaceOf(String(sum["use"])).first, PlaceOf(String(sum["use"])).second);
    sheet.Table(rows, right);
    sheet.Gap();
  }
  rows = {{"type", "tensors", "elements", "bytes"}};
  for (const Json& sum : report["types"]) add(sum, String(sum["type"]), "");
  sheet.Table(rows, right);
  sheet.Gap();
}

// The matrices: the bit schedule.
void AddWeights(const Json& report, Sheet& sheet) {
  std::vector<std::vector<std::string>> rows = {{"weights", "type", "bits", "layers", "bytes", "a token reads"}};
  bool codes = false;
  for (const Json& share : report["weights"]) {
    const std::string type = String(share["type"]);
    codes = codes || type.starts_with('C') || type.starts_with('G');
    const double bits = 8 * share["bytes"].get<double>() / share["elements"].get<double>();
    rows.push_back({String(share["role"]), type, fmt::format("{:.2f}", bits),
                    Ranges(share["layers"].get<std::vector<int>>()), Bytes(share["bytes"]),
                    share["token_bytes"] == 0 ? "nothing yet" : Bytes(share["token_bytes"])});
  }
  rows.push_back({"together", "", "", "", "", Bytes(report["token_bytes"])});
  sheet.Table(rows, {false, false, true, false, true, true});
  if (codes) sheet.Line("", "C8, C4, C2: codes of 8, 4, 2 bits with a scale per row; G4: of 4 bits with one per 32");
  sheet.Gap();
}

// "106 <turn|>"
std::string Token(const Json& tokenizer, int64_t id) {
  if (!tokenizer.is_null()) {
    for (const Json& token : tokenizer["control"]) {
      if (token["id"] == id) return fmt::format("{} {}", id, String(token["piece"]));
    }
  }
  return fmt::format("{}", id);
}

void AddTokenizer(const Json& report, Sheet& sheet) {
  const Json& tokenizer = report["tokenizer"];
  if (tokenizer.is_null()) {
    sheet.Line("tokenizer", "none; the model takes token ids only");
    return;
  }
  constexpr size_t kMaxShown = 60;
  const Json& control = tokenizer["control"];
  std::vector<std::string> items;
  for (size_t i = 0; i < std::min(control.size(), kMaxShown); ++i) {
    items.push_back(Token(tokenizer, Number(control[i]["id"])));
  }
  if (control.size() > kMaxShown) items.emplace_back("and more (--json lists them)");
  sheet.Line("tokenizer", fmt::format("{} tokens", Number(tokenizer["size"])));
  if (!items.empty()) sheet.Items("control", items);
  const Json& format = report["chat_format"];
  sheet.Line("chat", format.is_null()     ? "no markers for turns: the model continues text"
                     : format == "gemma4" ? "Gemma 4: system turn, thinking, tools"
                                          : "Gemma 3: user and model turns");
}

void AddDefaults(const Json& report, Sheet& sheet) {
  if (!report.contains("sampling")) return;
  const Json& sampling = report["sampling"];
  sheet.Line("sampling", fmt::format("temperature {}, top-k {}, top-p {}", sampling["temperature"].get<double>(),
                                     Number(sampling["top_k"]), sampling["top_p"].get<double>()));
  std::vector<std::string> stops;
  for (const Json& id : report["stop_ids"]) stops.push_back(Token(report["tokenizer"], Number(id)));
  if (!stops.empty()) sheet.Items("stops at", stops);
}

void AddTensors(const Json& tensors, Sheet& sheet) {
  std::vector<std::vector<std::string>> rows = {{"tensor", "type", "shape", "bytes", "use"}};
  for (const Json& tensor : tensors) {
    rows.push_back({String(tensor["name"]), String(tensor["type"]),
                    fmt::format("{}", fmt::join(tensor["shape"].get<std::vector<int64_t>>(), " x ")),
                    fmt::format("{}", tensor["bytes"].get<uint64_t>()), String(tensor["use"])});
  }
  sheet.Gap();
  sheet.Table(rows, {false, false, false, true, false});
}

}  // namespace

std::string InspectText(const Json& report) {
  Sheet sheet;
  AddFile(report, sheet);
  if (!report["decoder"].is_null()) {
    AddDecoder(report["decoder"], sheet);
    AddWeights(report, sheet);
  } else {
    sheet.Gap();
  }
  AddSums(report, sheet);
  AddTokenizer(report, sheet);
  AddDefaults(report, sheet);
  if (report.contains("tensors")) AddTensors(report["tensors"], sheet);
  return sheet.Take();
}

}  // namespace carat::cli
