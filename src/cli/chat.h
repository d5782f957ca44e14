// The interactive chat of `carat run`.
#pragma once

#include "carat/conversation.h"
#include "cli/console.h"

namespace carat::cli {

// Reads messages and commands from the terminal until the user leaves. `stats`: show them after every answer. Errors:
// those that end the chat (kFailure: stdout cannot be written); others are shown, and the chat goes on.
Status RunChat(Console& console, Conversation& conversation, bool stats);

}  // namespace carat::cli
