# SPDX-License-Identifier: MIT
# For 64-bit ARM on a Debian of another kind; programs run under qemu-user.  Packages:
# gcc-aarch64-linux-gnu, libc6-dev-arm64-cross, qemu-user, and liburcu-dev:arm64 and libcmocka-dev:arm64 (after
# `dpkg --add-architecture arm64`).
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)

# Debian keeps libraries of several kinds side by side; only the .pc files must be of the right one.
set(ENV{PKG_CONFIG_LIBDIR} /usr/lib/aarch64-linux-gnu/pkgconfig:/usr/share/pkgconfig)

# Without g++-aarch64-linux-gnu the few tests in C++ are left out.
find_program(TARN_CROSS_CXX aarch64-linux-gnu-g++)
set(CMAKE_CXX_COMPILER ${TARN_CROSS_CXX})

find_program(TARN_QEMU qemu-aarch64)
if(TARN_QEMU)
  set(CMAKE_CROSSCOMPILING_EMULATOR ${TARN_QEMU} CACHE STRING "Runs the programs that are built")
endif()
