/* The order in which faults come: of each 100 answers of a worker, exactly as many are faults as the rate says, and they
 * come irregularly, so that some are in a row, as the outlier detection of a balancer needs them. */
#ifndef YINYANG_FAULT_ORDER_H
#define YINYANG_FAULT_ORDER_H
/* clang-format off */ /* its table is laid out by hand */

/* A permutation of 0 to 99: the inverses modulo 101 of 2, 3, ..., 100, 1, less one. An answer is a fault if its number
 * is below the rate, so a higher rate adds faults to those of a lower one. */
static const unsigned char fault_order[100] = {
    50, 33, 75, 80, 16, 28, 37, 44, 90, 45, 58, 69, 64, 26, 18, 5, 72, 15, 95, 76,
    22, 21, 79, 96, 34, 14, 82, 6, 63, 87, 59, 48, 2, 25, 86, 70, 7, 56, 47, 68,
    88, 46, 61, 8, 10, 42, 39, 32, 98, 1, 67, 60, 57, 89, 91, 38, 53, 11, 31, 52,
    43, 92, 29, 13, 74, 97, 51, 40, 12, 36, 93, 17, 85, 65, 3, 20, 78, 77, 23, 4,
    84, 27, 94, 81, 73, 35, 30, 41, 54, 9, 55, 62, 71, 83, 19, 24, 66, 49, 99, 0,
};

/* clang-format on */
#endif
