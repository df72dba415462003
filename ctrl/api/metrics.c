/* SPDX-License-Identifier: Apache-2.0 */
/* The metrics address: /metrics, /healthz, /readyz and the status page. Everybody who reaches it may read. */
#include <event2/buffer.h>
#include <string.h>

#include "ctrl/api/api_internal.h"
#include "ctrl/api/openmetrics.h"

struct evbuffer *metrics_text(struct api *api)
{
	struct evbuffer *text = evbuffer_new();

	if (!text)
		abort();
	api->backend.metrics(api->backend.context, text);
	openmetrics_family(text, "selvage_api_requests", "counter", "Requests that the control socket has answered.");
	openmetrics_sample_count(text, "selvage_api_requests_total", api->requests_total, NULL);
	openmetrics_family(text, "selvage_api_writes", "counter", "Writes of objects that were committed.");
	openmetrics_sample_count(text, "selvage_api_writes_total", api->writes_total, NULL);
	openmetrics_family(text, "selvage_api_connections", "gauge", "Open connections to the control socket.");
	openmetrics_sample_count(text, "selvage_api_connections", http_server_connections(api->control), NULL);
	evbuffer_add_printf(text, "# EOF\n");
	return text;
}

static void reply_text(struct http_exchange *exchange, int status, const char *text)
{
	http_reply(exchange, status, "text/plain; charset=utf-8", text, strlen(text));
}

static void ready_handle(struct api *api, struct http_exchange *exchange)
{
	struct error error = {0};
	char text[600];

	if (api->backend.ready(api->backend.context, &error) == 0) {
		reply_text(exchange, 200, "ok\n");
		return;
	}
	snprintf(text, sizeof(text), "not ready: %s\n", error.text);
	reply_text(exchange, 503, text);
}

static void page_handle(struct api *api, struct http_exchange *exchange)
{
	struct evbuffer *page = status_page(api->backend.status(api->backend.context));

	http_exchange_header(exchange, "Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'");
	http_exchange_header(exchange, "X-Frame-Options", "DENY");
	http_reply_buffer(exchange, 200, "text/html; charset=utf-8", page);
	evbuffer_free(page);
}

void metrics_handle(void *context, struct http_exchange *exchange)
{
	const struct http_request *request = http_exchange_request(exchange);
	struct api *api = context;
	const char *name = request->segment_count == 1 ? request->segments[0] : "";

	if (strcmp(request->method, "GET") != 0 && strcmp(request->method, "HEAD") != 0) {
		http_exchange_header(exchange, "Allow", "GET, HEAD");
		reply_text(exchange, 405, "only GET and HEAD\n");
	} else if (request->segment_count == 0) {
		page_handle(api, exchange);
	} else if (strcmp(name, "metrics") == 0) {
		struct evbuffer *text = metrics_text(api);

		http_reply_buffer(exchange, 200, CONTENT_OPENMETRICS, text);
		evbuffer_free(text);
	} else if (strcmp(name, "healthz") == 0) {
		reply_text(exchange, 200, "ok\n");
	} else if (strcmp(name, "readyz") == 0) {
		ready_handle(api, exchange);
	} else {
		reply_text(exchange, 404, "there are /, /metrics, /healthz and /readyz\n");
	}
}
