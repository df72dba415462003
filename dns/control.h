/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control channel of selvage-dns: a unix socket in the run directory, a JSON object a line in both directions. selvaged sends
 * names and policies, and hands on what its clients ask; selvage-dns keeps what it was told, over restarts too.
 *
 *     {"op":"names","version":7,"snapshot":true,"zones":[{"name":"cluster.local","partial":false,"pods":true,"negativeTtl":5}],
 *      "records":[["web.default.svc.cluster.local","A",5,"0a600001"]]}          all names
 *     {"op":"names","from":7,"version":8,"add":[…],"remove":[…]}                changes; {"op":"names","resync":true} if they
 *                                                                               do not follow on what is there
 *     {"op":"steering","policies":[…]}                                          steer.h
 *     {"id":1,"op":"stats"|"dump"|"flush"|"lookup"|"explain"|"tap",…}           {"id":1,"result":…} or {"id":1,"error":"…"}
 *
 * Data of records are hexadecimal digits in wire form. Numbers of versions belong to one selvaged: each connection begins with
 * a snapshot. One thread, the event loop's.
 */
#pragma once

#include "dns/listener.h"
#include "dns/tap.h"

#define DNS_CONTROL_SOCKET "dns.sock" /* in the run directory */

struct control;

struct control_parts {
	struct event_base *base;
	struct zone_set *zones;
	struct steering *steering;
	struct resolver *resolver;
	struct feed *feed;
	struct listeners *listeners;
	struct tap *tap;
	const char *run_directory;
	const char *names_file; /* where names and policies are kept; NULL: nowhere */
	const char *answers_file; /* where answers are, NULL: nowhere: what is flushed is noted beside it */
};

/* Reads what was kept, and opens the socket. The parts are borrowed. */
must_check int control_new(const struct control_parts *parts, struct control **ret_control, struct error *error);
void control_free(struct control *control);

/* A line as it was received; for tests and the fuzzer. Answers, if any, are a new reference. */
json_t *control_handle(struct control *control, const json_t *message);
/* Names of a message with "snapshot", or changes; -EINVAL; -ESTALE: they do not follow on what is there. Into `zones` alone. */
must_check int control_names_read(struct zone_set *zones, struct feed *feed, const json_t *message, struct error *error);
