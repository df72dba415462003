/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/config.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/lib/address_text.h"

/* A node's name, so that tests do not depend on the host's. */
#define NAMED "node: {name: edge-1}\n"

static void parse(const char *text, struct config *ret_config)
{
	struct yaml_problems problems;
	char line[512];

	yaml_problems_init(&problems, "test.yaml");
	if (config_parse("test.yaml", text, strlen(text), ret_config, &problems) < 0)
		fail_msg("%s", yaml_problem_format(&problems, 0, line, sizeof(line)));
	assert_int_equal(problems.total, 0);
}

/* Exactly one problem, which begins with "test.yaml:PLACE: " and holds the words. */
static void refused(const char *text, const char *place, const char *words)
{
	struct yaml_problems problems;
	struct config config;
	char line[512], beginning[64];

	yaml_problems_init(&problems, "test.yaml");
	assert_int_equal(config_parse("test.yaml", text, strlen(text), &config, &problems), -EINVAL);
	yaml_problem_format(&problems, 0, line, sizeof(line));
	snprintf(beginning, sizeof(beginning), "test.yaml:%s%s", place, *place ? ": " : " ");
	if (problems.total != 1 || strncmp(line, beginning, strlen(beginning)) || !strstr(line, words))
		fail_msg("%zu problems for:\n%s\nthe first is \"%s\",\nwanted \"%s…%s\"", problems.total, text, line, beginning,
			 words);
}

static void nothing_written_gives_the_defaults(void **state)
{
	char buffer[ADDRESS_TEXT_SIZE];
	struct config config;

	parse(NAMED, &config);
	assert_string_equal(config.node_name, "edge-1");
	assert_string_equal(config.run_directory, "/run/selvage");
	assert_string_equal(config.state_directory, "/var/lib/selvage");
	assert_string_equal(config.bpffs_directory, "/run/selvage/bpf");
	assert_string_equal(config.api_socket, "/run/selvage/selvage.sock");
	assert_int_equal(config.api_socket_mode, 0660);
	assert_int_equal(config.api_allowed_uid_count, 1);
	assert_int_equal(config.api_allowed_uids[0], 0);
	assert_true(config.metrics_enabled);
	assert_string_equal(address_format(&config.metrics_address, buffer), "127.0.0.1");
	assert_int_equal(config.metrics_port, 9480);
	assert_int_equal(config.health.interval_ms, 2000);
	assert_int_equal(config.ufrag_key_hours, 168);
	assert_int_equal(config.log_level, LOG_LEVEL_INFO);
	assert_int_equal(config.interface_count, 0);
	assert_false(config_is_workload_interface(&config, "veth0"));
	config_done(&config);
}

static void an_empty_file_is_a_configuration(void **state)
{
	static const char *const texts[] = {"", "# only a comment\n", "---\n", "\n\n"};
	struct config config;

	for (size_t i = 0; i < array_length(texts); i++) {
		parse(texts[i], &config);
		assert_true(strlen(config.node_name) > 0);
		config_done(&config);
	}
}

