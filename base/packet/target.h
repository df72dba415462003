/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What differs between the targets of the packet code: BPF, and native (DPDK, replay, tests). The only file that asks.
 * Types come from the compiler's freestanding headers, so that no libc is needed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PACKET_INLINE static inline __attribute__((always_inline))

/*
 * verifier: a part whose paths would multiply with its caller's is a function that BPF checks once, by its arguments alone:
 * at most five, numbers or pointers to structs of known size. A pointer that comes in may be NULL as far as BPF knows.
 */
#ifdef __bpf__
#define PACKET_FUNCTION __attribute__((noinline))
#else
#define PACKET_FUNCTION static inline
#endif

#ifndef likely /* DPDK's headers have the same two */
#define likely(condition) __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)
#endif

/* One aligned load or store of a word that another thread or CPU may be writing. */
#define load_once(place) (*(const volatile __typeof__(place) *)&(place))
#define store_once(place, value) (*(volatile __typeof__(place) *)&(place) = (value))

/*
 * What lies in a packet starts at an even offset at best. The machines load it at once all the same, but BPF's compiler takes a
 * word of unknown alignment apart into bytes: it is told that headers are aligned. PACKET_WIRE goes behind a header's
 * struct, unaligned() is a word at any place, to read or to write.
 */
#ifdef __bpf__
#define PACKET_WIRE __attribute__((may_alias))
#define unaligned(type, place) (*(__attribute__((may_alias)) type *)(place))
#else
#define PACKET_WIRE __attribute__((packed, aligned(2), may_alias))
#define unaligned(type, place) (((struct { type value; } __attribute__((packed, may_alias)) *)(place))->value)
#endif

/* verifier: before a loop that Linux 6.1 would not follow; natively it stays one */
#ifdef __bpf__
#define PACKET_UNROLL _Pragma("clang loop unroll(full)")
#else
#define PACKET_UNROLL
#endif

#ifdef __bpf__
/* verifier: hides a value's origin from the compiler, so that the bound check that follows is kept */
#define value_opaque(value) __asm__ volatile("" : "+r"(value))
#else
#define value_opaque(value) ((void)(value))
#endif
