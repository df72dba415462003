/* SPDX-License-Identifier: Apache-2.0 */
/* Annotations of a Service: MetalLB's under both of its prefixes, and ours. */
#include <stdlib.h>
#include <string.h>

#include "ctrl/manifest/manifest_kinds.h"

/* --- numbers and words ------------------------------------------------------------------------------------------------- */

static bool annotation_number(struct decoder *decoder, const struct yaml_node *node, uint64_t minimum, uint64_t maximum,
			      uint64_t *ret_value)
{
	if (decimal_parse(node->text, node->length, maximum, ret_value) && *ret_value >= minimum)
		return true;
	decoder_error(decoder, node, "must be a whole number from %llu to %llu, not \"%.40s\"",
		      (unsigned long long)minimum, (unsigned long long)maximum, node->text);
	return false;
}

static void number_read(struct decoder *decoder, const struct yaml_node *node, uint64_t minimum, uint64_t maximum,
			void *target)
{
	uint64_t value;

	if (annotation_number(decoder, node, minimum, maximum, &value))
		*(uint32_t *)target = (uint32_t)value;
}

static void slow_start_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	number_read(decoder, node, 0, 3600, target);
}

static void udp_idle_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	number_read(decoder, node, 1, 86400, target);
}

/* As many as the flow table holds. */
static void limit_flows_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	number_read(decoder, node, 1, 2097152, target);
}

static void limit_client_flows_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	number_read(decoder, node, 1, 1000000, target);
}

static void interval_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct service_health *health = target;

	number_read(decoder, node, 10, 3600000, &health->interval_ms);
	health->interval_given = true;
}

static void timeout_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct service_health *health = target;

	number_read(decoder, node, 1, 60000, &health->timeout_ms);
	health->timeout_given = true;
}

static void rise_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct service_health *health = target;

	number_read(decoder, node, 1, 100, &health->rise);
	health->rise_given = true;
}

static void fall_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct service_health *health = target;

	number_read(decoder, node, 1, 100, &health->fall);
	health->fall_given = true;
}

static void health_port_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	uint64_t value;

	if (annotation_number(decoder, node, 1, UINT16_MAX, &value))
		*(uint16_t *)target = (uint16_t)value;
}

static void forwarding_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	static const char *const words[] = {[SERVICE_FORWARDING_NAT] = "nat", [SERVICE_FORWARDING_L2_DSR] = "l2-dsr",
					    [SERVICE_FORWARDING_IPIP] = "ipip", [SERVICE_FORWARDING_GUE] = "gue"};
	size_t index;

	if (node_choice(decoder, node, words, array_length(words), &index))
		*(enum service_forwarding *)target = (enum service_forwarding)index;
}

static void no_healthy_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	static const char *const words[] = {[SERVICE_NO_HEALTHY_DROP] = "drop", [SERVICE_NO_HEALTHY_ALL] = "all"};
	size_t index;

	if (node_choice(decoder, node, words, array_length(words), &index))
		*(enum service_no_healthy *)target = (enum service_no_healthy)index;
}

static void check_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	static const char *const words[] = {
		[SERVICE_CHECK_NONE] = "none",
		[SERVICE_CHECK_TCP] = "tcp",
		[SERVICE_CHECK_HTTP] = "http",
		[SERVICE_CHECK_UDP] = "udp",
		[SERVICE_CHECK_MEDIA] = "media",
	};
	size_t index;

	if (node_choice(decoder, node, words, array_length(words), &index))
		*(enum service_check *)target = (enum service_check)index;
}

/* What goes into a request line or header: printable ASCII without spaces. */
static bool text_is_one_word(const char *text)
{
	for (; *text; text++)
		if (*text <= ' ' || *text > '~')
			return false;
	return true;
}

static void health_path_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	if (node->text[0] == '/' && node->length <= 1024 && text_is_one_word(node->text))
		field_text(decoder, node, target);
	else
		decoder_error(decoder, node, "must begin with \"/\" and hold no spaces, not \"%.80s\"", node->text);
}

