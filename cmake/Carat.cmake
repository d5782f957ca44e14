# What every target of Carat is compiled with, and how a room (a folder of src/) is added.

add_library(carat_flags INTERFACE)
target_compile_options(carat_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Werror
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>  # GCC 12 at -O3 finds overlaps in std::string that are none (its bug 105651)
  -ffp-contract=off            # results must not depend on what the compiler can fuse
  -fno-omit-frame-pointer)
if(CARAT_SANITIZE)
  target_compile_options(carat_flags INTERFACE -fsanitize=${CARAT_SANITIZE} -fno-sanitize-recover=all)
  target_link_options(carat_flags INTERFACE -fsanitize=${CARAT_SANITIZE})
endif()
if(CARAT_COVERAGE)
  target_compile_options(carat_flags INTERFACE --coverage)
  target_link_options(carat_flags INTERFACE --coverage)
endif()

# carat_room(NAME SOURCES a.cc ... [TESTS a_test.cc ...])
# Adds the sources to the library, and the tests as one program NAME_test.
function(carat_room name)
  cmake_parse_arguments(ARG "" "" "SOURCES;TESTS" ${ARGN})
  foreach(source ${ARG_SOURCES})
    target_sources(carat PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/${source})
  endforeach()
  if(CARAT_BUILD_TESTS AND ARG_TESTS)
    carat_test(${name}_test ${ARG_TESTS})
  endif()
endfunction()

# carat_test(NAME sources...): a GoogleTest program, each of its tests known to ctest.
function(carat_test name)
  add_executable(${name} ${ARGN})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE carat carat_flags nlohmann_json::nlohmann_json GTest::gtest GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE CARAT_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  target_compile_options(${name} PRIVATE ${CARAT_OUTER_FLAGS})
  gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT 300)
endfunction()
