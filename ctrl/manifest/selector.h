/* SPDX-License-Identifier: Apache-2.0 */
/* Matching labels against selectors, as Kubernetes does. Pure; any thread. */
#pragma once

#include "ctrl/manifest/objects.h"

/* An empty selector matches everything. NotIn and DoesNotExist match an object without the label. */
bool label_selector_matches(const struct label_selector *selector, const struct key_values *labels);

/* Whether one of them matches; an empty list matches nothing. */
bool label_selectors_match(const struct label_selectors *selectors, const struct key_values *labels);

/* A Service's `selector`: all pairs must be there; an empty one selects nothing. */
bool service_selector_matches(const struct key_values *selector, const struct key_values *labels);
