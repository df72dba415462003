/* SPDX-License-Identifier: Apache-2.0 */
/* libunbound's settings: the zones that it forwards to our ports, what it validates. */
#include <event2/event.h>
#include <string.h>
#include <sys/mman.h>
#include <unbound-event.h>
#include <unbound.h>

#include "base/lib/log.h"
#include "base/lib/memory.h"
#include "dns/resolver_internal.h"

/* Whether there are names that no upstream is asked for. */
static bool recurses(const struct dns_config *config)
{
	for (size_t i = 0; i < config->forward_count; i++)
		if (config->forwards[i].upstream_count && strcmp(config->forwards[i].zone, ".") == 0)
			return false;
	return true;
}

static void zone_print(FILE *text, const struct dns_config *config, const struct dns_forward *forward, uint16_t port)
{
	fprintf(text, "forward-zone:\n  name: \"%s\"\n  forward-addr: 127.0.0.1@%u\n  forward-no-cache: yes\n", forward->zone, port);
}

/* libunbound reads its settings from a file. */
static int context_configure(struct resolver *resolver, struct ub_ctx *context, bool validate, struct error *error)
{
	const struct dns_config *config = resolver->config;
	_cleanup_(closep) int fd = memfd_create("unbound", MFD_CLOEXEC);
	_cleanup_(fclosep) FILE *text = NULL;
	bool recursion = recurses(config);
	char path[64];
	int status;

	text = fd < 0 ? NULL : fdopen(dup(fd), "w");
	if (!text)
		return error_set(error, errno, "making libunbound's settings: %s", strerror(errno));
	fprintf(text,
		"server:\n"
		"  chroot: \"\"\n  username: \"\"\n  use-syslog: no\n  logfile: \"\"\n"
		"  module-config: \"%s\"\n"
		"  do-not-query-localhost: no\n  edns-buffer-size: %u\n"
		"  unblock-lan-zones: yes\n  insecure-lan-zones: yes\n"
		"  outgoing-range: 2048\n  num-queries-per-thread: 2048\n  outbound-msg-retry: 3\n"
		"  msg-cache-size: %s\n  rrset-cache-size: %s\n"
		"  cache-max-ttl: %u\n  cache-max-negative-ttl: %u\n"
		"  prefetch: no\n  serve-expired: no\n  minimal-responses: yes\n",
		validate ? "validator iterator" : "iterator", DNS_UDP_SAFE, recursion ? "16m" : "1m", recursion ? "32m" : "2m",
		config->ttl_max_seconds, config->negative_ttl_max_seconds);
	if (validate)
		fprintf(text, "  trust-anchor-file: \"%s\"\n  val-clean-additional: yes\n  trust-anchor-signaling: no\n", config->trust_anchor);
	for (size_t i = 0; i < config->forward_count; i++)
		if (validate && !config->forwards[i].validate)
			fprintf(text, "  domain-insecure: \"%s\"\n", config->forwards[i].zone);
	/* a zone that is forwarded is none of those that libunbound would answer itself, nor lies in one (RFC 6761, RFC 6303, RFC 8375) */
	for (size_t i = 0; i < config->forward_count; i++)
		if (strcmp(config->forwards[i].zone, ".") != 0)
			fprintf(text, "  local-zone: \"%s\" transparent\n", config->forwards[i].zone);
	for (size_t i = 0; i < config->forward_count; i++)
		if (config->forwards[i].upstream_count)
			zone_print(text, config, &config->forwards[i], upstreams_port(resolver->upstreams[i]));
	fflush(text);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	lseek(fd, 0, SEEK_SET);
	status = ub_ctx_config(context, path);
	if (status != 0)
		return error_set(error, EINVAL, "libunbound does not take its settings: %s", ub_strerror(status));
	return 0;
}

static int context_make(struct resolver *resolver, bool validate, struct ub_ctx **ret_context, struct error *error)
{
	*ret_context = ub_ctx_create_event(resolver->base);
	if (!*ret_context)
		return error_set(error, ENOMEM, "libunbound cannot be started on this event loop");
	return context_configure(resolver, *ret_context, validate, error);
}

