/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/config_dns.h"

#include <ctype.h>
#include <string.h>

#include "base/lib/address_text.h"
#include "base/lib/cleanup.h"
#include "base/lib/memory.h"

#define PORT_PLAIN 53
#define PORT_TLS 853
#define UPSTREAMS_MAX 16u
/* Of dns/dns_state.h, which bounds them itself. */
#define PACKET_NAMES_DEFAULT 32768
#define PACKET_NAMES_LEAST 64
#define PACKET_NAMES_MAX 4000000
#define TRUST_ANCHOR_DEFAULT "/usr/share/dns/root.key"

static void text_replace(char **target, const char *text)
{
	free(*target);
	*target = memory_or_end(strdup(text));
}

/* Labels of letters, digits, '-' and '_'; a dot at the end is taken away; "." is the root. */
static bool domain_get(struct yaml_reader *reader, const struct yaml_node *node, const char *key, char **target)
{
	const char *text;
	size_t label = 0, length;

	if (!yaml_get_text(reader, node, key, &text))
		return false;
	length = strlen(text);
	if (length > 1 && text[length - 1] == '.')
		length--;
	for (size_t i = 0; i < length && strcmp(text, ".") != 0; i++) {
		if (text[i] == '.' ? !label : !(isalnum((unsigned char)text[i]) || strchr("-_", text[i])) || label >= 63) {
			length = 0;
			break;
		}
		label = text[i] == '.' ? 0 : label + 1;
	}
	if (!length || length > 253) {
		yaml_problem_at(reader, node, "%s must be a domain name, such as example.com", key);
		return false;
	}
	free(*target);
	*target = memory_or_end(strndup(text, length));
	for (char *c = *target; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	return true;
}

static void file_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, char **target)
{
	const char *text;

	if (!yaml_get_text(reader, value, key, &text))
		return;
	if (text[0] != '/')
		yaml_problem_at(reader, value, "%s must be an absolute path: it begins with /", key);
	else
		text_replace(target, text);
}

/* "10.0.0.1", "10.0.0.1:53", "[fd00::1]:53", "fd00::1" */
static bool endpoint_get(const char *text, uint16_t port, struct dns_endpoint *ret_endpoint)
{
	struct dns_endpoint endpoint = {.port = port};

	if (address_parse(text, &endpoint.address) < 0 &&
	    (endpoint_parse(text, &endpoint.address, &endpoint.port) < 0 || !endpoint.port))
		return false;
	*ret_endpoint = endpoint;
	return true;
}

static void endpoints_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, uint16_t port,
			   struct dns_endpoint **target, size_t *target_count)
{
	if (!yaml_is_sequence(reader, value, key))
		return;
	if (!value->count)
		yaml_problem_at(reader, value, "%s must hold an address at least: nobody is answered otherwise", key);
	*target = memory_or_end(calloc(value->count + 1, sizeof(**target)));
	for (size_t i = 0; i < value->count; i++) {
		const char *text;

		if (!yaml_get_text(reader, value->items[i], "an address", &text))
			continue;
		if (endpoint_get(text, port, &(*target)[*target_count]))
			++*target_count;
		else
			yaml_problem_at(reader, value->items[i], "\"%.60s\" is not an address; write it as 169.254.20.10, "
					"169.254.20.10:53, fd00::53 or \"[fd00::53]:53\"", text);
	}
}

static void listen_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	struct dns_config *config = target;

	endpoints_read(reader, value, key, PORT_PLAIN, &config->listen, &config->listen_count);
}

/* ---- upstreams ---- */

