// Files in what a user types: terminals write the path of a file that is dropped onto them.
#pragma once

#include <string>
#include <vector>

#include "carat/media.h"

namespace carat::cli {

// Takes the words that are paths of pictures and videos out of `message`. A word is a path if it has a slash or a dot
// and such a file is there; it may be quoted, have its spaces behind backslashes, or be a file:// URL. Other words
// stay, and so does all white space between them.
std::vector<Medium> TakeMedia(std::string& message);

// A path as a user types it: without the quotes or backslashes around its spaces.
std::string TypedPath(std::string_view word);

}  // namespace carat::cli
