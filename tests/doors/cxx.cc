// SPDX-License-Identifier: MIT
// new and delete in all their forms, thread_local objects whose destructors allocate, exceptions,
// static objects, containers.
#include "door_test.h"
#include <map>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

struct Static {
  std::vector<std::string> names;
  Static() : names(100, std::string(50, 'x')) {}
  ~Static() {
    names.emplace_back(2000, 'y');
    CHECK(names[0] == std::string(50, 'x'));
  }
} before_main;

struct PerThread {
  std::map<int, std::string> map;
  ~PerThread() {
    for (int i = 0; i < 50; i++)
      map[i + 1000] = std::string(static_cast<size_t>(i) * 10, 'z');
    CHECK(map.size() >= 50);
  }
};
thread_local PerThread per_thread;

struct alignas(256) Wide {
  char bytes[700];
};

bool aligned(const void *block, size_t alignment) {
  return reinterpret_cast<uintptr_t>(block) % alignment == 0;
}

void forms() {
  for (size_t size = 0; size < 3000; size++) {
    void *block = ::operator new(size);
    CHECK(block && aligned(block, 16));
    memset(block, 1, size);
    if (size % 2)
      ::operator delete(block, size);
    else
      ::operator delete(block);
  }
  for (size_t alignment = 8; alignment <= 65536; alignment *= 2) {
    void *block = ::operator new(alignment + 3, std::align_val_t(alignment));
    CHECK(aligned(block, alignment));
    ::operator delete(block, alignment + 3, std::align_val_t(alignment));
    block = ::operator new[](100, std::align_val_t(alignment));
    CHECK(aligned(block, alignment));
    ::operator delete[](block, std::align_val_t(alignment));
  }
  std::vector<std::unique_ptr<Wide>> wide;
  for (int i = 0; i < 100; i++) {
    wide.push_back(std::make_unique<Wide>());
    CHECK(aligned(wide.back().get(), 256));
  }
  std::vector<Wide> several(30);
  CHECK(aligned(several.data(), 256));
}

void failures() {
  volatile size_t huge = PTRDIFF_MAX - 100;
  bool thrown = false;
  try {
    ::operator delete(::operator new(huge));
  } catch (const std::bad_alloc &) {
    thrown = true;
  }
  CHECK(thrown);
  CHECK(::operator new(huge, std::nothrow) == nullptr);
  for (int i = 0; i < 1000; i++)
    try {
      throw std::runtime_error(std::string(static_cast<size_t>(i), 'e'));
    } catch (const std::exception &caught) {
      CHECK(strlen(caught.what()) == static_cast<size_t>(i));
    }
}

void threads() {
  for (int round = 0; round < 100; round++) {
    std::vector<std::thread> several;
    for (int i = 0; i < 6; i++)
      several.emplace_back([i] {
        per_thread.map[i] = "value";
        auto shared = std::make_shared<std::string>(static_cast<size_t>(i) * 100 + 1, 's');
        std::thread([shared] { CHECK((*shared)[0] == 's'); }).detach();
      });
    for (auto &thread : several)
      thread.join();
  }
}

} // namespace

int main() {
  door_required(60);
  per_thread.map[7] = "main";
  forms();
  failures();
  threads();
  return 0;
}