/* "10.0.0.2", "tcp://10.0.0.2:53", "tls://192.0.2.9#dns.example" */
static bool upstream_get(const char *text, struct dns_upstream *ret_upstream)
{
	static const struct {
		const char *scheme;
		enum dns_protocol protocol;
		uint16_t port;
	} schemes[] = {{"udp://", DNS_PROTOCOL_UDP, PORT_PLAIN}, {"tcp://", DNS_PROTOCOL_TCP, PORT_PLAIN},
		       {"tls://", DNS_PROTOCOL_TLS, PORT_TLS}};
	struct dns_upstream upstream = {.protocol = DNS_PROTOCOL_UDP};
	uint16_t port = PORT_PLAIN;
	char address[80];
	size_t length;

	for (size_t i = 0; i < array_length(schemes); i++) {
		if (strncmp(text, schemes[i].scheme, strlen(schemes[i].scheme)) != 0)
			continue;
		upstream.protocol = schemes[i].protocol;
		port = schemes[i].port;
		text += strlen(schemes[i].scheme);
		break;
	}
	length = strcspn(text, "#");
	if (length >= sizeof(address) || (text[length] && (upstream.protocol != DNS_PROTOCOL_TLS || !text[length + 1])))
		return false;
	memcpy(address, text, length);
	address[length] = '\0';
	if (!endpoint_get(address, port, &upstream.endpoint))
		return false;
	if (text[length])
		upstream.name = memory_or_end(strdup(text + length + 1));
	*ret_upstream = upstream;
	return true;
}

static void forward_upstreams_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	struct dns_forward *forward = target;

	if (!yaml_is_sequence(reader, value, key))
		return;
	if (value->count > UPSTREAMS_MAX)
		yaml_problem_at(reader, value, "%s has more than %u servers", key, UPSTREAMS_MAX);
	forward->upstreams = memory_or_end(calloc(value->count + 1, sizeof(*forward->upstreams)));
	for (size_t i = 0; i < value->count; i++) {
		const char *text;

		if (!yaml_get_text(reader, value->items[i], "a server", &text))
			continue;
		if (upstream_get(text, &forward->upstreams[forward->upstream_count]))
			forward->upstream_count++;
		else
			yaml_problem_at(reader, value->items[i], "\"%.80s\" is not a server; write it as 10.0.0.2, "
					"tcp://10.0.0.2:53 or tls://192.0.2.9:853#dns.example.com", text);
	}
}

static struct dns_forward *forward_add(struct dns_config *config)
{
	config->forwards = memory_array(config->forwards, config->forward_count + 1, sizeof(*config->forwards));
	config->forwards[config->forward_count] = (struct dns_forward){0};
	return &config->forwards[config->forward_count++];
}

static void upstreams_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	struct dns_forward *forward;

	/* an empty list says the same as none: by oneself */
	if (value->kind == YAML_SEQUENCE && !value->count)
		return;
	forward = forward_add(target);
	forward->zone = memory_or_end(strdup("."));
	forward_upstreams_read(reader, value, key, forward);
}

static void zone_name_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	(void)!domain_get(reader, value, key, &((struct dns_forward *)target)->zone);
}

static void zone_validate_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	(void)!yaml_get_bool(reader, value, key, &((struct dns_forward *)target)->validate);
}

static const struct yaml_field zone_fields[] = {
	{"name", zone_name_read, .required = true},
	{"upstreams", forward_upstreams_read, .required = true},
	{"dnssec", zone_validate_read},
};

static void zones_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	struct dns_config *config = target;

	if (!yaml_is_sequence(reader, value, key))
		return;
	for (size_t i = 0; i < value->count; i++) {
		struct dns_forward *forward = forward_add(config);

		yaml_read_mapping(reader, value->items[i], "an item of zones", zone_fields, array_length(zone_fields), forward);
		if (!forward->zone)
			forward->zone = memory_or_end(strdup("invalid"));
	}
}

/* ---- tls ---- */

static void tls_listen_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	struct dns_config *config = target;

	endpoints_read(reader, value, key, PORT_TLS, &config->tls_listen, &config->tls_listen_count);
}

static void tls_certificate_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	file_read(reader, value, key, &((struct dns_config *)target)->tls_certificate);
}

static void tls_key_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	file_read(reader, value, key, &((struct dns_config *)target)->tls_key);
}

