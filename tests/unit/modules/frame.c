/* SPDX-License-Identifier: MIT */
/*
 * A library for test_unwind.c, in two variants that differ in nothing but the size of a frame: what
 * holds at a place in one is wrong at the same place in the other.  FRAME_ROOM is in both too large
 * for a short instruction.
 */
int module_call(int (*fn)(void *data), void *data);

int module_call(int (*fn)(void *data), void *data) {
  volatile char room[FRAME_ROOM];
  room[0] = 1;
  int result = fn(data); /* no tail call */
  return result + room[0] - 1;
}