static void health_host_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	if (node->length && node->length <= 255 && text_is_one_word(node->text))
		field_text(decoder, node, target);
	else
		decoder_error(decoder, node, "must be a host's name of 1 to 255 characters without spaces");
}

static void health_payload_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	if (node->length <= 512)
		field_text(decoder, node, target);
	else
		decoder_error(decoder, node, "must be at most 512 bytes long; this has %zu", node->length);
}

/* "200" or "200-299". */
static void expect_status_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct service_health *health = target;
	size_t first_length = strcspn(node->text, "-");
	uint64_t first = 0, last = 0;
	bool good = decimal_parse(node->text, first_length, 599, &first);

	last = first;
	if (good && node->text[first_length])
		good = decimal_parse(node->text + first_length + 1, strlen(node->text + first_length + 1), 599, &last);
	if (!good || first < 100 || first > last) {
		decoder_error(decoder, node, "must be a status such as 200, or a range such as 200-399, not \"%.40s\"",
			      node->text);
		return;
	}
	health->expect_status_first = (uint16_t)first;
	health->expect_status_last = (uint16_t)last;
}

/* --- limits ------------------------------------------------------------------------------------------------------------ */

static void rate_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	char problem[RATE_PROBLEM_SIZE];
	struct rate rate;

	if (rate_parse(node->text, &rate, problem))
		*(struct service_rate *)target = (struct service_rate){rate.per_minute, rate.burst};
	else
		decoder_error(decoder, node, "%s", problem);
}

/* As many as the tables may be asked to hold; how many they do is told by `selvage status`. */
static void limit_sessions_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	number_read(decoder, node, 1, 1048576, target);
}

static void limit_prefix_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct service *service = target;
	char problem[RATE_PROBLEM_SIZE];
	struct client_bits bits;

	if (!client_bits_parse(node->text, &bits, problem)) {
		decoder_error(decoder, node, "%s", problem);
		return;
	}
	service->limit_prefix_ipv4 = bits.ipv4;
	service->limit_prefix_ipv6 = bits.ipv6;
}

/* --- marking ----------------------------------------------------------------------------------------------------------- */

/* "46", or a name: RFC 2474 (cs0 to cs7), RFC 2597 (af11 to af43), RFC 3246 (ef), RFC 5865 (va), RFC 8622 (le). */
static bool dscp_parse(const char *text, size_t length, uint64_t *ret_dscp)
{
	if (decimal_parse(text, length, 63, ret_dscp))
		return true;
	if (length == 3 && strncmp(text, "cs", 2) == 0 && text[2] >= '0' && text[2] <= '7') {
		*ret_dscp = 8 * (uint64_t)(text[2] - '0');
		return true;
	}
	if (length == 4 && strncmp(text, "af", 2) == 0 && text[2] >= '1' && text[2] <= '4' && text[3] >= '1' && text[3] <= '3') {
		*ret_dscp = 8 * (uint64_t)(text[2] - '0') + 2 * (uint64_t)(text[3] - '0');
		return true;
	}
	*ret_dscp = strcmp(text, "ef") == 0 ? 46 : strcmp(text, "va") == 0 ? 44 : 1;
	return length == 2 && (*ret_dscp != 1 || strcmp(text, "le") == 0);
}

static void dscp_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct service *service = target;
	uint64_t dscp;

	if (!dscp_parse(node->text, node->length, &dscp)) {
		decoder_error(decoder, node, "must be a number from 0 to 63, or one of ef, va, le, cs0 to cs7 and af11 to af43, not \"%.40s\"",
			      node->text);
		return;
	}
	service->dscp_given = true;
	service->dscp = (uint8_t)dscp;
}

/* --- addresses --------------------------------------------------------------------------------------------------------- */

