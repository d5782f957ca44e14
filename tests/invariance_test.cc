// Same tokens, same bits: logits do not depend on how a timeline came about.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "carat/session.h"
#include "engine/engine_impl.h"
#include "engine/session_impl.h"
#include "engine/trace.h"
#include "kernels/kernels.h"
#include "tests/support/emulated_tiles.h"
#include "tests/support/golden.h"

namespace carat {
namespace {

using testing_support::FindTensor;
using testing_support::GoldenModel;
using testing_support::GoldenModels;
using testing_support::OwnGolden;

// Long enough to leave the sliding rings behind: they hold a window (4 or 5 here), a batch and 64 tokens of slack.
constexpr int kTokens = 150;
constexpr int kContext = 200;
constexpr int kBatch = 7;

using Rows = std::vector<std::vector<float>>;  // logits, per token

std::shared_ptr<const Engine> Load(const std::filesystem::path& path, const EngineOptions& options) {
  auto engine = Engine::Load(path, options);
  if (!engine) throw std::runtime_error(engine.error().message);
  return *engine;
}

Session Start(const std::shared_ptr<const Engine>& engine, KvCacheType kv_type, int batch = kBatch) {
  auto session = Session::Create(engine, {.context = kContext, .kv_type = kv_type, .batch = batch});
  if (!session) throw std::runtime_error(session.error().message);
  return std::move(*session);
}

std::vector<TokenId> RandomTokens(const Engine& engine, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<TokenId> ids(kTokens);
  for (TokenId& id : ids) id = static_cast<TokenId>(random() % static_cast<unsigned>(engine.info().vocabulary));
  return ids;
}

// The logits of every token. In one batch, they are what all the other ways are compared with.
Rows AllRows(const std::shared_ptr<const Engine>& engine, KvCacheType kv_type, std::span<const TokenId> ids,
             int batch = kTokens) {
  Session session = Start(engine, kv_type, batch);
  Rows rows;
  const auto vocabulary = static_cast<size_t>(engine->info().vocabulary);
  const Status status = session.AppendWithLogits(ids, [&](int64_t first, std::span<const float> logits) {
    EXPECT_EQ(first, static_cast<int64_t>(rows.size()));
    for (; !logits.empty(); logits = logits.subspan(vocabulary))
      rows.emplace_back(logits.begin(), logits.begin() + static_cast<std::ptrdiff_t>(vocabulary));
  });
  EXPECT_TRUE(status) << status.error().message;
  EXPECT_EQ(rows.size(), ids.size());
  return rows;
}

bool SameBits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

void ExpectSame(const Rows& got, const Rows& want, const std::string& how) {
  ASSERT_EQ(got.size(), want.size()) << how;
  for (size_t i = 0; i < got.size(); ++i)
    ASSERT_TRUE(SameBits(got[i], want[i])) << how << ": other bits at token " << i;
}

// The session's logits are those of the row of its last token.
void ExpectRow(Session& session, const Rows& rows, const std::string& how) {
  const auto logits = session.Logits();
  ASSERT_TRUE(logits) << logits.error().message;
  EXPECT_TRUE(SameBits(*logits, rows[static_cast<size_t>(session.length()) - 1]))
      << how << ": other bits at token " << session.length() - 1;
}

void Append(Session& session, std::span<const TokenId> ids) {
  const Status status = session.Append(ids);
  EXPECT_TRUE(status) << status.error().message;
}

void Truncate(Session& session, int length) {
  const Status status = session.Truncate(length);
  EXPECT_TRUE(status) << status.error().message;
}

// One model, computing in one way.
struct Setting {
  std::filesystem::path path;
  bool exact = false;
  KvCacheType kv_type = KvCacheType::kF32;
  std::shared_ptr<const Engine> engine;  // one thread
  std::vector<TokenId> ids;
  Rows rows;  // of ids
};

const char* NameOf(KvCacheType type) {
  return type == KvCacheType::kF32 ? ", F32 cache" : type == KvCacheType::kF16 ? ", F16 cache" : ", int8 cache";
}

void InEverySetting(const std::function<void(const Setting&)>& check) {
  const std::vector<GoldenModel> models = GoldenModels(OwnGolden());
  EXPECT_GE(models.size(), 10U);
  for (const GoldenModel& model : models) {
    for (const auto& [exact, kv_type] : {std::pair(true, KvCacheType::kF32), std::pair(false, KvCacheType::kF32),
                                         std::pair(false, KvCacheType::kF16), std::pair(false, KvCacheType::kInt8)}) {
      SCOPED_TRACE(model.name + (exact ? ", exact" : "") + NameOf(kv_type));
      Setting setting = {.path = model.path, .exact = exact, .kv_type = kv_type, .engine = {}, .ids = {}, .rows = {}};
      setting.engine = Load(model.path, {.threads = 1, .exact = exact});
      setting.ids = RandomTokens(*setting.engine, 7);
      setting.rows = AllRows(setting.engine, kv_type, setting.ids);
      check(setting);
    }
  }
}

TEST(InvarianceTest, PromptsInUnevenChunks) {
  InEverySetting([](const Setting& it) {
    Session session = Start(it.engine, it.kv_type);
    std::span<const TokenId> rest = it.ids;
    for (size_t chunk = 1; !rest.empty(); chunk = chunk * 5 % 23) {  // 1, 5, 2, 10, 4, 20, 8, 17, 16, 11, ...
      const size_t count = std::min(chunk, rest.size());
      Append(session, rest.first(count));
      rest = rest.subspan(count);
      ExpectRow(session, it.rows, "in chunks");
    }
  });
}

TEST(InvarianceTest, TokenByToken) {
  InEverySetting([](const Setting& it) {
    Session session = Start(it.engine, it.kv_type);
    for (const TokenId id : it.ids) {
      Append(session, {&id, 1});
      ExpectRow(session, it.rows, "token by token");
    }
  });
}

TEST(InvarianceTest, AllRowsInSmallBatches) {
  InEverySetting([](const Setting& it) {
    ExpectSame(AllRows(it.engine, it.kv_type, it.ids, kBatch), it.rows, "in small batches");
  });
}

TEST(InvarianceTest, AnyNumberOfThreads) {
  InEverySetting([](const Setting& it) {
    for (const int threads : {2, 3}) {
      const auto engine = Load(it.path, {.threads = threads, .exact = it.exact});
      ExpectSame(AllRows(engine, it.kv_type, it.ids), it.rows, std::to_string(threads) + " threads");
    }
  });
}

// Logits of kernels that multiply blocks in another way: not the same, and not far from them (docs/NUMERICS.md). Root
// mean square of the difference, as a share of the spread, of all tokens together.
void ExpectClose(const Rows& got, const Rows& want) {
  ASSERT_EQ(got.size(), want.size());
  double sum = 0, squares = 0, errors = 0, count = 0;
  for (size_t t = 0; t < want.size(); ++t)
    for (size_t i = 0; i < want[t].size(); ++i, ++count) {
      sum += want[t][i];
      squares += double{want[t][i]} * want[t][i];
      errors += (double{got[t][i]} - want[t][i]) * (double{got[t][i]} - want[t][i]);
    }
  const double share = std::sqrt(errors / (squares - sum * sum / count));
  EXPECT_LE(share, 0.02);
  EXPECT_GT(share, 0) << "the same bits: another way is none";
}

// The tables of kernels promise the same bits (kernels/kernels.h), but for blocks on tiles; here is what that comes to.
TEST(InvarianceTest, AnyKernels) {
  InEverySetting([](const Setting& it) {
    const bool has_blocks = !it.exact && it.engine->impl().model.has_blocks;
    const bool own = has_blocks && it.engine->impl().context.kernels->bf16 != nullptr;  // those of it.rows
    for (const kernels::Kernels* table : kernels::AllKernels()) {
      if (!kernels::Supported(*table)) continue;
      SCOPED_TRACE(table->name);
      const auto engine = Load(it.path, {.threads = 1, .cpu = std::string(table->name), .exact = it.exact});
      const Rows rows = AllRows(engine, it.kv_type, it.ids);
      if ((has_blocks && table->bf16 != nullptr) == own)
        ExpectSame(rows, it.rows, std::string(table->name));
      else
        ExpectClose(rows, it.rows);
    }
  });
}

// The level amx, on any machine. Its tiles are emulated slowly, so with fewer tokens and the usual cache.
TEST(InvarianceTest, BlocksOnTiles) {
  int checked = 0;
  for (const GoldenModel& model : GoldenModels(OwnGolden())) {
    SCOPED_TRACE(model.name);
    const auto ordinary = Load(model.path, {.threads = 2, .cpu = "scalar"});
    if (!ordinary->impl().model.has_blocks) continue;
    ++checked;
    std::vector<TokenId> ids = RandomTokens(*ordinary, 7);
    ids.resize(40);
    const auto load = [&](int threads) {
      return testing_support::OnEmulatedTiles(Load(model.path, {.threads = threads}));
    };
    const auto engine = load(1);
    const Rows rows = AllRows(engine, KvCacheType::kF16, ids);
    ExpectSame(AllRows(engine, KvCacheType::kF16, ids, 1), rows, "token by token");
    ExpectSame(AllRows(engine, KvCacheType::kF16, ids, kBatch), rows, "in small batches");
    ExpectSame(AllRows(load(3), KvCacheType::kF16, ids), rows, "3 threads");
    Session session = Start(engine, KvCacheType::kF16);
    for (const TokenId id : ids) Append(session, {&id, 1});  // copies of weights are in use now
    ExpectRow(session, rows, "decoded");
    ExpectClose(rows, AllRows(ordinary, KvCacheType::kF16, ids));
  }
  EXPECT_GE(checked, 4);
}

TEST(InvarianceTest, PrefillShortcut) {
  InEverySetting([](const Setting& it) {
    Session session = Start(it.engine, it.kv_type, kTokens);
    Append(session, it.ids);
    ExpectRow(session, it.rows, "with the shortcut");
  });
}

// A rollback is cheap while the rings hold what the window needs, and computes again what they have lost.
TEST(InvarianceTest, Rollbacks) {
  InEverySetting([](const Setting& it) {
    Session session = Start(it.engine, it.kv_type);
    const std::vector<TokenId> others = RandomTokens(*it.engine, 8);
    const std::span<const TokenId> ids = it.ids;
    Append(session, ids);
    EXPECT_TRUE(session.impl().decoder->cache().CanTruncate(kTokens - 10));
    Truncate(session, kTokens - 10);
    ExpectRow(session, it.rows, "after a short rollback");
    EXPECT_FALSE(session.impl().decoder->cache().CanTruncate(20));
    Truncate(session, 20);
    ExpectRow(session, it.rows, "after a rollback beyond the window");
    Append(session, std::span(others).first(90));  // another future, which must leave no trace
    Truncate(session, 30);
    Truncate(session, 20);
    Append(session, ids.subspan(20, 80));
    ExpectRow(session, it.rows, "after another future");
    Truncate(session, 0);
    Append(session, ids);
    ExpectRow(session, it.rows, "from the start again");
  });
}

// With the shortcut a trace has fewer rows; those that it has are the same.
TEST(InvarianceTest, TracesInChunksAndWithTheShortcut) {
  for (const GoldenModel& model : GoldenModels(OwnGolden())) {
    SCOPED_TRACE(model.name);
    const auto engine = Load(model.path, {.threads = 2});
    const std::vector<TokenId> ids = RandomTokens(*engine, 9);
    const auto whole = TraceTokens(engine, ids, {.generate = 5});
    ASSERT_TRUE(whole) << whole.error().message;
    for (const TraceOptions& options :
         {TraceOptions{.chunk = 1}, {.chunk = kBatch, .shortcut = true}, {.shortcut = true, .generate = 5}}) {
      const auto trace = TraceTokens(engine, ids, options);
      ASSERT_TRUE(trace) << trace.error().message;
      for (const char* name : {"embed", "layer.0", "layer.3", "final_norm", "logits"})
        EXPECT_NE(FindTensor(*trace, name), nullptr) << name;
      // Without tolerances, nothing may differ.
      for (const TraceDifference& difference : CompareTrace(*trace, {*whole, {}}, options.shortcut)) {
        EXPECT_TRUE(difference.within) << difference.name << " at " << difference.where << " with chunks of "
                                       << options.chunk;
      }
    }
  }
}

}  // namespace
}  // namespace carat
