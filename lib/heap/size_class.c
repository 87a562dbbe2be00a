/* SPDX-License-Identifier: MIT */
/*
 * heap/size_class.c: the tables of heap/size_class.h, for sizes up to 1 KiB.
 * tests/unit/test_sizes.c compares them with tarn_class_of.
 */
#include "heap/size_class.h"

#define B(class) (TARN_INLINE_BINS + (class) * TARN_INLINE_BIN)

const uint16_t tarn_bin_table[TARN_INLINE_MOST / 8 + 1] = {
    B(0),  B(0),  B(0),  B(1),  B(2),  B(3),  B(4),  B(5),  B(6),  B(7),  B(8),  B(9),  B(10),
    B(11), B(12), B(13), B(14), B(15), B(15), B(16), B(16), B(17), B(17), B(18), B(18), B(19),
    B(19), B(20), B(20), B(21), B(21), B(22), B(22), B(23), B(23), B(23), B(23), B(24), B(24),
    B(24), B(24), B(25), B(25), B(25), B(25), B(26), B(26), B(26), B(26), B(27), B(27), B(27),
    B(27), B(28), B(28), B(28), B(28), B(29), B(29), B(29), B(29), B(30), B(30), B(30), B(30),
    B(31), B(31), B(31), B(31), B(31), B(31), B(31), B(31), B(32), B(32), B(32), B(32), B(32),
    B(32), B(32), B(32), B(33), B(33), B(33), B(33), B(33), B(33), B(33), B(33), B(34), B(34),
    B(34), B(34), B(34), B(34), B(34), B(34), B(35), B(35), B(35), B(35), B(35), B(35), B(35),
    B(35), B(36), B(36), B(36), B(36), B(36), B(36), B(36), B(36), B(37), B(37), B(37), B(37),
    B(37), B(37), B(37), B(37), B(38), B(38), B(38), B(38), B(38), B(38), B(38), B(38),
};

const uint16_t tarn_bin_table_16[TARN_INLINE_MOST / 16 + 1] = {
    B(0),  B(0),  B(2),  B(4),  B(6),  B(8),  B(10), B(12), B(14), B(15), B(16), B(17), B(18),
    B(19), B(20), B(21), B(22), B(23), B(23), B(24), B(24), B(25), B(25), B(26), B(26), B(27),
    B(27), B(28), B(28), B(29), B(29), B(30), B(30), B(31), B(31), B(31), B(31), B(32), B(32),
    B(32), B(32), B(33), B(33), B(33), B(33), B(34), B(34), B(34), B(34), B(35), B(35), B(35),
    B(35), B(36), B(36), B(36), B(36), B(37), B(37), B(37), B(37), B(38), B(38), B(38), B(38),
};
