// How long a photograph takes until the vision tower can read it: decoding, resizing, cutting into patches.
//
// usage: picture_bench [--rounds N] [--width N --height N] [--threads N]
//
// The photograph is drawn here (shading, discs with soft edges, fine grain) and encoded as JPEG at quality 90. Times
// are medians of the rounds: of one thread, its own processor time, so that neighbours disturb little; of more, time on
// the wall.
// clang-format off
#include <cstdio>  // what jpeglib.h lacks
#include <jpeglib.h>
// clang-format on

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <random>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "gemma/image_input.h"
#include "media/image.h"

namespace carat {
namespace {

using gemma::ImageSize;

double NowMs(int threads) {
  timespec now{};
  ::clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &now);
  return 1e3 * static_cast<double>(now.tv_sec) + 1e-6 * static_cast<double>(now.tv_nsec);
}

double MedianMs(int threads, int rounds, const std::function<void()>& work) {
  std::vector<double> times;
  for (int round = 0; round < rounds; ++round) {
    const double start = NowMs(threads);
    work();
    times.push_back(NowMs(threads) - start);
  }
  std::ranges::nth_element(times, times.begin() + rounds / 2);
  return times[static_cast<size_t>(rounds / 2)];
}

std::vector<uint8_t> Photograph(ImageSize size) {
  struct Disc {
    double x, y, radius, red, green, blue;
  };
  std::mt19937 random(1);
  std::uniform_real_distribution<double> share(0, 1);
  std::vector<Disc> discs(24);
  for (Disc& disc : discs)
    disc = {share(random), share(random), 0.03 + 0.12 * share(random), share(random), share(random), share(random)};
  std::vector<uint8_t> rgb;
  rgb.reserve(static_cast<size_t>(size.width * size.height * 3));
  for (int64_t y = 0; y < size.height; ++y) {
    const double v = static_cast<double>(y) / static_cast<double>(size.height);
    for (int64_t x = 0; x < size.width; ++x) {
      const double u = static_cast<double>(x) / static_cast<double>(size.width);
      double red = 0.4 + 0.4 * u, green = 0.3 + 0.4 * v, blue = 0.8 - 0.5 * v;
      for (const Disc& disc : discs) {
        const double distance = std::hypot(u - disc.x, v - disc.y) / disc.radius;
        const double cover = std::clamp(20 * (1 - distance), 0.0, 1.0);
        red += cover * (disc.red - red), green += cover * (disc.green - green), blue += cover * (disc.blue - blue);
      }
      const double grain = 0.06 * (static_cast<double>(random() & 0xff) / 255 - 0.5);
      for (const double value : {red, green, blue})
        rgb.push_back(static_cast<uint8_t>(255 * std::clamp(value + grain, 0.0, 1.0)));
    }
  }
  return rgb;
}

std::vector<std::byte> Jpeg(const std::vector<uint8_t>& rgb, ImageSize size) {
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* bytes = nullptr;
  unsigned long size_bytes = 0;
  jpeg_mem_dest(&info, &bytes, &size_bytes);
  info.image_width = static_cast<JDIMENSION>(size.width);
  info.image_height = static_cast<JDIMENSION>(size.height);
  info.input_components = 3;
  info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, 90, TRUE);
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < info.image_height) {
    auto* row =
        const_cast<uint8_t*>(rgb.data()) + static_cast<size_t>(info.next_scanline) * rgb.size() / info.image_height;
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  const auto* begin = reinterpret_cast<const std::byte*>(bytes);
  std::vector<std::byte> file(begin, begin + size_bytes);
  std::free(bytes);
  return file;
}

void Measure(const media::Image& image, int threads, int rounds) {
  ThreadPool pool(threads);
  const ops::Context context = {.pool = &pool};
  const gemma::ImageView view = {{image.width, image.height}, image.rgb};
  for (const int64_t budget : gemma::kImageBudgets) {
    const auto target = gemma::TargetSize(view.size, {}, budget);
    if (!target) continue;
    std::vector<uint8_t> resized;
    const double resize = MedianMs(pool.size(), rounds, [&] { resized = gemma::Resample(view, *target, context); });
    const double cut = MedianMs(pool.size(), rounds, [&] {
      (void)gemma::MakePatches({*target, resized}, gemma::PatchShape().patch, gemma::PixelScaling::kImage, context);
    });
    std::printf("%7d  %6lld  %4lld x %-4lld  %8.1f  %8.1f\n", pool.size(), static_cast<long long>(budget),
                static_cast<long long>(target->width), static_cast<long long>(target->height), resize, cut);
  }
}

int Main(int argc, char** argv) {
  ImageSize size = {.width = 4032, .height = 3024};
  int rounds = 11, threads = 0;
  for (int i = 1; i < argc; i += 2) {
    const std::string_view option = argv[i];
    const int64_t value = i + 1 < argc ? std::strtol(argv[i + 1], nullptr, 10) : 0;
    if (option == "--rounds" && value > 0 && value < 1000) {
      rounds = static_cast<int>(value);
    } else if (option == "--threads" && value > 0 && value < 1000) {
      threads = static_cast<int>(value);
    } else if (option == "--width" && value > 0 && value <= JPEG_MAX_DIMENSION) {
      size.width = value;
    } else if (option == "--height" && value > 0 && value <= JPEG_MAX_DIMENSION) {
      size.height = value;
    } else {
      std::fprintf(stderr, "usage: picture_bench [--rounds N] [--width N --height N] [--threads N]\n");
      return 2;
    }
  }
  const std::vector<std::byte> file = Jpeg(Photograph(size), size);
  Result<media::Image> image;
  const double decode = MedianMs(1, rounds, [&] { image = media::DecodeImage(file, "photograph"); });
  if (!image) {
    std::fprintf(stderr, "%s\n", image.error().message.c_str());
    return 1;
  }
  std::printf("JPEG of %lld x %lld, %.1f MB: decoded in %.1f ms\n", static_cast<long long>(size.width),
              static_cast<long long>(size.height), 1e-6 * static_cast<double>(file.size()), decode);
  std::printf("threads  budget  pixels         resize ms  patches ms\n");
  Measure(*image, 1, rounds);
  if (ThreadPool(threads).size() > 1) Measure(*image, threads, rounds);
  return 0;
}

}  // namespace
}  // namespace carat

int main(int argc, char** argv) { return carat::Main(argc, argv); }