static const struct yaml_field tls_fields[] = {
	{"listen", tls_listen_read, .required = true},
	{"certificate", tls_certificate_read, .required = true},
	{"key", tls_key_read, .required = true},
};

static void tls_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	yaml_read_mapping(reader, value, key, tls_fields, array_length(tls_fields), target);
}

/* ---- cache, hedging ---- */

static void seconds_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, uint32_t *target)
{
	uint32_t ms;

	if (yaml_get_duration_ms(reader, value, key, 0, UINT32_MAX, &ms))
		*target = ms / 1000;
}

static void cache_size_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	int64_t size;

	if (yaml_get_integer(reader, value, key, 1, 65536, &size))
		((struct dns_config *)target)->cache_bytes = (uint64_t)size << 20;
}

static void cache_packet_names_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	int64_t names;

	if (yaml_get_integer(reader, value, key, PACKET_NAMES_LEAST, PACKET_NAMES_MAX, &names))
		((struct dns_config *)target)->packet_names = (uint32_t)names;
}

static void cache_ttl_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	seconds_read(reader, value, key, &((struct dns_config *)target)->ttl_max_seconds);
}

static void cache_negative_ttl_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	seconds_read(reader, value, key, &((struct dns_config *)target)->negative_ttl_max_seconds);
}

static void cache_stale_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	seconds_read(reader, value, key, &((struct dns_config *)target)->stale_seconds);
}

static void cache_stale_wait_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	(void)!yaml_get_duration_ms(reader, value, key, 0, 10000, &((struct dns_config *)target)->stale_wait_ms);
}

static const struct yaml_field cache_fields[] = {
	{"sizeMiB", cache_size_read},
	{"packetNames", cache_packet_names_read},
	{"maxTtl", cache_ttl_read},
	{"maxNegativeTtl", cache_negative_ttl_read},
	{"staleFor", cache_stale_read},
	{"staleWait", cache_stale_wait_read},
};

static void cache_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	yaml_read_mapping(reader, value, key, cache_fields, array_length(cache_fields), target);
}

static void hedge_delay_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	(void)!yaml_get_duration_ms(reader, value, key, 1, 4000, &((struct dns_config *)target)->hedge_delay_ms);
}

static void hedge_percent_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	int64_t percent;

	if (yaml_get_integer(reader, value, key, 0, 100, &percent))
		((struct dns_config *)target)->hedge_percent = (uint32_t)percent;
}

static const struct yaml_field hedge_fields[] = {
	{"delay", hedge_delay_read},
	{"percent", hedge_percent_read},
};

static void hedge_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	yaml_read_mapping(reader, value, key, hedge_fields, array_length(hedge_fields), target);
}

/* ---- limit ---- */

static void limit_queries_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	char problem[RATE_PROBLEM_SIZE];
	const char *text;

	if (yaml_get_text(reader, value, key, &text) && !rate_parse(text, &((struct dns_config *)target)->limit, problem))
		yaml_problem_at(reader, value, "%s: %s", key, problem);
}

static void limit_prefix_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	char problem[RATE_PROBLEM_SIZE];
	const char *text;

	if (yaml_get_text(reader, value, key, &text) && !client_bits_parse(text, &((struct dns_config *)target)->limit_bits, problem))
		yaml_problem_at(reader, value, "%s: %s", key, problem);
}

static const struct yaml_field limit_fields[] = {
	{"queries", limit_queries_read, .required = true},
	{"prefix", limit_prefix_read},
};

static void limit_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	yaml_read_mapping(reader, value, key, limit_fields, array_length(limit_fields), target);
}

/* ---- the whole key ---- */

static void cluster_domain_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	(void)!domain_get(reader, value, key, &((struct dns_config *)target)->cluster_domain);
}

static void validate_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	(void)!yaml_get_bool(reader, value, key, &((struct dns_config *)target)->validate);
}

