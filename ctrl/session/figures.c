/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/session/figures.h"

#include "rtc/mos.h"

static const struct session_figure_info infos[] = {
	[SESSION_LOSS] = {"selvage_rtc_session_loss_ratio",
			  "RTP packets of a session that were lost on their way here, as a share; a session is observed every ten seconds and at its end.",
			  true,
			  {0, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5},
			  11},
	[SESSION_JITTER] = {"selvage_rtc_session_jitter_seconds",
			    "Interarrival jitter of RTP at this node (RFC 3550); a session is observed every ten seconds and at its end.",
			    true,
			    {0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2},
			    10},
	[SESSION_ROUND_TRIP] = {"selvage_rtc_session_round_trip_seconds",
				"From client to agent and back, by their STUN checks; a session is observed every ten seconds and at its end.",
				false,
				{0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1},
				11},
	[SESSION_MOS] = {"selvage_rtc_session_mos",
			 "Estimated mean opinion score (ITU-T G.107, simplified); a session is observed every ten seconds and at its end.",
			 true,
			 {1.5, 2, 2.5, 3, 3.25, 3.5, 3.75, 4, 4.2, 4.3},
			 10},
};

const struct session_figure_info *session_figure_info(enum session_figure figure)
{
	return &infos[figure];
}

bool session_nearly_full(uint32_t used, uint32_t limit)
{
	return limit && (uint64_t)used * 100 >= (uint64_t)limit * SESSION_ALARM_PERCENT;
}

void session_histogram_observe(struct session_histogram *histogram, enum session_figure figure, double value)
{
	size_t bucket = 0;

	while (bucket < infos[figure].bound_count && value > infos[figure].bounds[bucket])
		bucket++;
	histogram->counts[bucket]++;
	histogram->count++;
	histogram->sum += value;
}

double session_round_trip_ms(const struct rtc_session_info *info)
{
	bool client = info->rtt_client_ms != UINT16_MAX, agent = info->rtt_agent_ms != UINT16_MAX;

	/* An agent that is ICE lite sends no checks, so that only its own side is measured: that is no round trip of a call. */
	if (!client)
		return -1;
	return info->rtt_client_ms + (agent ? info->rtt_agent_ms : 0);
}

static const struct rtc_stream_info *stream_of(const struct rtc_session_info *info, enum session_direction direction)
{
	return direction == SESSION_UP ? &info->up : &info->down;
}

double session_mos(const struct rtc_session_info *info, enum session_direction direction, uint64_t expected, uint64_t lost)
{
	double round_trip_ms = session_round_trip_ms(info);
	const struct rtc_mos_input input = {
		.loss_ratio = expected ? (double)lost / (double)expected : 0,
		.jitter_ms = stream_of(info, direction)->jitter_us / 1000.0,
		.round_trip_ms = round_trip_ms > 0 ? round_trip_ms : 0,
	};

	return expected ? rtc_mos(&input) : 0;
}

void session_figures_observe(struct session_figures *figures, const struct session_interval *interval)
{
	double round_trip_ms = session_round_trip_ms(interval->info);

	for (int d = 0; d < SESSION_DIRECTIONS; d++) {
		enum session_direction direction = (enum session_direction)d;
		const struct rtc_stream_info *stream = stream_of(interval->info, direction);
		uint32_t expected = interval->expected[d], lost = interval->lost[d];

		if (!expected)
			continue;
		session_histogram_observe(&figures->histograms[SESSION_LOSS][d], SESSION_LOSS, (double)lost / expected);
		session_histogram_observe(&figures->histograms[SESSION_MOS][d], SESSION_MOS,
					  session_mos(interval->info, direction, expected, lost));
		if (stream->clock_khz)
			session_histogram_observe(&figures->histograms[SESSION_JITTER][d], SESSION_JITTER, stream->jitter_us / 1e6);
	}
	if (round_trip_ms >= 0)
		session_histogram_observe(&figures->histograms[SESSION_ROUND_TRIP][0], SESSION_ROUND_TRIP, round_trip_ms / 1000);
}
