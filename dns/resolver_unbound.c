/* SPDX-License-Identifier: Apache-2.0 */
/* libunbound's settings: the zones that it forwards to our ports, what it validates. */
#include <string.h>
#include <sys/mman.h>
#include <unbound-event.h>
#include <unbound.h>

#include "dns/resolver_internal.h"

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
	bool recursion = true;
	char path[64];
	int status;

	text = fd < 0 ? NULL : fdopen(dup(fd), "w");
	if (!text)
		return error_set(error, errno, "making libunbound's settings: %s", strerror(errno));
	for (size_t i = 0; i < config->forward_count; i++)
		recursion &= strcmp(config->forwards[i].zone, ".") != 0;
	fprintf(text,
		"server:\n"
		"  chroot: \"\"\n  username: \"\"\n  use-syslog: no\n  logfile: \"\"\n"
		"  module-config: \"%s\"\n"
		"  do-not-query-localhost: no\n  edns-buffer-size: %u\n"
		"  unblock-lan-zones: yes\n  insecure-lan-zones: yes\n"
		"  outgoing-range: 2048\n  num-queries-per-thread: 2048\n  outbound-msg-retry: 3\n"
		"  msg-cache-size: %s\n  rrset-cache-size: %s\n"
		"  prefetch: no\n  serve-expired: no\n  minimal-responses: yes\n",
		validate ? "validator iterator" : "iterator", DNS_UDP_SAFE, recursion ? "32m" : "1m", recursion ? "64m" : "2m");
	if (validate)
		fprintf(text, "  trust-anchor-file: \"%s\"\n  val-clean-additional: yes\n  trust-anchor-signaling: no\n", config->trust_anchor);
	for (size_t i = 0; i < config->forward_count; i++)
		if (validate && !config->forwards[i].validate)
			fprintf(text, "  domain-insecure: \"%s\"\n", config->forwards[i].zone);
	/* a zone that is forwarded is none of those that libunbound would answer itself (RFC 6761, RFC 6303) */
	for (size_t i = 0; i < config->forward_count; i++)
		if (strcmp(config->forwards[i].zone, ".") != 0)
			fprintf(text, "  local-zone: \"%s\" nodefault\n", config->forwards[i].zone);
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

int context_make(struct resolver *resolver, bool validate, struct ub_ctx **ret_context, struct error *error)
{
	*ret_context = ub_ctx_create_event(resolver->base);
	if (!*ret_context)
		return error_set(error, ENOMEM, "libunbound cannot be started on this event loop");
	return context_configure(resolver, *ret_context, validate, error);
}
