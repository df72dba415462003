/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/config.h"

#include <ctype.h>
#include <fnmatch.h>
#include <grp.h>
#include <net/if.h>
#include <pwd.h>
#include <string.h>
#include <sys/un.h>

#include "base/lib/address_text.h"
#include "base/lib/arena.h"
#include "base/lib/memory.h"
#include "ctrl/config_dns.h"

#define API_GROUP_DEFAULT "selvage"
#define METRICS_PORT_DEFAULT 9480
#define LABEL_PART_MAX 63    /* as Kubernetes limits names and values of labels */
#define LABEL_PREFIX_MAX 253 /* "selvage.io" of "selvage.io/rack" */
#define NODE_NAME_MAX 253

/* While reading: what a value needs to know beyond itself. */
struct config_reader {
	struct yaml_reader yaml; /* first */
	struct config *config;
};

static struct config *reader_config(struct yaml_reader *reader)
{
	return ((struct config_reader *)reader)->config;
}

static void text_replace(char **target, const char *text)
{
	free(*target);
	*target = memory_or_end(strdup(text));
}

/* ---- Checks of single values ---- */

static bool name_character(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* RFC 1123: lower-case labels of letters, digits and inner hyphens, joined by dots. */
static bool dns_name_valid(const char *name, size_t length_max)
{
	size_t length = strlen(name), label = 0;

	if (!length || length > length_max)
		return false;
	for (size_t i = 0; i <= length; i++) {
		if (name[i] == '.' || !name[i]) {
			if (!label || label > 63 || name[i - 1] == '-')
				return false;
			label = 0;
		} else if (name_character(name[i]) || (name[i] == '-' && label)) {
			label++;
		} else {
			return false;
		}
	}
	return true;
}

/* Letters, digits and inner "-", "_", "."; at most 63. */
static bool label_part_valid(const char *text)
{
	size_t length = strlen(text);

	if (!length || length > LABEL_PART_MAX)
		return false;
	for (size_t i = 0; i < length; i++)
		if (!isalnum((unsigned char)text[i]) && (i == 0 || i + 1 == length || !strchr("-_.", text[i])))
			return false;
	return true;
}

static bool label_key_valid(const char *key)
{
	const char *slash = strchr(key, '/');
	char prefix[LABEL_PREFIX_MAX + 1];

	if (!slash)
		return label_part_valid(key);
	if ((size_t)(slash - key) >= sizeof(prefix))
		return false;
	memcpy(prefix, key, (size_t)(slash - key));
	prefix[slash - key] = '\0';
	return dns_name_valid(prefix, LABEL_PREFIX_MAX) && label_part_valid(slash + 1);
}

/* What the kernel takes as a link's name (dev_valid_name). */
static bool link_name_valid(const char *name)
{
	size_t length = strlen(name);

	if (!length || length >= IFNAMSIZ || !strcmp(name, ".") || !strcmp(name, ".."))
		return false;
	for (; *name; name++)
		if (*name == '/' || *name == ':' || isspace((unsigned char)*name))
			return false;
	return true;
}

static void path_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, size_t length_max,
		      char **target)
{
	const char *path;
	size_t length;

	if (!yaml_get_text(reader, value, key, &path))
		return;
	length = strlen(path);
	if (path[0] != '/') {
		yaml_problem_at(reader, value, "%s must be an absolute path: it begins with /", key);
		return;
	}
	if (length > length_max) {
		yaml_problem_at(reader, value, "%s is too long: at most %zu bytes", key, length_max);
		return;
	}
	text_replace(target, path);
	while (length > 1 && (*target)[length - 1] == '/')
		(*target)[--length] = '\0';
}

/* ---- node ---- */

static void node_name_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	struct config *config = target;
	const char *name;

	if (!yaml_get_text(reader, value, key, &name))
		return;
	if (dns_name_valid(name, NODE_NAME_MAX))
		text_replace(&config->node_name, name);
	else
		yaml_problem_at(reader, value, "the node's name must be lower-case letters, digits, '-' and '.', as in "
				"\"edge-1\" or \"edge-1.example.net\"");
}