static void everything_that_is_written_is_taken(void **state)
{
	static const char text[] = "node:\n"
				   "  name: edge-1.example.net\n"
				   "  labels:\n"
				   "    topology.kubernetes.io/zone: fra-1\n"
				   "    rack: 12\n"
				   "    empty: \"\"\n"
				   "interfaces:\n"
				   "- name: eth0\n"
				   "- {name: eth1.100, engine: xdp-generic}\n"
				   "- {name: edge0, engine: dpdk}\n"
				   "workloadInterfaces: [\"veth*\", pod0]\n"
				   "runDirectory: /tmp/run/\n"
				   "stateDirectory: /tmp/state\n"
				   "store: {type: sqlite}\n"
				   "api:\n"
				   "  mode: 0600\n"
				   "  allowedUids: [root, 1000]\n"
				   "  allowedGids: [5]\n"
				   "metrics: {address: \"[::1]:9999\"}\n"
				   "sessions: {ufragKeyHours: 0}\n"
				   "health: {interval: 250ms, timeout: 0.2s, rise: 1, fall: 2, jitterPercent: 0}\n"
				   "log: {level: debug}\n";
	char buffer[ADDRESS_TEXT_SIZE];
	struct config config;

	parse(text, &config);
	assert_string_equal(config.node_name, "edge-1.example.net");
	assert_int_equal(config.label_count, 3);
	assert_string_equal(config.labels[0].key, "topology.kubernetes.io/zone");
	assert_string_equal(config.labels[1].value, "12");
	assert_string_equal(config.labels[2].value, "");
	assert_int_equal(config.interface_count, 3);
	assert_int_equal(config.interfaces[2].engine, CONFIG_ENGINE_DPDK);
	assert_true(config_wants_dpdk(&config));
	assert_int_equal(config.interfaces[0].engine, CONFIG_ENGINE_XDP_NATIVE);
	assert_string_equal(config.interfaces[1].name, "eth1.100");
	assert_int_equal(config.interfaces[1].engine, CONFIG_ENGINE_XDP_GENERIC);
	assert_string_equal(config_engine_name(config.interfaces[1].engine), "xdp-generic");
	assert_string_equal(config.run_directory, "/tmp/run");
	assert_string_equal(config.bpffs_directory, "/tmp/run/bpf");
	assert_string_equal(config.api_socket, "/tmp/run/selvage.sock");
	assert_int_equal(config.api_socket_mode, 0600);
	assert_int_equal(config.api_allowed_uid_count, 2);
	assert_int_equal(config.api_allowed_uids[1], 1000);
	assert_int_equal(config.api_allowed_gid_count, 1);
	assert_int_equal(config.api_allowed_gids[0], 5);
	assert_string_equal(address_format(&config.metrics_address, buffer), "::1");
	assert_int_equal(config.health.interval_ms, 250);
	assert_int_equal(config.ufrag_key_hours, 0);
	assert_int_equal(config.health.timeout_ms, 200);
	assert_int_equal(config.health.jitter_percent, 0);
	assert_int_equal(config.log_level, LOG_LEVEL_DEBUG);
	config_done(&config);
}

static void workload_interfaces_are_what_matches_and_is_no_nic(void **state)
{
	struct config config;

	parse(NAMED "interfaces: [{name: veth-wan}]\nworkloadInterfaces: [\"veth*\"]\n", &config);
	assert_true(config_is_workload_interface(&config, "veth0"));
	assert_false(config_is_workload_interface(&config, "veth-wan"));
	assert_false(config_is_workload_interface(&config, "eth0"));
	config_done(&config);
}

static void root_may_always_use_the_socket(void **state)
{
	struct config config;

	parse(NAMED "api: {allowedUids: [7], allowedGids: []}\n", &config);
	assert_int_equal(config.api_allowed_uid_count, 2);
	assert_int_equal(config.api_allowed_uids[1], 0);
	assert_int_equal(config.api_allowed_gid_count, 0);
	config_done(&config);
}

static void metrics_may_be_off(void **state)
{
	struct config config;

	parse(NAMED "metrics: {address: none}\n", &config);
	assert_false(config.metrics_enabled);
	config_done(&config);
}

