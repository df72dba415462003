/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target: any bytes as the daemon's configuration file. They are read whole, or refused with a problem that
 * prints as one line.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "ctrl/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libfyaml 0.7.12 loses some of its own memory when certain texts end in a syntax error; what we allocate is still checked. */
const char *__lsan_default_suppressions(void)
{
	return "leak:libfyaml.so\n";
}

static void problems_check(const struct yaml_problems *problems)
{
	char line[1024];

	assert(problems->count > 0 && problems->count <= YAML_PROBLEMS_MAX && problems->total >= problems->count);
	for (size_t i = 0; i < problems->count; i++) {
		yaml_problem_format(problems, i, line, sizeof(line));
		assert(strlen(line) > strlen("fuzz.yaml: ") && !strpbrk(line, "\n\r\x1b"));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct yaml_problems problems;
	struct config config;

	yaml_problems_init(&problems, "fuzz.yaml");
	if (config_parse("fuzz.yaml", (const char *)data, size, &config, &problems) < 0) {
		problems_check(&problems);
		return 0;
	}
	assert(problems.total == 0);
	assert(config.node_name && config.run_directory[0] == '/' && config.state_directory[0] == '/');
	assert(config.health.timeout_ms <= config.health.interval_ms);
	(void)config_is_workload_interface(&config, "veth0");
	config_done(&config);
	return 0;
}
