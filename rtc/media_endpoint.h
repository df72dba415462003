/* SPDX-License-Identifier: Apache-2.0 */
/* Where a datagram comes from or goes to. A plain value; any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/packet/address.h"

struct media_endpoint {
	struct address address;
	uint16_t port; /* host order */
};

static inline bool media_endpoint_equal(const struct media_endpoint *a, const struct media_endpoint *b)
{
	return address_equal(&a->address, &b->address) && a->port == b->port;
}
