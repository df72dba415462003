/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walking over the recorded flows: what expired goes, what lives is counted. A pass begins with nothing of the past in
 * flight, so what a whole pass did not find is not there: backend rows that nothing names leave quarantine, and ring slots
 * with no flow elsewhere are moved no longer.
 *
 * Not handled: a word that a worker writes anew in a bucket that the pass has left, after it was pushed out of it before the
 * pass came: its flow may be sent to the ring's backend.
 */
#include <string.h>

#include "base/packet/wire.h"
#include "lb/lb_internal.h"

#define SWEEP_BUCKETS (1u << LB_FLOW_BUCKET_BITS)
#define CLOSING_EPOCHS 8u  /* a minute: FIN-WAIT-2 and late segments */
#define FRESH_EPOCHS 4u    /* half a minute: a client that is there has shown itself by then */
#define TCP_IDLE_EPOCHS 1055u /* 2.4 hours: longer than TCP's keepalive (RFC 1122 section 4.2.3.6: 2 hours) */
/* An age this near its wrap is that of a word that a worker wrote with a clock ahead of ours. */
#define AGE_FUTURE (LB_FLOW_SEEN_MASK - 255)
_Static_assert(LB_EPOCHS_MAX < AGE_FUTURE, "an expired word is not taken for a future one");

void sweep_restart(struct lb_program *program)
{
	program->sweep.step = 0;
}

static void pass_begin(struct lb_program *program)
{
	struct sweep_state *sweep = &program->sweep;

	quiesce_all(program->options.quiesce);
	sweep->pass_stamp = program->options.quiesce->done;
	sweep->pass = (struct lb_sweep_stats){0};
	memset(sweep->kept, 0, sizeof(sweep->kept));
	memset(sweep->flows_found, 0, sizeof(sweep->flows_found));
	memcpy(sweep->flows_began, program->options.limiter->flows, sizeof(sweep->flows_began));
	for (uint32_t row = 1; row < LB_SERVICE_ROWS; row++) {
		const struct lb_service *service = &program->options.tables->services[row];

		/* Flows of affine clients do not lie where the ring was asked, so nothing can be told of its slots. */
		program->services[row].ring_at_pass = service->flags & LB_SERVICE_AFFINITY ? 0 : service->ring;
	}
	for (uint32_t row = 1; row < LB_BACKEND_ROWS; row++) {
		program->backends[row].in_pass = program->backends[row].use == ROW_LIVE;
		program->backends[row].flows_counting = 0;
		program->backends[row].named = false;
	}
}

/*
 * A word seen in this epoch stays whatever it names: a mark in lb_filter may say that its flow is recorded, and its packets
 * go by the ring alone until the epoch ends.
 */
static bool word_expired(const struct lb_program *program, uint64_t word, uint32_t now_epoch)
{
	uint16_t row = lb_flow_backend(word) & (LB_BACKEND_ROWS - 1);
	const struct lb_backend *backend = &program->options.tables->backends[row];
	const struct lb_service *service =
		&program->options.tables->services[backend->service & (LB_SERVICE_ROWS - 1)];
	uint32_t age = lb_flow_age_epochs(word, now_epoch);

	if (program->backends[row].use == ROW_UNUSED)
		return true;
	if (age == 0 || age >= AGE_FUTURE)
		return false;
	if (backend->state == LB_BACKEND_FREE)
		return true;
	if (word & LB_FLOW_CLIENT)
		return !(service->flags & LB_SERVICE_AFFINITY) || age > service->affinity_epochs;
	if (word & LB_FLOW_CLOSING)
		return age > CLOSING_EPOCHS;
	if (word & LB_FLOW_FRESH && age > FRESH_EPOCHS)
		return true;
	if (word & LB_FLOW_TCP)
		return age > TCP_IDLE_EPOCHS;
	return backend->state == LB_BACKEND_DOWN || age > service->udp_idle_epochs;
}

static void word_count(struct lb_program *program, uint64_t word)
{
	uint16_t row = lb_flow_backend(word) & (LB_BACKEND_ROWS - 1);
	uint16_t service_row = program->options.tables->backends[row].service & (LB_SERVICE_ROWS - 1);
	uint64_t ring = program->services[service_row].ring_at_pass;
	uint32_t slot;

	program->backends[row].named = true;
	if (word & LB_FLOW_CLIENT || program->backends[row].use == ROW_QUARANTINE)
		return;
	program->backends[row].flows_counting++;
	program->sweep.flows_found[service_row]++;
	program->sweep.pass.flows++;
	if ((uint32_t)ring == 0)
		return;
	slot = ((uint32_t)(ring >> 32) + lb_ring_slot(word, (uint32_t)ring)) & (LB_RING_SLOTS - 1);
	if ((program->options.rings->slots[slot] & LB_SLOT_BACKEND) != row)
		program->sweep.kept[slot / 64] |= 1ull << slot % 64;
}

static void word_sweep(struct lb_program *program, uint64_t *place, uint32_t now_epoch)
{
	uint64_t word = load_once(*place);

	while (word && word_expired(program, word, now_epoch)) {
		uint64_t found = __sync_val_compare_and_swap(place, word, 0);

		if (found == word) {
			program->sweep.pass.removed++;
			return;
		}
		word = found; /* a worker was here: judge again */
	}
	if (word)
		word_count(program, word);
}

