#include "cli/environment.h"

#include <cctype>
#include <string>

namespace carat::cli {

void AddEnvironmentTwins(CLI::App& app) {
  for (CLI::Option* option : app.get_options()) {
    if (option->get_lnames().empty() || !option->get_envname().empty()) continue;
    if (option == app.get_help_ptr() || option == app.get_version_ptr()) continue;
    std::string name = "CARAT_";
    for (const char c : option->get_lnames().front()) {
      name += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    }
    option->envname(name);
  }
  for (CLI::App* command : app.get_subcommands({})) AddEnvironmentTwins(*command);
}

}  // namespace carat::cli
