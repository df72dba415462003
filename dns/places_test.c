/* SPDX-License-Identifier: Apache-2.0 */
/* Databases of places: their layouts, and files that are damaged. Made here, bit by bit, as MaxMind's format (version 2.0) has it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/lib/address_fixture.h"
#include "base/lib/log.h"
#include "dns/places.h"

#define NODES_MAX 64u
#define NOTHING UINT32_MAX
#define DATA 0x80000000u /* a record that leads to so much of the data */

struct file {
	uint32_t nodes[NODES_MAX][2], node_count;
	uint8_t data[512];
	size_t data_length;
	uint8_t bytes[2048];
	size_t length;
};

static char path[] = "/tmp/selvage-places-XXXXXX";

/* "{2 sCountry sDE": a map of two begins; a string; an array is "[1"; numbers of 16, 32 and 64 bits are "h4", "u4", "q4". */
static size_t data_write(uint8_t *at, const char *const *words)
{
	uint8_t *start = at;

	for (; *words; words++) {
		const char *word = *words + 1;
		size_t length = strlen(word), number = strtoul(word, NULL, 10);

		if (**words == '{') {
			*at++ = (uint8_t)(7 << 5 | number);
		} else if (**words == '[') {
			*at++ = (uint8_t)number;
			*at++ = 11 - 7;
		} else if (**words == 'q' || **words == 'u' || **words == 'h') {
			*at++ = **words == 'q' ? 2 : **words == 'u' ? 6 << 5 | 2 : 5 << 5 | 2;
			if (**words == 'q')
				*at++ = 9 - 7;
			*at++ = (uint8_t)(number >> 8);
			*at++ = (uint8_t)number;
		} else {
			*at++ = (uint8_t)(2 << 5 | length);
			memcpy(at, word, length);
			at += length;
		}
	}
	return (size_t)(at - start);
}

static void file_add(struct file *file, const char *network, unsigned int bits, const char *const *words)
{
	struct address address = address_of(network);
	const uint8_t *bytes = (const uint8_t *)&address + 12;
	uint32_t node = 0;

	if (!file->node_count)
		memset(file->nodes[file->node_count++], 0xff, sizeof(file->nodes[0]));
	for (unsigned int i = 0; i < bits; i++) {
		uint32_t *record = &file->nodes[node][bytes[i / 8] >> (7 - i % 8) & 1];

		if (i == bits - 1) {
			*record = DATA | (uint32_t)file->data_length;
		} else if (*record == NOTHING) {
			assert_true(file->node_count < NODES_MAX);
			memset(file->nodes[file->node_count], 0xff, sizeof(file->nodes[0]));
			*record = file->node_count++;
		}
		node = *record;
	}
	file->data_length += data_write(file->data + file->data_length, words);
}

static void file_write(const uint8_t *bytes, size_t length)
{
	/* another file each time, as one that is renamed into its place */
	FILE *file;

	unlink(path);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, length, file), length);
	fclose(file);
}

static void file_finish(struct file *file, const char *type)
{
	char count[16];
	const char *const metadata[] = {"{9", "snode_count", count, "srecord_size", "h24", "sip_version", "h4", "sdatabase_type", type,
					"slanguages", "[0", "sbinary_format_major_version", "h2", "sbinary_format_minor_version", "h0",
					"sbuild_epoch", "q1000", "sdescription", "{0", NULL};
	uint8_t *at = file->bytes;

	snprintf(count, sizeof(count), "u%u", file->node_count);
	for (uint32_t i = 0; i < 2 * file->node_count; i++) {
		uint32_t record = file->nodes[i / 2][i % 2];

		record = record == NOTHING ? file->node_count : record & DATA ? file->node_count + 16 + (record & ~DATA) : record;
		*at++ = (uint8_t)(record >> 16);
		*at++ = (uint8_t)(record >> 8);
		*at++ = (uint8_t)record;
	}
	memset(at, 0, 16);
	memcpy(at + 16, file->data, file->data_length);
	at += 16 + file->data_length;
	memcpy(at, "\xab\xcd\xefMaxMind.com", 14);
	at += 14;
	at += data_write(at, metadata);
	file->length = (size_t)(at - file->bytes);
	file_write(file->bytes, file->length);
}

static const char *const bavaria[] = {"{3",	     "scontinent",    "{1", "scode", "sEU", "scountry", "{1", "siso_code", "sDE",
				      "ssubdivisions", "[1", "{1", "siso_code", "sBY", NULL};
static const char *const netherlands[] = {"{1", "scountry_code", "sNL", NULL};
static const char *const named[] = {"{2", "scountry_code", "sJP", "scontinent_code", "sAS", NULL};

static void both(struct file *file)
{
	*file = (struct file){0};
	file_add(file, "192.0.2.0", 24, bavaria);
	file_add(file, "198.51.100.0", 26, netherlands);
	file_add(file, "203.0.113.0", 24, named);
	file_finish(file, "sTest-Country");
}