/* What a ring remembers of backends that take new flows is for the flows that began before it changed: most have ended by now. */
static void hops_age(struct lb_program *program, uint32_t service_row, uint32_t now_epoch)
{
	struct service_book *book = &program->services[service_row];

	if (book->hops_since == 0)
		book->hops_since = now_epoch + 1;
	ring_forget(program, (uint16_t)service_row, now_epoch + 1 - book->hops_since > LB_HOP_EPOCHS);
}

/* Takes the moved mark off slots without a flow elsewhere. */
static void ring_settle(struct lb_program *program, uint32_t service_row)
{
	bool hops = program->options.tables->services[service_row].flags & LB_SERVICE_HOPS;
	uint64_t ring = program->options.tables->services[service_row].ring;
	bool provable = ring == program->services[service_row].ring_at_pass;
	uint32_t first = (uint32_t)(ring >> 32), moved = program->sweep.pass.slots_moved;

	for (uint32_t slot = first; slot < first + (uint32_t)ring; slot++) {
		uint16_t *place = &program->options.rings->slots[slot];

		if (!(*place & LB_SLOT_MOVED))
			continue;
		if (!provable || program->sweep.kept[slot / 64] >> slot % 64 & 1 ||
		    (hops && program->options.rings->before[slot])) {
			program->sweep.pass.slots_moved++;
			continue;
		}
		store_once(*place, (uint16_t)(*place & LB_SLOT_BACKEND));
		program->sweep.pass.slots_settled++;
	}
	program->services[service_row].slots_moved = program->sweep.pass.slots_moved - moved;
}

static void row_release(struct lb_program *program, uint16_t row)
{
	program->options.tables->backends[row] = (struct lb_backend){0};
	program->backends[row] = (struct backend_book){.stamp = quiesce_retire(program->options.quiesce)};
	program->sweep.pass.rows_released++;
	if (program->options.row_released)
		program->options.row_released(program->options.context, row);
}

/* Flows that began during the pass may have been found as well: too many for one pass, never too few. */
static void flows_count(struct lb_program *program, uint32_t now_epoch)
{
	struct lb_limiter *limiter = program->options.limiter;
	struct sweep_state *sweep = &program->sweep;

	for (uint32_t row = 1; row < LB_SERVICE_ROWS; row++) {
		uint32_t flags = program->options.tables->services[row].flags;

		/* Of calls rtc/ counts the sessions. */
		if (flags & LB_SERVICE_LIMIT_FLOWS && !(flags & LB_SERVICE_MEDIA))
			__sync_fetch_and_add(&limiter->flows[row], sweep->flows_found[row] - sweep->flows_began[row]);
	}
	store_once(limiter->swept_epoch, now_epoch);
}

static void pass_end(struct lb_program *program, uint32_t now_epoch)
{
	struct sweep_state *sweep = &program->sweep;
	bool released = false;

	for (uint32_t row = 1; row < LB_SERVICE_ROWS; row++) {
		if (!program->services[row].used)
			continue;
		hops_age(program, row, now_epoch);
		ring_settle(program, row);
	}
	for (uint32_t row = 1; row < LB_BACKEND_ROWS; row++) {
		struct backend_book *book = &program->backends[row];

		if (book->use == ROW_QUARANTINE && book->stamp <= sweep->pass_stamp && !book->named) {
			row_release(program, (uint16_t)row);
			released = true;
		} else if (book->use == ROW_LIVE && book->in_pass) {
			book->flows = book->flows_counting;
			book->counted = true;
		}
	}
	flows_count(program, now_epoch);
	sweep->counted_stamp = sweep->pass_stamp;
	if (released)
		indexes_build(program);
}

/*
 * Takes away marks of past epochs, before their four bits of epoch come round again after 131 seconds and vouch for a flow
 * whose record is gone. A mark that a worker sets at the same moment may be lost: one look more for that flow.
 */
static void marks_sweep(struct lb_program *program, uint32_t step, uint32_t now_epoch)
{
	uint32_t part = (LB_FILTER_SET_WORDS << LB_FILTER_SET_BITS) / LB_SWEEP_STEPS;
	uint64_t *words = program->options.filter->sets[0];

	for (uint32_t i = step * part; i < (step + 1) * part; i++) {
		uint16_t *cells = (uint16_t *)&words[i];

		for (uint32_t j = 0; words[i] && j < 4; j++) {
			uint16_t cell = load_once(cells[j]);
			uint32_t age = (now_epoch - (cell >> 12)) & 0xf;

			if (cell && age >= 2 && age <= 14) /* 15: a worker's clock ahead of ours */
				store_once(cells[j], (uint16_t)0);
		}
	}
}

void lb_program_sweep(struct lb_program *program, uint32_t now_epoch, struct lb_sweep_stats *ret_stats)
{
	struct sweep_state *sweep = &program->sweep;
	uint32_t part = SWEEP_BUCKETS / LB_SWEEP_STEPS;
	struct lb_sweep_stats before;

	if (sweep->step == 0)
		pass_begin(program);
	before = sweep->pass;
	for (uint32_t bucket = sweep->step * part; bucket < (sweep->step + 1) * part; bucket++) {
		for (uint32_t way = 0; way < LB_FLOW_WAYS; way++)
			word_sweep(program, &program->options.flows->words[bucket][way], now_epoch);
	}
	marks_sweep(program, sweep->step, now_epoch);
	sweep->step = (sweep->step + 1) % LB_SWEEP_STEPS;
	*ret_stats = (struct lb_sweep_stats){.flows = sweep->pass.flows - before.flows,
					     .removed = sweep->pass.removed - before.removed};
	if (sweep->step == 0) {
		pass_end(program, now_epoch);
		*ret_stats = sweep->pass;
		ret_stats->complete = true;
	}
}
