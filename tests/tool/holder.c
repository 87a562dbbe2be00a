/* SPDX-License-Identifier: MIT */
/*
 * holder MEBIBYTES SECONDS: allocates so much in blocks of 4,096 bytes, waits, and exits with it.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
  if (argc != 3)
    return 2;
  size_t count = (size_t)atoi(argv[1]) * 256;
  char **blocks = malloc(count * sizeof *blocks);
  for (size_t i = 0; blocks && i < count; i++)
    if (!(blocks[i] = malloc(4096)))
      return 3;
    else
      memset(blocks[i], 1, 4096);
  sleep((unsigned)atoi(argv[2]));
  return blocks ? 0 : 3;
}
