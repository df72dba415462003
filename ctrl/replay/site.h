/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node without a network: manifests with a Node of selvage.io, turned into the tables of an engine. Every backend that is
 * ready counts as healthy, for nothing can be checked. Every Node among the manifests counts as alive. A static neighbour
 * is reachable whatever its address; a Node that lists no routes has all the world on its first interface's link.
 *
 * One thread.
 */
#pragma once

#include "base/lib/error.h"
#include "ctrl/manifest/manifest.h"
#include "dataplane/engine.h"

struct site;
struct rtc_program;
struct rtc_ufrag_secret;

/*
 * Reads the manifests and builds what packets shall see on the node `node_name`. On -EINVAL `diagnostics` (the caller's,
 * initialised) or `error` say why.
 */
must_check int site_load(const char *const *paths, size_t count, const char *node_name, struct site **ret_site,
			 struct diagnostics *diagnostics, struct error *error);
void site_free(struct site *site);
void site_freep(struct site **site);

/* Reads other manifests for the same node, as `selvage apply` would; interfaces keep their numbers by their order. */
must_check int site_reload(struct site *site, const char *const *paths, size_t count, struct diagnostics *diagnostics,
			   struct error *error);

/* What an operator would be told by `selvage status`: borrowed until the next reload. */
size_t site_alarm_count(const struct site *site);
void site_alarm(const struct site *site, size_t place, const char **ret_subject, const char **ret_text);

#define SITE_SECRETS 2u

/* Secrets of encoded user fragments, the newest first, for what is programmed from now on; without any these lead nowhere. Copied. */
void site_set_secrets(struct site *site, const struct rtc_ufrag_secret *secrets, size_t count);

/* Media sessions of the engine that is programmed: the site's. And what time it is for them. */
struct rtc_program *site_media(const struct site *site);
uint32_t site_now(const struct site *site);

/* The interface index that frames of this interface come in by; NULL is the node's first one. 0: no such interface. */
uint32_t site_ingress(const struct site *site, const char *interface);

/* Writes the engine's tables; the site owns the bookkeeping and must be freed before the engine. One engine to a site. */
must_check int site_program(struct site *site, struct engine *engine, struct error *error);

/*
 * The time that packets see from now on. Time does not go back: an earlier one counts as the latest. Expired flows are
 * removed as the daemon would.
 */
void site_set_time_ms(struct site *site, struct engine *engine, uint64_t now_ms);

/* "10.0.0.21:7000": the backend that a packet went to or came from; without the port where the packet has none. NULL: no backend. */
const char *site_backend(const struct engine *engine, const struct decision *decision, char buffer[static ENDPOINT_TEXT_SIZE]);
