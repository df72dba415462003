/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/api/http_message.h"

#include <string.h>
#include <strings.h>

void http_request_free(struct http_request *request)
{
	if (!request)
		return;
	free(request->memory);
	free(request->body_memory);
	free(request);
}

void http_request_freep(struct http_request **request)
{
	http_request_free(*request);
}

static const char *pairs_get(const struct http_pairs *pairs, const char *name, int (*compare)(const char *, const char *))
{
	for (size_t i = 0; i < pairs->count; i++)
		if (compare(pairs->items[i].name, name) == 0)
			return pairs->items[i].value;
	return NULL;
}

const char *http_request_header(const struct http_request *request, const char *name)
{
	return pairs_get(&request->headers, name, strcasecmp);
}

const char *http_request_query(const struct http_request *request, const char *name)
{
	return pairs_get(&request->query, name, strcmp);
}

bool http_request_flag(const struct http_request *request, const char *name)
{
	const char *value = http_request_query(request, name);

	return value && (!*value || strcmp(value, "1") == 0 || strcmp(value, "true") == 0);
}

bool http_request_content_is(const struct http_request *request, const char *media_type)
{
	const char *value = http_request_header(request, "Content-Type");
	size_t length = value ? strcspn(value, "; \t") : 0;

	return length == strlen(media_type) && value && strncasecmp(value, media_type, length) == 0;
}

const char *http_status_text(int status)
{
	static const struct {
		int status;
		const char *text;
	} texts[] = {
		{200, "OK"}, {201, "Created"}, {202, "Accepted"}, {400, "Bad Request"}, {403, "Forbidden"},
		{404, "Not Found"}, {405, "Method Not Allowed"}, {408, "Request Timeout"}, {409, "Conflict"}, {410, "Gone"},
		{411, "Length Required"}, {413, "Content Too Large"}, {414, "URI Too Long"}, {415, "Unsupported Media Type"},
		{422, "Unprocessable Content"}, {431, "Request Header Fields Too Large"}, {500, "Internal Server Error"},
		{501, "Not Implemented"}, {503, "Service Unavailable"}, {504, "Gateway Timeout"},
		{505, "HTTP Version Not Supported"}, {507, "Insufficient Storage"},
	};

	for (size_t i = 0; i < array_length(texts); i++)
		if (texts[i].status == status)
			return texts[i].text;
	return "Unknown";
}

/* --- lexical ----------------------------------------------------------------------------------------------------------- */

