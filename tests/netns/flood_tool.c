/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A flood: the first packets of flows from addresses that nobody has, at a steady rate, straight into an interface.
 *
 *     flood_tool INTERFACE SOURCE-MAC TARGET-MAC ADDRESS PORT KIND PACKETS-A-SECOND SECONDS
 *
 * KIND is udp, syn, or what WebRTC's clients send: rtp (any SSRC and sequence number), dtls (a record of no meaning), check (a Binding
 * request with a user fragment of 24 random characters), stun (one without), answer (to a request that nobody made).
 * Sources are 10.0.0.0/8 and any port, in an order that repeats after 2^40 packets. Prints how many were sent.
 */
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/lib/address_text.h"
#include "base/packet/checksum.h"
#include "base/packet/hash.h"
#include "base/packet/wire.h"

#define BATCH 64u
#define PAYLOAD_AT (14 + 20 + 8)
#define SYN_BYTES (14 + 20 + 20)
#define STUN_HEADER 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
#define FRAGMENT_AT 24u /* in a check: after the header and USERNAME's own */
#define FRAGMENT_CHARS 24u

/* What the kinds carry; what differs from packet to packet is filled in. */
struct kind {
	const char *name;
	uint32_t length;    /* of the payload */
	uint32_t random_at; /* 8 bytes; 0: none */
	bool fragment;
	uint8_t payload[64];
};

static const struct kind kinds[] = {
	{"udp", 8, 0, false, {0}},
	{"syn", 0, 0, false, {0}},
	{"rtp", 60, 2, false, {0x80, 111}},
	{"dtls", 40, 5, false, {22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 27}},
	{"check",
	 56,
	 8,
	 true,
	 {0, 1, 0, 36, STUN_HEADER, 0, 6, 0, 29, [FRAGMENT_AT + FRAGMENT_CHARS] = ':', 'c', 'l', 'n', 't'}},
	{"stun", 20, 8, false, {0, 1, 0, 0, STUN_HEADER}},
	{"answer", 32, 8, false, {1, 1, 0, 12, STUN_HEADER, 0, 0x20, 0, 8, 0, 1, 1, 1, 2, 2, 2, 2}},
};

struct flood {
	int socket;
	const struct kind *kind;
	bool udp;
	uint32_t length;
	uint64_t count;
	uint8_t frames[BATCH][128];
	struct iovec vectors[BATCH];
	struct mmsghdr messages[BATCH];
};

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static uint16_t sum_of(const void *bytes, uint32_t length, uint64_t sum)
{
	const uint16_t *words = bytes;

	for (uint32_t i = 0; i < length / 2; i++)
		sum += words[i];
	return (uint16_t)~checksum_fold(sum);
}

/* All but what differs from packet to packet. */
static void frame_begin(const struct flood *flood, uint8_t *frame, const uint8_t source[6], const uint8_t target[6],
			uint32_t address, uint16_t port)
{
	struct ethernet_header *ethernet = (void *)frame;
	struct ipv4_header *ipv4 = (void *)(frame + 14);
	struct tcp_header *tcp = (void *)(frame + 34);

	memcpy(ethernet->destination, target, 6);
	memcpy(ethernet->source, source, 6);
	ethernet->ethertype = be16_from(ETHERTYPE_IPV4);
	*ipv4 = (struct ipv4_header){.version_ihl = 0x45,
				     .total_length = be16_from((uint16_t)(flood->length - 14)),
				     .ttl = 64,
				     .protocol = flood->udp ? PROTOCOL_UDP : PROTOCOL_TCP,
				     .destination = {address}};
	tcp->destination_port = be16_from(port); /* in UDP's header at the same place */
	if (flood->udp) {
		((struct udp_header *)(void *)(frame + 34))->length = be16_from((uint16_t)(8 + flood->kind->length));
		memcpy(frame + PAYLOAD_AT, flood->kind->payload, flood->kind->length);
	} else {
		tcp->data_offset = 5 << 4;
		tcp->flags = TCP_SYN;
		tcp->window = be16_from(1024);
	}
}

