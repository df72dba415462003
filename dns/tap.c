/* SPDX-License-Identifier: Apache-2.0 */
#include "dns/tap.h"

#include <fstrm.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/lib/memory.h"

#define CONTENT_TYPE "protobuf:dnstap.Dnstap"

struct tap {
	char *identity, *path;
	struct fstrm_iothr *thread;
	struct fstrm_iothr_queue *queue;
	uint64_t messages, lost;
};

struct tap *tap_new(const char *identity)
{
	struct tap *tap = memory_or_end(calloc(1, sizeof(*tap)));

	tap->identity = memory_or_end(strdup(identity));
	return tap;
}

void tap_close(struct tap *tap)
{
	/* waits for what is queued to be written */
	fstrm_iothr_destroy(&tap->thread);
	free(tap->path);
	tap->path = NULL;
	tap->queue = NULL;
}

void tap_free(struct tap *tap)
{
	if (!tap)
		return;
	tap_close(tap);
	free(tap->identity);
	free(tap);
}

static struct fstrm_writer *writer_make(const char *path)
{
	struct fstrm_writer_options *options = fstrm_writer_options_init();
	struct fstrm_writer *writer;
	struct stat status;

	fstrm_writer_options_add_content_type(options, CONTENT_TYPE, strlen(CONTENT_TYPE));
	if (stat(path, &status) == 0 && S_ISSOCK(status.st_mode)) {
		struct fstrm_unix_writer_options *socket = fstrm_unix_writer_options_init();

		fstrm_unix_writer_options_set_socket_path(socket, path);
		writer = fstrm_unix_writer_init(socket, options);
		fstrm_unix_writer_options_destroy(&socket);
	} else {
		struct fstrm_file_options *file = fstrm_file_options_init();

		fstrm_file_options_set_file_path(file, path);
		writer = fstrm_file_writer_init(file, options);
		fstrm_file_options_destroy(&file);
	}
	fstrm_writer_options_destroy(&options);
	return writer;
}

int tap_open(struct tap *tap, const char *path, struct error *error)
{
	struct fstrm_iothr_options *options;
	struct fstrm_writer *writer;

	if (path[0] != '/')
		return error_set(error, EINVAL, "the query log's path must be absolute");
	tap_close(tap);
	writer = writer_make(path);
	/* opened here, so that it is said when it cannot be; the thread opens a socket again if it breaks */
	if (!writer || fstrm_writer_open(writer) != fstrm_res_success) {
		fstrm_writer_destroy(&writer);
		return error_set(error, EIO, "the query log %s cannot be opened", path);
	}
	options = fstrm_iothr_options_init();
	fstrm_iothr_options_set_num_input_queues(options, 1);
	fstrm_iothr_options_set_flush_timeout(options, 1);
	tap->thread = fstrm_iothr_init(options, &writer);
	fstrm_iothr_options_destroy(&options);
	tap->queue = tap->thread ? fstrm_iothr_get_input_queue(tap->thread) : NULL;
	if (!tap->queue) {
		tap_close(tap);
		return error_set(error, EIO, "the query log %s cannot be started", path);
	}
	tap->path = memory_or_end(strdup(path));
	tap->messages = tap->lost = 0;
	return 0;
}

/* --- protobuf: fields of dnstap.proto by their numbers --------------------------------------------------------------------------- */

static uint8_t *varint_put(uint8_t *at, uint64_t value)
{
	for (; value >= 0x80; value >>= 7)
		*at++ = (uint8_t)(value | 0x80);
	*at++ = (uint8_t)value;
	return at;
}

static uint8_t *number_put(uint8_t *at, unsigned int field, uint64_t value)
{
	return varint_put(varint_put(at, field << 3), value);
}

static uint8_t *bytes_put(uint8_t *at, unsigned int field, const void *bytes, size_t length)
{
	at = varint_put(varint_put(at, field << 3 | 2), length);
	memcpy(at, bytes, length);
	return at + length;
}

/* fixed32, little endian as we are */
static uint8_t *fixed_put(uint8_t *at, unsigned int field, uint32_t value)
{
	at = varint_put(at, field << 3 | 5);
	memcpy(at, &value, 4);
	return at + 4;
}

static uint8_t *address_put(uint8_t *at, unsigned int field, const struct address *address)
{
	size_t length = address_is_ipv4(address) ? 4 : 16;

	return bytes_put(at, field, (const uint8_t *)address + 16 - length, length);
}

static size_t message_write(const struct tap_message *message, uint8_t *ret_bytes)
{
	static const uint8_t protocols[] = {[DNS_OVER_UDP] = 1, [DNS_OVER_TCP] = 2, [DNS_OVER_TLS] = 3};
	const struct dns_request *request = message->request;
	uint8_t *at = ret_bytes;

	at = number_put(at, 1, message->response ? 6 : 5); /* CLIENT_RESPONSE, CLIENT_QUERY */
	at = number_put(at, 2, address_is_ipv4(&request->client) ? 1 : 2);
	at = number_put(at, 3, protocols[request->transport]);
	at = address_put(at, 4, &request->client);
	at = address_put(at, 5, &request->server);
	at = number_put(at, 6, request->client_port);
	at = number_put(at, 7, request->server_port);
	at = number_put(at, 8, message->query_ns / 1000000000);
	at = fixed_put(at, 9, (uint32_t)(message->query_ns % 1000000000));
	if (!message->response)
		return (size_t)(bytes_put(at, 10, message->wire, message->wire_length) - ret_bytes);
	at = number_put(at, 12, message->response_ns / 1000000000);
	at = fixed_put(at, 13, (uint32_t)(message->response_ns % 1000000000));
	return (size_t)(bytes_put(at, 14, message->wire, message->wire_length) - ret_bytes);
}

size_t tap_write(const struct tap_message *message, uint8_t *ret_bytes)
{
	static uint8_t inner[DNS_MESSAGE_MAX + 512];
	size_t length = message_write(message, inner);
	uint8_t *at = ret_bytes;

	at = bytes_put(at, 1, message->identity, strnlen(message->identity, 255));
	at = bytes_put(at, 2, "selvage " SELVAGE_VERSION, strlen("selvage " SELVAGE_VERSION));
	at = bytes_put(at, 14, inner, length);
	return (size_t)(number_put(at, 15, 1) - ret_bytes);
}

static void message_submit(struct tap *tap, const struct tap_message *message)
{
	uint8_t *bytes = memory_or_end(malloc(message->wire_length + 1024));
	size_t length = tap_write(message, bytes);

	if (fstrm_iothr_submit(tap->thread, tap->queue, bytes, length, fstrm_free_wrapper, NULL) == fstrm_res_success) {
		tap->messages++;
	} else {
		tap->lost++;
		free(bytes);
	}
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void tap_seen(void *context, const struct dns_request *request, const uint8_t *answer, size_t length)
{
	struct tap *tap = context;
	uint64_t response_ns = clock_ns(CLOCK_REALTIME);
	struct tap_message message = {
		.identity = tap->identity,
		.request = request,
		.wire = request->wire,
		.wire_length = request->wire_length,
		.query_ns = response_ns - (clock_ns(CLOCK_MONOTONIC) - request->received_us * 1000),
		.response_ns = response_ns,
	};

	if (!tap->queue)
		return;
	if (request->wire)
		message_submit(tap, &message);
	message.response = true;
	message.wire = answer;
	message.wire_length = length;
	message_submit(tap, &message);
}

json_t *tap_json(const struct tap *tap)
{
	return json_pack("{s:s?, s:I, s:I}", "path", tap->path, "messages", (json_int_t)tap->messages, "lost", (json_int_t)tap->lost);
}