/* RFC 9110 section 5.6.2 */
static bool is_token_char(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_token(const char *text)
{
	if (!*text)
		return false;
	for (; *text; text++)
		if (!is_token_char((unsigned char)*text))
			return false;
	return true;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* In place; false on a broken escape or a control character. */
static bool percent_decode(char *text, bool plus_is_space)
{
	char *out = text;

	for (; *text; text++) {
		char c = *text;

		if (c == '%') {
			int high = hex_digit(text[1]), low = high < 0 ? -1 : hex_digit(text[2]);

			if (low < 0)
				return false;
			c = (char)(high << 4 | low);
			text += 2;
		} else if (c == '+' && plus_is_space) {
			c = ' ';
		}
		if ((unsigned char)c < ' ' || c == 0x7f)
			return false;
		*out++ = c;
	}
	*out = '\0';
	return true;
}

/* --- the parts --------------------------------------------------------------------------------------------------------- */

static int path_parse(struct http_request *request, char *copy, struct error *error)
{
	char *rest = copy + 1, *segment;

	while ((segment = strsep(&rest, "/"))) {
		if (!*segment && !rest)
			break; /* a slash at the end, or the root */
		if (request->segment_count == HTTP_SEGMENTS_MAX)
			return -error_set(error, 414, "the path has more than %d parts", HTTP_SEGMENTS_MAX);
		if (!percent_decode(segment, false) || strchr(segment, '/') || !*segment || strcmp(segment, ".") == 0 ||
		    strcmp(segment, "..") == 0)
			return -error_set(error, 400, "the path \"%.100s\" is malformed", request->path);
		request->segments[request->segment_count++] = segment;
	}
	return 0;
}

static int query_parse(struct http_request *request, char *query, struct error *error)
{
	char *item;

	while ((item = strsep(&query, "&"))) {
		char *value = strchr(item, '=');

		if (!*item)
			continue;
		if (value)
			*value++ = '\0';
		if (request->query.count == HTTP_PAIRS_MAX)
			return -error_set(error, 414, "the query has more than %d parts", HTTP_PAIRS_MAX);
		if (!percent_decode(item, true) || (value && !percent_decode(value, true)))
			return -error_set(error, 400, "the query is malformed");
		request->query.items[request->query.count++] = (struct http_pair){item, value ? value : ""};
	}
	return 0;
}

static int request_line_parse(struct http_request *request, char *line, char *path_copy, struct error *error)
{
	char *target = strchr(line, ' '), *version = target ? strchr(target + 1, ' ') : NULL, *query;

	if (!target || !version)
		return -error_set(error, 400, "the first line is not an HTTP request");
	*target++ = *version++ = '\0';
	request->method = line;
	if (!is_token(line) || strlen(line) > 20)
		return -error_set(error, 400, "the first line does not begin with a method");
	if (strncmp(version, "HTTP/", 5) != 0)
		return -error_set(error, 400, "the first line does not end in an HTTP version");
	if (strcmp(version, "HTTP/1.0") == 0)
		request->old = true;
	else if (strcmp(version, "HTTP/1.1") != 0)
		return -error_set(error, 505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
	if (*target != '/')
		return -error_set(error, 400, "the target must be a path");
	query = strchr(target, '?');
	if (query)
		*query++ = '\0';
	request->path = target;
	request->keep_alive = !request->old;
	for (const char *c = target; *c; c++)
		if (*c <= ' ' || *c == 0x7f)
			return -error_set(error, 400, "the path holds a character that must be escaped");
	int status = path_parse(request, strcpy(path_copy, target), error);

	return status || !query ? status : query_parse(request, query, error);
}

static int header_parse(struct http_request *request, char *line, struct error *error)
{
	char *value = strchr(line, ':'), *end;

	if (!value)
		return -error_set(error, 400, "a header line has no colon");
	*value++ = '\0';
	/* A name followed by space, and a folded line, have two readings (RFC 9112 section 5.1 and 5.2). */
	if (!is_token(line))
		return -error_set(error, 400, "a header's name is malformed");
	value += strspn(value, " \t");
	end = value + strlen(value);
	while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
		*--end = '\0';
	for (const char *c = value; *c; c++)
		if (((unsigned char)*c < ' ' && *c != '\t') || *c == 0x7f)
			return -error_set(error, 400, "the header \"%.40s\" holds a control character", line);
	if (request->headers.count == HTTP_PAIRS_MAX)
		return -error_set(error, 431, "more than %d header lines", HTTP_PAIRS_MAX);
	request->headers.items[request->headers.count++] = (struct http_pair){line, value};
	return 0;
}

static int length_parse(struct http_request *request, size_t body_length_max, struct error *error)
{
	const char *seen = NULL;

	for (size_t i = 0; i < request->headers.count; i++) {
		const struct http_pair *header = &request->headers.items[i];
		size_t digits;

		if (strcasecmp(header->name, "Content-Length") != 0)
			continue;
		digits = strspn(header->value, "0123456789");
		if (seen || !digits || header->value[digits])
			return -error_set(error, 400, "Content-Length must be one number");
		seen = header->value;
		if (digits > 15 || strtoull(header->value, NULL, 10) > body_length_max)
			return -error_set(error, 413, "the body is larger than %zu bytes", body_length_max);
		request->content_length = (size_t)strtoull(header->value, NULL, 10);
	}
	if (http_request_header(request, "Transfer-Encoding")) {
		if (seen)
			return -error_set(error, 400, "Content-Length and Transfer-Encoding exclude each other");
		return -error_set(error, 411, "send the body with a Content-Length");
	}
	return 0;
}

static int connection_parse(struct http_request *request, struct error *error)
{
	const char *connection = http_request_header(request, "Connection");
	const char *expect = http_request_header(request, "Expect");

	if (connection && strcasecmp(connection, "close") == 0)
		request->keep_alive = false;
	if (connection && strcasecmp(connection, "keep-alive") == 0)
		request->keep_alive = true;
	if (expect && strcasecmp(expect, "100-continue") != 0)
		return -error_set(error, 400, "the expectation \"%.40s\" is not known", expect);
	request->expect_continue = expect && !request->old && request->content_length;
	if (!request->old && !http_request_header(request, "Host"))
		return -error_set(error, 400, "the Host header is missing");
	return 0;
}

static int head_parse(struct http_request *request, char *head, char *path_copy, size_t body_length_max, struct error *error)
{
	char *line = strsep(&head, "\n");
	int status = request_line_parse(request, line, path_copy, error);

	while (!status && (line = strsep(&head, "\n")) && *line)
		status = header_parse(request, line, error);
	if (!status)
		status = length_parse(request, body_length_max, error);
	return status ? status : connection_parse(request, error);
}

/* Copies the head with each line end as one newline; false if it holds a zero byte or a carriage return elsewhere. */
static bool lines_copy(const char *text, size_t length, char *copy)
{
	for (size_t i = 0; i < length; i++) {
		if (text[i] == '\r' && i + 1 < length && text[i + 1] == '\n')
			continue;
		if (!text[i] || text[i] == '\r')
			return false;
		*copy++ = text[i];
	}
	*copy = '\0';
	return true;
}

int http_request_parse(const char *text, size_t length, size_t body_length_max, struct http_request **ret_request,
		       struct error *error)
{
	_cleanup_(http_request_freep) struct http_request *request = calloc(1, sizeof(*request));
	int status;

	if (!request)
		abort();
	/* The head, and the path once more, to be cut into parts. */
	request->memory = malloc(2 * length + 2);
	if (!request->memory)
		abort();
	if (!lines_copy(text, length, request->memory))
		return -error_set(error, 400, "the request's head holds a byte that does not belong there");
	status = head_parse(request, request->memory, request->memory + length + 1, body_length_max, error);
	if (!status)
		*ret_request = steal(request);
	return status;
}
