/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where an address is, by a database in MaxMind's format. Files of two layouts are understood: MaxMind's own (`country.iso_code`, as GeoLite2
 * and DB-IP have it) and the flat one of many freely licensed files (`country_code`). A file without continents says them by its
 * countries.
 *
 * The file is copied, so that whoever writes over it does no harm, and looked through before it is taken: one that is damaged leaves the one before
 * in use. One thread.
 */
#pragma once

#include <jansson.h>

#include "base/lib/cleanup.h"
#include "base/lib/error.h"
#include "base/packet/address.h"

struct places;

/* Codes; "" when not known. */
struct place {
	char continent[4]; /* "EU" */
	char country[4];   /* "DE" */
	char subdivision[12]; /* "DE-BY" */
	uint8_t network; /* bits of the address that the database tells it by; 0: it does not know the address */
};

/* `path` NULL: nothing is known. The file is looked at when somebody asks, every two seconds at most. */
struct places *places_new(const char *path);
void places_free(struct places *places);

/* Reads the file, if it is another one than that in use. What is wrong with it; nothing has changed then. */
must_check int places_read(struct places *places, struct error *error);
void places_find(struct places *places, const struct address *address, struct place *ret_place);
/* {"file":…,"type":"GeoLite2-Country","built":1781725900}; NULL: no database is in use. */
json_t *places_json(const struct places *places);
