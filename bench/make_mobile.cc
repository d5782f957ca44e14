// Makes a checkpoint in the layout of Google's low-bit releases, with random weights.
//
// usage: make_mobile FOLDER [e2b|e4b|tiny] [SEED]
#include <cstdio>
#include <cstdlib>
#include <string>

#include "bench/mobile_folder.h"

int main(int argc, char** argv) {
  if (argc < 2 || argc > 4 || argv[1][0] == '-') {
    std::fprintf(stderr, "usage: make_mobile FOLDER [e2b|e4b|tiny] [SEED]\n");
    return 2;
  }
  const auto shape = carat::bench::MobileShapeOf(argc > 2 ? argv[2] : "e2b");
  if (!shape) return std::fprintf(stderr, "%s\n", shape.error().message.c_str()), 2;
  const auto status =
      carat::bench::WriteMobileFolder(argv[1], *shape, argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 1);
  if (!status) return std::fprintf(stderr, "%s\n", status.error().message.c_str()), 1;
  return 0;
}
