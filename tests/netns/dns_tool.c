/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The DNS cache on interfaces of this network namespace, without a daemon: dns_tool DIRECTORY tc|xdp-native|xdp-generic INTERFACE...
 *
 * Serves 169.254.20.10 and fd00::10. Reads answers in hexadecimal from standard input, one a line, puts them into the cache and says
 * "ready" at an empty line. A line "results" prints how often each result was counted. Everything is removed at the end of input.
 */
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/packet/wire.h"
#include "dns/cache.h"
#include "ebpf/loader.h"
#include "edge/edge_program.h"

#define LINKS_MAX 8
#define LINE_MAX_BYTES 8192

static struct loader *loader;
static struct error error;

static void fail(const char *what)
{
	fprintf(stderr, "dns_tool: %s: %s\n", what, error.text[0] ? error.text : strerror(errno));
	exit(1);
}

static void quiesce(const struct edge_host *host)
{
	loader_quiesce(loader);
}

static uint32_t epoch(const struct edge_host *host)
{
	return loader_epoch(loader);
}

static struct link_wanted link_of(const char *name)
{
	struct ifreq request = {0};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (fd < 0 || ioctl(fd, SIOCGIFHWADDR, &request) < 0)
		fail(name);
	close(fd);
	return (struct link_wanted){.ifindex = if_nametoindex(name), .dns = true,
				    .mac = mac_word((const uint8_t *)request.ifr_hwaddr.sa_data)};
}

static struct edge_program *node_program(char **interfaces, size_t count)
{
	static const struct edge_host host = {quiesce, epoch};
	static const char *const addresses[] = {"169.254.20.10", "fd00::10"};
	struct lb_service_wanted services[4];
	struct link_wanted links[LINKS_MAX];
	struct edge_wanted wanted = {.hash_seed = 1, .links = links, .link_count = count, .services = services, .service_count = 4};
	struct edge_program *program = edge_program_new(loader_tables(loader), loader_counter_sets(loader), &host);
	struct edge_changes changes;

	for (size_t i = 0; i < count; i++)
		links[i] = link_of(interfaces[i]);
	for (size_t i = 0; i < 4; i++) {
		services[i] = (struct lb_service_wanted){.port_first = 53, .port_last = 53, .dns = true, .udp_idle_epochs = 1,
							 .protocol = i & 1 ? PROTOCOL_TCP : PROTOCOL_UDP, .name = "dns"};
		if (address_parse(addresses[i / 2], &services[i].address) < 0)
			fail("an address");
	}
	if (!program || edge_program_apply(program, &wanted, &changes, &error) < 0)
		fail("programming the node");
	return program;
}

static void answer_put(struct dns_cache *cache, const char *line)
{
	const struct dns_put how = {.extended_error = -1};
	uint8_t answer[2048];
	size_t length = 0;
	unsigned int byte;

	while (length < sizeof(answer) && sscanf(line + 2 * length, "%2x", &byte) == 1)
		answer[length++] = (uint8_t)byte;
	if (dns_cache_put(cache, answer, length, &how, dns_cache_now_ms(cache)) != DNS_TAKEN)
		fail("an answer is not taken");
}

static void results_print(void)
{
	for (uint32_t result = 0; result < DNS_RESULT_COUNT; result++) {
		uint64_t count = 0;

		for (uint32_t set = 0; set < loader_counter_sets(loader); set++)
			count += loader_tables(loader)->counters[set].dns.results[result];
		printf("%s%llu", result ? " " : "", (unsigned long long)count);
	}
	printf("\n");
}

static void commands_run(struct dns_cache *cache)
{
	static char line[LINE_MAX_BYTES];

	while (fgets(line, sizeof(line), stdin)) {
		if (strcmp(line, "results\n") == 0)
			results_print();
		else if (line[0] == '\n')
			printf("ready\n");
		else
			answer_put(cache, line);
		fflush(stdout);
	}
}

int main(int argc, char **argv)
{
	char directory[LOADER_PATH_SIZE];
	struct edge_program *program;
	struct dns_memory memory;
	struct dns_cache *cache;
	enum loader_mode mode;

	if (argc < 4 || argc > 3 + LINKS_MAX) {
		fprintf(stderr, "usage: dns_tool DIRECTORY tc|xdp-native|xdp-generic INTERFACE...\n");
		return 2;
	}
	mode = strcmp(argv[2], "tc") == 0 ? LOADER_TC : strcmp(argv[2], "xdp-native") == 0 ? LOADER_XDP_NATIVE : LOADER_XDP_GENERIC;
	if (loader_mount(argv[1], directory, &error) < 0 || loader_open(directory, &loader, &error) < 0)
		fail("loading the packet program");
	program = node_program(argv + 3, (size_t)argc - 3);
	/* as another process does: by the pins */
	if (dns_memory_open(directory, &memory, &error) < 0)
		fail("opening the cache");
	cache = dns_cache_new(&memory);
	if (!cache)
		fail("adopting the cache");
	for (int i = 3; i < argc; i++) {
		struct loader_attachment attachment;

		if (loader_attach(loader, if_nametoindex(argv[i]), mode, &attachment, &error) < 0)
			fail("attaching");
	}
	commands_run(cache);
	dns_cache_free(cache);
	dns_memory_close(&memory);
	edge_program_free(program);
	if (loader_remove(loader, &error) < 0)
		fail("removing");
	loader_close(loader);
	return 0;
}
