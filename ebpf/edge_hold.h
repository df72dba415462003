/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Fragments that came before their first one: written into the slot that was claimed for them. User space sends them on. */
#pragma once

#include "ebpf/edge_report.h"
#include "edge/edge_fast.h"

/* After edge_decide_fragment(): VERDICT_HOLD becomes a drop when the bytes cannot be had. */
PACKET_INLINE void edge_hold(void *context, edge_report_load *load, struct lb_holding *holding, struct decision *decision)
{
	struct lb_held *held;
	uint64_t length;

	if (likely(decision->verdict != VERDICT_HOLD))
		return;
	held = lb_hold_slot(holding, decision->address.word[0]);
	/* verifier: from 1 to the most, in a form that Linux 6.1 keeps */
	length = held->length - 1u;
	value_opaque(length);
	if (length >= LB_HOLD_BYTES || load(context, held->bytes, (uint32_t)(length + 1)) < 0) {
		lb_hold_done(held, false);
		decision->verdict = VERDICT_DROP;
		edge_fragment_drop(decision, DROP_fragment_hold_full);
		return;
	}
	lb_hold_done(held, true);
}