static void each_mistake_has_its_place_and_its_words(void **state)
{
	static const struct {
		const char *text, *place, *words;
	} mistakes[] = {
		{"nodes: {}\n", "1:1", "is node meant?"},
		{NAMED "bananas: 1\n", "2:1", "known are: node, interfaces"},
		{"node: edge\n", "1:7", "must be a mapping"},
		{"node:\n", "1:1", "not nothing"},
		{NAMED "api:\n  mode:\n", "3:3", "octal"},
		{"- node\n", "1:1", "not a list"},
		{"text\n", "1:1", "not a text"},
		{"node: {name: Edge}\n", "1:14", "lower-case"},
		{"node: {name: -a}\n", "1:14", "lower-case"},
		{"node: {name: a..b}\n", "1:14", "lower-case"},
		{"node: {name: true}\n", "1:14", "quotes"},
		{"node: {name: \"\"}\n", "1:14", "not an empty one"},
		{"node: {name: [a]}\n", "1:14", "not a list"},
		{"node: {labels: [a]}\n", "1:16", "must be a mapping"},
		{"node: {labels: {a/b/c: x}}\n", "1:17", "as Kubernetes has it"},
		{"node: {labels: {a: x y}}\n", "1:20", "letters, digits"},
		{"node: {labels: {a: {b: c}}}\n", "1:20", "must be a text"},
		{"interfaces: eth0\n", "1:13", "must be a list"},
		{"interfaces:\n- engine: xdp-native\n", "2:3", "needs a name"},
		{"interfaces:\n- name: eth0\n- name: eth0\n", "3:9", "listed twice"},
		{"interfaces:\n- name: a/b\n", "2:9", "not the name of an interface"},
		{"interfaces:\n- name: sixteen-letters-\n", "2:9", "not the name of an interface"},
		{"interfaces:\n- {name: eth0, engine: fast}\n", "2:24", "xdp-native, xdp-generic or dpdk"},
		{"interfaces:\n- eth0\n", "2:3", "must be a mapping"},
		{"workloadInterfaces: [a/b]\n", "1:22", "veth*"},
		{"runDirectory: run\n", "1:15", "absolute path"},
		{"stateDirectory: 7\n", "1:17", "absolute path"},
		{"store: {type: etcd}\n", "1:15", "etcd is not built into this version"},
		{"store: {type: mysql}\n", "1:15", "sqlite or etcd"},
		{"store: {endpoints: [x]}\n", "1:20", "not supported"},
		{"dns: {listen: 127.0.0.1}\n", "1:15", "listen must be a list"},
		{"dns: {upstreams: [10.0.0.1]}\n", "1:6", "listen"},
		{"dns: {listen: [here]}\n", "1:16", "is not an address"},
		{"dns: {listen: []}\n", "1:15", "listen must hold an address"},
		{"dns: {listen: [127.0.0.1], upstreams: [\"tcp://10.0.0.1#name\"]}\n", "1:40", "is not a server"},
		{"dns: {listen: [127.0.0.1], limit: {prefix: \"24,56\"}}\n", "1:35", "queries"},
		{"dns: {listen: [127.0.0.1], cache: {packetNames: 10}}\n", "1:49", "packetNames must be a whole number from 64 to 4000000"},
		{"dns: {listen: [127.0.0.1], limit: {queries: 100}}\n", "1:45", "queries: must be as 100/s"},
		{"dns: {listen: [127.0.0.1], limit: {queries: 1/s burst 1000}}\n", "1:45", "queries: the burst of this rate must be from 1"},
		{"dns: {listen: [127.0.0.1], limit: {queries: 1/s, prefix: 24}}\n", "1:58", "prefix: must be two lengths"},
		{"dns: {listen: [127.0.0.1], zones: [{name: ., upstreams: [::1]}], upstreams: [::2]}\n", "1:6", "forwarded twice"},
		{"peers: []\n", "1:8", "peers is not supported by this version"},
		{"api: {mode: 888}\n", "1:13", "octal"},
		{"api: {mode: 7777}\n", "1:13", "octal"},
		{"api: {allowedUids: [no-such-user-here]}\n", "1:21", "not known on this machine"},
		{"api: {allowedUids: [4294967295]}\n", "1:21", "whole number from 0 to 4294967294"},
		{"api: {allowedGids: 5}\n", "1:20", "must be a list"},
		{"api: {socket: sock}\n", "1:15", "absolute path"},
		{"metrics: {address: 127.0.0.1}\n", "1:20", "with a port"},
		{"metrics: {address: 127.0.0.1:0}\n", "1:20", "with a port"},
		{"metrics: {address: 127.0.0.1:65536}\n", "1:20", "with a port"},
		{"health: {interval: 5}\n", "1:20", "500ms or 2s, from 10ms to 1h"},
		{"health: {interval: 2s, timeout: 3s}\n", "1:33", "not be longer than the interval"},
		{"health: {interval: 500ms}\n", "1:9", "not be longer than the interval"},
		{"sessions: {ufragKeyHours: 87601}\n", "1:27", "whole number from 0 to 87600"},
		{"sessions: {ufragKeyDays: 1}\n", "1:12", "ufragKeyHours"},
		{"health: {rise: 0}\n", "1:16", "whole number from 1 to 100"},
		{"health: {rise: \"2\"}\n", "1:16", "without quotes"},
		{"health: {rise: 02}\n", "1:16", "whole number"},
		{"health: {rise: 1.5}\n", "1:16", "whole number"},
		{"health: {fall: 99999999999999999999}\n", "1:16", "whole number"},
		{"log: {level: loud}\n", "1:14", "error, warning, info or debug"},
		{NAMED "node: {}\n", "2:1", "given twice; it is at line 1"},
		{NAMED "---\n" NAMED, "3:1", "only one document"},
		{"node: {name: a}\n\tlog: {}\n", "2:1", "not valid YAML"},
		{"node: {name: a\n", "2:1", "not valid YAML"},
		{"node: {name: *a}\n", "1:14", "no anchor"},
		{"node: !secret {name: a}\n", "1:15", "the tag \"!secret\" is not allowed"},
		{"node: {name: \"a\\0b\"}\n", "1:14", "zero byte"},
		{"node: {name: \"a\x1b\"}\n", "1:16", "control character 0x1b"},
		{"node: {name: \"a\xff\"}\n", "1:16", "not UTF-8"},
		{"? a: \t: b\n", "1:6", "a tab is not allowed"},
		{"? [a]\n: b\n", "1:3", "a key must be a plain text"},
	};

	for (size_t i = 0; i < array_length(mistakes); i++)
		refused(mistakes[i].text, mistakes[i].place, mistakes[i].words);
}

