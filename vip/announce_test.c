/* SPDX-License-Identifier: Apache-2.0 */
#include "vip/announce.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/lib/address_text.h"
#include "base/packet/wire.h"

static struct announcement announcement(const char *vip)
{
	struct announcement made = {.ifindex = 2, .mac = {2, 0, 0, 0, 0, 0x0a}};

	assert_int_equal(address_parse(vip, &made.vip), 0);
	return made;
}

static void an_arp_announcement_is_rfc_5227s(void **state)
{
	/* clang-format off */
	static const uint8_t expected[60] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff,  0x02, 0, 0, 0, 0, 0x0a,  0x08, 0x06,
		0, 1,  0x08, 0,  6, 4,  0, 1,
		0x02, 0, 0, 0, 0, 0x0a,  192, 0, 2, 10,
		0, 0, 0, 0, 0, 0,        192, 0, 2, 10,
	};
	/* clang-format on */
	struct announcement vip = announcement("192.0.2.10");
	uint8_t frame[ANNOUNCE_FRAME_SIZE];

	assert_int_equal(announce_arp_build(frame, &vip, ARP_REQUEST), 60);
	assert_memory_equal(frame, expected, 60);
}

static void the_reply_form_is_to_everybody(void **state)
{
	struct announcement vip = announcement("192.0.2.10");
	uint8_t frame[ANNOUNCE_FRAME_SIZE];

	assert_int_equal(announce_arp_build(frame, &vip, ARP_REPLY), 60);
	assert_memory_equal(frame + 20, ((uint8_t[]){0, 2}), 2);
	assert_memory_equal(frame + 32, ((uint8_t[]){0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 192, 0, 2, 10}), 10);
}

static void a_neighbour_advertisement_is_rfc_4861s(void **state)
{
	/* The checksum was computed by scapy 2.5. */
	/* clang-format off */
	static const uint8_t expected[86] = {
		0x33, 0x33, 0, 0, 0, 1,  0x02, 0, 0, 0, 0, 0x0a,  0x86, 0xdd,
		0x60, 0, 0, 0,  0, 32,  58,  255,
		0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0,  0, 0, 0, 0, 0, 0, 0, 0x10,
		0xff, 0x02, 0, 0, 0, 0, 0, 0,        0, 0, 0, 0, 0, 0, 0, 1,
		136, 0,  0xf9, 0x03,  0x20, 0, 0, 0,
		0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0,  0, 0, 0, 0, 0, 0, 0, 0x10,
		2, 1,  0x02, 0, 0, 0, 0, 0x0a,
	};
	/* clang-format on */
	struct announcement vip = announcement("2001:db8::10");
	uint8_t frame[ANNOUNCE_FRAME_SIZE];

	assert_int_equal(announce_na_build(frame, &vip), 86);
	assert_memory_equal(frame, expected, 86);
}

static void a_vlan_goes_into_the_frame(void **state)
{
	struct announcement vip = announcement("192.0.2.10");
	uint8_t frame[ANNOUNCE_FRAME_SIZE];

	vip.vlan_id = 0x123;
	assert_int_equal(announce_arp_build(frame, &vip, ARP_REQUEST), 60);
	assert_memory_equal(frame + 12, ((uint8_t[]){0x81, 0x00, 0x01, 0x23, 0x08, 0x06, 0, 1}), 8);
	vip = announcement("2001:db8::10");
	vip.vlan_id = 0x123;
	assert_int_equal(announce_na_build(frame, &vip), 90);
	assert_memory_equal(frame + 12, ((uint8_t[]){0x81, 0x00, 0x01, 0x23, 0x86, 0xdd, 0x60}), 7);
}

static void the_solicited_node_group_has_the_last_three_bytes(void **state)
{
	struct announcement vip = announcement("2001:db8::1234:56fe:dcba");
	struct address group = announce_solicited_node(&vip.vip);
	char text[ADDRESS_TEXT_SIZE];

	assert_string_equal(address_format(&group, text), "ff02::1:fffe:dcba");
}

