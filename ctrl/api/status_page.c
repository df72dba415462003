/* SPDX-License-Identifier: Apache-2.0 */
/* The status as one HTML page: no scripts, nothing from elsewhere, loads itself again. */
#include <event2/buffer.h>
#include <inttypes.h>
#include <string.h>

#include "ctrl/api/api_internal.h"

static const char page_head[] =
	"<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"5\">\n"
	"<meta name=\"viewport\" content=\"width=device-width\"><title>Selvage</title>\n<style>\n"
	":root{color-scheme:light dark}\n"
	"body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}\n"
	"h1{font-size:1.4rem;margin:0}h2{font-size:1.05rem;margin:1.8rem 0 .3rem}\n"
	"table{border-collapse:collapse;width:100%}\n"
	"th,td{text-align:left;padding:.25rem 1.2rem .25rem 0;border-bottom:1px solid #8884;vertical-align:top}\n"
	"th{font-weight:600}.n{text-align:right;font-variant-numeric:tabular-nums}\n"
	".bad{color:#c22}.ok{color:#197a3a}.dim{opacity:.65}\n"
	"</style></head><body>\n";

static void escaped(struct evbuffer *page, const char *text)
{
	for (; text && *text; text++) {
		if (strchr("<>&\"'", *text))
			evbuffer_add_printf(page, "&#%d;", *text);
		else
			evbuffer_add(page, text, 1);
	}
}

/* Text, a number, or a list of texts. */
static void value(struct evbuffer *page, const json_t *json)
{
	size_t i;
	json_t *item;

	if (json_is_integer(json))
		evbuffer_add_printf(page, "%" JSON_INTEGER_FORMAT, json_integer_value(json));
	else if (json_is_boolean(json))
		evbuffer_add_printf(page, json_is_true(json) ? "yes" : "no");
	else if (json_is_array(json))
		json_array_foreach(json, i, item) {
			evbuffer_add_printf(page, i ? ", " : "");
			escaped(page, json_string_value(item));
		}
	else
		escaped(page, json_string_value(json));
}

static void cell(struct evbuffer *page, const json_t *row, const char *key)
{
	const json_t *json = json_object_get(row, key);

	evbuffer_add_printf(page, json_is_integer(json) ? "<td class=\"n\">" : "<td>");
	value(page, json);
	evbuffer_add_printf(page, "</td>");
}

/* Columns are pairs of heading and key. */
static void table(struct evbuffer *page, const char *title, const json_t *rows, const char *const (*columns)[2], size_t count,
		  const char *empty)
{
	size_t i;
	json_t *row;

	evbuffer_add_printf(page, "<h2>%s</h2>\n", title);
	if (!json_array_size(rows)) {
		evbuffer_add_printf(page, "<p class=\"dim\">%s</p>\n", empty);
		return;
	}
	evbuffer_add_printf(page, "<table><tr>");
	for (size_t c = 0; c < count; c++)
		evbuffer_add_printf(page, "<th>%s</th>", columns[c][0]);
	evbuffer_add_printf(page, "</tr>\n");
	json_array_foreach(rows, i, row) {
		evbuffer_add_printf(page, "<tr>");
		for (size_t c = 0; c < count; c++)
			cell(page, row, columns[c][1]);
		evbuffer_add_printf(page, "</tr>\n");
	}
	evbuffer_add_printf(page, "</table>\n");
}

static void services(struct evbuffer *page, const json_t *rows)
{
	size_t i;
	json_t *row;

	evbuffer_add_printf(page, "<h2>Services</h2>\n");
	if (!json_array_size(rows)) {
		evbuffer_add_printf(page, "<p class=\"dim\">No services.</p>\n");
		return;
	}
	evbuffer_add_printf(page, "<table><tr><th>Service</th><th>Addresses</th><th>Healthy backends</th><th>Flows</th>"
				  "<th>Packets</th><th></th></tr>\n");
	json_array_foreach(rows, i, row) {
		const json_t *backends = json_object_get(row, "backends");
		json_int_t healthy = json_integer_value(json_object_get(backends, "healthy"));
		json_int_t total = json_integer_value(json_object_get(backends, "total"));

		evbuffer_add_printf(page, "<tr><td>");
		value(page, json_object_get(row, "namespace"));
		evbuffer_add_printf(page, "/");
		value(page, json_object_get(row, "name"));
		evbuffer_add_printf(page, "</td>");
		cell(page, row, "addresses");
		evbuffer_add_printf(page, "<td class=\"%s\">%" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT "</td>",
				    healthy == 0 ? "bad" : "ok", healthy, total);
		cell(page, row, "flows");
		cell(page, row, "packets");
		cell(page, row, "message");
		evbuffer_add_printf(page, "</tr>\n");
	}
	evbuffer_add_printf(page, "</table>\n");
}

/* Only where there are any. */
static void sessions(struct evbuffer *page, const json_t *counts)
{
	static const char *const columns[][2] = {{"Live", "live"}, {"Silent one way", "oneWay"}, {"Waiting", "waiting"},
						 {"Registered", "registered"}, {"Places in use", "used"}, {"Places", "limit"}};
	json_t *rows;

	if (json_integer_value(json_object_get(counts, "used")) + json_integer_value(json_object_get(counts, "registered")) == 0)
		return;
	rows = json_pack("[O]", counts);
	table(page, "Sessions", rows, columns, array_length(columns), "");
	json_decref(rows);
}

static void alarms(struct evbuffer *page, const json_t *rows)
{
	size_t i;
	json_t *row;

	json_array_foreach(rows, i, row) {
		evbuffer_add_printf(page, "<p class=\"bad\">");
		value(page, json_object_get(row, "text"));
		evbuffer_add_printf(page, "</p>\n");
	}
}

struct evbuffer *status_page(json_t *status)
{
	static const char *const interfaces[][2] = {{"Name", "name"}, {"Engine", "engine"}, {"Up", "up"}, {"MAC", "mac"},
						    {"Addresses", "addresses"}, {"", "message"}};
	static const char *const vips[][2] = {{"Address", "address"}, {"Owner", "owner"}, {"Interfaces", "interfaces"},
					      {"Pool", "pool"}, {"Services", "services"}, {"", "message"}};
	static const char *const drops[][2] = {{"Packets", "count"}, {"Reason", "reason"}, {"", "sentence"}};
	struct evbuffer *page = evbuffer_new();

	if (!page)
		abort();
	evbuffer_add_printf(page, "%s<h1>Selvage on ", page_head);
	value(page, json_object_get(status, "node"));
	evbuffer_add_printf(page, "</h1>\n<p class=\"dim\">version ");
	value(page, json_object_get(status, "version"));
	evbuffer_add_printf(page, ", up for ");
	value(page, json_object_get(status, "uptimeSeconds"));
	evbuffer_add_printf(page, " seconds, revision ");
	value(page, json_object_get(status, "revision"));
	evbuffer_add_printf(page, "</p>\n");
	alarms(page, json_object_get(status, "alarms"));
	table(page, "Virtual IPs", json_object_get(status, "vips"), vips, array_length(vips), "No virtual IPs.");
	services(page, json_object_get(status, "services"));
	sessions(page, json_object_get(status, "sessions"));
	table(page, "Interfaces", json_object_get(status, "interfaces"), interfaces, array_length(interfaces), "No interfaces.");
	table(page, "Drops", json_object_get(status, "drops"), drops, array_length(drops), "No packet was dropped.");
	evbuffer_add_printf(page, "<p class=\"dim\"><a href=\"/metrics\">metrics</a></p></body></html>\n");
	json_decref(status);
	return page;
}
