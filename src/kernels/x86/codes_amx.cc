// Code sums on the tile registers of the CPU.
#include "kernels/x86/amx.h"
#include "kernels/x86/code_tiles.h"

namespace carat::kernels::amx {
namespace {

// What ldtilecfg reads.
struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64);

// The registers, from construction to destruction, of the thread that runs it: configured for the shortest time, since
// the system saves them with every switch of threads.
//
// Assembler in place of intrinsics: those of GCC 12 do not say that they read and write memory, so that it moves or
// drops the stores that fill a tile or its configuration.
class Tiles {
 public:
  Tiles() {
    const TileConfig config;
    asm volatile("ldtilecfg %0" : : "m"(config) : "memory");
  }
  ~Tiles() { asm volatile("tilerelease" : : : "memory"); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;

  template <int kTile>
  [[gnu::always_inline]] void Zero() {
    asm volatile("tilezero %%tmm%c0" : : "i"(kTile) : "memory");
  }
  template <int kTile>
  [[gnu::always_inline]] void Load(const void* from, int64_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(kTile) : "memory");
  }
  template <int kTile>
  [[gnu::always_inline]] void Store(void* to) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(int64_t{64}), "i"(kTile) : "memory");
  }
  template <int kSum, int kSigned, int kUnsigned>
  [[gnu::always_inline]] void Dot() {
    asm volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSum), "i"(kSigned), "i"(kUnsigned) : "memory");
  }
};

}  // namespace

void PackCodeTile(const int8_t* codes, int64_t tokens, int64_t k, int8_t* tile) {
  x86::PackTokenTile(codes, tokens, k, tile);
}

void GemmCodes(const S8Panel& w, int64_t rows, const CodeTiles& x, int64_t tokens, int64_t k, float* y,
               int64_t y_stride) {
  Tiles tiles;
  x86::TileProducts(tiles, w, rows, x, tokens, k, y, y_stride);
}

// Six sums that do not wait for each other: a product takes 16 cycles, and its sum is there after 52.
int64_t PeakInt8(int64_t rounds) {
  Tiles tiles;
  for (int64_t round = 0; round < rounds; ++round) {
    tiles.Dot<0, 6, 7>();
    tiles.Dot<1, 6, 7>();
    tiles.Dot<2, 6, 7>();
    tiles.Dot<3, 6, 7>();
    tiles.Dot<4, 6, 7>();
    tiles.Dot<5, 6, 7>();
  }
  return rounds * 6 * (2 * 16 * 16 * 64);
}

}  // namespace carat::kernels::amx