static void expect(struct places *places, const char *text, const char *continent, const char *country, const char *subdivision, uint8_t network)
{
	struct address address = address_of(text);
	struct place place;

	places_find(places, &address, &place);
	assert_string_equal(place.continent, continent);
	assert_string_equal(place.country, country);
	assert_string_equal(place.subdivision, subdivision);
	assert_int_equal(place.network, network);
}

static void both_layouts_are_understood(void **state)
{
	struct places *places = places_new(path);
	struct error error = {0};
	struct file file;
	json_t *json;

	both(&file);
	assert_int_equal(places_read(places, &error), 0);
	expect(places, "192.0.2.77", "EU", "DE", "DE-BY", 24);
	expect(places, "198.51.100.63", "EU", "NL", "", 26); /* its continent is not in the file */
	expect(places, "203.0.113.1", "AS", "JP", "", 24);
	expect(places, "198.51.100.64", "", "", "", 0);
	expect(places, "2001:db8::1", "", "", "", 0); /* no lookup in a file of IPv4 */
	json = places_json(places);
	assert_string_equal(json_string_value(json_object_get(json, "type")), "Test-Country");
	assert_int_equal(json_integer_value(json_object_get(json, "built")), 1000);
	json_decref(json);
	places_free(places);
}

static void wrong(struct places *places, const char *words)
{
	struct error error = {0};

	assert_int_equal(places_read(places, &error), -EINVAL);
	if (!strstr(error.text, words))
		fail_msg("\"%s\" is not in \"%s\"", words, error.text);
	expect(places, "192.0.2.77", "EU", "DE", "DE-BY", 24);
}

static void a_bad_file_leaves_the_one_before(void **state)
{
	static const char *const system[] = {"{1", "sautonomous_system_number", "u64500", NULL};
	struct places *places = places_new(path);
	struct error error = {0};
	struct file file, other = {0};

	both(&file);
	assert_int_equal(places_read(places, &error), 0);
	for (size_t length = 0; length < file.length; length += length < file.length - 60 ? 13 : 1) {
		file_write(file.bytes, length);
		wrong(places, "may be truncated");
	}
	file_write((const uint8_t *)"a page that says \"not found\"", 28);
	wrong(places, "may be truncated");
	/* the root's second record leads behind the data */
	memset(file.bytes + 3, 0xff, 3);
	file_write(file.bytes, file.length);
	wrong(places, "is damaged: node 0 of");
	file_add(&other, "192.0.2.0", 24, system);
	file_finish(&other, "sASN");
	wrong(places, "(ASN) has neither country.iso_code nor country_code");
	unlink(path);
	assert_int_equal(places_read(places, &error), -ENOENT);
	expect(places, "192.0.2.77", "EU", "DE", "DE-BY", 24);
	/* who writes over the file, instead of renaming another into its place, takes nothing away */
	both(&file);
	assert_int_equal(places_read(places, &error), 0);
	assert_int_equal(truncate(path, 0), 0);
	expect(places, "192.0.2.77", "EU", "DE", "DE-BY", 24);
	places_free(places);
}

/* Whatever is in the file, nobody crashes: bytes changed at random, over which what is taken is asked. */
static void damage_harms_nobody(void **state)
{
	struct places *places = places_new(path);
	unsigned int taken = 0, seed = 20261121;
	struct file file;

	both(&file);
	for (unsigned int round = 0; round < 1500; round++) {
		uint8_t bytes[sizeof(file.bytes)];
		struct error error = {0};

		memcpy(bytes, file.bytes, file.length);
		for (int i = rand_r(&seed) % 4; i >= 0; i--)
			bytes[(size_t)rand_r(&seed) % file.length] = (uint8_t)rand_r(&seed);
		file_write(bytes, file.length);
		taken += places_read(places, &error) == 0;
		for (unsigned int i = 0; i < 64; i++) {
			struct address address = address_of("192.0.2.1");
			struct place place;

			((uint8_t *)&address)[12] = i < 32 ? (uint8_t)(192 + i % 12) : (uint8_t)rand_r(&seed);
			((uint8_t *)&address)[13] = (uint8_t)(i % 2 ? 0 : rand_r(&seed));
			places_find(places, &address, &place);
		}
	}
	assert_in_range(taken, 100, 1400);
	places_free(places);
}

static int begin(void **state)
{
	int fd = mkstemp(path);

	log_init("places_test", LOG_LEVEL_ERROR);

	return fd < 0 ? -1 : close(fd);
}

static int end(void **state)
{
	unlink(path);
	return 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_layouts_are_understood),
		cmocka_unit_test(a_bad_file_leaves_the_one_before),
		cmocka_unit_test(damage_harms_nobody),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
