/* SPDX-License-Identifier: Apache-2.0 */
/* What one write makes of an object: decided from what is stored and what is asked for. Pure. */
#pragma once

#include <jansson.h>

#include "ctrl/manifest/objects.h"

enum change_mode {
	CHANGE_CREATE,    /* POST: must not be there */
	CHANGE_REPLACE,   /* PUT: must be there */
	CHANGE_MERGE,     /* PATCH, RFC 7396 */
	CHANGE_STRATEGIC, /* PATCH, Kubernetes' own */
	CHANGE_APPLY,     /* there afterwards as given, whether it was there or not */
	CHANGE_DELETE,    /* the body may hold preconditions */
};

struct change_request {
	enum change_mode mode;
	const struct object_kind_info *info;
	const char *namespace_name; /* "" for kinds without one */
	const char *name;
	const json_t *body; /* NULL is allowed for CHANGE_DELETE */
};

/* What an object gets at its creation. */
struct change_stamp {
	const char *uid;
	const char *time; /* RFC 3339 */
};

struct change_refusal {
	int status; /* HTTP */
	const char *reason;
	char text[512];
};

/*
 * `live` is what is stored, with its resourceVersion, or NULL. `ret_wanted` is a new reference without resourceVersion; NULL
 * after CHANGE_DELETE. The caller checks it as an object of its kind. -EINVAL with the refusal filled.
 */
must_check int change_compute(const struct change_request *request, const json_t *live, const struct change_stamp *stamp,
			      json_t **ret_wanted, struct change_refusal *ret_refusal);

/* Whether storing `wanted` would change nothing; resourceVersions do not count. */
bool change_is_none(const json_t *live, const json_t *wanted);
