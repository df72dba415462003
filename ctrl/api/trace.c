/* SPDX-License-Identifier: Apache-2.0 */
/* /selvage/v1/trace: who is told about which packets. */
#include <string.h>

#include "ctrl/api/api_internal.h"
#include "ctrl/api/trace_filter.h"
#include "edge/edge_event.h"

/* Records that do not fit are counted as lost: a trace must not take the daemon's memory. */
#define TRACE_UNSENT_MAX ((size_t)4 << 20)
#define TRACE_STREAMS_MAX 16
#define TRACE_RATE_MAX 1000000u

struct trace_stream {
	LIST_ENTRY(trace_stream) link;
	struct api *api;
	struct http_exchange *exchange;
	struct trace_filter *filter;
	uint64_t count_max; /* 0: no end */
	uint32_t snaplen;   /* bytes of each packet */
	uint32_t rate;      /* a second and worker; 0: no limit */
	uint64_t sent, lost;
	uint64_t hidden; /* of the packet program's, told so far */
	bool hidden_known;
	size_t unsent;
};

static struct api_trace_filter coarse_of(const struct trace_stream *stream)
{
	struct api_trace_filter coarse = trace_filter_coarse(stream->filter);

	coarse.snaplen = stream->snaplen;
	coarse.rate = stream->rate;
	return coarse;
}

/* One subscriber is filtered in the packet program; several get what any of them wants. */
static struct api_trace_filter coarse_of_all(const struct api *api)
{
	const struct trace_stream *first = LIST_FIRST(&api->traces), *stream;
	struct api_trace_filter coarse = {0};

	if (!first)
		return coarse;
	coarse = coarse_of(first);
	LIST_FOREACH(stream, &api->traces, link) {
		struct api_trace_filter other = coarse_of(stream);

		coarse.flags &= other.flags;
		if (other.snaplen > coarse.snaplen)
			coarse.snaplen = other.snaplen;
		if (other.rate > coarse.rate || other.rate == 0)
			coarse.rate = coarse.rate ? other.rate : 0;
		if (other.protocol != coarse.protocol)
			coarse.protocol = 0;
		if (other.port != coarse.port)
			coarse.port = 0;
		if (!address_equal(&other.address, &coarse.address))
			coarse.address = (struct address){0};
	}
	return coarse;
}

static int coarse_set(struct api *api, struct error *error)
{
	const struct api_trace_filter coarse = coarse_of_all(api);

	if (api->closed || !api->backend.trace_set)
		return 0;
	return api->backend.trace_set(api->backend.context, &coarse, error);
}

static void stream_end(struct trace_stream *stream)
{
	struct api *api = stream->api;

	LIST_REMOVE(stream, link);
	http_stream_end(stream->exchange, false);
	trace_filter_free(stream->filter);
	free(stream);
	(void)coarse_set(api, NULL);
}

static void stream_gone(void *context)
{
	stream_end(context);
}

/* Takes over `json`. */
static void line_send(struct trace_stream *stream, json_t *json)
{
	_cleanup_(freep) char *text = json_dumps(json, JSON_COMPACT), *line = NULL;
	int length = asprintf(&line, "%s\n", text ? text : "{}");

	json_decref(json);
	if (length >= 0)
		stream->unsent = http_stream_write(stream->exchange, line, (size_t)length);
}

static void stream_publish(struct trace_stream *stream, const struct trace_packet *packet)
{
	if (stream->unsent > TRACE_UNSENT_MAX) {
		stream->unsent = http_stream_unsent(stream->exchange);
		if (stream->unsent > TRACE_UNSENT_MAX / 2) {
			stream->unsent = TRACE_UNSENT_MAX + 1;
			stream->lost++;
			return;
		}
	}
	if (stream->lost) {
		line_send(stream, json_pack("{s:I}", "lost", (json_int_t)stream->lost));
		stream->lost = 0;
	}
	line_send(stream, trace_packet_json(packet, stream->snaplen));
	if (++stream->sent == stream->count_max)
		stream_end(stream);
}

