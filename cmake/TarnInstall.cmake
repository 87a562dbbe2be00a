# SPDX-License-Identifier: MIT
# What is installed, in components (cmake --install DIR --component NAME):
#   runtime      libtarn.so.0.1, which programs need to run
#   development  headers, the static library, and how CMake and pkg-config find them all
#   malloc       libtarn-malloc.so, and how CMake finds it
#   tools        programs
#   doc          the manual page, doc/, the readme, the changelog and the licence

include(CMakePackageConfigHelpers)
set(TARN_CMAKEDIR ${CMAKE_INSTALL_LIBDIR}/cmake/Tarn)

foreach(target tarn tarn_static)
  target_include_directories(${target} PUBLIC $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
endforeach()
install(TARGETS tarn EXPORT TarnSharedTargets
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT runtime
                NAMELINK_COMPONENT development)
install(TARGETS tarn_static EXPORT TarnStaticTargets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development)
install(FILES ${TARN_PUBLIC_HEADERS} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/tarn
        COMPONENT development)

# A file for each library: only users of the static one need liburcu to link, and the malloc door
# may be left out.
install(EXPORT TarnSharedTargets NAMESPACE Tarn:: DESTINATION ${TARN_CMAKEDIR}
        COMPONENT development)
install(EXPORT TarnStaticTargets NAMESPACE Tarn:: DESTINATION ${TARN_CMAKEDIR}
        COMPONENT development)
if(TARGET tarn_malloc)
  install(TARGETS tarn_malloc EXPORT TarnMallocTargets
          LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT malloc)
  install(EXPORT TarnMallocTargets NAMESPACE Tarn:: DESTINATION ${TARN_CMAKEDIR}
          COMPONENT malloc)
endif()
configure_package_config_file(cmake/TarnConfig.cmake.in ${PROJECT_BINARY_DIR}/TarnConfig.cmake
                              INSTALL_DESTINATION ${TARN_CMAKEDIR})
configure_file(cmake/TarnConfigVersion.cmake.in ${PROJECT_BINARY_DIR}/TarnConfigVersion.cmake @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/TarnConfig.cmake ${PROJECT_BINARY_DIR}/TarnConfigVersion.cmake
        DESTINATION ${TARN_CMAKEDIR} COMPONENT development)

# The .pc file finds its prefix from where it lies, so an installed tree can be moved.
if(IS_ABSOLUTE ${CMAKE_INSTALL_LIBDIR})
  set(TARN_PC_PREFIX ${CMAKE_INSTALL_PREFIX})
else()
  file(RELATIVE_PATH TARN_PC_UP /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
  string(REGEX REPLACE "/$" "" TARN_PC_UP "${TARN_PC_UP}")
  set(TARN_PC_PREFIX "\${pcfiledir}/${TARN_PC_UP}")
endif()
foreach(dir LIBDIR INCLUDEDIR)
  if(IS_ABSOLUTE ${CMAKE_INSTALL_${dir}})
    set(TARN_PC_${dir} ${CMAKE_INSTALL_${dir}})
  else()
    set(TARN_PC_${dir} "\${prefix}/${CMAKE_INSTALL_${dir}}")
  endif()
endforeach()
configure_file(cmake/tarn.pc.in ${PROJECT_BINARY_DIR}/tarn.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/tarn.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig
        COMPONENT development)

file(GLOB TARN_DOCS CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/doc/*.md)
install(FILES ${TARN_DOCS} DESTINATION ${CMAKE_INSTALL_DOCDIR}/doc COMPONENT doc)
file(GLOB TARN_PICTURES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/doc/pictures/*.png)
install(FILES ${TARN_PICTURES} DESTINATION ${CMAKE_INSTALL_DOCDIR}/doc/pictures COMPONENT doc)
install(FILES README.md CHANGELOG LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT doc)
if(TARGET tarn-man)
  install(FILES ${PROJECT_BINARY_DIR}/tarn.7 DESTINATION ${CMAKE_INSTALL_MANDIR}/man7
          COMPONENT doc)
endif()

# tools/gdb/tarn.py: gdb loads it by itself with a library if it lies in one of gdb's directories for
# that under the library's own path.  The prefix is that of the installation, which `cmake --install
# --prefix` can still choose.
if(IS_ABSOLUTE ${CMAKE_INSTALL_LIBDIR})
  set(TARN_GDB_LIBDIR ${CMAKE_INSTALL_LIBDIR})
else()
  set(TARN_GDB_LIBDIR "\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_LIBDIR}")
endif()
set(TARN_GDB_DIR ${CMAKE_INSTALL_DATADIR}/gdb/auto-load${TARN_GDB_LIBDIR})
install(FILES tools/gdb/tarn.py RENAME $<TARGET_FILE_NAME:tarn>-gdb.py
        DESTINATION ${TARN_GDB_DIR} COMPONENT development)
if(TARGET tarn_malloc)
  install(FILES tools/gdb/tarn.py RENAME $<TARGET_FILE_NAME:tarn_malloc>-gdb.py
          DESTINATION ${TARN_GDB_DIR} COMPONENT malloc)
endif()
