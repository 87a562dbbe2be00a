# SPDX-License-Identifier: MIT
# How everything in this repository is compiled.
#   tarn_warnings   language level and warnings; all targets, the examples too
#   tarn_sanitizer  the flags of the chosen sanitizer; all targets
#   tarn_flags      both, and what a file that includes a header of lib/ needs
#   tarn_coverage   counters of what runs; the objects of the library alone

add_library(tarn_warnings INTERFACE)
# Set as a plain option: the rule is exactly -std=c11, and no GNU dialect.
target_compile_options(tarn_warnings INTERFACE
  -std=c11 -Wall -Wextra -Wpedantic -Wshadow -Wconversion $<$<BOOL:${TARN_WERROR}>:-Werror>)

add_library(tarn_sanitizer INTERFACE)
if(TARN_SANITIZE STREQUAL "asan")
  set(tarn_sanitizer_options -fsanitize=address,undefined -fno-sanitize-recover=all
                             -fno-omit-frame-pointer)
elseif(TARN_SANITIZE STREQUAL "tsan")
  # _LGPL_SOURCE must stay undefined here: it would inline liburcu's assembly, which the
  # sanitizer cannot see.
  set(tarn_sanitizer_options -fsanitize=thread -fno-omit-frame-pointer)
  if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
    # gcc expands memset and memcpy in place after instrumentation; that hides them.
    target_compile_options(tarn_sanitizer INTERFACE -fno-builtin)
  endif()
elseif(NOT TARN_SANITIZE STREQUAL "none")
  message(FATAL_ERROR
    "TARN_SANITIZE is \"${TARN_SANITIZE}\"; accepted are none, asan and tsan")
endif()
if(tarn_sanitizer_options)
  target_compile_options(tarn_sanitizer INTERFACE ${tarn_sanitizer_options})
  target_link_options(tarn_sanitizer INTERFACE ${tarn_sanitizer_options})
  # For code that must know, such as time limits and heap sizes of tests.
  string(TOUPPER TARN_SANITIZE_${TARN_SANITIZE} tarn_sanitizer_definition)
  target_compile_definitions(tarn_sanitizer INTERFACE ${tarn_sanitizer_definition}=1)
endif()

add_library(tarn_flags INTERFACE)
target_link_libraries(tarn_flags INTERFACE tarn_warnings tarn_sanitizer)
target_compile_options(tarn_flags INTERFACE -fvisibility=hidden)
target_compile_definitions(tarn_flags INTERFACE _GNU_SOURCE
  $<$<BOOL:${TARN_CHECKING}>:TARN_CHECKING=1>
  $<$<BOOL:${TARN_HARDENED}>:TARN_HARDENED=1>
  $<$<BOOL:${TARN_FAULTS}>:TARN_FAULTS=1>
  $<$<BOOL:${TARN_ZEAL}>:TARN_ZEAL=1>
  $<$<BOOL:${TARN_DELAYS}>:TARN_DELAYS=1>
  $<$<BOOL:${TARN_TOOLS}>:TARN_TOOLS=1>)

# Counters lie in a mapping of the file itself, so that those of a child that aborts are kept.  The
# programs have none: nobody asks for the lines of tests, whose loops over memory would take minutes.
# How often a condition was false is what is left when true is taken off, so where threads lose
# counts to each other an outcome may seem to have been seen: atomic counters lose none, and take ten
# times as long.
add_library(tarn_coverage INTERFACE)
if(TARN_COVERAGE)
  if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "TARN_COVERAGE needs clang")
  endif()
  target_compile_options(tarn_coverage INTERFACE
    -fprofile-instr-generate -fcoverage-mapping "SHELL:-mllvm -runtime-counter-relocation"
    $<$<BOOL:${TARN_COVERAGE_ATOMIC}>:-fprofile-update=atomic>)
  target_link_options(tarn_flags INTERFACE -fprofile-instr-generate)
endif()

# Programs run under the thread sanitizer carry the suppressions for liburcu with them.
add_library(tarn_program INTERFACE)
target_link_libraries(tarn_program INTERFACE tarn_flags)
if(TARN_SANITIZE STREQUAL "tsan")
  add_library(tarn_suppressions OBJECT ${PROJECT_SOURCE_DIR}/cmake/tsan_suppressions.c)
  target_link_libraries(tarn_suppressions PRIVATE tarn_flags)
  target_sources(tarn_program INTERFACE $<TARGET_OBJECTS:tarn_suppressions>)
endif()
