// TRY and TRY_ASSIGN: hand an error up to the caller.
#pragma once

#include <utility>

#include "carat/result.h"

#define CARAT_CONCAT_INNER(a, b) a##b
#define CARAT_CONCAT(a, b) CARAT_CONCAT_INNER(a, b)

// TRY(expression): returns the error of `expression` (a Status or Result), or goes on.
#define TRY(expression)                                                     \
  do {                                                                      \
    auto&& try_result = (expression);                                       \
    if (!try_result) return std::unexpected(std::move(try_result).error()); \
  } while (false)

// TRY_ASSIGN(auto x, expression): as TRY, and binds the value.
#define TRY_ASSIGN(declaration, expression) \
  TRY_ASSIGN_INNER(CARAT_CONCAT(try_value_, __LINE__), declaration, expression)
#define TRY_ASSIGN_INNER(name, declaration, expression)       \
  auto name = (expression);                                   \
  if (!name) return std::unexpected(std::move(name).error()); \
  declaration = std::move(*name)
