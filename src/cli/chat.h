// The interactive chat of `carat run`.
#pragma once

#include <vector>

#include "carat/conversation.h"
#include "cli/console.h"

namespace carat::cli {

struct ChatStart {
  bool stats = false;         // show them after every answer
  std::vector<Medium> media;  // to go with the first message
};

// Reads messages and commands from the terminal until the user leaves. Errors: those that end the chat (kFailure:
// stdout cannot be written); others are shown, and the chat goes on.
Status RunChat(Console& console, Conversation& conversation, const ChatStart& start);

}  // namespace carat::cli