static void long_paths_are_refused(void **state)
{
	char text[400] = "runDirectory: /", *end = text + strlen(text);

	memset(end, 'r', 95);
	refused(text, "1:15", "too long");
	memset(end, 'r', 380);
	refused(text, "1:15", "too long");
}

static void aliases_work(void **state)
{
	struct config config;

	parse("node: {name: &name edge-1, labels: {a: *name}}\n", &config);
	assert_string_equal(config.labels[0].value, "edge-1");
	config_done(&config);
}

static void all_mistakes_are_told_but_not_more_than_twenty(void **state)
{
	struct yaml_problems problems;
	char text[2000] = NAMED, *end = text + strlen(text), *all;
	struct config config;

	for (int i = 0; i < 25; i++)
		end += sprintf(end, "unknown%d: x\n", i);
	yaml_problems_init(&problems, "test.yaml");
	assert_int_equal(config_parse("test.yaml", text, strlen(text), &config, &problems), -EINVAL);
	assert_int_equal(problems.count, 20);
	assert_int_equal(problems.total, 25);
	assert_int_equal(problems.items[19].line, 21);
	all = yaml_problems_text(&problems);
	assert_non_null(strstr(all, "test.yaml: and 5 more\n"));
	free(all);
}

/* ---- Hostile files: refused, and quickly ---- */

static char *repeated(const char *beginning, const char *part, size_t count, size_t *ret_length)
{
	size_t length = strlen(beginning) + count * strlen(part);
	char *text = malloc(length + 1), *end = stpcpy(text, beginning);

	for (size_t i = 0; i < count; i++)
		end = stpcpy(end, part);
	*ret_length = length;
	return text;
}

