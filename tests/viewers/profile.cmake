# SPDX-License-Identifier: MIT
# Metrics and profiles in the programs that people read them with.

# The system's own first: that is the one with the system's packages.
find_program(TARN_VIEWERS_PYTHON python3 PATHS /usr/bin NO_DEFAULT_PATH)
find_program(TARN_VIEWERS_PYTHON python3)

if(TARN_VIEWERS_PYTHON)
  add_executable(metrics_program metrics_program.c)
  target_link_libraries(metrics_program PRIVATE tarn_program tarn_static PkgConfig::TARN_URCU)
  add_test(NAME viewers.metrics
    COMMAND ${TARN_VIEWERS_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/metrics_check.py
            $<TARGET_FILE:metrics_program>)
  set_tests_properties(viewers.metrics PROPERTIES LABELS viewers TIMEOUT 120 SKIP_RETURN_CODE 77)
endif()

add_executable(profile_program profile_program.c)
target_link_libraries(profile_program PRIVATE tarn_program tarn_static PkgConfig::TARN_URCU)
add_test(NAME viewers.profile_pprof
  COMMAND ${CMAKE_CURRENT_LIST_DIR}/profile_pprof.sh $<TARGET_FILE:profile_program>)
set_tests_properties(viewers.profile_pprof PROPERTIES LABELS viewers TIMEOUT 120 SKIP_RETURN_CODE 77)

find_program(TARN_VIEWERS_NODE NAMES node nodejs)
if(TARN_VIEWERS_NODE)
  add_test(NAME viewers.profile_format
    COMMAND ${TARN_VIEWERS_NODE} ${CMAKE_CURRENT_LIST_DIR}/profile_format.js
            $<TARGET_FILE:profile_program>)
  set_tests_properties(viewers.profile_format PROPERTIES LABELS viewers TIMEOUT 120
                       SKIP_RETURN_CODE 77)
endif()