void service_requested_add(struct decoder *decoder, const struct yaml_node *node, struct service *service,
			   const struct address_list *addresses)
{
	struct address *merged = arena_array(decoder->arena, service->requested.count + addresses->count, sizeof(*merged));
	size_t count = service->requested.count;

	if (count)
		memcpy(merged, service->requested.items, count * sizeof(*merged));
	for (size_t i = 0; i < addresses->count; i++) {
		const struct address *address = &addresses->items[i];
		char text[ADDRESS_TEXT_SIZE], other[ADDRESS_TEXT_SIZE];
		bool known = false;

		for (size_t j = 0; j < count; j++) {
			known |= address_equal(&merged[j], address);
			if (known || address_is_ipv4(&merged[j]) != address_is_ipv4(address))
				continue;
			decoder_error(decoder, node, "asks for %s, and %s is asked for already; ask for one %s address",
				      address_format(address, text), address_format(&merged[j], other),
				      address_is_ipv4(address) ? "IPv4" : "IPv6");
			return;
		}
		if (!known)
			merged[count++] = *address;
	}
	service->requested = (struct address_list){.items = merged, .count = count};
}

/* "192.0.2.10" or "192.0.2.10,2001:db8::10". */
static void load_balancer_ips_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct address *items = arena_array(decoder->arena, node->length / 2 + 1, sizeof(*items));
	_cleanup_(freep) char *copy = strdup(node->text);
	char *rest = copy, *part;
	size_t count = 0;

	while ((part = strsep(&rest, ","))) {
		part += strspn(part, " ");
		part[strcspn(part, " ")] = '\0';
		if (address_parse(part, &items[count]) < 0) {
			decoder_error(decoder, node,
				      "\"%.80s\" is not an IP address; write addresses with commas between them", part);
			return;
		}
		count++;
	}
	service_requested_add(decoder, node, target, &(struct address_list){.items = items, .count = count});
}

/* "192.0.2.0/24, 2001:db8::/32". */
static void deny_ranges_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct service *service = target;
	_cleanup_(freep) char *copy = strdup(node->text);
	char *rest = copy, *part;
	struct prefix *items;
	size_t most = 1, count = 0;

	for (const char *comma = node->text; (comma = strchr(comma, ',')); comma++)
		most++;
	if (most > SOURCE_RANGES_MAX) {
		decoder_error(decoder, node, "has %zu networks and may have %d", most, SOURCE_RANGES_MAX);
		return;
	}
	items = arena_array(decoder->arena, most, sizeof(*items));
	while ((part = strsep(&rest, ","))) {
		part += strspn(part, " \n");
		part[strcspn(part, " \n")] = '\0';
		if (prefix_parse(part, &items[count]) < 0) {
			decoder_error(decoder, node,
				      "\"%.80s\" is not a network; write networks such as 192.0.2.0/24 with commas between them",
				      part);
			return;
		}
		count++;
	}
	service->deny_ranges = items;
	service->deny_range_count = count;
}

/* Hexadecimal bytes, the first one lowest. */
static bool server_id_parse(const char *text, uint64_t *ret_id, uint8_t *ret_length)
{
	size_t digits = strspn(text, "0123456789abcdefABCDEF");
	uint64_t id = 0;

	if (text[digits] || digits == 0 || digits > 16 || digits % 2)
		return false;
	for (size_t i = 0; i < digits / 2; i++) {
		char byte[3] = {text[2 * i], text[2 * i + 1], '\0'};

		id |= (uint64_t)strtoul(byte, NULL, 16) << 8 * i;
	}
	*ret_id = id;
	*ret_length = (uint8_t)(digits / 2);
	return true;
}

/* "config=N" or "ADDRESS=ID"; `text` is changed. */
static bool quic_part_read(struct decoder *decoder, const struct yaml_node *node, struct service *service, char *text,
			   struct service_quic_server *ret_server)
{
	char *equals = strchr(text, '=');
	uint8_t length;
	uint64_t config;

