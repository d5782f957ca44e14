// Which pages of a checkpoint's files become resident while its model runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/mapped_file.h"
#include "gemma/model.h"

namespace carat {

using PageRanges = std::vector<std::span<const std::byte>>;  // whole pages; ascending, and apart from each other

// The pages that these parts of files lie on.
PageRanges PagesOf(std::vector<std::span<const std::byte>> parts);
// Those of the model's weights. Rows of tables are read from the file and need none.
PageRanges WeightPages(const gemma::Model& model);
uint64_t TotalBytes(const PageRanges& pages);

// Lets go of pages of files; they come back when they are looked at.
void Release(const PageRanges& pages);

// Tells the system that all of these pages will be read, after KeepOnly said otherwise.
void ExpectAll(const PageRanges& pages, const MappedFile& file);

// Tells the system that of the files nothing else is needed, so that neither what lies beside the weights nor what was
// read to load the model stays resident.
void KeepOnly(const PageRanges& pages, std::span<const MappedFile> files);

}  // namespace carat
