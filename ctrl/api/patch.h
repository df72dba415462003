/* SPDX-License-Identifier: Apache-2.0 */
/* Changes to an object's JSON, as clients of the Kubernetes API send them. Pure. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

/* RFC 7396. A new reference; the arguments stay as they are. */
json_t *patch_merge(const json_t *target, const json_t *patch);

/*
 * Kubernetes' strategic merge, as far as our kinds need it: lists of a Service's ports merge by `port`, all others are replaced;
 * `$patch: delete|replace`, `$retainKeys` and `$setElementOrder` are understood.
 */
json_t *patch_strategic(const json_t *target, const json_t *patch);