static void labels_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	struct config *config = target;

	if (value->kind != YAML_MAPPING) {
		yaml_problem_at(reader, value, "%s must be a mapping (key: value), not %s", key, yaml_kind_words(value));
		return;
	}
	config->labels = memory_or_end(calloc(value->count + 1, sizeof(*config->labels)));
	for (size_t i = 0; i < value->count; i++) {
		const struct yaml_node *label = value->items[i];
		const char *text;

		if (!label_key_valid(value->keys[i]->text)) {
			yaml_problem_at(reader, value->keys[i], "the label's key must be as Kubernetes has it: letters, digits, "
					"'-', '_', '.', at most 63, after an optional domain and '/'");
			continue;
		}
		if (label->kind == YAML_SCALAR && !label->length)
			text = "";
		else if (!yaml_get_text(reader, label, "the label's value", &text))
			continue;
		if (*text && !label_part_valid(text)) {
			yaml_problem_at(reader, label, "the label's value must be letters, digits, '-', '_', '.', at most 63");
			continue;
		}
		config->labels[config->label_count++] = (struct config_label){
			.key = memory_or_end(strdup(value->keys[i]->text)), .value = memory_or_end(strdup(text))};
	}
}

static const struct yaml_field node_fields[] = {
	{"name", node_name_read},
	{"labels", labels_read},
};

static void node_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	yaml_read_mapping(reader, value, key, node_fields, array_length(node_fields), target);
}

/* ---- interfaces, workloadInterfaces ---- */

static const char *const engine_names[] = {
	[CONFIG_ENGINE_XDP_NATIVE] = "xdp-native",
	[CONFIG_ENGINE_XDP_GENERIC] = "xdp-generic",
	[CONFIG_ENGINE_DPDK] = "dpdk",
};

static void interface_name_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	struct config_interface *interface = target;
	const struct config *config = reader_config(reader);
	const char *name;

	if (!yaml_get_text(reader, value, key, &name))
		return;
	if (!link_name_valid(name)) {
		yaml_problem_at(reader, value, "this is not the name of an interface: at most %d bytes, without spaces, '/' "
				"and ':'", IFNAMSIZ - 1);
		return;
	}
	for (size_t i = 0; i < config->interface_count; i++)
		if (!strcmp(config->interfaces[i].name, name))
			yaml_problem_at(reader, value, "the interface %s is listed twice", name);
	text_replace(&interface->name, name);
}

static void interface_engine_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	struct config_interface *interface = target;
	size_t engine;

	if (yaml_get_choice(reader, value, key, engine_names, array_length(engine_names), &engine))
		interface->engine = (enum config_engine)engine;
}

static const struct yaml_field interface_fields[] = {
	{"name", interface_name_read, .required = true},
	{"engine", interface_engine_read},
};

static void interfaces_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	struct config *config = target;

	if (!yaml_is_sequence(reader, value, key))
		return;
	config->interfaces = memory_or_end(calloc(value->count + 1, sizeof(*config->interfaces)));
	for (size_t i = 0; i < value->count; i++) {
		struct config_interface interface = {.engine = CONFIG_ENGINE_XDP_NATIVE};

		yaml_read_mapping(reader, value->items[i], "an item of interfaces", interface_fields,
				  array_length(interface_fields), &interface);
		if (interface.name)
			config->interfaces[config->interface_count++] = interface;
	}
}

static void workload_interfaces_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key,
				     void *target)
{
	struct config *config = target;

	if (!yaml_is_sequence(reader, value, key))
		return;
	config->workload_interfaces = memory_or_end(calloc(value->count + 1, sizeof(char *)));
	for (size_t i = 0; i < value->count; i++) {
		const char *pattern;

		if (!yaml_get_text(reader, value->items[i], "a pattern", &pattern))
			continue;
		if (strlen(pattern) > 64 || strchr(pattern, '/') || strpbrk(pattern, " \t\r\n"))
			yaml_problem_at(reader, value->items[i], "this cannot match the name of an interface; write a name or a "
					"pattern such as \"veth*\"");
		else
			config->workload_interfaces[config->workload_interface_count++] = memory_or_end(strdup(pattern));
	}
}

/* ---- directories ---- */

static void run_directory_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	/* "/selvage.sock" is appended and must fit into a socket's address. */
	path_read(reader, value, key, sizeof(((struct sockaddr_un *)NULL)->sun_path) - sizeof("/selvage.sock"),
		  &((struct config *)target)->run_directory);
}

static void state_directory_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	path_read(reader, value, key, 1024, &((struct config *)target)->state_directory);
}

static void bpffs_directory_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	path_read(reader, value, key, 1024, &((struct config *)target)->bpffs_directory);
}

/* ---- store ---- */

static void store_type_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	static const char *const names[] = {[CONFIG_STORE_SQLITE] = "sqlite", "etcd"};
	struct config *config = target;
	size_t type;

	if (!yaml_get_choice(reader, value, key, names, array_length(names), &type))
		return;
	if (type != CONFIG_STORE_SQLITE)
		yaml_problem_at(reader, value, "the store etcd is not built into this version; use sqlite");
	else
		config->store_type = (enum config_store_type)type;
}

