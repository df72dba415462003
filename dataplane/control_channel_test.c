/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that are refused, and messages with descriptors over a socket. */
#include "dataplane/control_channel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

static struct channel_message good(enum channel_kind kind)
{
	return (struct channel_message){
		.magic = CHANNEL_MAGIC, .version = CHANNEL_VERSION, .kind = (uint16_t)kind, .sequence = 7, .abi = EDGE_ABI,
		.ifindex = 3, .counter_sets = 20, .counter_first = 4, .epoch_shift = 11, .tick_ns = 4000000};
}

static int check(const struct channel_message *message, size_t fds, struct error *error)
{
	error->text[0] = '\0';
	return channel_request_check(message, sizeof(*message), fds, error);
}

static void good_requests_are_taken(void **state)
{
	struct error error;

	for (int kind = CHANNEL_HELLO; kind < CHANNEL_KIND_END; kind++) {
		struct channel_message message = good(kind);

		assert_int_equal(check(&message, kind == CHANNEL_TABLES ? CHANNEL_TABLES_MAX : 0, &error), 0);
	}
}

#define REFUSED(request, fds, code, says)                             \
	do {                                                          \
		struct channel_message message_ = (request);          \
		assert_int_equal(check(&message_, (fds), &error), -(code)); \
		assert_non_null(strstr(error.text, says));            \
	} while (0)

#define WITH(kind, field, value)                           \
	({                                                 \
		struct channel_message changed_ = good(kind); \
		changed_.field = (value);                  \
		changed_;                                  \
	})

static void bad_requests_are_refused_with_a_sentence(void **state)
{
	struct channel_message unended = good(CHANNEL_ATTACH);
	struct error error;

	assert_int_equal(channel_request_check(&unended, sizeof(unended) - 1, 0, &error), -EPROTO);
	REFUSED(WITH(CHANNEL_HELLO, magic, 1), 0, EPROTO, "not a message");
	REFUSED(WITH(CHANNEL_HELLO, version, CHANNEL_VERSION + 1), 0, EPROTO, "version");
	REFUSED(WITH(CHANNEL_HELLO, kind, 0), 0, EPROTO, "kind 0");
	REFUSED(WITH(CHANNEL_HELLO, kind, CHANNEL_KIND_END), 0, EPROTO, "not known");
	REFUSED(WITH(CHANNEL_HELLO, status, -1), 0, EINVAL, "malformed");
	REFUSED(WITH(CHANNEL_HELLO, port_count, CHANNEL_PORTS_MAX + 1), 0, EINVAL, "malformed");
	REFUSED(WITH(CHANNEL_HELLO, abi, EDGE_ABI + 1), 0, EPROTO, "format");
	REFUSED(WITH(CHANNEL_TABLES, abi, EDGE_ABI + 1), CHANNEL_TABLES_MAX, EPROTO, "format");
	REFUSED(good(CHANNEL_TABLES), CHANNEL_TABLES_MAX - 1, EINVAL, "descriptors");
	REFUSED(good(CHANNEL_QUIESCE), 1, EINVAL, "wants none");
	REFUSED(WITH(CHANNEL_TABLES, counter_first, 20), CHANNEL_TABLES_MAX, EINVAL, "counters");
	REFUSED(WITH(CHANNEL_TABLES, counter_sets, UINT32_MAX), CHANNEL_TABLES_MAX, EINVAL, "counters");
	REFUSED(WITH(CHANNEL_TABLES, tick_ns, 0), CHANNEL_TABLES_MAX, EINVAL, "epoch");
	REFUSED(WITH(CHANNEL_TABLES, epoch_shift, 32), CHANNEL_TABLES_MAX, EINVAL, "epoch");
	REFUSED(WITH(CHANNEL_ATTACH, ifindex, 0), 0, EINVAL, "no interface");
	memset(unended.device, 'x', sizeof(unended.device));
	REFUSED(unended, 0, EINVAL, "malformed");
}

static void messages_carry_descriptors(void **state)
{
	struct channel_message sent = good(CHANNEL_TABLES), received;
	int ends[2], pipe_ends[2], fds[CHANNEL_FDS_MAX];
	size_t length, count;
	char byte;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
	assert_int_equal(pipe(pipe_ends), 0);
	assert_int_equal(channel_send(ends[0], &sent, &pipe_ends[1], 1), 0);
	assert_int_equal(channel_receive(ends[1], &received, &length, fds, &count), 0);
	assert_int_equal(length, sizeof(sent));
	assert_int_equal(count, 1);
	assert_memory_equal(&sent, &received, sizeof(sent));
	assert_int_equal(write(fds[0], "x", 1), 1);
	assert_int_equal(read(pipe_ends[0], &byte, 1), 1);
	channel_fds_close(fds, count);
	/* A longer one is told by its length, an end by -EPIPE. */
	assert_true(send(ends[0], (char[sizeof(sent) + 1]){0}, sizeof(sent) + 1, 0) > 0);
	assert_int_equal(channel_receive(ends[1], &received, &length, fds, &count), 0);
	assert_int_equal(length, sizeof(sent) + 1);
	close(ends[0]);
	assert_int_equal(channel_receive(ends[1], &received, &length, fds, &count), -EPIPE);
	close(ends[1]);
	close(pipe_ends[0]);
	close(pipe_ends[1]);
}

static void nobody_there_is_said(void **state)
{
	char directory[] = "/tmp/selvage-channel-test-XXXXXX";
	struct channel *channel = NULL;
	struct error error;

	assert_non_null(mkdtemp(directory));
	assert_int_equal(channel_open(directory, &channel, &error), -ENOENT);
	assert_non_null(strstr(error.text, "selvage-dpdk is not running"));
	assert_null(channel);
	rmdir(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_requests_are_taken),
		cmocka_unit_test(bad_requests_are_refused_with_a_sentence),
		cmocka_unit_test(messages_carry_descriptors),
		cmocka_unit_test(nobody_there_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