void api_trace_publish(struct api *api, const struct api_trace_packet *reported)
{
	struct trace_stream *stream, *next;
	struct trace_packet packet;

	if (LIST_EMPTY(&api->traces))
		return;
	trace_packet_read(reported, &packet);
	for (stream = LIST_FIRST(&api->traces); stream; stream = next) {
		next = LIST_NEXT(stream, link);
		if (trace_filter_matches(stream->filter, &packet))
			stream_publish(stream, &packet);
	}
}

void api_trace_hidden(struct api *api, uint64_t total)
{
	struct trace_stream *stream, *next;

	for (stream = LIST_FIRST(&api->traces); stream; stream = next) {
		uint64_t hidden = total - stream->hidden;

		next = LIST_NEXT(stream, link);
		stream->hidden = total;
		/* the first total is where a stream begins; a smaller one is of another packet program */
		if (hidden && hidden < UINT64_MAX / 2 && stream->hidden_known)
			line_send(stream, json_pack("{s:I}", "notShown", (json_int_t)hidden));
		stream->hidden_known = true;
	}
}

/* A number of the query; `ret_number` stays as it is when it is not given. */
static bool number_parse(const struct http_request *request, const char *name, uint64_t maximum, uint64_t *ret_number)
{
	const char *text = http_request_query(request, name);

	if (!text)
		return true;
	if (!*text || strlen(text) > 15 || strspn(text, "0123456789") != strlen(text))
		return false;
	*ret_number = strtoull(text, NULL, 10);
	return *ret_number > 0 && *ret_number <= maximum;
}

static size_t streams_count(const struct api *api)
{
	const struct trace_stream *stream;
	size_t count = 0;

	LIST_FOREACH(stream, &api->traces, link)
		count++;
	return count;
}

void trace_handle(struct api *api, struct http_exchange *exchange)
{
	const struct http_request *request = http_exchange_request(exchange);
	struct trace_stream *stream;
	struct trace_filter *filter;
	struct error error = {0};
	uint64_t count = 0, snaplen = EDGE_EVENT_BYTES, rate = 0;
	int status;

	if (!number_parse(request, "count", UINT64_MAX, &count) || !number_parse(request, "rate", TRACE_RATE_MAX, &rate) ||
	    !number_parse(request, "snaplen", EDGE_EVENT_BYTES_MAX, &snaplen)) {
		reply_failure(exchange, 400, NULL, "count, rate and snaplen must be numbers above 0; rate is at most %u, snaplen %u",
			      TRACE_RATE_MAX, EDGE_EVENT_BYTES_MAX);
		return;
	}
	if (streams_count(api) >= TRACE_STREAMS_MAX) {
		reply_failure(exchange, 503, NULL, "%d traces are running already", TRACE_STREAMS_MAX);
		return;
	}
	if (trace_filter_parse(http_request_query(request, "filter"), &filter, &error) < 0) {
		reply_failure(exchange, 400, NULL, "%s", error.text);
		return;
	}
	stream = calloc(1, sizeof(*stream));
	if (!stream)
		abort();
	*stream = (struct trace_stream){.api = api, .exchange = exchange, .filter = filter, .count_max = count,
					.snaplen = (uint32_t)snaplen, .rate = (uint32_t)rate};
	LIST_INSERT_HEAD(&api->traces, stream, link);
	status = coarse_set(api, &error);
	if (status < 0) {
		LIST_REMOVE(stream, link);
		trace_filter_free(filter);
		free(stream);
		reply_error(exchange, status, &error);
		return;
	}
	http_stream_begin(exchange, 200, "application/jsonl");
	http_exchange_on_gone(exchange, stream_gone, stream);
	/* So that the client knows that from here on nothing is missed. */
	line_send(stream, json_pack("{s:b}", "started", 1));
}