static void not_supported_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	yaml_problem_at(reader, value, "%s is not supported by this version; remove it", key);
}

static const struct yaml_field store_fields[] = {
	{"type", store_type_read},
	{"endpoints", not_supported_read},
	{"tls", not_supported_read},
};

static void store_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	yaml_read_mapping(reader, value, key, store_fields, array_length(store_fields), target);
}

/* ---- api ---- */

static void api_socket_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	path_read(reader, value, key, sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1,
		  &((struct config *)target)->api_socket);
}

/* "0660": octal, as chmod takes it, with or without quotes. */
static void api_mode_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	const char *text = value->text;
	size_t digits;

	if (value->kind == YAML_SCALAR && !strncmp(text, "0o", 2))
		text += 2;
	digits = strspn(text, "01234567");
	if (value->kind != YAML_SCALAR || digits < 3 || digits > 4 || text[digits] || (digits == 4 && text[0] != '0')) {
		yaml_problem_at(reader, value, "%s must be the socket's permissions in octal, such as 0660", key);
		return;
	}
	((struct config *)target)->api_socket_mode = (mode_t)strtoul(text, NULL, 8);
}

static bool uid_resolve(const char *name, uint32_t *ret_id)
{
	const struct passwd *entry = getpwnam(name);

	if (entry)
		*ret_id = entry->pw_uid;
	return entry;
}

static bool gid_resolve(const char *name, uint32_t *ret_id)
{
	const struct group *entry = getgrnam(name);

	if (entry)
		*ret_id = entry->gr_gid;
	return entry;
}

/* A number, or a name that the system knows. */
static bool id_get(struct yaml_reader *reader, const struct yaml_node *node, const char *what,
		   bool (*resolve)(const char *name, uint32_t *ret_id), uint32_t *ret_id)
{
	const char *text;
	int64_t number;

	if (node->kind == YAML_SCALAR && node->plain && isdigit((unsigned char)node->text[0])) {
		if (!yaml_get_integer(reader, node, what, 0, UINT32_MAX - 1, &number))
			return false;
		*ret_id = (uint32_t)number;
		return true;
	}
	if (!yaml_get_text(reader, node, what, &text))
		return false;
	if (resolve(text, ret_id))
		return true;
	yaml_problem_at(reader, node, "%s \"%.64s\" is not known on this machine", what, text);
	return false;
}

static void ids_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, const char *what,
		     bool (*resolve)(const char *name, uint32_t *ret_id), uint32_t **target, size_t *target_count)
{
	if (!yaml_is_sequence(reader, value, key))
		return;
	free(*target);
	*target = memory_or_end(calloc(value->count + 1, sizeof(**target)));
	*target_count = 0;
	for (size_t i = 0; i < value->count; i++)
		if (id_get(reader, value->items[i], what, resolve, &(*target)[*target_count]))
			++*target_count;
}

_Static_assert(sizeof(uid_t) == sizeof(uint32_t) && sizeof(gid_t) == sizeof(uint32_t), "ids_read() writes both");

static void api_allowed_uids_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	struct config *config = target;

	ids_read(reader, value, key, "the user", uid_resolve, &config->api_allowed_uids, &config->api_allowed_uid_count);
}

static void api_allowed_gids_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	struct config *config = target;

	ids_read(reader, value, key, "the group", gid_resolve, &config->api_allowed_gids, &config->api_allowed_gid_count);
}

static const struct yaml_field api_fields[] = {
	{"socket", api_socket_read},
	{"mode", api_mode_read},
	{"allowedUids", api_allowed_uids_read},
	{"allowedGids", api_allowed_gids_read},
};

static void api_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	yaml_read_mapping(reader, value, key, api_fields, array_length(api_fields), target);
}

/* ---- metrics ---- */

static void metrics_address_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	struct config *config = target;

	if (value->kind == YAML_SCALAR && !strcmp(value->text, "none")) {
		config->metrics_enabled = false;
		return;
	}
	if (value->kind == YAML_SCALAR && endpoint_parse(value->text, &config->metrics_address, &config->metrics_port) == 0 &&
	    config->metrics_port)
		return;
	yaml_problem_at(reader, value, "%s must be an address with a port, such as 127.0.0.1:9480 or \"[::]:9480\", or none",
			key);
}

static const struct yaml_field metrics_fields[] = {
	{"address", metrics_address_read},
};

static void metrics_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	yaml_read_mapping(reader, value, key, metrics_fields, array_length(metrics_fields), target);
}