static void trust_anchor_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	file_read(reader, value, key, &((struct dns_config *)target)->trust_anchor);
}

static void authorities_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	file_read(reader, value, key, &((struct dns_config *)target)->authorities);
}

static void autopath_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	(void)!yaml_get_bool(reader, value, key, &((struct dns_config *)target)->autopath);
}

static void search_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	struct dns_config *config = target;

	if (!yaml_is_sequence(reader, value, key))
		return;
	config->search = memory_or_end(calloc(value->count + 1, sizeof(char *)));
	for (size_t i = 0; i < value->count; i++)
		if (domain_get(reader, value->items[i], "a search domain", &config->search[config->search_count]))
			config->search_count++;
}

static void geo_database_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	file_read(reader, value, key, &((struct dns_config *)target)->geo_database);
}

static void name_server_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	(void)!domain_get(reader, value, key, &((struct dns_config *)target)->name_server);
}

static const struct yaml_field dns_fields[] = {
	{"listen", listen_read, .required = true},
	{"tls", tls_read},
	{"clusterDomain", cluster_domain_read},
	{"upstreams", upstreams_read},
	{"zones", zones_read},
	{"dnssec", validate_read},
	{"trustAnchor", trust_anchor_read},
	{"certificateAuthorities", authorities_read},
	{"cache", cache_read},
	{"hedge", hedge_read},
	{"limit", limit_read},
	{"autopath", autopath_read},
	{"search", search_read},
	{"geoDatabase", geo_database_read},
	{"nameServer", name_server_read},
};

static bool forwards_all(const struct dns_config *config)
{
	for (size_t i = 0; i < config->forward_count; i++)
		if (strcmp(config->forwards[i].zone, ".") == 0)
			return true;
	return false;
}

void config_dns_init(struct dns_config *config)
{
	*config = (struct dns_config){
		.cache_bytes = 64ull << 20,
		.packet_names = PACKET_NAMES_DEFAULT,
		.ttl_max_seconds = 86400,
		.negative_ttl_max_seconds = 900,
		.stale_seconds = 86400,
		.stale_wait_ms = 1800,
		.hedge_percent = 10,
		.limit_bits = {.ipv4 = 32, .ipv6 = 64},
		.autopath = true,
	};
	text_replace(&config->cluster_domain, "cluster.local");
	text_replace(&config->trust_anchor, TRUST_ANCHOR_DEFAULT);
}

void config_dns_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, struct dns_config *config)
{
	config->enabled = true;
	yaml_read_mapping(reader, value, key, dns_fields, array_length(dns_fields), config);
	/* whoever resolves by itself validates; whether a forwarder hands signatures on is for the operator to know */
	if (value->kind == YAML_MAPPING && !yaml_lookup(value, "dnssec"))
		config->validate = !forwards_all(config);
	for (size_t i = 0; i < config->forward_count; i++) {
		if (strcmp(config->forwards[i].zone, ".") == 0)
			config->forwards[i].validate = config->validate;
		for (size_t k = 0; k < i; k++)
			if (strcmp(config->forwards[i].zone, config->forwards[k].zone) == 0)
				yaml_problem_at(reader, value, "the zone %s is forwarded twice", config->forwards[i].zone);
	}
}

void config_dns_done(struct dns_config *config)
{
	for (size_t i = 0; i < config->forward_count; i++) {
		for (size_t k = 0; k < config->forwards[i].upstream_count; k++)
			free(config->forwards[i].upstreams[k].name);
		free(config->forwards[i].upstreams);
		free(config->forwards[i].zone);
	}
	for (size_t i = 0; i < config->search_count; i++)
		free(config->search[i]);
	free(config->forwards);
	free(config->search);
	free(config->listen);
	free(config->tls_listen);
	free(config->tls_certificate);
	free(config->tls_key);
	free(config->cluster_domain);
	free(config->trust_anchor);
	free(config->authorities);
	free(config->geo_database);
	free(config->name_server);
	*config = (struct dns_config){0};
}
