/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many WebRTC sessions by hand, for tools/bench rtc. Every program is pinned to one processor.
 *
 *     rtc_load receive CPU ADDRESS PORT
 *         The agent of all sessions: answers Binding requests, and takes the time that each media packet took until the kernel
 *         had it. A line of standard input asks for what came since the last one, as a line of JSON.
 *     rtc_load send CPU plain ADDRESS PORT SESSIONS
 *     rtc_load send CPU stun  ADDRESS PORT SESSIONS FRAGMENTS       a file with the server's half of USERNAME of each session
 *     rtc_load send CPU turn  ADDRESS PORT SESSIONS PEER PEER_PORT  by way of a TURN server (RFC 8656, channels)
 *         Clients. Orders come on standard input, each answered with a line of JSON:
 *         "setup"              a Binding request for each session, or its allocation and channel; some on their way at once
 *         "send RATE MS"       media, evenly over all sessions; RATE 0 is as fast as it goes
 *
 * A media packet is RTP (RFC 3550) with 148 bytes of payload, whose first eight are the time that it was sent, CLOCK_REALTIME.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "base/lib/bytes.h"
#include "base/lib/histogram.h"
#include "rtc/stun_wire.h"
#include "tests/perf/bench_result.h"

#define BATCH 64u
#define NAP_US 200
#define BURST 8u        /* packets of one session in a row when it goes as fast as it can */
#define WINDOW 64u      /* sessions that are set up at once */
#define PATIENCE_MS 200 /* until a question is asked again */
#define TRIES 20u
#define RTP_LENGTH 160u
#define CHANNEL_HEADER 4u
#define FRAGMENT_MAX 256u

#define TURN_ALLOCATE 0x0003u
#define TURN_CHANNEL_BIND 0x0009u

enum kind { KIND_PLAIN, KIND_STUN, KIND_TURN };

struct session {
	int fd;
	uint32_t number;
	uint16_t sequence;
	uint8_t done; /* steps of the set-up */
	char fragment[FRAGMENT_MAX + 2];
	uint8_t bytes[CHANNEL_HEADER + RTP_LENGTH];
};

struct clients {
	enum kind kind;
	struct session *sessions;
	uint32_t count;
	struct sockaddr_in peer; /* of TURN */
	uint32_t turn;           /* whose packet is next */
};