/* ---- health ---- */

static void health_interval_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	struct config *config = target;

	(void)!yaml_get_duration_ms(reader, value, key, 10, 3600000, &config->health.interval_ms);
}

static void health_timeout_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	struct config *config = target;

	(void)!yaml_get_duration_ms(reader, value, key, 1, 3600000, &config->health.timeout_ms);
}

static void count_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, int64_t minimum,
		       int64_t maximum, uint32_t *target)
{
	int64_t count;

	if (yaml_get_integer(reader, value, key, minimum, maximum, &count))
		*target = (uint32_t)count;
}

static void health_rise_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	count_read(reader, value, key, 1, 100, &((struct config *)target)->health.rise);
}

static void health_fall_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	count_read(reader, value, key, 1, 100, &((struct config *)target)->health.fall);
}

static void health_jitter_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	count_read(reader, value, key, 0, 50, &((struct config *)target)->health.jitter_percent);
}

static const struct yaml_field health_fields[] = {
	{"interval", health_interval_read}, {"timeout", health_timeout_read}, {"rise", health_rise_read},
	{"fall", health_fall_read},	    {"jitterPercent", health_jitter_read},
};

static void health_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	struct config *config = target;

	yaml_read_mapping(reader, value, key, health_fields, array_length(health_fields), target);
	if (config->health.timeout_ms > config->health.interval_ms) {
		const struct yaml_node *timeout = yaml_lookup(value, "timeout");

		yaml_problem_at(reader, timeout ? timeout : value, "the timeout (%u ms) must not be longer than the interval "
				"(%u ms)", config->health.timeout_ms, config->health.interval_ms);
	}
}

/* ---- sessions ---- */

#define UFRAG_KEY_HOURS_DEFAULT 168

static void ufrag_key_hours_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	count_read(reader, value, key, 0, 87600, &((struct config *)target)->ufrag_key_hours);
}

static const struct yaml_field sessions_fields[] = {
	{"ufragKeyHours", ufrag_key_hours_read},
};

static void sessions_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	yaml_read_mapping(reader, value, key, sessions_fields, array_length(sessions_fields), target);
}

/* ---- log ---- */

static void log_level_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	static const char *const names[] = {"error", "warning", "info", "debug"};
	static const enum log_level levels[] = {LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG};
	size_t index;

	if (yaml_get_choice(reader, value, key, names, array_length(names), &index))
		((struct config *)target)->log_level = levels[index];
}

static const struct yaml_field log_fields[] = {
	{"level", log_level_read},
};

static void log_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	yaml_read_mapping(reader, value, key, log_fields, array_length(log_fields), target);
}

/* ---- dns ---- */

static void dns_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, void *target)
{
	config_dns_read(reader, value, key, &((struct config *)target)->dns);
}

/* ---- The whole file ---- */

static const struct yaml_field config_fields[] = {
	{"node", node_read},
	{"interfaces", interfaces_read},
	{"workloadInterfaces", workload_interfaces_read},
	{"runDirectory", run_directory_read},
	{"stateDirectory", state_directory_read},
	{"bpffsDirectory", bpffs_directory_read},
	{"store", store_read},
	{"api", api_read},
	{"metrics", metrics_read},
	{"health", health_read},
	{"sessions", sessions_read},
	{"log", log_read},
	{"peers", not_supported_read},
	{"dns", dns_read},
};

static void group_default(struct config *config)
{
	uint32_t gid;

	config->api_allowed_gids = memory_or_end(calloc(1, sizeof(gid_t)));
	if (gid_resolve(API_GROUP_DEFAULT, &gid))
		config->api_allowed_gids[config->api_allowed_gid_count++] = gid;
}

static void config_init(struct config *config, const char *path)
{
	*config = (struct config){
		.store_type = CONFIG_STORE_SQLITE,
		.api_socket_mode = 0660,
		.metrics_enabled = true,
		.metrics_port = METRICS_PORT_DEFAULT,
		.health = {.interval_ms = 2000, .timeout_ms = 1000, .rise = 2, .fall = 3, .jitter_percent = 10},
		.ufrag_key_hours = UFRAG_KEY_HOURS_DEFAULT,
		.log_level = LOG_LEVEL_INFO,
	};
	if (address_parse("127.0.0.1", &config->metrics_address) < 0)
		abort();
	config_dns_init(&config->dns);
	text_replace(&config->path, path);
	text_replace(&config->run_directory, CONFIG_RUN_DIRECTORY_DEFAULT);
	text_replace(&config->state_directory, CONFIG_STATE_DIRECTORY_DEFAULT);
	group_default(config);
}

