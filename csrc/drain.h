/* The last moment of a listening socket. */
#ifndef YINYANG_DRAIN_H
#define YINYANG_DRAIN_H

#include <sys/socket.h>

#include "bpf.h"

/* From now on the kernel drops what would begin a connection (SYN without ACK, RFC 9293 section 3.1), and only that: the
 * handshakes that have begun are completed. So its queue comes to an end, and closing the socket resets nobody; who was
 * dropped tries again a second later, and is then refused. 0 or -1, as setsockopt(2). */
static inline int keep_out_new_connections(int listener)
{
    enum { FLAGS = 13, SYN = 0x02, ACK = 0x10 };
    static const struct bpf_step steps[] = {
        BPF_LOAD_BYTE(FLAGS),
        BPF_AND(SYN | ACK),
        BPF_IF_EQUAL(SYN, 0, 1),
        BPF_RETURN(0),
        BPF_RETURN(UINT32_MAX),
    };
    struct bpf_program program = {sizeof steps / sizeof *steps, steps};
    return setsockopt(listener, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

#endif