static void hostile_text_refused(const char *beginning, const char *part, size_t count, const char *words)
{
	size_t length;
	_cleanup_(freep) char *text = repeated(beginning, part, count, &length);
	struct timespec before, after;
	struct yaml_problems problems;
	struct config config;

	yaml_problems_init(&problems, "hostile.yaml");
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
	assert_int_equal(config_parse("hostile.yaml", text, length, &config, &problems), -EINVAL);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
	if (!strstr(problems.items[0].text, words))
		fail_msg("\"%s…\": \"%s\" does not say \"%s\"", part, problems.items[0].text, words);
	/* Measured: at most 0.75 s, with sanitizers 1.5 s (2 cores, November 2026). */
	assert_true(after.tv_sec - before.tv_sec < 10);
}

static void hostile_files_are_refused_quickly(void **state)
{
	hostile_text_refused("", "[", 1000000, "nested too deeply");
	hostile_text_refused("", "{a:", 300000, "nested too deeply");
	hostile_text_refused("", "- ", 500000, "nested too deeply");
	hostile_text_refused("", "? ", 500000, "a key must be");
	hostile_text_refused("", "---\n", 250000, "too much");
	hostile_text_refused("", "- x\n", 250000, "too much");
	hostile_text_refused("", "a: 1\n", 200000, "too much");
	hostile_text_refused("", "- &a x\n", 100000, "anchors");
	hostile_text_refused("node: ", "x", 1048576, "too large");
	hostile_text_refused("node: \n", "\n", 1048576, "too large");
	hostile_text_refused("node: ", "x", 1048000, "must be a mapping");
}

static void exploding_aliases_are_refused(void **state)
{
	char text[4000] = "a: &a [x, x, x, x, x, x, x, x, x]\n", *end = text + strlen(text);

	for (char name = 'b'; name <= 'j'; name++) {
		end += sprintf(end, "%c: &%c [", name, name);
		for (int i = 0; i < 9; i++)
			end += sprintf(end, "*%c%s", name - 1, i < 8 ? ", " : "]\n");
	}
	refused(text, "5:12", "too much");
	refused("a: &a [*a]\n", "1:8", "contains itself");
	/* Depth counts what aliases bring. */
	strcpy(text, "a0: &a0 [x]\n");
	end = text + strlen(text);
	for (int i = 1; i < 30; i++)
		end += sprintf(end, "a%d: &a%d [*a%d]\n", i, i, i - 1);
	refused(text, "24:12", "nested too deeply");
}

/* ---- Files ---- */

static void files_that_cannot_be_read_are_refused(void **state)
{
	static const struct {
		const char *path;
		int status;
	} cases[] = {{"/no/such/file.yaml", -ENOENT}, {"/", -EISDIR}, {"/dev/zero", -EFBIG}};
	struct yaml_problems problems;
	struct config config;

	for (size_t i = 0; i < array_length(cases); i++) {
		yaml_problems_init(&problems, cases[i].path);
		assert_int_equal(config_load(cases[i].path, &config, &problems), cases[i].status);
		assert_int_equal(problems.total, 1);
	}
}

