/* SPDX-License-Identifier: Apache-2.0 */
/* Names of services, and zones that answer for them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/lib/address_fixture.h"
#include "base/lib/bytes.h"
#include "dns/names.h"

static struct dns_name name_of(const char *text)
{
	struct dns_name name;

	assert_int_equal(dns_name_parse(text, &name), 0);
	return name;
}

/* How many records a name has of a type; the last one's data. */
static size_t records_of(const struct names_result *result, const char *owner, uint16_t type, const struct zone_record **ret_record)
{
	struct dns_name name = name_of(owner);
	size_t count = 0;

	for (size_t i = 0; i < result->count; i++) {
		if (result->records[i].type == type && dns_name_equal(&result->records[i].owner, &name)) {
			*ret_record = &result->records[i];
			count++;
		}
	}
	return count;
}

struct site {
	struct names_result names;
	struct zone_set *zones;
};

static const struct names_port http = {"http", "tcp", 80}, unnamed = {"", "tcp", 81};

static void site_make(struct site *site)
{
	const struct address web[] = {address_of("10.96.0.10"), address_of("fd00:96::10")};
	const struct names_port ports[] = {http, unnamed};
	const struct names_endpoint endpoints[] = {{address_of("10.1.0.1"), "db-0", &http, 1},
						   {address_of("10.1.0.2"), "", &http, 1},
						   {address_of("fd00:1::2"), "", &http, 1}};
	const struct names_service services[] = {
		{.name = "web", .namespace_name = "default", .external_name = "", .addresses = web, .address_count = 2, .reverse = true,
		 .ports = ports, .port_count = 2},
		{.name = "shared", .namespace_name = "default", .external_name = "", .addresses = web, .address_count = 1},
		{.name = "db", .namespace_name = "prod", .external_name = "", .headless = true, .endpoints = endpoints, .endpoint_count = 3},
		{.name = "empty", .namespace_name = "prod", .external_name = "", .headless = true},
		{.name = "away", .namespace_name = "prod", .external_name = "www.example.com"},
		{.name = "inside", .namespace_name = "prod", .external_name = "web.default.svc.cluster.local"},
		{.name = "self", .namespace_name = "prod", .external_name = "self.prod.svc.cluster.local"},
		{.name = "this", .namespace_name = "prod", .external_name = "that.prod.svc.cluster.local"},
		{.name = "that", .namespace_name = "prod", .external_name = "this.prod.svc.cluster.local"},
		{.name = "no.label", .namespace_name = "prod", .external_name = "", .addresses = web, .address_count = 1},
	};
	static const char *const namespaces[] = {"quiet"};
	struct names_input input = {.zone = "cluster.local", .services = services, .service_count = array_length(services),
				    .namespaces = namespaces, .namespace_count = 1, .servers = web, .server_count = 1};
	bool fresh;

	names_make(&input, &site->names);
	site->zones = zone_set_new();
	zone_set_zones(site->zones, site->names.zones, site->names.zone_count);
	for (size_t i = 0; i < site->names.count; i++)
		assert_true(zone_set_add(site->zones, &site->names.records[i], &fresh));
}

static void site_done(struct site *site)
{
	zone_set_free(site->zones);
	names_result_done(&site->names);
}

static void services_and_endpoints_have_their_names(void **state)
{
	const struct zone_record *record = NULL;
	char text[DNS_NAME_TEXT_SIZE];
	struct dns_name target;
	struct site site;
	size_t offset = 6;

	site_make(&site);
	assert_int_equal(records_of(&site.names, "web.default.svc.cluster.local", DNS_A, &record), 1);
	assert_int_equal(records_of(&site.names, "web.default.svc.cluster.local", DNS_AAAA, &record), 1);
	assert_int_equal(records_of(&site.names, "_http._tcp.web.default.svc.cluster.local", DNS_SRV, &record), 1);
	assert_int_equal(bytes_get16(record->data + 4), 80);
	assert_int_equal(records_of(&site.names, "db.prod.svc.cluster.local", DNS_A, &record), 2);
	assert_int_equal(records_of(&site.names, "db-0.db.prod.svc.cluster.local", DNS_A, &record), 1);
	assert_int_equal(records_of(&site.names, "10-1-0-2.db.prod.svc.cluster.local", DNS_A, &record), 1);
	assert_int_equal(records_of(&site.names, "fd00-1--2.db.prod.svc.cluster.local", DNS_AAAA, &record), 1);
	assert_int_equal(records_of(&site.names, "_http._tcp.db.prod.svc.cluster.local", DNS_SRV, &record), 3);
	assert_int_equal(dns_name_read(record->data, record->data_length, &offset, &target), 0);
	assert_non_null(strstr(dns_name_format(&target, text), ".db.prod.svc.cluster.local"));
	assert_int_equal(records_of(&site.names, "away.prod.svc.cluster.local", DNS_CNAME, &record), 1);
	for (size_t i = 1; i < site.names.count; i++)
		assert_true(zone_record_compare(&site.names.records[i - 1], &site.names.records[i]) < 0);
	site_done(&site);
}

static void an_address_leads_back_to_its_name(void **state)
{
	const struct zone_record *record = NULL;
	struct dns_name reverse, target;
	char text[DNS_NAME_TEXT_SIZE];
	struct address address = address_of("10.96.0.10");
	struct site site;
	size_t offset = 0;

	site_make(&site);
	dns_name_of_address(&address, &reverse);
	assert_int_equal(records_of(&site.names, dns_name_format(&reverse, text), DNS_PTR, &record), 1);
	assert_int_equal(dns_name_read(record->data, record->data_length, &offset, &target), 0);
	assert_string_equal(dns_name_format(&target, text), "web.default.svc.cluster.local");
	site_done(&site);
}

