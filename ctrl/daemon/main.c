/* SPDX-License-Identifier: Apache-2.0 */
/* selvaged: the control daemon. */
#include <getopt.h>
#include <locale.h>
#include <stdio.h>

#include "base/lib/log.h"
#include "ctrl/daemon/run.h"

static const char help_text[] =
	"Usage: selvaged [--config FILE] [--check]\n"
	"\n"
	"Runs the control daemon of this node in the foreground: it reads the operator's manifests from its store,\n"
	"checks the backends' health and programs the packet path. It may be stopped, killed and upgraded at any\n"
	"time: packets go on as they are, and the next start adopts what it finds.\n"
	"\n"
	"  -c, --config FILE  the configuration (default " CONFIG_PATH_DEFAULT ")\n"
	"      --check        read the configuration, say what is wrong with it, and end\n"
	"  -h, --help         this text\n"
	"  -V, --version      the version\n"
	"\n"
	"See selvaged(8), selvage.yaml(5), selvage(1).\n";

static int configuration_read(const char *path, struct config *config)
{
	struct yaml_problems problems;
	int result;

	yaml_problems_init(&problems, path);
	result = config_load(path, config, &problems);
	if (result < 0) {
		for (size_t i = 0; i < problems.count; i++) {
			char text[1024];

			fprintf(stderr, "selvaged: reading the configuration: %s\n",
				yaml_problem_format(&problems, i, text, sizeof(text)));
		}
	}
	return result;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"config", required_argument, NULL, 'c'},
						{"check", no_argument, NULL, 'k'},
						{"help", no_argument, NULL, 'h'},
						{"version", no_argument, NULL, 'V'},
						{0}};
	const char *path = CONFIG_PATH_DEFAULT;
	struct error error = {0};
	struct config config;
	bool check = false;
	int option, result;

	argv[0] = "selvaged"; /* what getopt calls us in its errors, whatever the path */
	while ((option = getopt_long(argc, argv, "c:hV", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			path = optarg;
			break;
		case 'k':
			check = true;
			break;
		case 'h':
			fputs(help_text, stdout);
			return 0;
		case 'V':
			puts("selvaged " SELVAGE_VERSION);
			return 0;
		default:
			fputs("selvaged: reading the command line: see `selvaged --help`\n", stderr);
			return 2;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "selvaged: reading the command line: '%s' is not expected here; see `selvaged --help`\n",
			argv[optind]);
		return 2;
	}
	if (configuration_read(path, &config) < 0)
		return 1;
	log_init("selvaged", config.log_level);
	result = check ? 0 : daemon_run(&config, &error);
	if (result < 0)
		fprintf(stderr, "selvaged: starting: %s\n", error.text);
	config_done(&config);
	return result < 0 ? 1 : 0;
}
