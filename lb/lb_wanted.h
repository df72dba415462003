/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the balancer shall do, as reconcile says it: plain values, next hops resolved, weights ramped. lb_program.h turns it
 * into tables. Whoever fills these structs owns what they point to; readers borrow it for the length of a call.
 */
#pragma once

#include "base/lib/address_text.h"
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

/* So many in a minute, and `burst` at once; a burst of 0: no limit. */
struct lb_rate_wanted {
	uint32_t per_minute;
	uint32_t burst;
};

#define LB_RATE_MAX 600000000u /* a minute */

/* What comes in one tick of the coarsest clock, 10 ms, must fit. */
static inline uint32_t lb_burst_least(uint32_t per_minute)
{
	return per_minute / 6000 ? per_minute / 6000 : 1;
}

/* Ten minutes' worth: a bucket has no room for finer shares. */
static inline uint32_t lb_burst_most(uint32_t per_minute)
{
	return per_minute < 10000000 ? per_minute * 10 : 100000000;
}

/* What a service of media wants (rtc/): read only with lb_service_wanted.media. */
struct lb_media_wanted {
	const struct rtc_ufrag_keys *keys; /* of encoded fragments; NULL: registered ones only */
	uint8_t dscp_up, dscp_down;        /* 0 to 63, towards agents and clients; 255: as they come */
	struct lb_rate_wanted session_packets; /* of one session, in each direction; burst 0: no limit */
	struct lb_rate_wanted stun_answers;    /* to one prefix of clients; burst 0: the default */
	struct lb_rate_wanted stun_answers_all; /* to all clients together; burst 0: the default */
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
	bool tunnel_node;            /* the tunnel ends at another node of ours, not at the backend itself */
	struct egress egress;        /* the next hop; EGRESS_RESOLVED unset: not known yet, its packets are dropped and counted */
	const char *name;            /* for people */
	uint64_t quic_server;        /* its server id, the first byte lowest; only where the service has a length of them */
	bool quic_named;             /* it has one */
};

/* A service's identity is `address`, `protocol` and its ports. */
struct lb_service_wanted {
	struct address address; /* the virtual IP; its family is the service's */
	uint16_t port_first;    /* host order */
	uint16_t port_last;     /* = port_first, or the end of a range: backends are then reached on the client's port */
	uint8_t protocol;       /* PROTOCOL_TCP or PROTOCOL_UDP */
	bool direct;            /* layer-2 direct return */
	/*
	 * A DNS address of this node, which need not be a virtual IP: on UDP the cache answers what it can, and only where
	 * link_wanted.dns says so; the rest, and all of TCP, goes to the host's stack. Without backends, and of one port.
	 */
	bool dns;
	bool media;             /* WebRTC: its packets go by sessions; UDP, one port, not direct */
	bool affinity;          /* by client address, for `affinity_epochs` after the client's last packet */
	uint16_t affinity_epochs;
	uint16_t udp_idle_epochs; /* a UDP flow silent for longer is a new flow */
	enum lb_no_backends no_backends;
	/*
	 * Clients that are served: the longest of the prefixes decides, a denial among equals; without a match, nobody when
	 * there is an `allow` of any family, otherwise everybody. None at all: everybody.
	 */
	const struct prefix *allow, *deny;
	size_t allow_count, deny_count;
	/* Of each prefix of clients, `limit_prefix` bits long in the service's family, and of all clients together. */
	struct lb_rate_wanted client_flows, client_packets, all_flows;
	uint8_t limit_prefix;
	uint8_t quic_server_length; /* bytes of server ids in QUIC's connection ids, 1 to 8; 0: not routed by them */
	uint8_t quic_config;        /* their first three bits, 0 to 6 */
	struct lb_media_wanted media_wanted;
	uint32_t flows_max; /* recorded flows of all clients; 0: no limit */
	uint32_t client_flows_max; /* of each client's prefix, at most LB_HELD_MAX */
	const struct lb_backend_wanted *backends; /* in any order */
	size_t backend_count;
	const char *name; /* for people: "namespace/name:port" */
};
