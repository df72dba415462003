/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes Ethernet captures as pcapng (draft-ietf-opsawg-pcapng): one section, an interface block for each name, an enhanced
 * packet block with a comment for each packet. Little endian, nanoseconds.
 */
#pragma once

#include <stddef.h>
#include <stdio.h>
#include <stdint.h>

#include "base/lib/cleanup.h"
#include "base/lib/error.h"

#define PCAPNG_INTERFACES_MAX 64

struct pcapng;

struct pcapng_packet {
	const char *interface;
	uint64_t time_ns; /* since 1970 */
	const uint8_t *bytes;
	size_t captured, length;
	const char *comment; /* UTF-8 */
};

/* `file` is borrowed. 0 or -errno. */
must_check int pcapng_new(FILE *file, struct pcapng **ret_pcapng, struct error *error);
must_check int pcapng_write(struct pcapng *pcapng, const struct pcapng_packet *packet, struct error *error);
void pcapng_free(struct pcapng *pcapng);
