/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UDP by hand, for tools/bench nft. Every program is pinned to one processor.
 *
 *     udp_echo echo  CPU ADDRESS PORT               answers every datagram
 *     udp_echo count CPU ADDRESS PORT               counts datagrams; on each line of standard input prints the count
 *     udp_echo ping  CPU ADDRESS PORT COUNT         one datagram after the other; prints round-trip times in nanoseconds
 *     udp_echo blast CPU ADDRESS PORT MILLISECONDS  sends as fast as it can; prints how many
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/perf/bench_result.h"

#define BATCH 32u
#define PAYLOAD 160u
#define WARM_UP 2000u

static struct sockaddr_in address_of(char **arguments)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(arguments[4]))};

	if (inet_pton(AF_INET, arguments[3], &address.sin_addr) != 1) {
		fprintf(stderr, "udp_echo: %s is no IPv4 address\n", arguments[3]);
		exit(2);
	}
	return address;
}

static void fail(const char *what)
{
	fprintf(stderr, "udp_echo: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int receiver(const struct sockaddr_in *address)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0), bytes = 8 << 20;

	if (fd < 0 || bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
		fail("listening");
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
	printf("ready\n");
	fflush(stdout);
	return fd;
}

static int sender(const struct sockaddr_in *address)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
		fail("connecting");
	return fd;
}

static void echo(int fd)
{
	char bytes[2048];

	for (;;) {
		struct sockaddr_in from;
		socklen_t size = sizeof(from);
		ssize_t length = recvfrom(fd, bytes, sizeof(bytes), 0, (struct sockaddr *)&from, &size);

		if (length >= 0)
			(void)!sendto(fd, bytes, (size_t)length, 0, (struct sockaddr *)&from, size);
	}
}

/* Fills messages that share one piece of payload: nobody looks at it. */
static void batch_init(struct mmsghdr *messages, struct iovec *part)
{
	memset(messages, 0, BATCH * sizeof(*messages));
	for (uint32_t i = 0; i < BATCH; i++) {
		messages[i].msg_hdr.msg_iov = part;
		messages[i].msg_hdr.msg_iovlen = 1;
	}
}

static void count(int fd)
{
	static char payload[2048];
	struct iovec part = {payload, sizeof(payload)};
	struct pollfd wait[] = {{fd, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
	struct mmsghdr messages[BATCH];
	uint64_t received = 0;
	char line[16];

	batch_init(messages, &part);
	while (poll(wait, 2, -1) >= 0) {
		int got = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL);

		if (got > 0)
			received += (uint64_t)got;
		if (got > 0 || !wait[1].revents)
			continue;
		if (!fgets(line, sizeof(line), stdin))
			return;
		printf("%llu\n", (unsigned long long)received);
		fflush(stdout);
	}
}

static void blast(int fd, double milliseconds)
{
	static char payload[PAYLOAD];
	struct iovec part = {payload, sizeof(payload)};
	struct mmsghdr messages[BATCH];
	double end = bench_now_ns() + milliseconds * 1e6;
	uint64_t sent = 0;

	batch_init(messages, &part);
	while (bench_now_ns() < end) {
		int put = sendmmsg(fd, messages, BATCH, 0);

		if (put > 0)
			sent += (uint64_t)put;
	}
	printf("%llu\n", (unsigned long long)sent);
}

/* A datagram that is lost, or late by a tenth of a second, is said on standard error and not counted. */
static void ping(int fd, uint32_t wanted)
{
	char payload[PAYLOAD] = {0}, answer[2048];
	struct timeval limit = {.tv_usec = 100000};
	uint32_t lost = 0;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	for (uint32_t i = 0; i < wanted + WARM_UP && lost < 50; i++) {
		double start = bench_now_ns();
		ssize_t got;

		memcpy(payload, &i, sizeof(i));
		(void)!send(fd, payload, sizeof(payload), 0);
		do
			got = recv(fd, answer, sizeof(answer), 0);
		while (got > 0 && memcmp(answer, &i, sizeof(i)) != 0);
		if (got < 0)
			lost++;
		else if (i >= WARM_UP)
			printf("%.0f\n", bench_now_ns() - start);
	}
	if (lost)
		fprintf(stderr, "udp_echo: %u datagrams were not answered\n", lost);
}

int main(int argument_count, char **arguments)
{
	const char *verb = argument_count > 1 ? arguments[1] : "";
	bool listens = strcmp(verb, "echo") == 0 || strcmp(verb, "count") == 0;
	bool sends = strcmp(verb, "ping") == 0 || strcmp(verb, "blast") == 0;
	struct sockaddr_in address;

	if ((!listens || argument_count != 5) && (!sends || argument_count != 6)) {
		fprintf(stderr, "udp_echo: echo|count CPU ADDRESS PORT, or ping|blast CPU ADDRESS PORT NUMBER\n");
		return 2;
	}
	bench_pin(atoi(arguments[2]));
	address = address_of(arguments);
	if (strcmp(verb, "echo") == 0)
		echo(receiver(&address));
	else if (strcmp(verb, "count") == 0)
		count(receiver(&address));
	else if (strcmp(verb, "ping") == 0)
		ping(sender(&address), (uint32_t)atoi(arguments[5]));
	else
		blast(sender(&address), atof(arguments[5]));
	return 0;
}