	*ret_server = (struct service_quic_server){0};
	if (equals)
		*equals = '\0';
	if (equals && strcmp(text, "config") == 0 && decimal_parse(equals + 1, strlen(equals + 1), 6, &config)) {
		service->quic_config = (uint8_t)config;
		return true;
	}
	if (!equals || address_parse(text, &ret_server->address) < 0 ||
	    !server_id_parse(equals + 1, &ret_server->id, &length)) {
		decoder_error(decoder, node,
			      "must be as config=0, 10.0.0.21=c0de, 10.0.0.22=beef: a configuration from 0 to 6, and for each backend "
			      "its server id in 1 to 8 bytes; \"%.80s\" is not",
			      text);
		return false;
	}
	if (service->quic_server_length && service->quic_server_length != length) {
		decoder_error(decoder, node, "the server ids must have one length; that of %.60s has %u bytes, others %u", text, length,
			      service->quic_server_length);
		return false;
	}
	service->quic_server_length = length;
	return true;
}

static void quic_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct service *service = target;
	_cleanup_(freep) char *copy = strdup(node->text);
	struct service_quic_server *servers = arena_array(decoder->arena, node->length / 5 + 1, sizeof(*servers));
	char *rest = copy, *part, text[ADDRESS_TEXT_SIZE];
	size_t count = 0;

	while ((part = strsep(&rest, ","))) {
		part += strspn(part, " ");
		part[strcspn(part, " ")] = '\0';
		if (!quic_part_read(decoder, node, service, part, &servers[count]))
			return;
		count += !address_is_zero(&servers[count].address);
	}
	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; j < i; j++) {
			bool family = address_is_ipv4(&servers[i].address) == address_is_ipv4(&servers[j].address);

			if (address_equal(&servers[i].address, &servers[j].address) || (family && servers[i].id == servers[j].id)) {
				decoder_error(decoder, node, "%s and another backend share an id, or it has two",
					      address_format(&servers[i].address, text));
				return;
			}
		}
	}
	service->quic_servers = servers;
	service->quic_server_count = count;
}

/* Both prefixes may be given when they agree. */
static void agreed_text_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	const char **text = target;

	if (**text && strcmp(*text, node->text) != 0)
		decoder_error(decoder, node, "contradicts \"%.80s\" of the same annotation under metallb's other prefix", *text);
	else
		field_text(decoder, node, text);
}

/* --- port ranges ------------------------------------------------------------------------------------------------------- */

static struct service_port *port_lookup(struct service *service, const char *name)
{
	for (size_t i = 0; i < service->port_count; i++)
		if (strcmp(service->ports[i].name, name) == 0)
			return (struct service_port *)&service->ports[i]; /* the arena's, and still being read */
	return NULL;
}

static struct service_port *range_port(struct decoder *decoder, const struct yaml_node *node, struct service *service,
				       const char *name)
{
	struct service_port *port = name ? port_lookup(service, name) : (struct service_port *)service->ports;

	if (name && !port)
		decoder_error(decoder, node, "spec.ports has no port named \"%.63s\"", name);
	if (!name && service->port_count != 1) {
		decoder_error(decoder, node, "must name its port, as in NAME=10000-20000: the service has %zu ports",
			      service->port_count);
		return NULL;
	}
	return port;
}

static void range_apply(struct decoder *decoder, const struct yaml_node *node, struct service_port *port, uint16_t first,
			uint16_t last)
{
	if (port->port < first || port->port > last) {
		decoder_error(decoder, node, "the range %u-%u does not hold the port %u itself; write %u-%u or change spec.ports",
			      first, last, port->port, port->port, last > port->port ? last : port->port);
		return;
	}
	if (*port->target_port_name || port->target_port != port->port)
		decoder_warning(decoder, node, "the targetPort of a port with a range has no effect: "
					       "a backend is reached on the port that the client used");
	port->port = first;
	port->port_last = last;
	port->target_port = first;
	port->target_port_name = "";
}

