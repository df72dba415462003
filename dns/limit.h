/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many queries each client, a prefix of addresses, may have answered: what packets' limit is to packets, for the queries that
 * reach this process. One thread.
 *
 * A bucket for each of the last clients; of more than are remembered, those with the fullest buckets begin anew.
 */
#pragma once

#include "base/lib/rate_text.h"
#include "base/packet/address.h"

struct limit;

/* NULL: no limit, which all others take as well. */
struct limit *limit_new(const struct rate *rate, const struct client_bits *bits);
void limit_free(struct limit *limit);
/* Takes one query from the client's bucket; false when it is empty. `now_us`: any clock that never goes back. */
bool limit_take(struct limit *limit, const struct address *client, uint64_t now_us);
