/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/health/checks/probe.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct probe_result probe_result(bool success, const char *format, ...)
{
	struct probe_result result = {.success = success};
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(result.reason, sizeof(result.reason), format, arguments);
	va_end(arguments);
	return result;
}

struct probe_result probe_timeout(const struct probe *probe)
{
	const struct health_parameters *parameters = probe->target.parameters;

	return probe_result(false, "%s: timeout after %u ms", health_check_type_name(parameters->type),
			    parameters->timing.timeout_ms);
}

void probe_done(const struct probe *probe, const struct probe_result *result)
{
	probe->target.done(result, probe->target.context);
}

static socklen_t target_sockaddr(const struct probe_target *target, struct sockaddr_storage *ret_address)
{
	struct sockaddr_in *ipv4 = (struct sockaddr_in *)ret_address;
	struct sockaddr_in6 *ipv6 = (struct sockaddr_in6 *)ret_address;
	uint16_t port_be = htons(target->parameters->port);

	memset(ret_address, 0, sizeof(*ret_address));
	if (address_is_ipv4(&target->address)) {
		ipv4->sin_family = AF_INET;
		ipv4->sin_port = port_be;
		ipv4->sin_addr.s_addr = address_ipv4(&target->address);
		return sizeof(*ipv4);
	}
	ipv6->sin6_family = AF_INET6;
	ipv6->sin6_port = port_be;
	memcpy(&ipv6->sin6_addr, &target->address, sizeof(ipv6->sin6_addr));
	return sizeof(*ipv6);
}

int probe_socket(const struct probe *probe, int type, struct sockaddr_storage *ret_address, socklen_t *ret_length)
{
	int fd;

	*ret_length = target_sockaddr(&probe->target, ret_address);
	fd = socket(ret_address->ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	return fd < 0 ? -errno : fd;
}

void probe_reset_on_close(int fd)
{
	static const struct linger linger = {.l_onoff = 1, .l_linger = 0};

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}
