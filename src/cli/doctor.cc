// carat doctor: what this machine and this build offer.
#include <fmt/format.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/byte_size.h"
#include "base/json.h"
#include "base/thread_pool.h"
#include "base/try.h"
#include "carat/memory_plan.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/plan_text.h"
#include "cli/proc.h"
#include "kernels/kernels.h"

namespace carat::cli {
namespace {

#ifdef __clang__
constexpr const char* kCompiler = __VERSION__;  // says "Clang" itself
#else
constexpr const char* kCompiler = "GCC " __VERSION__;
#endif

struct DoctorFlags {
  EngineFlags plan;  // of the model to plan for, if one is named
  int context = 0;
  MemoryFlags memory;
  MediaOptions media;
  bool json = false;
};

// Of the processor's features, those that kernels are written for or will be.
std::vector<std::string> CpuFeatures() {
  std::string flags = ProcValue("/proc/cpuinfo", "flags");
  if (flags.empty()) flags = ProcValue("/proc/cpuinfo", "Features");  // as Linux on Arm calls them
  flags = " " + flags + " ";
  std::vector<std::string> found;
  for (const char* name : {"avx2",     "fma",         "f16c",        "avx_vnni",    "avx512f",  "avx512bw", "avx512dq",
                           "avx512vl", "avx512_vbmi", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimd",
                           "asimddp",  "fphp",        "i8mm",        "bf16",        "sve",      "sve2"}) {
    if (flags.find(std::string(" ") + name + " ") != std::string::npos) found.emplace_back(name);
  }
  return found;
}

std::string FindProgram(std::string_view name) {
  const char* path = std::getenv("PATH");
  std::string_view rest = path == nullptr ? "" : path;
  while (!rest.empty()) {
    const std::string_view folder = rest.substr(0, rest.find(':'));
    rest.remove_prefix(std::min(rest.size(), folder.size() + 1));
    const std::string candidate = fmt::format("{}/{}", folder, name);
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return "";
}

Json Examine() {
  utsname system = {};
  uname(&system);
  std::string cpu = ProcValue("/proc/cpuinfo", "model name");
  if (cpu.empty()) cpu = "unknown";

  Json kernels = Json::array();
  for (const kernels::Kernels* table : kernels::AllKernels()) {
    kernels.push_back({{"name", table->name}, {"supported", kernels::Supported(*table)}});
  }
  const kernels::Kernels* chosen = kernels::SelectKernels();
  const uint64_t total = ProcBytes("/proc/meminfo", "MemTotal");
  const uint64_t available = ProcBytes("/proc/meminfo", "MemAvailable");
  Json report;
  report["version"] = CARAT_VERSION;
  report["compiler"] = kCompiler;
  report["system"] = fmt::format("{} {} {}", system.sysname, system.release, system.machine);
  report["cpu"] = cpu;
  report["cpu_features"] = CpuFeatures();
  report["kernels"] = kernels;
  report["kernels_chosen"] = chosen == nullptr ? std::string() : std::string(chosen->name);
  report["threads"] = ThreadPool(0).size();
  report["processors"] = get_nprocs();
  report["memory_bytes"] = total;
  report["memory_available_bytes"] = available;
  report["ffmpeg"] = FindProgram("ffmpeg");
  return report;
}

std::string Describe(const Json& report) {
  const auto text = [&](const char* key) { return report[key].get<std::string>(); };
  const auto gib = [&](const char* key) { return report[key].get<double>() / (1 << 30); };
  std::string features, kernels;
  for (const Json& name : report["cpu_features"]) features += (features.empty() ? "" : " ") + name.get<std::string>();
  for (const Json& kernel : report["kernels"]) {
    kernels += (kernels.empty() ? "" : ", ") + kernel["name"].get<std::string>();
    if (!kernel["supported"].get<bool>()) kernels += " (not on this CPU)";
    if (kernel["name"] == report["kernels_chosen"]) kernels += " (chosen)";
  }
  std::string out;
  const auto line = [&](std::string_view name, std::string_view value) {
    out += fmt::format("{:<10} {}\n", name, value);
  };
  line("carat", fmt::format("{}, built with {}", text("version"), text("compiler")));
  line("system", text("system"));
  line("cpu", text("cpu"));
  line("features", features.empty() ? "none that matter here" : features);
  line("kernels", kernels);
  line("threads", fmt::format("{} (of {} processors)", report["threads"].get<int>(), report["processors"].get<int>()));
  line("memory", fmt::format("{:.1f} GiB, {:.1f} GiB available", gib("memory_bytes"), gib("memory_available_bytes")));
  line("ffmpeg", text("ffmpeg").empty() ? "not found (needed for video only)" : text("ffmpeg"));
  return out;
}

// What some usual contexts take, with the cache type of `plan`.
Result<std::vector<MemoryPlan>> UsualContexts(const std::shared_ptr<const Engine>& engine, const MemoryPlan& plan) {
  std::vector<MemoryPlan> plans;
  for (const int context : {2048, 8192, 32768, 131072}) {
    if (context > engine->info().max_positions) break;
    SessionOptions options = plan.session;
    options.context = context;
    TRY_ASSIGN(plans.emplace_back(), PlanMemory(engine, options));
  }
  return plans;
}

Status PrintPlan(Console& console, const DoctorFlags& flags) {
  TRY_ASSIGN(const std::shared_ptr<const Engine> engine, flags.plan.Load(console));
  SessionOptions options;
  options.context = flags.context;
  options.logit_batch = 1;  // as for an answer
  options.sampling = engine->info().sampling;
  const ModelInfo& info = engine->info();
  if (info.sees) options.image_tokens = PlannedTokens(info, flags.media);
  TRY_ASSIGN(options, flags.memory.Plan(console, engine, options));
  TRY_ASSIGN(const MemoryPlan plan, PlanMemory(engine, options));
  TRY_ASSIGN(const std::vector<MemoryPlan> others, UsualContexts(engine, plan));
  if (flags.json) {
    Json json = PlanJson(plan, flags.memory.ram_bytes);
    json["model"] = engine->info().name;
    json["threads"] = engine->threads();
    json["contexts"] = Json::array();
    for (const MemoryPlan& other : others)
      json["contexts"].push_back({{"context", other.session.context}, {"peak_bytes", other.peak_bytes}});
    return console.Write(JsonText(json, 2) + "\n");
  }
  std::string text = PlanTable(plan, flags.memory.ram_bytes) + "\n";
  for (const MemoryPlan& other : others)
    text +=
        fmt::format("{:<16}{:>13}\n", fmt::format("{} tokens", other.session.context), MegabyteText(other.peak_bytes));
  return console.Write(text);
}

}  // namespace

void AddDoctor(CLI::App& app, Action& action) {
  auto flags = std::make_shared<DoctorFlags>();
  CLI::App* command = app.add_subcommand("doctor", "What this machine and this build offer");
  command->add_option("--plan", flags->plan.model,
                      "Print instead what a session of this model takes of the memory, part by part");
  flags->plan.AddSettings(*command);
  AddContext(*command, flags->context);
  flags->memory.AddTo(*command);
  AddImageTokens(*command, flags->media);
  command->add_flag("--json", flags->json, "Print JSON");
  command->callback([flags, &action] {
    action = [flags](Console& console) -> Status {
      if (!flags->plan.model.empty()) return PrintPlan(console, *flags);
      const Json report = Examine();
      return console.Write(flags->json ? JsonText(report, 2) + "\n" : Describe(report));
    };
  });
}

}  // namespace carat::cli
