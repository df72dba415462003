/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions in status, alarms and metrics. */
#include <stdio.h>

#include "ctrl/daemon/sessions.h"

json_t *daemon_sessions_status(const struct daemon_sessions *sessions)
{
	struct session_counts counts = session_watch_total(sessions->watch);
	struct rtc_usage usage = rtc_program_usage(sessions->program);

	return json_pack("{s:i, s:i, s:i, s:i, s:i, s:i}", "live", (int)counts.live, "waiting", (int)counts.waiting, "oneWay",
			 (int)counts.silent, "registered", (int)session_book_count(sessions->book), "used", (int)usage.used, "limit",
			 (int)usage.limit);
}

void daemon_sessions_alarms(const struct daemon_sessions *sessions, void (*alarm)(struct daemon *daemon, const char *subject, const char *text))
{
	struct daemon *daemon = sessions->daemon;
	struct rtc_usage usage = rtc_program_usage(sessions->program);
	char text[200];

	if (session_nearly_full(usage.used, usage.limit)) {
		snprintf(text, sizeof(text), "more than %u %% of the %u that there is room for are in use; new ones are refused when all are.",
			 SESSION_ALARM_PERCENT, usage.limit);
		alarm(daemon, "Sessions", text);
	}
	for (size_t i = 0; i < daemon->result.service_count; i++) {
		const struct reconcile_service *service = &daemon->result.services[i];
		const struct lb_service_wanted *wanted = &daemon->result.wanted.services[service->wanted];
		uint32_t limit = service->object->service.limit_sessions;
		struct session_counts counts;

		if (!wanted->media || !limit)
			continue;
		counts = session_watch_counts(sessions->watch, edge_program_service_row(programmer_program(daemon->programmer), wanted));
		if (!session_nearly_full(counts.live, limit))
			continue;
		snprintf(text, sizeof(text), "more than %u %% of its limit of %u sessions are in use (selvage.io/limit-sessions).",
			 SESSION_ALARM_PERCENT, limit);
		alarm(daemon, service->key, text);
	}
}

static void histogram_metrics(const struct daemon_sessions *sessions, struct evbuffer *text, enum session_figure figure)
{
	const struct session_figure_info *info = session_figure_info(figure);
	size_t count;
	const struct session_place *places = session_book_places(sessions->book, &count);
	char name[80];

	openmetrics_family(text, info->metric, "histogram", info->help);
	for (size_t i = 0; i < count; i++) {
		const struct session_figures *figures = sessions->figures[places[i].row];

		for (int d = 0; figures && d < (info->by_direction ? SESSION_DIRECTIONS : 1); d++) {
			const struct session_histogram *histogram = &figures->histograms[figure][d];
			const char *direction = info->by_direction ? session_direction_name((enum session_direction)d) : NULL;
			const struct reconcile_service *service = daemon_sessions_service_at(sessions->daemon, places[i].row);
			const char *key = service ? service->key : places[i].service;
			char vip[ADDRESS_TEXT_SIZE] = "", bound[32];
			uint64_t below = 0;

			if (service)
				address_format(&sessions->daemon->result.wanted.services[service->wanted].address, vip);
			snprintf(name, sizeof(name), "%s_bucket", info->metric);
			for (size_t b = 0; b <= info->bound_count; b++) {
				below += histogram->counts[b];
				snprintf(bound, sizeof(bound), "%g", b < info->bound_count ? info->bounds[b] : 0.0);
				openmetrics_sample_count(text, name, below, "service", key, "vip", vip, "le",
							 b < info->bound_count ? bound : "+Inf", direction ? "direction" : NULL, direction, NULL);
			}
			snprintf(name, sizeof(name), "%s_count", info->metric);
			openmetrics_sample_count(text, name, histogram->count, "service", key, "vip", vip, direction ? "direction" : NULL, direction,
						 NULL);
			snprintf(name, sizeof(name), "%s_sum", info->metric);
			openmetrics_sample(text, name, histogram->sum, "service", key, "vip", vip, direction ? "direction" : NULL, direction, NULL);
		}
	}
}

void daemon_sessions_metrics(const struct daemon_sessions *sessions, struct evbuffer *text)
{
	const struct daemon *daemon = sessions->daemon;
	struct rtc_usage usage = rtc_program_usage(sessions->program);

	openmetrics_family(text, "selvage_rtc_sessions", "gauge", "Sessions of calls, by what they do.");
	for (size_t i = 0; i < daemon->result.service_count; i++) {
		const struct reconcile_service *service = &daemon->result.services[i];
		const struct lb_service_wanted *wanted = &daemon->result.wanted.services[service->wanted];
		struct session_counts counts;
		char vip[ADDRESS_TEXT_SIZE];

		if (!wanted->media)
			continue;
		counts = session_watch_counts(sessions->watch, edge_program_service_row(programmer_program(daemon->programmer), wanted));
		address_format(&wanted->address, vip);
		openmetrics_sample_count(text, "selvage_rtc_sessions", counts.live - counts.silent, "service", service->key, "vip", vip, "state",
					 "live", NULL);
		openmetrics_sample_count(text, "selvage_rtc_sessions", counts.silent, "service", service->key, "vip", vip, "state", "one-way", NULL);
		openmetrics_sample_count(text, "selvage_rtc_sessions", counts.waiting, "service", service->key, "vip", vip, "state", "waiting",
					 NULL);
	}
	openmetrics_family(text, "selvage_rtc_sessions_used", "gauge", "Places of sessions that are in use; new ones are refused at the limit.");
	openmetrics_sample_count(text, "selvage_rtc_sessions_used", usage.used, NULL);
	openmetrics_family(text, "selvage_rtc_sessions_limit", "gauge", "Places of sessions that there are.");
	openmetrics_sample_count(text, "selvage_rtc_sessions_limit", usage.limit, NULL);
	openmetrics_family(text, "selvage_rtc_registrations", "gauge", "User fragments that are registered.");
	openmetrics_sample_count(text, "selvage_rtc_registrations", session_book_count(sessions->book), NULL);
	openmetrics_family(text, "selvage_rtc_sessions_begun", "counter", "Sessions whose client was seen since the daemon started.");
	openmetrics_sample_count(text, "selvage_rtc_sessions_begun_total", sessions->begun, NULL);
	openmetrics_family(text, "selvage_rtc_sessions_ended", "counter", "Sessions that ended, by why.");
	for (int why = 0; why < RTC_ENDS; why++)
		openmetrics_sample_count(text, "selvage_rtc_sessions_ended_total", sessions->ended[why], "reason", daemon_session_end_name((enum rtc_end)why), NULL);
	openmetrics_family(text, "selvage_rtc_session_silences", "counter",
			   "Times that one direction of a session fell silent while the other went on.");
	for (int d = 0; d < SESSION_DIRECTIONS; d++)
		openmetrics_sample_count(text, "selvage_rtc_session_silences_total", sessions->silences[d], "direction",
					 session_direction_name((enum session_direction)d), NULL);
	for (int figure = 0; figure < SESSION_FIGURES; figure++)
		histogram_metrics(sessions, text, (enum session_figure)figure);
}