static void payload_vary(const struct kind *kind, uint8_t *payload, uint64_t random)
{
	static const char chars[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	if (kind->random_at)
		memcpy(payload + kind->random_at, &random, sizeof(random));
	for (uint32_t i = 0; kind->fragment && i < FRAGMENT_CHARS; i++) {
		if (i % 8 == 0)
			random = hash_finish(random + i);
		payload[FRAGMENT_AT + i] = (uint8_t)chars[random >> i % 8 * 6 & 63];
	}
}

static void frame_vary(const struct flood *flood, uint8_t *frame, uint64_t number)
{
	struct ipv4_header *ipv4 = (void *)(frame + 14);
	struct tcp_header *tcp = (void *)(frame + 34);
	uint64_t random = hash_finish(number + 1), sum;

	ipv4->source.raw = 10 | (uint32_t)(random & 0xffffff) << 8;
	ipv4->checksum = 0;
	ipv4->checksum = sum_of(ipv4, 20, 0);
	tcp->source_port.raw = (uint16_t)(random >> 24);
	if (flood->udp) {
		payload_vary(flood->kind, frame + PAYLOAD_AT, hash_finish(random));
		return; /* no checksum: RFC 768 */
	}
	sum = (uint64_t)ipv4->source.raw + ipv4->destination.raw + BE16(PROTOCOL_TCP) + BE16(20);
	tcp->checksum = 0;
	tcp->checksum = sum_of(tcp, 20, sum);
}

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void batch_send(struct flood *flood)
{
	int sent;

	for (uint32_t i = 0; i < BATCH; i++)
		frame_vary(flood, flood->frames[i], flood->count + i);
	sent = sendmmsg(flood->socket, flood->messages, BATCH, 0);
	if (sent > 0)
		flood->count += (uint64_t)sent;
}

int main(int count, char **arguments)
{
	static struct flood flood;
	struct sockaddr_ll place = {.sll_family = AF_PACKET};
	uint8_t source[6], target[6];
	double start, rate, seconds;
	int one = 1;

	if (count != 9)
		return fprintf(stderr,
			       "usage: flood_tool INTERFACE SOURCE-MAC TARGET-MAC ADDRESS PORT KIND PACKETS-A-SECOND SECONDS\n"),
		       2;
	if (mac_parse(arguments[2], source) < 0 || mac_parse(arguments[3], target) < 0)
		return fprintf(stderr, "flood_tool: not a hardware address\n"), 2;
	for (uint32_t i = 0; i < array_length(kinds); i++)
		if (strcmp(arguments[6], kinds[i].name) == 0)
			flood.kind = &kinds[i];
	if (!flood.kind)
		return fprintf(stderr, "flood_tool: '%s' is no kind of packet\n", arguments[6]), 2;
	flood.udp = strcmp(flood.kind->name, "syn") != 0;
	flood.length = flood.udp ? PAYLOAD_AT + flood.kind->length : SYN_BYTES;
	flood.socket = socket(AF_PACKET, SOCK_RAW, 0);
	place.sll_ifindex = (int)if_nametoindex(arguments[1]);
	if (flood.socket < 0 || bind(flood.socket, (struct sockaddr *)&place, sizeof(place)) < 0)
		die("flood_tool: opening the interface");
	(void)setsockopt(flood.socket, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one));
	for (uint32_t i = 0; i < BATCH; i++) {
		frame_begin(&flood, flood.frames[i], source, target, inet_addr(arguments[4]),
			    (uint16_t)atoi(arguments[5]));
		flood.vectors[i] = (struct iovec){flood.frames[i], flood.length};
		flood.messages[i].msg_hdr = (struct msghdr){.msg_iov = &flood.vectors[i], .msg_iovlen = 1};
	}
	rate = atof(arguments[7]);
	seconds = atof(arguments[8]);
	start = now_s();
	for (double passed = 0; passed < seconds; passed = now_s() - start) {
		if ((double)flood.count < passed * rate)
			batch_send(&flood);
		else
			usleep(200);
	}
	printf("%llu\n", (unsigned long long)flood.count);
	return 0;
}
