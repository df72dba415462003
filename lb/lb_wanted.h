/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the balancer shall do, as reconcile says it: plain values, next hops resolved, weights ramped. lb_program.h turns it
 * into tables. Whoever fills these structs owns what they point to; readers borrow it for the length of a call.
 */
#pragma once

#include "lb/lb_state.h"

/*
 * What a backend of the operator's weight 1 has here, so that a slow start has steps below it. The operator's weights go
 * from 0 (no new flows) to LB_WEIGHT_MAX / LB_WEIGHT_UNIT.
 */
#define LB_WEIGHT_UNIT 100u
#define LB_WEIGHT_MAX 65500u

/* Longest idle time and affinity, in epochs: the 12 bits of a recorded flow's age, less a margin against their wrap. */
#define LB_EPOCHS_MAX 3800u

/* What happens to new flows of a service none of whose backends is up. */
enum lb_no_backends {
	LB_NO_BACKENDS_DROP, /* dropped as service_no_backend */
	LB_NO_BACKENDS_ALL,  /* to all that are down but not draining, as if they were up: better a guess than a refusal */
};

/* A backend's identity is its service's, with `address` and `port`: nothing else makes it another one. */
struct lb_backend_wanted {
	struct address address;
	uint16_t port;               /* host order; 0 in services with a port range */
	uint16_t weight;             /* share of new flows now; 0: none, as if draining */
	uint16_t weight_full;        /* the weight without slow start; sizes the ring. 0: the same as `weight` */
	enum lb_backend_state state; /* UP, DRAINING or DOWN */
	uint16_t mtu;                /* of the link to it; 0: not known, all packets fit */
	enum lb_tunnel tunnel;       /* then the next hop and `mtu` are the far end's */
	struct address tunnel_source, tunnel_destination; /* of the outer header, of one family */
	struct egress egress;        /* the next hop; EGRESS_RESOLVED unset: not known yet, its packets are dropped and counted */
	const char *name;            /* for people */
};

/* A service's identity is `address`, `protocol` and its ports. */
struct lb_service_wanted {
	struct address address; /* the virtual IP; its family is the service's */
	uint16_t port_first;    /* host order */
	uint16_t port_last;     /* = port_first, or the end of a range: backends are then reached on the client's port */
	uint8_t protocol;       /* PROTOCOL_TCP or PROTOCOL_UDP */
	bool direct;            /* layer-2 direct return */
	bool affinity;          /* by client address, for `affinity_epochs` after the client's last packet */
	uint16_t affinity_epochs;
	uint16_t udp_idle_epochs; /* a UDP flow silent for longer is a new flow */
	enum lb_no_backends no_backends;
	const struct lb_backend_wanted *backends; /* in any order */
	size_t backend_count;
	const char *name; /* for people: "namespace/name:port" */
};
