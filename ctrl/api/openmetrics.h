/* SPDX-License-Identifier: Apache-2.0 */
/* Writes OpenMetrics text. Families come one after the other, each with all of its samples. */
#pragma once

#include <stdint.h>

struct evbuffer;

/* `name` without "_total"; `type`: "counter", "gauge", "info", …; `help` is a sentence. */
void openmetrics_family(struct evbuffer *text, const char *name, const char *type, const char *help);

/*
 * One sample: pairs of label name and value (any text), ended by NULL:
 *     openmetrics_sample(text, "selvage_fastpath_drops_total", count, "reason", "vip_not_owned", NULL);
 */
void openmetrics_sample(struct evbuffer *text, const char *name, double value, ...) __attribute__((sentinel));
void openmetrics_sample_count(struct evbuffer *text, const char *name, uint64_t value, ...) __attribute__((sentinel));
