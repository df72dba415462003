/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A DNS client by hand, for tools/bench dns: dns_load CPU ADDRESS PORT NAMES dns|echo
 *
 * Asks for the addresses of n00000.bench, n00001.bench, … in an order that no cache foresees, with EDNS, as most clients do. `dns`: every
 * answer is looked at, and has to have two addresses; `echo`: a query that comes back is one. Pinned to one processor.
 * Orders come on standard input, each answered with a line of JSON:
 *
 *     warm          each name until it is answered
 *     ping COUNT    one query after the other
 *     load MS       WINDOW of them on the way at once
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "tests/perf/bench_result.h"

#define WINDOW 128u
#define QUERY_MAX 64u
#define ANSWER_MAX 1500u
#define ADDRESSES 2u
#define WARM_UP 500u
#define PINGS_MAX 1000000u
#define PATIENCE_NS 300e6 /* until what is on the way is lost: others may have the processor */
#define WARM_TRIES 200u

struct client {
	int fd;
	uint32_t names;
	bool echo;
	uint32_t dice;
	uint16_t id;
};

struct tally {
	uint64_t sent, answered, wrong, lost;
};

static void fail(const char *what)
{
	fprintf(stderr, "dns_load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint32_t some_name(struct client *client)
{
	client->dice ^= client->dice << 13;
	client->dice ^= client->dice >> 17;
	client->dice ^= client->dice << 5;
	return client->dice % client->names;
}

static size_t query_write(uint8_t *bytes, uint16_t id, uint32_t name)
{
	static const uint8_t behind[] = {5, 'b', 'e', 'n', 'c', 'h', 0, 0, 1, 0, 1,  /* A, IN */
					 0, 0,   41,  4,   208, 0,   0, 0, 0, 0, 0}; /* OPT: 1232 bytes */
	uint8_t head[] = {(uint8_t)(id >> 8), (uint8_t)id, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1};
	int label;

	memcpy(bytes, head, sizeof(head));
	label = sprintf((char *)bytes + sizeof(head) + 1, "n%05u", name);
	bytes[sizeof(head)] = (uint8_t)label;
	memcpy(bytes + sizeof(head) + 1 + label, behind, sizeof(behind));
	return sizeof(head) + 1 + (size_t)label + sizeof(behind);
}

static bool answer_right(const struct client *client, const uint8_t *bytes, size_t length)
{
	if (client->echo)
		return length > 12;
	/* an answer, whole, without error, of as many records */
	return length > 12 && (bytes[2] & 0x82) == 0x80 && (bytes[3] & 0x0f) == 0 && bytes[6] == 0 &&
	       bytes[7] == ADDRESSES;
}

static int value_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The time until its answer, or below 0. */
static double query_time_ns(struct client *client, uint32_t name, struct tally *tally)
{
	uint8_t query[QUERY_MAX], answer[ANSWER_MAX];
	uint16_t id = client->id++;
	size_t length = query_write(query, id, name);
	double start = bench_now_ns(), end;
	ssize_t got;

	(void)!send(client->fd, query, length, 0);
	tally->sent++;
	do
		got = recv(client->fd, answer, sizeof(answer), 0);
	while (got >= 2 && memcmp(answer, query, 2) != 0);
	end = bench_now_ns();
	if (got < 2) {
		tally->lost++;
		return -1;
	}
	if (!answer_right(client, answer, (size_t)got)) {
		tally->wrong++;
		return -1;
	}
	tally->answered++;
	return end - start;
}

static void warm(struct client *client)
{
	struct tally tally = {0};

	for (uint32_t name = 0; !client->echo && name < client->names; name++) {
		uint32_t tries = 0;

		while (query_time_ns(client, name, &tally) < 0)
			if (++tries == WARM_TRIES) {
				fprintf(stderr, "dns_load: n%05u.bench is not answered\n", name);
				exit(1);
			}
	}
	printf("{\"answered\":%llu}\n", (unsigned long long)tally.answered);
}

static void ping(struct client *client, uint32_t count)
{
	static double times[PINGS_MAX];
	struct tally tally = {0}, unused = {0};
	uint32_t kept = 0;

	for (uint32_t i = 0; i < WARM_UP; i++)
		(void)query_time_ns(client, some_name(client), &unused);
	for (uint32_t i = 0; i < count && i < PINGS_MAX; i++) {
		double took = query_time_ns(client, some_name(client), &tally);

		if (took >= 0)
			times[kept++] = took;
	}
	qsort(times, kept, sizeof(*times), value_compare);
	if (!kept)
		times[kept++] = 0;
	printf("{\"p50_us\":%.2f,\"p99_us\":%.2f,\"p999_us\":%.2f,\"answered\":%llu,\"wrong\":%llu,\"lost\":%llu}\n",
	       times[kept / 2] / 1e3, times[(uint32_t)(kept * 0.99)] / 1e3, times[(uint32_t)(kept * 0.999)] / 1e3,
	       (unsigned long long)tally.answered, (unsigned long long)tally.wrong, (unsigned long long)tally.lost);
}

static void send_some(struct client *client, uint64_t count, struct tally *tally)
{
	uint8_t queries[WINDOW][QUERY_MAX];
	struct iovec parts[WINDOW];
	struct mmsghdr messages[WINDOW];
	int put;

	memset(messages, 0, sizeof(messages));
	for (uint64_t i = 0; i < count; i++) {
		parts[i] = (struct iovec){queries[i], query_write(queries[i], client->id++, some_name(client))};
		messages[i].msg_hdr.msg_iov = &parts[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	put = sendmmsg(client->fd, messages, (unsigned int)count, 0);
	if (put > 0)
		tally->sent += (uint64_t)put;
}

static uint64_t take_some(struct client *client, struct tally *tally)
{
	static uint8_t answers[WINDOW][ANSWER_MAX];
	struct iovec parts[WINDOW];
	struct mmsghdr messages[WINDOW];
	int got;

	memset(messages, 0, sizeof(messages));
	for (uint32_t i = 0; i < WINDOW; i++) {
		parts[i] = (struct iovec){answers[i], ANSWER_MAX};
		messages[i].msg_hdr.msg_iov = &parts[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	got = recvmmsg(client->fd, messages, WINDOW, MSG_DONTWAIT, NULL);
	for (int i = 0; i < got; i++) {
		bool right = answer_right(client, answers[i], messages[i].msg_len);

		tally->answered += right;
		tally->wrong += !right;
	}
	return got > 0 ? (uint64_t)got : 0;
}

static void load(struct client *client, double milliseconds)
{
	struct tally tally = {0};
	double start = bench_now_ns(), heard = start, now = start;
	uint64_t away = 0;

	/* at the end, what is still on the way is waited for */
	while (now < start + milliseconds * 1e6 || (away && now < heard + PATIENCE_NS)) {
		uint64_t got;

		if (now < start + milliseconds * 1e6 && away <= WINDOW / 2) {
			uint64_t before = tally.sent;

			send_some(client, WINDOW - away, &tally);
			away += tally.sent - before;
		}
		got = take_some(client, &tally);
		now = bench_now_ns();
		if (got)
			heard = now;
		away -= got < away ? got : away;
		if (away && now > heard + PATIENCE_NS) {
			tally.lost += away;
			away = 0;
			heard = now;
		}
	}
	tally.lost += away;
	printf("{\"sent\":%llu,\"answered\":%llu,\"wrong\":%llu,\"lost\":%llu,\"seconds\":%.4f}\n",
	       (unsigned long long)tally.sent, (unsigned long long)tally.answered, (unsigned long long)tally.wrong,
	       (unsigned long long)tally.lost, (now - start) / 1e9);
}

static int sender(const char *address_text, const char *port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
	struct timeval patience = {.tv_usec = 100000};
	int fd = socket(AF_INET, SOCK_DGRAM, 0), bytes = 8 << 20;

	if (inet_pton(AF_INET, address_text, &address.sin_addr) != 1 || fd < 0 ||
	    connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		fail(address_text);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
	return fd;
}

int main(int argument_count, char **arguments)
{
	struct client client = {.dice = 2463534242u};
	char line[64];

	if (argument_count != 6) {
		fprintf(stderr, "dns_load: CPU ADDRESS PORT NAMES dns|echo\n");
		return 2;
	}
	bench_pin(atoi(arguments[1]));
	client.names = (uint32_t)atoi(arguments[4]);
	client.echo = strcmp(arguments[5], "echo") == 0;
	client.fd = sender(arguments[2], arguments[3]);
	while (fgets(line, sizeof(line), stdin)) {
		if (strncmp(line, "warm", 4) == 0)
			warm(&client);
		else if (strncmp(line, "ping ", 5) == 0)
			ping(&client, (uint32_t)atoi(line + 5));
		else
			load(&client, atof(line + 5));
		fflush(stdout);
	}
	return 0;
}