/* One "NAME=first-last" or "first-last"; `text` is changed. */
static void range_read(struct decoder *decoder, const struct yaml_node *node, struct service *service, char *text)
{
	char *equals = strchr(text, '='), *range = equals ? equals + 1 : text, *dash = strchr(range, '-');
	uint64_t first, last;
	struct service_port *port;

	if (!dash || !decimal_parse(range, (size_t)(dash - range), UINT16_MAX, &first) ||
	    !decimal_parse(dash + 1, strlen(dash + 1), UINT16_MAX, &last) || !first) {
		decoder_error(decoder, node, "must be as 10000-20000 or NAME=10000-20000, not \"%.80s\"", text);
		return;
	}
	if (first > last) {
		decoder_error(decoder, node, "the range %u-%u is inverted; write %u-%u", (unsigned int)first,
			      (unsigned int)last, (unsigned int)last, (unsigned int)first);
		return;
	}
	if (equals)
		*equals = '\0';
	port = range_port(decoder, node, service, equals ? text : NULL);
	if (!port)
		return;
	if (port->port_last != port->port)
		decoder_error(decoder, node, "gives the port \"%s\" two ranges", port->name);
	else
		range_apply(decoder, node, port, (uint16_t)first, (uint16_t)last);
}

static void ranges_check(struct decoder *decoder, const struct yaml_node *node, const struct service *service)
{
	for (size_t i = 0; i < service->port_count; i++) {
		for (size_t j = 0; j < i; j++) {
			const struct service_port *a = &service->ports[i], *b = &service->ports[j];

			/* equal ports were an error of their own */
			if (a->protocol == b->protocol && a->port <= b->port_last && b->port <= a->port_last &&
			    (a->port != a->port_last || b->port != b->port_last))
				decoder_error(decoder, node, "the ports \"%s\" and \"%s\" overlap", b->name, a->name);
		}
	}
}

static void port_range_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct service *service = target;
	_cleanup_(freep) char *copy = strdup(node->text);
	char *rest = copy, *part;

	if (!service->port_count)
		return; /* an error of its own */
	while ((part = strsep(&rest, ","))) {
		part += strspn(part, " ");
		part[strcspn(part, " ")] = '\0';
		range_read(decoder, node, service, part);
	}
	ranges_check(decoder, node, service);
}

/* --- the table --------------------------------------------------------------------------------------------------------- */

#define METALLB(name_, read_, member_)                                                                              \
	FIELD("metallb.io/" name_, read_, struct service, member_),                                                  \
		FIELD("metallb.universe.tf/" name_, read_, struct service, member_)

