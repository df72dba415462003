/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens to a packet, and why, in words: runs the packet program on it and on copies of the tables that it would
 * change, so that asking leaves no trace. User space; the thread that owns the tables' program.
 */
#pragma once

#include "base/lib/cleanup.h"
#include "base/lib/error.h"
#include "edge/edge_state.h"

#define EDGE_EXPLAIN_STEPS 24u
#define EDGE_EXPLAIN_FRAME_MAX 65536u

/* How the explanation names what tables know by number. Any may return NULL. */
struct edge_names {
	void *context;
	const char *(*interface)(void *context, uint32_t ifindex);
	const char *(*service)(void *context, uint16_t row);
	const char *(*backend)(void *context, uint16_t row);
};

struct edge_explanation {
	struct decision decision;
	uint8_t *out; /* the frame that leaves, for TX and REDIRECT; freed with the explanation */
	size_t out_length;
	char *steps[EDGE_EXPLAIN_STEPS]; /* sentences, in order */
	size_t step_count;
};

/*
 * `wire_length` is how long the frame was where it came from, of which `length` bytes were kept; the same for a whole one.
 * -EINVAL: no frame, or one beyond EDGE_EXPLAIN_FRAME_MAX; -ENOMEM.
 */
must_check int edge_explain(const struct edge_tables *tables, uint32_t ifindex, uint32_t epoch, uint32_t now_ms,
			    const uint8_t *frame, size_t length, size_t wire_length, const struct edge_names *names,
			    struct edge_explanation *ret_explanation,
			    struct error *error);
void edge_explanation_done(struct edge_explanation *explanation);
