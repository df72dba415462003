/* SPDX-License-Identifier: Apache-2.0 */
#include "dns/places.h"

#include <fcntl.h>
#include <maxminddb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/lib/cleanup.h"
#include "base/lib/log.h"
#include "base/lib/memory.h"

#define LOOK_S 2 /* how often it is looked whether the file was replaced */
#define FILE_BYTES_MAX (1ll << 30)

struct places {
	char *path;
	MMDB_s database;
	bool open;
	struct stat seen; /* the file that was looked at last, good or not */
	time_t looked;
};

/* --- continents ----------------------------------------------------------------------------------------------------------------- */

/* As GeoNames has it, and so MaxMind. */
static const char *const continents[][2] = {
	{"AF", "DZAOBJBWBFBICMCVCFTDKMCGCDCIDJEGGQERETGAGMGHGNGWKELSLRLYMGMWMLMRMUYTMAMZNANENGRERWSHSTSNSCSLSOZASSSDSZTZTGTNUGEHZMZW"},
	{"AN", "AQBVTFGSHM"},
	{"AS", "AFAMAZBHBDBTBNKHCNCCGEHKINIDIRIQILJPJOKZKWKGLALBMOMYMVMNMMNPKPOMPKPSPHQASASGKRLKSYTWTJTHTRTMAEUZVNYEIO"},
	{"EU", "ALADATBYBEBABGHRCYCZDKEEFOFIFRDEGIGRGGVAHUISIEIMITJELVLILTLUMKMTMDMCMENLNOPLPTRORUSMRSSKSIESSJSECHUAGBAXXK"},
	{"NA", "AIAGAWBSBBBZBMBQCAKYCRCUCWDMDOSVGLGDGPGTHTHNJMMQMXMSNIPAPRBLKNLCMFPMVCSXTTTCUSVGVI"},
	{"OC", "ASAUCKFJPFGUKIMHFMUMNRNCNUNZNFMPPWPGPNWSSBTKTOTVVUWFCXTL"},
	{"SA", "ARBOBRCLCOECFKGFGYPYPESRUYVE"},
};

static const char *country_continent(const char *country)
{
	for (size_t i = 0; i < array_length(continents); i++)
		for (const char *at = continents[i][1]; *at; at += 2)
			if (at[0] == country[0] && at[1] == country[1])
				return continents[i][0];
	return "";
}

/* --- the file ----------------------------------------------------------------------------------------------------------------------- */

/* Both paths of a code, as far as the file has it. */
static void code_read(MMDB_entry_s *entry, char *ret_text, size_t size, const char *const *path, const char *const *flat)
{
	MMDB_entry_data_s data;

	if ((MMDB_aget_value(entry, &data, path) != MMDB_SUCCESS || !data.has_data) &&
	    (!flat || MMDB_aget_value(entry, &data, flat) != MMDB_SUCCESS))
		return;
	/* longer ones are names */
	if (data.has_data && data.type == MMDB_DATA_TYPE_UTF8_STRING && data.data_size < size)
		snprintf(ret_text, size, "%.*s", (int)data.data_size, data.utf8_string);
}

static void place_read(MMDB_entry_s *entry, struct place *ret_place)
{
	static const char *const continent[] = {"continent", "code", NULL}, *const continent_flat[] = {"continent_code", NULL};
	static const char *const country[] = {"country", "iso_code", NULL}, *const country_flat[] = {"country_code", NULL};
	static const char *const subdivision[] = {"subdivisions", "0", "iso_code", NULL};
	char part[8] = "";

	*ret_place = (struct place){0};
	code_read(entry, ret_place->continent, sizeof(ret_place->continent), continent, continent_flat);
	code_read(entry, ret_place->country, sizeof(ret_place->country), country, country_flat);
	code_read(entry, part, sizeof(part), subdivision, NULL);
	if (*part && *ret_place->country)
		snprintf(ret_place->subdivision, sizeof(ret_place->subdivision), "%s-%s", ret_place->country, part);
	if (!*ret_place->continent && strlen(ret_place->country) == 2)
		snprintf(ret_place->continent, sizeof(ret_place->continent), "%s", country_continent(ret_place->country));
}

/* What is looked at while a file is checked. */
struct check {
	bool places; /* there is an entry that says a place */
	uint32_t entries[1024]; /* that were looked at, by their offsets: most networks share a few */
};

/* Whether one side of a node leads somewhere within the file. */
static bool record_sound(const MMDB_s *database, uint8_t type, uint64_t record, MMDB_entry_s *entry, struct check *check)
{
	uint32_t *seen = &check->entries[entry->offset * 0x9e3779b1u >> 22];
	struct place place;
	MMDB_entry_data_s whole;

	if (type == MMDB_RECORD_TYPE_INVALID || (type == MMDB_RECORD_TYPE_SEARCH_NODE && record >= database->metadata.node_count))
		return false;
	if (type != MMDB_RECORD_TYPE_DATA || *seen == entry->offset + 1)
		return true;
	*seen = entry->offset + 1;
	if (MMDB_get_value(entry, &whole, NULL) != MMDB_SUCCESS || whole.type != MMDB_DATA_TYPE_MAP)
		return false;
	if (!check->places) {
		place_read(entry, &place);
		check->places = *place.country || *place.continent;
	}
	return true;
}

