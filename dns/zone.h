/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names whose records this node has itself: the cluster's zone with services, and the reverse names of their addresses. Filled
 * by snapshots and changes from selvaged (control.h); answers are authoritative and always current.
 *
 * One thread.
 */
#pragma once

#include "dns/message.h"

struct zone_set;

/* A record, data in wire form without compression. */
struct zone_record {
	struct dns_name owner; /* lower case */
	uint16_t type;
	uint32_t ttl;
	uint16_t data_length;
	const uint8_t *data; /* borrowed */
};

struct zone_set *zone_set_new(void);
void zone_set_free(struct zone_set *set);

/*
 * The zones that names belong to: negative answers carry their SOA. Names of zones with `partial` that are not there are
 * somebody else's (reverse names), of others they do not exist.
 */
struct zone_config {
	struct dns_name name;
	bool partial;
	bool pods;	    /* a-b-c-d.NAMESPACE.pod.ZONE are addresses, where NAMESPACE.svc.ZONE is there (Kubernetes' pods insecure) */
	uint32_t negative_ttl;
};

void zone_set_zones(struct zone_set *set, const struct zone_config *zones, size_t count);

void zone_set_clear(struct zone_set *set);
/* Twice the same is once. True when it was not there before; `ret_new_name`: the name neither. */
bool zone_set_add(struct zone_set *set, const struct zone_record *record, bool *ret_new_name);
/* True when it was there; `ret_name_gone`: it was the name's last. */
bool zone_set_remove(struct zone_set *set, const struct zone_record *record, bool *ret_name_gone);
bool zone_set_contains(const struct zone_set *set, const struct zone_record *record);
bool zone_set_has_name(const struct zone_set *set, const struct dns_name *name); /* with records of its own */
size_t zone_set_count(const struct zone_set *set); /* of records */

enum zone_result {
	ZONE_ELSEWHERE, /* not of these zones */
	ZONE_FOUND,
	ZONE_NO_DATA,  /* the name is there, the type is not */
	ZONE_NO_NAME,
	ZONE_ALIAS,    /* a CNAME out of these zones: `ret_alias` is to be asked for, its answer to be added */
	ZONE_LOOP,     /* CNAMEs that lead to each other, or to too many others: an error (RFC 1034 section 3.6.2) */
};

/* Writes the answer's sections. */
enum zone_result zone_set_answer(const struct zone_set *set, const struct dns_name *name, uint16_t type,
				 struct dns_writer *writer, struct dns_name *ret_alias);
/* Without writing anything. */
enum zone_result zone_set_look(const struct zone_set *set, const struct dns_name *name, uint16_t type);

/* The zone that a name is in, NULL: none. Borrowed. */
const struct zone_config *zone_set_zone(const struct zone_set *set, const struct dns_name *name);
/* The SOA record's data of a zone. */
size_t zone_soa(const struct zone_config *zone, uint8_t ret_data[static 2 * DNS_NAME_MAX + 20]);

typedef void zone_visitor(const struct zone_record *record, void *context);
void zone_set_each(const struct zone_set *set, zone_visitor *visitor, void *context);
void zone_set_each_zone(const struct zone_set *set, void (*visit)(const struct zone_config *zone, void *context), void *context);
/* Names between others, too. */
void zone_set_each_name(const struct zone_set *set, void (*visit)(const struct dns_name *name, void *context), void *context);