static int schedule_free(void **state)
{
	announce_schedule_done(*state);
	free(*state);
	return 0;
}

static int schedule_make(void **state)
{
	*state = calloc(1, sizeof(struct announce_schedule));
	return 0;
}

static void sent_at(struct announce_schedule *schedule, uint64_t at_ms)
{
	struct announcement sent;

	assert_int_equal(announce_schedule_due_ms(schedule), at_ms);
	if (at_ms)
		assert_false(announce_schedule_next(schedule, at_ms - 1, &sent));
	assert_true(announce_schedule_next(schedule, at_ms, &sent));
	assert_false(announce_schedule_next(schedule, at_ms, &sent));
}

static void arp_is_sent_four_times(void **state)
{
	struct announcement vip = announcement("192.0.2.10");
	struct announce_schedule *schedule = *state;

	assert_int_equal(announce_schedule_due_ms(schedule), ANNOUNCE_NEVER);
	assert_int_equal(announce_schedule_set(schedule, &vip, 1, 10000), 0);
	sent_at(schedule, 10000);
	sent_at(schedule, 10100);
	sent_at(schedule, 11000);
	sent_at(schedule, 13000);
	assert_int_equal(announce_schedule_due_ms(schedule), ANNOUNCE_NEVER);
}

static void advertisements_are_three_and_a_second_apart(void **state)
{
	struct announcement vip = announcement("2001:db8::10");
	struct announce_schedule *schedule = *state;

	schedule->refresh_ms = 60000;
	assert_int_equal(announce_schedule_set(schedule, &vip, 1, 0), 0);
	sent_at(schedule, 0);
	sent_at(schedule, 1000);
	sent_at(schedule, 3000);
	sent_at(schedule, 63000);
	sent_at(schedule, 123000);
}

static void only_what_is_new_is_announced(void **state)
{
	struct announcement vips[3] = {announcement("192.0.2.10"), announcement("192.0.2.11"),
				       announcement("192.0.2.11")};
	struct announce_schedule *schedule = *state;
	struct announcement sent;

	assert_int_equal(announce_schedule_set(schedule, vips, 1, 0), 0);
	for (uint64_t now_ms = 0; now_ms < 5000; now_ms++)
		(void)announce_schedule_next(schedule, now_ms, &sent);
	assert_int_equal(announce_schedule_set(schedule, vips, 3, 5000), 0);
	assert_int_equal(schedule->count, 2);
	assert_true(announce_schedule_next(schedule, 5000, &sent));
	assert_true(address_equal(&sent.vip, &vips[1].vip));
	assert_false(announce_schedule_next(schedule, 5000, &sent));

	vips[0].mac[5]++; /* the interface got another address */
	assert_int_equal(announce_schedule_set(schedule, vips, 1, 5001), 0);
	sent_at(schedule, 5001);

	assert_int_equal(announce_schedule_set(schedule, NULL, 0, 5002), 0);
	assert_false(announce_schedule_next(schedule, 99999, &sent));
	assert_int_equal(announce_schedule_set(schedule, vips, 1, 5003), 0); /* the link came back */
	sent_at(schedule, 5003);
}

#define schedule_test(function) cmocka_unit_test_setup_teardown(function, schedule_make, schedule_free)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_arp_announcement_is_rfc_5227s),
		cmocka_unit_test(the_reply_form_is_to_everybody),
		cmocka_unit_test(a_neighbour_advertisement_is_rfc_4861s),
		cmocka_unit_test(a_vlan_goes_into_the_frame),
		cmocka_unit_test(the_solicited_node_group_has_the_last_three_bytes),
		schedule_test(arp_is_sent_four_times),
		schedule_test(advertisements_are_three_and_a_second_apart),
		schedule_test(only_what_is_new_is_announced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