static void fail(const char *what)
{
	fprintf(stderr, "rtc_load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static struct sockaddr_in address_of(const char *text, const char *port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};

	if (inet_pton(AF_INET, text, &address.sin_addr) != 1) {
		fprintf(stderr, "rtc_load: %s is no IPv4 address\n", text);
		exit(2);
	}
	return address;
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- STUN messages (RFC 8489) ---- */

struct message {
	uint8_t bytes[576];
	size_t length;
};

static void message_begin(struct message *message, uint32_t type, uint32_t session, uint32_t step)
{
	memset(message, 0, sizeof(*message));
	bytes_put16(message->bytes, type);
	bytes_put32(message->bytes + 4, STUN_MAGIC);
	bytes_put32(message->bytes + 8, (uint32_t)getpid());
	bytes_put32(message->bytes + 12, session);
	bytes_put32(message->bytes + 16, step);
	message->length = STUN_HEADER_BYTES;
}

static void message_add(struct message *message, uint32_t type, const void *value, size_t length)
{
	bytes_put16(message->bytes + message->length, type);
	bytes_put16(message->bytes + message->length + 2, (uint16_t)length);
	if (length)
		memcpy(message->bytes + message->length + 4, value, length);
	message->length += 4 + (length + 3) / 4 * 4;
	bytes_put16(message->bytes + 2, (uint16_t)(message->length - STUN_HEADER_BYTES));
}

/* XOR-MAPPED-ADDRESS and XOR-PEER-ADDRESS: section 14.2 */
static void message_add_address(struct message *message, uint32_t type, const struct sockaddr_in *address)
{
	uint8_t value[8] = {0, 1};

	bytes_put16(value + 2, ntohs(address->sin_port) ^ STUN_MAGIC >> 16);
	bytes_put32(value + 4, ntohl(address->sin_addr.s_addr) ^ STUN_MAGIC);
	message_add(message, type, value, sizeof(value));
}

/* FINGERPRINT: section 14.7 */
static void message_end(struct message *message)
{
	uint8_t value[4];

	bytes_put16(message->bytes + 2, (uint16_t)(message->length + 8 - STUN_HEADER_BYTES));
	bytes_put32(value, (uint32_t)crc32(0, message->bytes, (uInt)message->length) ^ STUN_FINGERPRINT_XOR);
	message_add(message, STUN_FINGERPRINT, value, sizeof(value));
}

/* RFC 8445 section 7.1.1: what a controlling client asks that has made up its mind. */
static void check_write(struct message *message, const struct session *session, uint32_t step)
{
	uint8_t tie_breaker[8] = {1}, priority[4] = {0x6e, 0x7f, 0xff, 0xff}, integrity[20] = {0};
	char username[FRAGMENT_MAX + 8];
	int length = snprintf(username, sizeof(username), "%s:clnt", session->fragment);

	message_begin(message, STUN_BINDING_REQUEST, session->number, step);
	message_add(message, STUN_USERNAME, username, (size_t)length);
	message_add(message, STUN_CONTROLLING, tie_breaker, sizeof(tie_breaker));
	message_add(message, STUN_PRIORITY, priority, sizeof(priority));
	message_add(message, STUN_USE_CANDIDATE, NULL, 0);
	message_add(message, STUN_INTEGRITY, integrity, sizeof(integrity));
	message_end(message);
}

static void allocate_write(struct message *message, const struct session *session, uint32_t step)
{
	uint8_t udp[4] = {17};

	message_begin(message, TURN_ALLOCATE, session->number, step);
	message_add(message, 0x0019, udp, sizeof(udp));
	message_end(message);
}

static void channel_write(struct message *message, const struct clients *clients, const struct session *session,
			  uint32_t step)
{
	uint8_t number[4] = {0x40, 0x00};

	message_begin(message, TURN_CHANNEL_BIND, session->number, step);
	message_add(message, 0x000c, number, sizeof(number));
	message_add_address(message, 0x0012, &clients->peer);
	message_end(message);
}

/* ---- the agent ---- */

struct agent {
	int fd;
	uint64_t received, requests, first_ns, last_ns;
	struct histogram delays_ns;
};

static void agent_answer(const struct agent *agent, const uint8_t *bytes, const struct sockaddr_in *from)
{
	struct message message;

	message_begin(&message, STUN_BINDING_SUCCESS, 0, 0);
	memcpy(message.bytes + 8, bytes + 8, 12);
	message_add_address(&message, STUN_XOR_MAPPED_ADDRESS, from);
	message_end(&message);
	(void)!sendto(agent->fd, message.bytes, message.length, 0, (const struct sockaddr *)from, sizeof(*from));
}

static uint64_t arrival_ns(struct msghdr *header)
{
	for (struct cmsghdr *part = CMSG_FIRSTHDR(header); part; part = CMSG_NXTHDR(header, part)) {
		struct timespec at;

		if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SO_TIMESTAMPNS)
			continue;
		memcpy(&at, CMSG_DATA(part), sizeof(at));
		return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
	}
	return 0;
}

static void agent_take(struct agent *agent, const uint8_t *bytes, size_t length, struct msghdr *header)
{
	uint64_t sent_ns, at_ns;

	if (length >= STUN_HEADER_BYTES && bytes_get16(bytes) == STUN_BINDING_REQUEST && bytes_get32(bytes + 4) == STUN_MAGIC) {
		agent->requests++;
		agent_answer(agent, bytes, header->msg_name);
	}
	if (length != RTP_LENGTH || bytes[0] != 0x80)
		return;
	memcpy(&sent_ns, bytes + 12, sizeof(sent_ns));
	at_ns = arrival_ns(header);
	if (!agent->received++)
		agent->first_ns = at_ns;
	agent->last_ns = at_ns;
	if (histogram_add(&agent->delays_ns, at_ns > sent_ns ? at_ns - sent_ns : 0) < 0)
		fail("keeping a time");
}

static void agent_report(struct agent *agent)
{
	double seconds = (double)(agent->last_ns - agent->first_ns) / 1e9;

	printf("{\"received\": %llu, \"requests\": %llu, \"seconds\": %.3f, \"p50_us\": %.2f, \"p99_us\": %.2f, \"p999_us\": %.2f}\n",
	       (unsigned long long)agent->received, (unsigned long long)agent->requests, seconds,
	       (double)histogram_quantile(&agent->delays_ns, 500) / 1e3,
	       (double)histogram_quantile(&agent->delays_ns, 990) / 1e3,
	       (double)histogram_quantile(&agent->delays_ns, 999) / 1e3);
	fflush(stdout);
	histogram_done(&agent->delays_ns);
	*agent = (struct agent){.fd = agent->fd};
}

static void receive(const struct sockaddr_in *address)
{
	static uint8_t bytes[BATCH][2048], control[BATCH][64];
	static struct sockaddr_in from[BATCH];
	struct agent agent = {.fd = socket(AF_INET, SOCK_DGRAM, 0)};
	struct pollfd order = {STDIN_FILENO, POLLIN, 0};
	int size = 64 << 20, yes = 1;
	char line[16];

	if (agent.fd < 0 || bind(agent.fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ||
	    setsockopt(agent.fd, SOL_SOCKET, SO_TIMESTAMPNS, &yes, sizeof(yes)) < 0)
		fail("listening");
	setsockopt(agent.fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	printf("ready\n");
	fflush(stdout);
	for (;;) {
		struct mmsghdr messages[BATCH] = {0};
		struct iovec parts[BATCH];
		int got;

		for (uint32_t i = 0; i < BATCH; i++) {
			parts[i] = (struct iovec){bytes[i], sizeof(bytes[i])};
			messages[i].msg_hdr = (struct msghdr){.msg_name = &from[i],
							      .msg_namelen = sizeof(from[i]),
							      .msg_iov = &parts[i],
							      .msg_iovlen = 1,
							      .msg_control = control[i],
							      .msg_controllen = sizeof(control[i])};
		}
		got = recvmmsg(agent.fd, messages, BATCH, MSG_DONTWAIT, NULL);
		for (int i = 0; i < got; i++)
			agent_take(&agent, bytes[i], messages[i].msg_len, &messages[i].msg_hdr);
		if (got > 0)
			continue;
		if (poll(&order, 1, 0) > 0) {
			if (!fgets(line, sizeof(line), stdin))
				return;
			agent_report(&agent);
		}
		/* Nobody waits for a packet: waking a receiver costs the sender's processor more than all else that a packet does. */
		usleep(NAP_US);
	}
}

/* ---- the clients ---- */

static uint32_t steps_of(const struct clients *clients)
{
	return clients->kind == KIND_TURN ? 2 : clients->kind == KIND_STUN;
}

static void session_ask(const struct clients *clients, const struct session *session)
{
	struct message message;

	if (clients->kind == KIND_STUN)
		check_write(&message, session, session->done);
	else if (session->done == 0)
		allocate_write(&message, session, 0);
	else
		channel_write(&message, clients, session, 1);
	(void)!send(session->fd, message.bytes, message.length, 0);
}

/* RFC 8656 section 7.2: 437, Allocation Mismatch. An earlier run had this port, and its allocation still stands. */
static bool answer_is_mismatch(const uint8_t *bytes, ssize_t length)
{
	for (ssize_t at = STUN_HEADER_BYTES; at + 8 <= length; at += 4 + (ssize_t)(bytes_get16(bytes + at + 2) + 3) / 4 * 4)
		if (bytes_get16(bytes + at) == STUN_ERROR_CODE)
			return bytes[at + 6] == 4 && bytes[at + 7] == 37;
	return false;
}

/* Whether what came is the success that the session waits for; an error ends the program. */
static bool session_hears(const struct session *session)
{
	uint8_t bytes[2048];
	ssize_t length;

	while ((length = recv(session->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0) {
		if (length < (ssize_t)STUN_HEADER_BYTES || bytes_get32(bytes + 4) != STUN_MAGIC ||
		    bytes_get32(bytes + 16) != session->done)
			continue;
		if ((bytes[0] & 1) && (bytes[1] & 0x10) && !answer_is_mismatch(bytes, length)) {
			fprintf(stderr, "rtc_load: session %u, step %u: an error answer\n", session->number,
				session->done);
			exit(1);
		}
		return true;
	}
	return false;
}

/* Sessions [from, to) take all their steps. */
static void window_setup(const struct clients *clients, uint32_t from, uint32_t to)
{
	uint32_t missing = to - from, tries = 0;
	struct pollfd wait[WINDOW];

	for (uint32_t i = from; i < to; i++) {
		clients->sessions[i].done = 0;
		wait[i - from] = (struct pollfd){clients->sessions[i].fd, POLLIN, 0};
		session_ask(clients, &clients->sessions[i]);
	}
	while (missing) {
		int ready = poll(wait, to - from, PATIENCE_MS);

		if (ready == 0 && ++tries == TRIES) {
			fprintf(stderr, "rtc_load: %u sessions were not answered\n", missing);
			exit(1);
		}
		for (uint32_t i = from; i < to; i++) {
			struct session *session = &clients->sessions[i];

			if (session->done == steps_of(clients))
				continue;
			if (ready == 0) {
				session_ask(clients, session);
			} else if (wait[i - from].revents && session_hears(session)) {
				if (++session->done == steps_of(clients)) {
					missing--;
					wait[i - from].fd = -1;
				} else {
					session_ask(clients, session);
				}
			}
		}
	}
}

static void setup(const struct clients *clients)
{
	uint64_t start_ns = clock_ns(CLOCK_MONOTONIC);

	for (uint32_t i = 0; steps_of(clients) && i < clients->count; i += WINDOW)
		window_setup(clients, i, i + WINDOW < clients->count ? i + WINDOW : clients->count);
	printf("{\"sessions\": %u, \"seconds\": %.6f}\n", clients->count,
	       (double)(clock_ns(CLOCK_MONOTONIC) - start_ns) / 1e9);
	fflush(stdout);
}

/* The session's next packet, in its buffer; returns where it begins and how long it is. */
static struct iovec session_packet(const struct clients *clients, struct session *session, uint8_t *buffer)
{
	uint8_t *rtp = buffer + CHANNEL_HEADER;
	uint64_t now_ns;

	bytes_put16(buffer, 0x4000);
	bytes_put16(buffer + 2, RTP_LENGTH);
	rtp[0] = 0x80;
	rtp[1] = 111;
	bytes_put16(rtp + 2, session->sequence);
	bytes_put32(rtp + 4, session->sequence * 960u);
	bytes_put32(rtp + 8, 0x5e1f0000u + session->number);
	session->sequence++;
	now_ns = clock_ns(CLOCK_REALTIME);
	memcpy(rtp + 12, &now_ns, sizeof(now_ns));
	return clients->kind == KIND_TURN ? (struct iovec){buffer, CHANNEL_HEADER + RTP_LENGTH} :
					    (struct iovec){rtp, RTP_LENGTH};
}

static struct session *clients_next(struct clients *clients)
{
	struct session *session = &clients->sessions[clients->turn];

	clients->turn = clients->turn + 1 == clients->count ? 0 : clients->turn + 1;
	return session;
}

/* Near the time it waits by looking at the clock: timers come late by more than the packets are apart. */
static void wait_until(uint64_t at_ns)
{
	uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);

	if (at_ns > now_ns + 200000) {
		uint64_t rest_ns = at_ns - now_ns - 100000;
		struct timespec rest = {(time_t)(rest_ns / 1000000000u), (long)(rest_ns % 1000000000u)};

		nanosleep(&rest, NULL);
	}
	while (clock_ns(CLOCK_MONOTONIC) < at_ns)
		;
}

static uint64_t send_paced(struct clients *clients, double rate, uint64_t end_ns)
{
	double next_ns = (double)clock_ns(CLOCK_MONOTONIC);
	uint64_t sent = 0;

	while (next_ns < (double)end_ns && clock_ns(CLOCK_MONOTONIC) < end_ns) {
		struct session *session = clients_next(clients);
		struct iovec part;

		wait_until((uint64_t)next_ns);
		part = session_packet(clients, session, session->bytes);
		sent += send(session->fd, part.iov_base, part.iov_len, 0) > 0;
		next_ns += 1e9 / rate;
	}
	return sent;
}

static uint64_t send_all_it_can(struct clients *clients, uint64_t end_ns)
{
	static uint8_t bytes[BURST][CHANNEL_HEADER + RTP_LENGTH];
	struct mmsghdr messages[BURST];
	struct iovec parts[BURST];
	uint64_t sent = 0;

	while (clock_ns(CLOCK_MONOTONIC) < end_ns) {
		struct session *session = clients_next(clients);
		int put;

		memset(messages, 0, sizeof(messages));
		for (uint32_t i = 0; i < BURST; i++) {
			parts[i] = session_packet(clients, session, bytes[i]);
			messages[i].msg_hdr.msg_iov = &parts[i];
			messages[i].msg_hdr.msg_iovlen = 1;
		}
		put = sendmmsg(session->fd, messages, BURST, 0);
		sent += put > 0 ? (uint64_t)put : 0;
	}
	return sent;
}

static void send_media(struct clients *clients, double rate, double milliseconds)
{
	uint64_t start_ns = clock_ns(CLOCK_MONOTONIC), end_ns = start_ns + (uint64_t)(milliseconds * 1e6), sent;

	sent = rate > 0 ? send_paced(clients, rate, end_ns) : send_all_it_can(clients, end_ns);
	printf("{\"sent\": %llu, \"seconds\": %.6f}\n", (unsigned long long)sent,
	       (double)(clock_ns(CLOCK_MONOTONIC) - start_ns) / 1e9);
	fflush(stdout);
}

static void read_fragments(const struct clients *clients, const char *path)
{
	FILE *file = fopen(path, "re");

	if (!file)
		fail(path);
	for (uint32_t i = 0; i < clients->count; i++) {
		char *fragment = clients->sessions[i].fragment;

		if (!fgets(fragment, sizeof(clients->sessions[i].fragment), file)) {
			fprintf(stderr, "rtc_load: %s has no fragment for session %u\n", path, i);
			exit(1);
		}
		fragment[strcspn(fragment, "\n")] = '\0';
	}
	fclose(file);
}

static void clients_open(struct clients *clients, const struct sockaddr_in *to)
{
	struct rlimit files = {clients->count + 64, clients->count + 64};

	if (setrlimit(RLIMIT_NOFILE, &files) < 0)
		fail("so many sockets");
	clients->sessions = calloc(clients->count, sizeof(*clients->sessions));
	if (!clients->sessions)
		fail("so many sessions");
	for (uint32_t i = 0; i < clients->count; i++) {
		int fd = socket(AF_INET, SOCK_DGRAM, 0);

		if (fd < 0 || connect(fd, (const struct sockaddr *)to, sizeof(*to)) < 0)
			fail("connecting");
		clients->sessions[i].fd = fd;
		clients->sessions[i].number = i;
	}
}

static void serve_orders(struct clients *clients)
{
	char line[64];

	printf("ready\n");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		double rate, milliseconds;

		if (strcmp(line, "setup\n") == 0)
			setup(clients);
		else if (sscanf(line, "send %lf %lf", &rate, &milliseconds) == 2)
			send_media(clients, rate, milliseconds);
		else
			fprintf(stderr, "rtc_load: no such order: %s", line);
	}
}

static int usage(void)
{
	fprintf(stderr,
		"rtc_load: receive CPU ADDRESS PORT, or send CPU plain|stun|turn ADDRESS PORT SESSIONS [FRAGMENTS | PEER PEER_PORT]\n");
	return 2;
}

int main(int argument_count, char **arguments)
{
	static const char *const kinds[] = {[KIND_PLAIN] = "plain", [KIND_STUN] = "stun", [KIND_TURN] = "turn"};
	static const int words[] = {[KIND_PLAIN] = 7, [KIND_STUN] = 8, [KIND_TURN] = 9};
	struct clients clients = {0};
	struct sockaddr_in to;

	if (argument_count == 5 && strcmp(arguments[1], "receive") == 0) {
		bench_pin(atoi(arguments[2]));
		to = address_of(arguments[3], arguments[4]);
		receive(&to);
		return 0;
	}
	if (argument_count < 7 || strcmp(arguments[1], "send") != 0)
		return usage();
	while (strcmp(kinds[clients.kind], arguments[3]) != 0)
		if (clients.kind++ == KIND_TURN)
			return usage();
	clients.count = (uint32_t)atoi(arguments[6]);
	if (argument_count != words[clients.kind] || clients.count == 0)
		return usage();
	bench_pin(atoi(arguments[2]));
	to = address_of(arguments[4], arguments[5]);
	clients_open(&clients, &to);
	if (clients.kind == KIND_STUN)
		read_fragments(&clients, arguments[7]);
	if (clients.kind == KIND_TURN)
		clients.peer = address_of(arguments[7], arguments[8]);
	serve_orders(&clients);
	return 0;
}