/* --- memories ------------------------------------------------------------------------------------------------------------------- */

static void memory_free(struct unbound *memory)
{
	if (!memory)
		return;
	if (memory->validating)
		ub_ctx_delete(memory->validating);
	if (memory->unchecked)
		ub_ctx_delete(memory->unchecked);
	free(memory);
}

static int memory_make(struct resolver *resolver, struct unbound **ret_memory, struct error *error)
{
	struct unbound *memory = memory_or_end(calloc(1, sizeof(*memory)));
	int status = context_make(resolver, resolver->config->validate, &memory->validating, error);

	if (status == 0 && resolver->config->validate)
		status = context_make(resolver, false, &memory->unchecked, error);
	if (status < 0)
		memory_free(memory);
	else
		*ret_memory = memory;
	return status;
}

static void left_free(evutil_socket_t fd, short what, void *context)
{
	struct resolver *resolver = context;
	struct unbound *memory = LIST_FIRST(&resolver->left_memories);

	while (memory) {
		struct unbound *next = LIST_NEXT(memory, others);

		if (!memory->jobs) {
			LIST_REMOVE(memory, others);
			memory_free(memory);
		}
		memory = next;
	}
}

int memories_make(struct resolver *resolver, struct error *error)
{
	const struct dns_config *config = resolver->config;
	int status;

	resolver->forwards = memory_or_end(calloc(config->forward_count + 1, sizeof(*resolver->forwards)));
	for (size_t i = 0; i < config->forward_count; i++)
		if (dns_name_parse(config->forwards[i].zone, &resolver->forwards[i]) < 0)
			return error_set(error, EINVAL, "%s is not a zone's name", config->forwards[i].zone);
	resolver->left_event = evtimer_new(resolver->base, left_free, resolver);
	status = memory_make(resolver, &resolver->memories[0], error);
	if (status < 0)
		return status;
	resolver->memories[1] = resolver->memories[0];
	return recurses(config) ? memory_make(resolver, &resolver->memories[1], error) : 0;
}

void memories_free(struct resolver *resolver)
{
	struct unbound *memory;

	if (resolver->memories[1] != resolver->memories[0])
		memory_free(resolver->memories[1]);
	memory_free(resolver->memories[0]);
	while ((memory = LIST_FIRST(&resolver->left_memories))) {
		LIST_REMOVE(memory, others);
		memory_free(memory);
	}
	if (resolver->left_event)
		event_free(resolver->left_event);
	free(resolver->forwards);
}

void memories_forget(struct resolver *resolver)
{
	struct timeval at_once = {0};

	if (!recurses(resolver->config))
		return;
	for (size_t i = 0; i < MEMORIES; i++) {
		struct error error = {0};
		struct unbound *old = resolver->memories[i];

		if (memory_make(resolver, &resolver->memories[i], &error) < 0) {
			log_warning("what was resolved stays remembered: %s", error.text);
			continue;
		}
		old->left = true;
		LIST_INSERT_HEAD(&resolver->left_memories, old, others);
	}
	evtimer_add(resolver->left_event, &at_once);
}

bool memories_keep(const struct resolver *resolver, const struct dns_name *name)
{
	if (!recurses(resolver->config))
		return false;
	for (size_t i = 0; i < resolver->config->forward_count; i++)
		if (resolver->config->forwards[i].upstream_count && dns_name_within(name, &resolver->forwards[i]))
			return false;
	return true;
}

struct unbound *memory_take(struct resolver *resolver, uint8_t number)
{
	resolver->memories[number]->jobs++;
	return resolver->memories[number];
}

void memory_put(struct resolver *resolver, struct unbound *memory)
{
	struct timeval at_once = {0};

	if (--memory->jobs == 0 && memory->left)
		evtimer_add(resolver->left_event, &at_once);
}