struct question {
	const char *name;
	uint16_t type;
	enum zone_result result;
	uint16_t answers;
};

static void zones_answer(void **state)
{
	static const struct question questions[] = {
		{"web.default.svc.cluster.local", DNS_A, ZONE_FOUND, 1},
		{"web.default.svc.cluster.local", DNS_MX, ZONE_NO_DATA, 0},
		{"none.default.svc.cluster.local", DNS_A, ZONE_NO_NAME, 0},
		{"default.svc.cluster.local", DNS_A, ZONE_NO_DATA, 0}, /* between others */
		{"quiet.svc.cluster.local", DNS_A, ZONE_NO_DATA, 0},
		{"empty.prod.svc.cluster.local", DNS_A, ZONE_NO_DATA, 0},
		{"no.label.prod.svc.cluster.local", DNS_A, ZONE_NO_NAME, 0},
		{"cluster.local", DNS_SOA, ZONE_FOUND, 1},
		{"cluster.local", DNS_NS, ZONE_FOUND, 1},
		{"ns.dns.cluster.local", DNS_A, ZONE_FOUND, 1},
		{"dns-version.cluster.local", DNS_TXT, ZONE_FOUND, 1},
		{"away.prod.svc.cluster.local", DNS_A, ZONE_ALIAS, 1},
		{"away.prod.svc.cluster.local", DNS_CNAME, ZONE_FOUND, 1},
		{"inside.prod.svc.cluster.local", DNS_A, ZONE_FOUND, 2},
		{"self.prod.svc.cluster.local", DNS_A, ZONE_LOOP, 8},
		{"self.prod.svc.cluster.local", DNS_CNAME, ZONE_FOUND, 1},
		{"this.prod.svc.cluster.local", DNS_AAAA, ZONE_LOOP, 8},
		{"10-1-2-3.prod.pod.cluster.local", DNS_A, ZONE_FOUND, 1},
		{"10-1-2-3.prod.pod.cluster.local", DNS_AAAA, ZONE_NO_DATA, 0},
		{"fd00-1--2.prod.pod.cluster.local", DNS_AAAA, ZONE_FOUND, 1},
		{"10-1-2-3.none.pod.cluster.local", DNS_A, ZONE_NO_NAME, 0},
		{"10-1-2.prod.pod.cluster.local", DNS_A, ZONE_NO_NAME, 0},
		{"prod.pod.cluster.local", DNS_A, ZONE_NO_DATA, 0},
		{"pod.cluster.local", DNS_A, ZONE_NO_DATA, 0},
		{"www.example.com", DNS_A, ZONE_ELSEWHERE, 0},
		{"9.9.9.9.in-addr.arpa", DNS_PTR, ZONE_ELSEWHERE, 0},
		{"xcluster.local", DNS_A, ZONE_ELSEWHERE, 0},
	};
	struct site site;

	site_make(&site);
	for (size_t i = 0; i < array_length(questions); i++) {
		const struct question *question = &questions[i];
		struct dns_name name = name_of(question->name), alias;
		uint8_t bytes[1024];
		struct dns_writer writer;
		size_t length;

		dns_writer_start(&writer, bytes, sizeof(bytes), 0, 0, &name, question->type, DNS_IN);
		if (zone_set_answer(site.zones, &name, question->type, &writer, &alias) != question->result)
			fail_msg("%s %u", question->name, question->type);
		length = dns_writer_end(&writer);
		assert_true(dns_message_valid(bytes, length));
		if (bytes_get16(bytes + 6) != question->answers)
			fail_msg("%s %u: %u answers", question->name, question->type, bytes_get16(bytes + 6));
		/* what is not there is said with the zone's SOA (RFC 2308 section 3) */
		assert_int_equal(bytes_get16(bytes + 8), question->result == ZONE_NO_DATA || question->result == ZONE_NO_NAME);
	}
	site_done(&site);
}

static void what_is_removed_leaves_nothing_behind(void **state)
{
	struct dns_name name = name_of("db-0.db.prod.svc.cluster.local"), top = name_of("svc.cluster.local");
	struct site site;
	bool gone;

	site_make(&site);
	for (size_t i = 0; i < site.names.count; i++)
		assert_true(zone_set_remove(site.zones, &site.names.records[i], &gone));
	assert_int_equal(zone_set_count(site.zones), 0);
	assert_int_equal(zone_set_look(site.zones, &name, DNS_A), ZONE_NO_NAME);
	assert_int_equal(zone_set_look(site.zones, &top, DNS_A), ZONE_NO_NAME);
	assert_false(zone_set_remove(site.zones, &site.names.records[0], &gone));
	site_done(&site);
}

static void the_same_input_gives_the_same_records(void **state)
{
	struct site one, other;

	site_make(&one);
	site_make(&other);
	assert_int_equal(one.names.count, other.names.count);
	for (size_t i = 0; i < one.names.count; i++)
		assert_int_equal(zone_record_compare(&one.names.records[i], &other.names.records[i]), 0);
	site_done(&one);
	site_done(&other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(services_and_endpoints_have_their_names),
		cmocka_unit_test(an_address_leads_back_to_its_name),
		cmocka_unit_test(zones_answer),
		cmocka_unit_test(what_is_removed_leaves_nothing_behind),
		cmocka_unit_test(the_same_input_gives_the_same_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
