# SPDX-License-Identifier: MIT
# Traces: by Python's reader of JSON, and by speedscope in a browser without a screen.
add_executable(trace_program ${CMAKE_CURRENT_LIST_DIR}/trace_program.c)
target_link_libraries(trace_program PRIVATE tarn_program tarn_static)
foreach(viewer json speedscope)
  add_test(NAME viewers.trace_${viewer}
    COMMAND ${CMAKE_CURRENT_LIST_DIR}/trace_${viewer}.sh $<TARGET_FILE:trace_program>)
  set_tests_properties(viewers.trace_${viewer} PROPERTIES LABELS viewers TIMEOUT 240 SKIP_RETURN_CODE 77)
endforeach()

# The probes, as the tools find them.
if(TARGET tarn)
  add_test(NAME viewers.probes
    COMMAND ${CMAKE_CURRENT_LIST_DIR}/trace_probes.sh $<TARGET_FILE:tarn> ${PROJECT_SOURCE_DIR})
  set_tests_properties(viewers.probes PROPERTIES LABELS viewers TIMEOUT 60 SKIP_RETURN_CODE 77)
endif()
