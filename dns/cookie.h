/* SPDX-License-Identifier: Apache-2.0 */
/* Server cookies (RFC 7873) in the form that all servers share (RFC 9018). Pure but for the secret's beginning. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/packet/address.h"

struct cookie_secret {
	uint8_t bytes[16];
};

void cookie_secret_init(struct cookie_secret *ret_secret);
/*
 * The whole option's data: the client's 8 bytes, version, reserved, time, hash (RFC 9018 section 4). `now_s`: seconds since 1970.
 */
void cookie_make(const struct cookie_secret *secret, const uint8_t client[static 8], const struct address *address, uint32_t now_s,
		 uint8_t ret_cookie[static 24]);
/* SipHash-2-4. */
uint64_t siphash24(const uint8_t key[static 16], const uint8_t *data, size_t length);
