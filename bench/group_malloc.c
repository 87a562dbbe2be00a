/* SPDX-License-Identifier: MIT */
#include "harness.h"
static const struct bench_case cases[1];
int main(int argc, char **argv) {
  const struct bench_group group = {.cases = cases, .case_count = 1};
  return bench_group_main(argc, argv, &group);
}