static const struct field service_annotations[] = {
	FIELD_WHOLE("metallb.io/loadBalancerIPs", load_balancer_ips_read),
	FIELD_WHOLE("metallb.universe.tf/loadBalancerIPs", load_balancer_ips_read),
	METALLB("address-pool", agreed_text_read, address_pool),
	METALLB("allow-shared-ip", agreed_text_read, allow_shared_ip),
	FIELD_WHOLE("metallb.io/ip-allocated-from-pool", field_keep), /* MetalLB's own note */
	FIELD_WHOLE("metallb.universe.tf/ip-allocated-from-pool", field_keep),
	FIELD_WHOLE("selvage.io/port-range", port_range_read),
	FIELD_WHOLE("selvage.io/deny-source-ranges", deny_ranges_read),
	FIELD("selvage.io/limit-new-flows", rate_read, struct service, limit_new_flows),
	FIELD("selvage.io/limit-new-flows-total", rate_read, struct service, limit_new_flows_total),
	FIELD_WHOLE("selvage.io/quic-lb", quic_read),
	FIELD("selvage.io/limit-flows", limit_flows_read, struct service, limit_flows),
	FIELD("selvage.io/limit-flows-per-client", limit_client_flows_read, struct service, limit_flows_per_client),
	FIELD("selvage.io/limit-packets", rate_read, struct service, limit_packets),
	FIELD_WHOLE("selvage.io/limit-prefix", limit_prefix_read),
	FIELD_WHOLE("selvage.io/dscp", dscp_read),
	FIELD("selvage.io/limit-sessions", limit_sessions_read, struct service, limit_sessions),
	FIELD("selvage.io/limit-session-packets", rate_read, struct service, limit_session_packets),
	FIELD("selvage.io/limit-stun", rate_read, struct service, limit_stun),
	FIELD("selvage.io/limit-stun-total", rate_read, struct service, limit_stun_total),
	FIELD("selvage.io/forwarding", forwarding_read, struct service, forwarding),
	FIELD("selvage.io/no-healthy-backends", no_healthy_read, struct service, no_healthy),
	FIELD("selvage.io/slow-start-seconds", slow_start_read, struct service, slow_start_seconds),
	FIELD("selvage.io/udp-idle-seconds", udp_idle_read, struct service, udp_idle_seconds),
	FIELD("selvage.io/health-check", check_read, struct service, health.check),
	FIELD("selvage.io/health-port", health_port_read, struct service, health.port),
	FIELD("selvage.io/health-interval-ms", interval_read, struct service, health),
	FIELD("selvage.io/health-timeout-ms", timeout_read, struct service, health),
	FIELD("selvage.io/health-rise", rise_read, struct service, health),
	FIELD("selvage.io/health-fall", fall_read, struct service, health),
	FIELD("selvage.io/health-path", health_path_read, struct service, health.path),
	FIELD("selvage.io/health-host", health_host_read, struct service, health.host),
	FIELD("selvage.io/health-expect-status", expect_status_read, struct service, health),
	FIELD("selvage.io/health-send", health_payload_read, struct service, health.send),
	FIELD("selvage.io/health-expect", health_payload_read, struct service, health.expect),
};

/* Which checks an annotation belongs to: given with another, it would be silently without effect. */
static const struct {
	const char *name;
	enum service_check first, second;
	const char *words;
} check_annotations[] = {
	{"selvage.io/health-path", SERVICE_CHECK_HTTP, SERVICE_CHECK_MEDIA, "http (or media)"},
	{"selvage.io/health-host", SERVICE_CHECK_HTTP, SERVICE_CHECK_MEDIA, "http (or media)"},
	{"selvage.io/health-expect-status", SERVICE_CHECK_HTTP, SERVICE_CHECK_HTTP, "http"},
	{"selvage.io/health-send", SERVICE_CHECK_UDP, SERVICE_CHECK_UDP, "udp"},
	{"selvage.io/health-expect", SERVICE_CHECK_UDP, SERVICE_CHECK_UDP, "udp"},
};

static void health_check(struct decoder *decoder, const struct yaml_node *node, struct service_health *health)
{
	const struct yaml_node *timeout = annotation_lookup(node, "selvage.io/health-timeout-ms");
	const struct yaml_node *interval = annotation_lookup(node, "selvage.io/health-interval-ms");

	for (size_t i = 0; i < array_length(check_annotations); i++) {
		const struct yaml_node *place = annotation_lookup(node, check_annotations[i].name);

		if (place && health->check != check_annotations[i].first && health->check != check_annotations[i].second)
			decoder_error(decoder, place, "%s needs the annotation selvage.io/health-check: %s",
				      check_annotations[i].name, check_annotations[i].words);
	}
	if (health->timeout_ms <= health->interval_ms)
		return;
	if (timeout)
		decoder_error(decoder, timeout, "selvage.io/health-timeout-ms (%u) must not exceed the interval (%u ms)",
			      health->timeout_ms, health->interval_ms);
	else if (interval)
		health->timeout_ms = health->interval_ms; /* a short interval shortens the default */
}