/* Every node, so that no lookup comes to what is none: of a million, 65 ms. */
static int database_check(const char *path, const MMDB_s *database, struct error *error)
{
	struct check check = {0};

	for (uint32_t i = 0; i < database->metadata.node_count; i++) {
		MMDB_search_node_s node;

		if (MMDB_read_node(database, i, &node) != MMDB_SUCCESS ||
		    !record_sound(database, node.left_record_type, node.left_record, &node.left_record_entry, &check) ||
		    !record_sound(database, node.right_record_type, node.right_record, &node.right_record_entry, &check))
			return error_set(error, EINVAL, "the database of places %s is damaged: node %u of %u leads nowhere", path, i,
					 database->metadata.node_count);
	}
	if (!check.places)
		return error_set(error, EINVAL, "the database of places %s (%s) has neither country.iso_code nor country_code", path,
				 database->metadata.database_type);
	return 0;
}

/* A copy that nobody else writes to. */
static int file_copy(const char *path, int *ret_fd, struct stat *ret_status, struct error *error)
{
	_cleanup_(closep) int file = open(path, O_RDONLY | O_CLOEXEC), copy = -1;
	ssize_t sent = 1;
	off_t at = 0;

	if (file < 0 || fstat(file, ret_status) < 0)
		return error_set(error, errno, "reading the database of places %s: %s", path, strerror(errno));
	if (!S_ISREG(ret_status->st_mode) || ret_status->st_size > FILE_BYTES_MAX)
		return error_set(error, EFBIG, "the database of places %s is no file of at most a gigabyte", path);
	copy = memfd_create("places", MFD_CLOEXEC);
	if (copy < 0)
		return error_set(error, errno, "making room for the database of places: %s", strerror(errno));
	while (at < ret_status->st_size && sent > 0)
		sent = sendfile(copy, file, &at, (size_t)(ret_status->st_size - at));
	if (sent < 0)
		return error_set(error, errno, "reading the database of places %s: %s", path, strerror(errno));
	*ret_fd = copy;
	copy = -1;
	return 0;
}

int places_read(struct places *places, struct error *error)
{
	_cleanup_(closep) int fd = -1;
	char copy[64];
	MMDB_s fresh;
	int status;

	status = file_copy(places->path, &fd, &places->seen, error);
	if (status < 0)
		return status;
	snprintf(copy, sizeof(copy), "/proc/self/fd/%d", fd);
	status = MMDB_open(copy, MMDB_MODE_MMAP, &fresh);
	if (status != MMDB_SUCCESS)
		return error_set(error, EINVAL, "the database of places %s cannot be used, it may be truncated: %s", places->path, MMDB_strerror(status));
	status = database_check(places->path, &fresh, error);
	if (status < 0) {
		MMDB_close(&fresh);
		return status;
	}
	if (places->open)
		MMDB_close(&places->database);
	places->database = fresh;
	places->open = true;
	log_info("places of addresses are told by %s (%s, %u nodes)", places->path, fresh.metadata.database_type, fresh.metadata.node_count);
	return 0;
}

static bool file_same(const struct stat *one, const struct stat *other)
{
	return one->st_ino == other->st_ino && one->st_size == other->st_size && one->st_mtim.tv_sec == other->st_mtim.tv_sec &&
	       one->st_mtim.tv_nsec == other->st_mtim.tv_nsec;
}

static void places_look(struct places *places)
{
	struct error error = {0};
	struct stat status;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (!places->path || (places->looked && now.tv_sec - places->looked < LOOK_S))
		return;
	places->looked = now.tv_sec ? now.tv_sec : 1;
	if (stat(places->path, &status) < 0)
		status = (struct stat){0};
	if (file_same(&status, &places->seen) && places->seen.st_ino)
		return;
	if (!status.st_ino && places->open)
		return;
	if (places_read(places, &error) < 0)
		log_warning("%s; %s", error.text, places->open ? "the one before stays in use" : "none is in use");
}

/* --- asking --------------------------------------------------------------------------------------------------------------------------- */

struct places *places_new(const char *path)
{
	struct places *places = memory_or_end(calloc(1, sizeof(*places)));

	places->path = path ? memory_or_end(strdup(path)) : NULL;
	return places;
}

void places_free(struct places *places)
{
	if (!places)
		return;
	if (places->open)
		MMDB_close(&places->database);
	free(places->path);
	free(places);
}

void places_find(struct places *places, const struct address *address, struct place *ret_place)
{
	struct sockaddr_storage socket_address = {0};
	bool ipv4 = address_is_ipv4(address);
	MMDB_lookup_result_s result;
	int status;

	*ret_place = (struct place){0};
	places_look(places);
	if (!places->open)
		return;
	if (ipv4) {
		((struct sockaddr_in *)&socket_address)->sin_family = AF_INET;
		((struct sockaddr_in *)&socket_address)->sin_addr.s_addr = address_ipv4(address);
	} else {
		((struct sockaddr_in6 *)&socket_address)->sin6_family = AF_INET6;
		memcpy(&((struct sockaddr_in6 *)&socket_address)->sin6_addr, address, 16);
	}
	result = MMDB_lookup_sockaddr(&places->database, (struct sockaddr *)&socket_address, &status);
	if (status != MMDB_SUCCESS || !result.found_entry)
		return;
	place_read(&result.entry, ret_place);
	/* IPv4 is a part of a tree for IPv6 */
	ret_place->network = (uint8_t)(ipv4 && places->database.metadata.ip_version == 6 ? (result.netmask > 96 ? result.netmask - 96 : 0) :
											  result.netmask);
}

json_t *places_json(const struct places *places)
{
	if (!places->open)
		return NULL;
	return json_pack("{s:s, s:s, s:I}", "file", places->path, "type", places->database.metadata.database_type, "built",
			 (json_int_t)places->database.metadata.build_epoch);
}
