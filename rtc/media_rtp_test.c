/* SPDX-License-Identifier: Apache-2.0 */
#include "rtc/media_rtp.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "base/lib/bytes.h"

static void take(struct media_receiver *receiver, uint32_t number, uint64_t now_us)
{
	struct media_rtp rtp = {.ssrc = 7, .sequence = (uint16_t)number, .timestamp = number * 960};

	media_receiver_take(receiver, &rtp, now_us);
}

static void losses_and_gaps_are_counted(void **state)
{
	struct media_receiver receiver = {.clock_rate = 48000};

	/* Over the wrap of sequence numbers; 65540 is lost, 65543 comes after 65544. */
	for (uint32_t number = 65530; number < 65550; number++) {
		if (number == 65540 || number == 65543)
			continue;
		take(&receiver, number, number * 20000ull);
		if (number == 65544)
			take(&receiver, 65543, number * 20000ull + 1000);
	}
	assert_int_equal(media_receiver_expected(&receiver), 20);
	assert_int_equal(media_receiver_received(&receiver), 19);
	assert_int_equal(media_receiver_lost(&receiver), 1);
	assert_int_equal(receiver.reordered, 1);
	assert_int_equal(receiver.longest_gap_us, 40000);
}

static void a_new_stream_begins_anew(void **state)
{
	struct media_receiver receiver = {.clock_rate = 48000};
	struct media_rtp other = {.ssrc = 8, .sequence = 9, .timestamp = 5};

	take(&receiver, 100, 1000000);
	take(&receiver, 102, 1040000);
	media_receiver_take(&receiver, &other, 1400000);
	assert_int_equal(media_receiver_lost(&receiver), 1);
	assert_int_equal(media_receiver_received(&receiver), 3);
	assert_int_equal(receiver.longest_gap_us, 360000);
	assert_true(receiver.jitter == 0);
}

/* RFC 3550 A.8 by hand: differences of 5 ms (240 units), then -5 ms. */
static void jitter_is_as_in_the_rfc(void **state)
{
	struct media_receiver receiver = {.clock_rate = 48000};

	take(&receiver, 1, 1000000);
	take(&receiver, 2, 1020000);
	assert_true(receiver.jitter == 0);
	take(&receiver, 3, 1045000);
	assert_true(fabs(receiver.jitter - 15) < 1e-9);
	take(&receiver, 4, 1060000);
	assert_true(fabs(receiver.jitter - (15 + (240 - 15) / 16.0)) < 1e-9);
	assert_true(fabs(media_receiver_jitter_ms(&receiver) - 29.0625 / 48) < 1e-9);
}

/* A reports to B, B to A: A knows the round trip without the time that B took. */
static void reports_tell_the_round_trip(void **state)
{
	struct media_sender a = {.ssrc = 7, .packets = 3, .bytes = 480, .timestamp = 960}, b = {.ssrc = 9};
	struct media_receiver at_a = {.clock_rate = 48000}, at_b = {.clock_rate = 48000};
	struct media_rtcp_report report;
	uint8_t packet[MEDIA_RTCP_SIZE];
	size_t length;

	take(&at_b, 10, 900000);
	take(&at_b, 14, 980000);
	length = media_rtcp_write(&a, &at_a, 5000000, packet);
	assert_true(media_rtcp_is(packet, length));
	assert_int_equal(media_rtcp_take(packet, length, b.ssrc, &at_b, 5030000, &report), 0);
	assert_false(report.about_us || report.bye);
	length = media_rtcp_write(&b, &at_b, 5730000, packet);
	assert_int_equal(media_rtcp_take(packet, length, a.ssrc, &at_a, 5750000, &report), 0);
	assert_true(report.about_us);
	assert_in_range(report.round_trip_us, 49900, 50100);
	assert_int_equal(report.lost, 3);
	assert_int_equal(report.fraction_lost, 3 * 255 / 5);
	/* The fraction is of what came since the last report. */
	length = media_rtcp_write(&b, &at_b, 5800000, packet);
	assert_int_equal(media_rtcp_take(packet, length, a.ssrc, &at_a, 5820000, &report), 0);
	assert_int_equal(report.fraction_lost, 0);
	assert_int_equal(report.lost, 3);
	length = media_rtcp_write_bye(&a, packet);
	assert_int_equal(media_rtcp_take(packet, length, b.ssrc, &at_b, 6000000, &report), 0);
	assert_true(report.bye);
	for (size_t cut = 1; cut < length; cut++)
		if (cut != 8 && cut != length - 8)
			assert_int_equal(media_rtcp_take(packet, cut, b.ssrc, &at_b, 6000000, &report), -EBADMSG);
}

static void headers_are_read_whole_or_not(void **state)
{
	/* Two contributing sources, an extension of one word, padding of 4 bytes. */
	uint8_t packet[12 + 8 + 8 + 3 + 4] = {0xb2, 0x80 | 111, 0x12, 0x34, 0, 0, 0, 9, 0xca, 0xfe, 0xba, 0xbe};
	struct media_rtp rtp;

	bytes_put16(packet + 20, 0xbede);
	bytes_put16(packet + 22, 1);
	packet[sizeof(packet) - 1] = 4;
	assert_int_equal(media_rtp_parse(packet, sizeof(packet), &rtp), 0);
	assert_int_equal(rtp.payload_type, 111);
	assert_true(rtp.marker);
	assert_int_equal(rtp.sequence, 0x1234);
	assert_int_equal(rtp.ssrc, 0xcafebabe);
	assert_ptr_equal(rtp.payload, packet + 28);
	assert_int_equal(rtp.payload_length, 3);
	packet[sizeof(packet) - 1] = 8;
	assert_int_equal(media_rtp_parse(packet, sizeof(packet), &rtp), -EBADMSG);
	packet[sizeof(packet) - 1] = 0;
	assert_int_equal(media_rtp_parse(packet, sizeof(packet), &rtp), -EBADMSG);
	bytes_put16(packet + 22, 200);
	assert_int_equal(media_rtp_parse(packet, sizeof(packet), &rtp), -EBADMSG);
	assert_int_equal(media_rtp_parse(packet, 11, &rtp), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(losses_and_gaps_are_counted),	cmocka_unit_test(a_new_stream_begins_anew),
		cmocka_unit_test(jitter_is_as_in_the_rfc),	cmocka_unit_test(reports_tell_the_round_trip),
		cmocka_unit_test(headers_are_read_whole_or_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
