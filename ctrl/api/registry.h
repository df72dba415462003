/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where objects lie in the store, and how they come back from it.
 *
 *     /registry/PLURAL/[NAMESPACE/]NAME           core group:   /registry/services/default/web
 *     /registry/GROUP/PLURAL/[NAMESPACE/]NAME     other groups: /registry/metallb.io/ipaddresspools/metallb-system/lan
 *
 * The value is the object's JSON, complete but for metadata.resourceVersion, which is the record's mod_revision. Who follows
 * all objects lists REGISTRY_PREFIX and watches it.
 */
#pragma once

#include "ctrl/manifest/manifest.h"
#include "ctrl/store/store.h"

#define REGISTRY_PREFIX "/registry/"
#define REGISTRY_KEY_SIZE 1025 /* STORE_KEY_LENGTH_MAX and its zero */

/* `namespace_name` is not read for kinds without one. -ENAMETOOLONG if it does not fit. */
must_check int registry_key(const struct object_kind_info *info, const char *namespace_name, const char *name,
			    char ret_key[static REGISTRY_KEY_SIZE]);
/* All of a kind; with a namespace (not NULL, not "") of that one. Ends in "/". */
must_check int registry_prefix(const struct object_kind_info *info, const char *namespace_name,
			       char ret_key[static REGISTRY_KEY_SIZE]);

/* NULL if the key is not an object's. `ret_namespace` is "" for kinds without one; both are cut from the key. */
const struct object_kind_info *registry_key_parse(const char *key, char ret_namespace[static 256],
						  char ret_name[static 256]);

/*
 * Fills in what Kubernetes' own server would: an EndpointSlice's ports have a name ("") and a protocol (TCP); its clients take them for
 * granted.
 */
void registry_defaults(json_t *json);
/* The JSON with its resourceVersion and defaults; a new reference, NULL if the value is damaged. */
json_t *registry_record_json(const struct store_record *record);
/* The typed object with its resourceVersion; -EINVAL with diagnostics if it is damaged. */
must_check int registry_record_object(const struct store_record *record, struct object **ret_object,
				      struct diagnostics *diagnostics);
/* What is stored for an object: its JSON without resourceVersion. To be freed by the caller. */
char *registry_value(const json_t *json);