/* The host's name in lower case. A name that is no DNS name must be replaced in the file. */
static void node_name_default(struct config *config, struct yaml_problems *problems)
{
	char name[256] = "";

	if (gethostname(name, sizeof(name) - 1) < 0)
		name[0] = '\0';
	for (char *c = name; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	if (dns_name_valid(name, NODE_NAME_MAX))
		text_replace(&config->node_name, name);
	else
		yaml_problem_add(problems, 0, 0, "the host's name \"%.64s\" cannot be the node's name; set node.name", name);
}

static void directory_default(char **target, const char *directory, const char *name)
{
	char path[1200];

	if (*target)
		return;
	snprintf(path, sizeof(path), "%s/%s", strcmp(directory, "/") ? directory : "", name);
	text_replace(target, path);
}

/* Root may always use the socket: it owns everything here anyway. */
static void root_allow(struct config *config)
{
	for (size_t i = 0; i < config->api_allowed_uid_count; i++)
		if (config->api_allowed_uids[i] == 0)
			return;
	config->api_allowed_uids = memory_or_end(
		realloc(config->api_allowed_uids, (config->api_allowed_uid_count + 1) * sizeof(uid_t)));
	config->api_allowed_uids[config->api_allowed_uid_count++] = 0;
}

static void defaults_fill(struct config *config, struct yaml_problems *problems)
{
	if (!config->node_name)
		node_name_default(config, problems);
	directory_default(&config->bpffs_directory, config->run_directory, "bpf");
	directory_default(&config->api_socket, config->run_directory, "selvage.sock");
	root_allow(config);
}

static void document_read(const struct yaml_stream *stream, struct config *config, struct yaml_problems *problems)
{
	struct config_reader reader = {.yaml.problems = problems, .config = config};

	if (stream->count > 1)
		yaml_problem_at(&reader.yaml, stream->documents[1], "only one document is allowed in a configuration file");
	else if (stream->count == 1)
		yaml_read_mapping(&reader.yaml, stream->documents[0], "the configuration", config_fields,
				  array_length(config_fields), config);
}

int config_parse(const char *name, const char *text, size_t length, struct config *ret_config,
		 struct yaml_problems *problems)
{
	size_t problems_before = problems->total;
	struct yaml_stream stream;
	struct config config;
	int status;

	status = yaml_parse(text, length, &yaml_limits_default, problems, &stream);
	if (status < 0)
		return status;
	config_init(&config, name);
	document_read(&stream, &config, problems);
	yaml_stream_done(&stream);
	/* A default that fails would be a second complaint about what the file got wrong. */
	if (problems->total == problems_before)
		defaults_fill(&config, problems);
	if (problems->total != problems_before) {
		config_done(&config);
		return -EINVAL;
	}
	*ret_config = config;
	return 0;
}

int config_load(const char *path, struct config *ret_config, struct yaml_problems *problems)
{
	_cleanup_(freep) char *text = NULL;
	size_t length;
	int status = yaml_file_read(path, yaml_limits_default.bytes, problems, &text, &length);

	return status < 0 ? status : config_parse(path, text, length, ret_config, problems);
}

void config_done(struct config *config)
{
	for (size_t i = 0; i < config->label_count; i++) {
		free(config->labels[i].key);
		free(config->labels[i].value);
	}
	free(config->labels);
	for (size_t i = 0; i < config->interface_count; i++)
		free(config->interfaces[i].name);
	free(config->interfaces);
	for (size_t i = 0; i < config->workload_interface_count; i++)
		free(config->workload_interfaces[i]);
	free(config->workload_interfaces);
	free(config->path);
	free(config->node_name);
	free(config->run_directory);
	free(config->state_directory);
	free(config->bpffs_directory);
	free(config->api_socket);
	free(config->api_allowed_uids);
	free(config->api_allowed_gids);
	config_dns_done(&config->dns);
	*config = (struct config){};
}

bool config_wants_dpdk(const struct config *config)
{
	for (size_t i = 0; i < config->interface_count; i++) {
		if (config->interfaces[i].engine == CONFIG_ENGINE_DPDK)
			return true;
	}
	return false;
}

bool config_is_workload_interface(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->interface_count; i++)
		if (!strcmp(config->interfaces[i].name, name))
			return false;
	for (size_t i = 0; i < config->workload_interface_count; i++)
		if (fnmatch(config->workload_interfaces[i], name, 0) == 0)
			return true;
	return false;
}

const char *config_engine_name(enum config_engine engine)
{
	return engine_names[engine];
}
