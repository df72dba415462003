/* SPDX-License-Identifier: Apache-2.0 */
#include <event2/buffer.h>
#include <string.h>

#include "ctrl/api/api_internal.h"

static int dump_to_buffer(const char *text, size_t length, void *buffer)
{
	return evbuffer_add(buffer, text, length);
}

void reply_json(struct http_exchange *exchange, int status, json_t *json)
{
	struct evbuffer *body = evbuffer_new();
	size_t flags = http_request_flag(http_exchange_request(exchange), "pretty") ? JSON_INDENT(2) : JSON_COMPACT;

	if (!body || !json || json_dump_callback(json, dump_to_buffer, body, flags | OBJECT_JSON_REALS | JSON_ENCODE_ANY) < 0)
		abort();
	evbuffer_add(body, "\n", 1);
	json_decref(json);
	http_reply_buffer(exchange, status, CONTENT_JSON, body);
	evbuffer_free(body);
}

static const char *reason_of_status(int status)
{
	static const struct {
		int status;
		const char *reason;
	} reasons[] = {
		{400, "BadRequest"}, {403, "Forbidden"}, {404, "NotFound"}, {405, "MethodNotAllowed"}, {408, "Timeout"},
		{409, "Conflict"}, {410, "Expired"}, {411, "BadRequest"}, {413, "RequestEntityTooLarge"},
		{415, "UnsupportedMediaType"}, {422, "Invalid"}, {503, "ServiceUnavailable"}, {504, "Timeout"},
		{507, "InsufficientStorage"},
	};

	for (size_t i = 0; i < array_length(reasons); i++)
		if (reasons[i].status == status)
			return reasons[i].reason;
	return status < 500 ? "BadRequest" : "InternalError";
}

json_t *status_failure(int status, const char *reason, const char *message)
{
	json_t *text = json_string(message);

	/* What a client sent may be quoted in it, and needs not be UTF-8. */
	if (!text)
		text = json_string(http_status_text(status));
	return json_pack("{s:s, s:s, s:{}, s:s, s:o, s:s, s:i}", "kind", "Status", "apiVersion", "v1", "metadata", "status",
			 "Failure", "message", text, "reason", reason ? reason : reason_of_status(status), "code", status);
}

void reply_failure(struct http_exchange *exchange, int status, const char *reason, const char *format, ...)
{
	char message[1024];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(message, sizeof(message), format, arguments);
	va_end(arguments);
	reply_json(exchange, status, status_failure(status, reason, message));
}

void reply_not_allowed(struct http_exchange *exchange, const char *allow)
{
	const struct http_request *request = http_exchange_request(exchange);

	http_exchange_header(exchange, "Allow", allow);
	reply_failure(exchange, 405, NULL, "%.300s takes %s, not %.20s", request->path, allow, request->method);
}

int status_of_errno(int error_status)
{
	switch (error_status) {
	case -ENOENT:
		return 404;
	case -EEXIST:
	case -EBUSY:
		return 409;
	case -EINVAL:
	case -E2BIG:
		return 422;
	case -EPERM:
		return 403;
	case -EAGAIN:
	case -ECANCELED:
		return 503;
	case -ETIMEDOUT:
		return 504;
	case -ENOSPC:
		return 507;
	default:
		return 500;
	}
}

void reply_error(struct http_exchange *exchange, int error_status, const struct error *error)
{
	reply_failure(exchange, status_of_errno(error_status), NULL, "%s",
		      error && *error->text ? error->text : strerror(-error_status));
}

void reply_diagnostics(struct http_exchange *exchange, const struct diagnostics *diagnostics)
{
	struct error error = {0};
	json_t *status;

	(void)diagnostics_error(diagnostics, &error);
	status = status_failure(422, NULL, error.text);
	json_object_set_new(status, "details", json_pack("{s:o}", "diagnostics", diagnostics_to_json(diagnostics)));
	reply_json(exchange, 422, status);
}

/* RFC 9111 had retired the header, but it is the one that Kubernetes' clients print. */
void reply_warnings_add(struct http_exchange *exchange, const struct diagnostics *diagnostics)
{
	for (size_t i = 0; i < diagnostics->count && i < 20; i++) {
		char header[300];

		if (diagnostics->items[i].severity != DIAGNOSTIC_WARNING)
			continue;
		snprintf(header, sizeof(header), "299 - \"%.250s\"", diagnostics->items[i].text);
		for (char *c = header + 7; *c && c[1]; c++)
			if (*c == '"' || *c == '\\')
				*c = '\'';
		http_exchange_header(exchange, "Warning", header);
	}
}
