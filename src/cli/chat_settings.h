// What /set changes in a chat.
#pragma once

#include <string>
#include <string_view>

#include "carat/conversation.h"

namespace carat::cli {

// All settings and their values, a line each.
std::string DescribeSettings(const Conversation& conversation);

// Sets one by its name, which is that of the command line's option without the dashes. Error: kUsage.
Status ChangeSetting(Conversation& conversation, std::string_view name, std::string_view value);

}  // namespace carat::cli