/* The file that is installed says what the program does without it, and its examples are right. */
static void the_packaged_file_holds_the_defaults(void **state)
{
	_cleanup_(freep) char *uncommented = NULL, *text = NULL;
	struct yaml_problems problems;
	struct config config;
	size_t length, used = 0;
	char *line = NULL, *rest;

	yaml_problems_init(&problems, CONFIG_EXAMPLE);
	assert_int_equal(yaml_file_read(CONFIG_EXAMPLE, 65536, &problems, &text, &length), 0);
	assert_int_equal(config_load(CONFIG_EXAMPLE, &config, &problems), 0);
	assert_int_equal(config.interface_count, 0);
	config_done(&config);

	/* "#key:" is a setting to be uncommented, "# text" is text. */
	uncommented = malloc(length + 2);
	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		if (line[0] == '#' && line[1] && line[1] != ' ' && line[1] != '#')
			used += (size_t)sprintf(uncommented + used, "%s\n", line + 1);
		else if (line[0] == '#' && !strncmp(line, "#  ", 3))
			used += (size_t)sprintf(uncommented + used, "%s\n", line + 1);
	if (config_parse(CONFIG_EXAMPLE, uncommented, used, &config, &problems) < 0)
		fail_msg("%s\n%s", problems.items[0].text, uncommented);
	assert_true(config.interface_count > 0);
	assert_string_equal(config.state_directory, CONFIG_STATE_DIRECTORY_DEFAULT);
	assert_string_equal(config.api_socket, "/run/selvage/selvage.sock");
	assert_int_equal(config.api_socket_mode, 0660);
	assert_int_equal(config.metrics_port, 9480);
	assert_int_equal(config.health.interval_ms, 2000);
	assert_int_equal(config.ufrag_key_hours, 168);
	assert_int_equal(config.health.timeout_ms, 1000);
	assert_int_equal(config.health.rise, 2);
	assert_int_equal(config.health.fall, 3);
	assert_int_equal(config.health.jitter_percent, 10);
	assert_true(config.dns.enabled && config.dns.autopath);
	assert_string_equal(config.dns.cluster_domain, "cluster.local");
	assert_int_equal(config.dns.cache_bytes, 64 << 20);
	assert_int_equal(config.dns.packet_names, 32768);
	assert_int_equal(config.dns.ttl_max_seconds, 86400);
	assert_int_equal(config.dns.negative_ttl_max_seconds, 900);
	assert_int_equal(config.dns.stale_seconds, 86400);
	assert_int_equal(config.dns.stale_wait_ms, 1800);
	assert_int_equal(config.dns.hedge_percent, 10);
	assert_int_equal(config.dns.limit.per_minute, 12000);
	assert_int_equal(config.dns.limit.burst, 1000);
	assert_int_equal(config.dns.limit_bits.ipv4, 24);
	assert_int_equal(config.dns.limit_bits.ipv6, 56);
	assert_int_equal(config.dns.forwards[0].upstreams[2].protocol, DNS_PROTOCOL_TLS);
	assert_int_equal(config.dns.forwards[0].upstreams[2].endpoint.port, 853);
	config_done(&config);
}

/* Whoever resolves by itself validates; forwarders may not hand signatures on. */
static void dnssec_is_on_without_upstreams(void **state)
{
	static const char recursion[] = "dns: {listen: [127.0.0.1]}\n";
	static const char no_server[] = "dns: {listen: [127.0.0.1], upstreams: []}\n";
	static const char forwarding[] = "dns: {listen: [127.0.0.1], upstreams: [10.0.0.1]}\n";
	struct yaml_problems problems;
	struct config config;

	yaml_problems_init(&problems, "t.yaml");
	assert_int_equal(config_parse("t.yaml", recursion, strlen(recursion), &config, &problems), 0);
	assert_true(config.dns.validate);
	config_done(&config);
	assert_int_equal(config_parse("t.yaml", forwarding, strlen(forwarding), &config, &problems), 0);
	assert_false(config.dns.validate);
	config_done(&config);
	assert_int_equal(config_parse("t.yaml", no_server, strlen(no_server), &config, &problems), 0);
	assert_true(config.dns.validate && config.dns.forward_count == 0);
	config_done(&config);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_written_gives_the_defaults),
		cmocka_unit_test(an_empty_file_is_a_configuration),
		cmocka_unit_test(everything_that_is_written_is_taken),
		cmocka_unit_test(workload_interfaces_are_what_matches_and_is_no_nic),
		cmocka_unit_test(root_may_always_use_the_socket),
		cmocka_unit_test(metrics_may_be_off),
		cmocka_unit_test(each_mistake_has_its_place_and_its_words),
		cmocka_unit_test(long_paths_are_refused),
		cmocka_unit_test(aliases_work),
		cmocka_unit_test(all_mistakes_are_told_but_not_more_than_twenty),
		cmocka_unit_test(hostile_files_are_refused_quickly),
		cmocka_unit_test(exploding_aliases_are_refused),
		cmocka_unit_test(files_that_cannot_be_read_are_refused),
		cmocka_unit_test(the_packaged_file_holds_the_defaults),
		cmocka_unit_test(dnssec_is_on_without_upstreams),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
