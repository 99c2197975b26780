/* Classic BPF (Documentation/networking/filter.rst in Linux): programs of a few instructions that the kernel runs, over
 * packets of a socket or system calls of a process. Declared here, as not every C library comes with Linux's headers. */
#ifndef YINYANG_BPF_H
#define YINYANG_BPF_H

#include <stdint.h>

struct bpf_step {
    uint16_t code;
    uint8_t if_so, if_not; /* steps to skip */
    uint32_t operand;
};

struct bpf_program {
    uint16_t length;
    const struct bpf_step *steps;
};

#define BPF_LOAD_BYTE(at) {0x30, 0, 0, at}
#define BPF_LOAD_WORD(at) {0x20, 0, 0, at}
#define BPF_AND(bits) {0x54, 0, 0, bits}
#define BPF_IF_EQUAL(value, if_so, if_not) {0x15, if_so, if_not, value}
#define BPF_IF_AT_LEAST(value, if_so, if_not) {0x35, if_so, if_not, value}
#define BPF_RETURN(value) {0x06, 0, 0, value}

#endif