/* Direct return: the backend gets the client's packet as it is, so that nothing can translate its port. */
static void direct_return_check(struct decoder *decoder, const struct yaml_node *node, const struct service *service)
{
	const struct yaml_node *place = annotation_lookup(node, "selvage.io/forwarding");

	if (service->forwarding != SERVICE_FORWARDING_L2_DSR || !place)
		return;
	for (size_t i = 0; i < service->port_count; i++)
		if (service->ports[i].target_port && service->ports[i].target_port != service->ports[i].port)
			decoder_error(decoder, place,
				      "l2-dsr cannot change ports: spec.ports[%zu].targetPort must be %u (or be left out)", i,
				      service->ports[i].port);
}

static bool has_webrtc(const struct service *service)
{
	for (size_t i = 0; i < service->port_count; i++)
		if (service_port_is_webrtc(&service->ports[i]))
			return true;
	return false;
}

/* What says nothing to calls, where all ports are for these. */
static void calls_warn(struct decoder *decoder, const struct yaml_node *node, const struct service *service)
{
	static const struct {
		const char *name, *why;
	} idle[] = {
		{"selvage.io/limit-flows-per-client", "selvage.io/limit-new-flows bounds those that a client begins"},
		{"selvage.io/udp-idle-seconds", "they end 30 seconds after their last check"},
	};

	for (size_t i = 0; i < service->port_count; i++)
		if (!service_port_is_webrtc(&service->ports[i]))
			return;
	for (size_t i = 0; i < array_length(idle); i++) {
		const struct yaml_node *given = annotation_lookup(node, idle[i].name);

		if (given)
			decoder_warning(decoder, given, "%s has no effect on calls: %s", idle[i].name, idle[i].why);
	}
	if (service->affinity_timeout_seconds)
		decoder_warning(decoder, yaml_lookup(yaml_lookup(node, "spec"), "sessionAffinity"),
				"sessionAffinity has no effect on calls: each goes to the agent that its user fragment names");
}

/* What belongs to calls alone, and what calls cannot have. */
static void webrtc_check(struct decoder *decoder, const struct yaml_node *node, const struct service *service)
{
	static const char *const only[] = {"selvage.io/dscp", "selvage.io/limit-sessions", "selvage.io/limit-session-packets",
					   "selvage.io/limit-stun", "selvage.io/limit-stun-total"};
	static const struct {
		const char *name, *why;
	} never[] = {
		{"selvage.io/port-range", "calls come to one port"},
		{"selvage.io/quic-lb", "calls are routed by their user fragments"},
	};
	const struct yaml_node *place = annotation_lookup(node, "selvage.io/forwarding");

	if (!has_webrtc(service)) {
		for (size_t i = 0; i < array_length(only); i++) {
			const struct yaml_node *given = annotation_lookup(node, only[i]);

			if (given)
				decoder_error(decoder, given, "%s needs a port with appProtocol: " APP_PROTOCOL_WEBRTC, only[i]);
		}
		return;
	}
	for (size_t i = 0; i < array_length(never); i++) {
		const struct yaml_node *given = annotation_lookup(node, never[i].name);

		if (given)
			decoder_error(decoder, given, "%s does not go with appProtocol: " APP_PROTOCOL_WEBRTC ": %s", never[i].name,
				      never[i].why);
	}
	calls_warn(decoder, node, service);
	if (place && service->forwarding != SERVICE_FORWARDING_NAT)
		decoder_error(decoder, place, "%s does not go with appProtocol: " APP_PROTOCOL_WEBRTC ": an agent's packets must come back this way",
			      service_forwarding_name(service->forwarding));
}

void service_annotations_read(struct decoder *decoder, const struct yaml_node *node, struct object *object)
{
	annotations_read(decoder, node, service_annotations, array_length(service_annotations), &object->service);
	health_check(decoder, node, &object->service.health);
	direct_return_check(decoder, node, &object->service);
	webrtc_check(decoder, node, &object->service);
}
