/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The XDP programmer by hand: lines on standard input say what is wanted, answers are lines of JSON.
 *
 *     interface NAME native|generic|workload     packets of it reach the engine; VIPs are announced on all but workloads
 *     route PREFIX NAME [MAC]                    without a MAC the destination is on the link
 *     neighbour ADDRESS MAC NAME
 *     vip ADDRESS
 *     service tcp|udp ADDRESS:PORT [direct]
 *     backend ADDRESS:PORT NAME MAC [up|draining|down]    of the service before
 *     apply | attach | totals | sweep | remove | clear    (clear forgets what was said so far)
 *
 * Argument: the directory of the pins. End of input closes the programmer and leaves the engine running.
 */
#include <inttypes.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/lib/verdict_text.h"
#include "base/packet/wire.h"
#include "ctrl/program/programmer.h"

#define MANY 32

struct said {
	struct programmer_interface interfaces[MANY];
	struct link_wanted links[MANY];
	struct route_wanted routes[MANY];
	struct neighbour_wanted neighbours[MANY];
	struct vip_wanted vips[MANY];
	struct lb_service_wanted services[MANY];
	struct lb_backend_wanted backends[MANY][MANY];
	size_t interface_count;
	struct edge_wanted wanted;
};

static uint64_t interface_mac(const char *name)
{
	_cleanup_(closep) int fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct ifreq request = {0};

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (ioctl(fd, SIOCGIFHWADDR, &request) < 0)
		return 0;
	return mac_word((const uint8_t *)request.ifr_hwaddr.sa_data);
}

static int mac_said(const char *text, uint64_t *ret_mac)
{
	uint8_t mac[6];

	if (!text || mac_parse(text, mac) < 0)
		return -EINVAL;
	*ret_mac = mac_word(mac);
	return 0;
}

static int egress_said(struct said *said, const char *name, const char *mac, struct egress *egress)
{
	uint32_t ifindex = name ? if_nametoindex(name) : 0;

	if (!ifindex)
		return -ENODEV;
	*egress = (struct egress){.ifindex = ifindex, .source_mac = interface_mac(name)};
	for (size_t i = 0; i < said->interface_count; i++) {
		if (said->interfaces[i].ifindex == ifindex && said->interfaces[i].mode == PROGRAMMER_WORKLOAD)
			egress->flags |= EGRESS_VIA_STACK | EGRESS_PEER_APART;
	}
	if (!mac) {
		egress->flags |= EGRESS_ON_LINK;
		return 0;
	}
	egress->flags |= EGRESS_RESOLVED;
	return mac_said(mac, &egress->destination_mac);
}

static int interface_said(struct said *said, const char *name, const char *mode)
{
	bool workload = mode && strcmp(mode, "workload") == 0;
	uint32_t ifindex = if_nametoindex(name);
	size_t i = said->interface_count;

	if (!ifindex || !mode || i >= MANY)
		return -ENODEV;
	said->interfaces[i] = (struct programmer_interface){
		ifindex, workload			? PROGRAMMER_WORKLOAD :
			 strcmp(mode, "generic") == 0 ? PROGRAMMER_XDP_GENERIC :
							  PROGRAMMER_XDP_NATIVE};
	said->links[i] = (struct link_wanted){.ifindex = ifindex, .workload = workload, .mac = interface_mac(name),
					      .announce = workload ? 0 : 1ull << i};
	said->wanted.link_count = ++said->interface_count;
	return 0;
}

static int service_said(struct said *said, const char *protocol, const char *endpoint, const char *direct)
{
	size_t i = said->wanted.service_count;
	struct lb_service_wanted *service = &said->services[i];
	uint16_t port;

	if (i >= MANY || !endpoint || endpoint_parse(endpoint, &service->address, &port) < 0)
		return -EINVAL;
	service->port_first = service->port_last = port;
	service->protocol = strcmp(protocol, "tcp") == 0 ? PROTOCOL_TCP : PROTOCOL_UDP;
	service->direct = direct != NULL;
	service->affinity_epochs = service->udp_idle_epochs = 10;
	service->backends = said->backends[i];
	service->name = "test";
	said->wanted.service_count++;
	return 0;
}

static int backend_said(struct said *said, char **words)
{
	struct lb_service_wanted *service = &said->services[said->wanted.service_count - 1];
	struct lb_backend_wanted *backend = &said->backends[said->wanted.service_count - 1][service->backend_count];

	if (!said->wanted.service_count || !words[3] || endpoint_parse(words[1], &backend->address, &backend->port) < 0)
		return -EINVAL;
	backend->weight = LB_WEIGHT_UNIT;
	backend->state = !words[4] || strcmp(words[4], "up") == 0 ? LB_BACKEND_UP :
			 strcmp(words[4], "down") == 0		    ? LB_BACKEND_DOWN :
								      LB_BACKEND_DRAINING;
	backend->name = "test";
	service->backend_count++;
	return egress_said(said, words[2], words[3], &backend->egress);
}

static int line_said(struct said *said, char **words)
{
	if (strcmp(words[0], "interface") == 0 && words[1])
		return interface_said(said, words[1], words[2]);
	if (strcmp(words[0], "route") == 0 && words[1]) {
		struct route_wanted *route = &said->routes[said->wanted.route_count++];

		return prefix_parse(words[1], &route->prefix) ?: egress_said(said, words[2], words[3], &route->egress);
	}
	if (strcmp(words[0], "neighbour") == 0 && words[1] && words[2] && words[3]) {
		struct neighbour_wanted *neighbour = &said->neighbours[said->wanted.neighbour_count++];

		neighbour->ifindex = if_nametoindex(words[3]);
		return address_parse(words[1], &neighbour->address) ?: mac_said(words[2], &neighbour->mac);
	}
	if (strcmp(words[0], "vip") == 0 && words[1]) {
		struct vip_wanted *vip = &said->vips[said->wanted.vip_count++];

		*vip = (struct vip_wanted){.owned = true, .links = ~0ull};
		return address_parse(words[1], &vip->address);
	}
	if (strcmp(words[0], "service") == 0 && words[1])
		return service_said(said, words[1], words[2], words[3]);
	if (strcmp(words[0], "backend") == 0)
		return backend_said(said, words);
	return -EINVAL;
}

static void said_clear(struct said *said)
{
	memset(said, 0, sizeof(*said));
	said->wanted = (struct edge_wanted){.hash_seed = 7, .links = said->links, .routes = said->routes,
					    .neighbours = said->neighbours, .vips = said->vips, .services = said->services};
}

static int apply(struct programmer *programmer, const struct said *said, struct error *error)
{
	struct edge_changes changes = {0};
	int code = programmer_apply(programmer, &said->wanted, &changes, error);

	if (code)
		return code;
	printf("{\"any\": %s, \"links\": %u, \"vips\": %u, \"services\": %u, \"backends\": %u, \"ring_slots\": %u}\n",
	       edge_changes_any(&changes) ? "true" : "false", changes.links, changes.vips, changes.services,
	       changes.backends, changes.ring_slots);
	return 0;
}

static int attach(struct programmer *programmer, const struct said *said, struct error *error)
{
	struct programmer_attachment attachments[MANY];
	int code = programmer_attach(programmer, said->interfaces, said->interface_count, attachments, error);

	printf("[");
	for (size_t i = 0; i < said->interface_count; i++)
		printf("%s{\"ifindex\": %u, \"code\": %d, \"mode\": \"%s\", \"changed\": %s, \"text\": \"%s\"}", i ? ", " : "",
		       attachments[i].ifindex, attachments[i].code, attachments[i].mode,
		       attachments[i].changed ? "true" : "false", attachments[i].text);
	printf("]\n");
	return code;
}

static void totals(struct programmer *programmer)
{
	struct edge_totals totals;
	const char *separator = "";

	edge_program_totals(programmer_program(programmer), &totals);
	printf("{");
	for (int function = 0; function < FUNCTION_COUNT; function++) {
		for (int verdict = 0; verdict < VERDICT_COUNT; verdict++) {
			printf("%s\"%s_%s\": %" PRIu64, separator, function_name((enum function)function),
			       verdict_name((enum verdict)verdict), totals.verdicts[function][verdict]);
			separator = ", ";
		}
	}
	for (int reason = 1; reason < DROP_COUNT; reason++) {
		if (totals.drops[reason])
			printf(", \"drop_%s\": %" PRIu64, drop_name((enum drop_reason)reason), totals.drops[reason]);
	}
	printf(", \"epoch\": %u}\n", programmer_epoch(programmer));
}

static int obey(struct programmer *programmer, struct said *said, char **words, struct error *error)
{
	struct edge_sweep_stats stats;

	if (strcmp(words[0], "apply") == 0)
		return apply(programmer, said, error);
	if (strcmp(words[0], "attach") == 0)
		return attach(programmer, said, error);
	if (strcmp(words[0], "totals") == 0) {
		totals(programmer);
	} else if (strcmp(words[0], "sweep") == 0) {
		for (stats.complete = false; !stats.complete;)
			programmer_sweep_step(programmer, &stats);
		printf("{\"flows\": %u}\n", stats.flows);
	} else if (strcmp(words[0], "clear") == 0) {
		said_clear(said);
	} else if (strcmp(words[0], "remove") == 0) {
		int code = programmer_remove(programmer, error);

		printf("{\"removed\": %s}\n", code ? "false" : "true");
		return code;
	} else if (line_said(said, words) < 0) {
		return error_set(error, EINVAL, "not understood: %s %s", words[0], words[1] ? words[1] : "");
	}
	return 0;
}

int main(int count, char **arguments)
{
	static const char *const found[] = {"fresh", "adopted", "replaced"};
	_cleanup_(programmer_closep) struct programmer *programmer = NULL;
	static struct said said;
	struct error error = {0};
	char line[512];

	if (count != 2)
		return fprintf(stderr, "programmer_tool: the directory of the pins is wanted\n"), 2;
	if (programmer_xdp(arguments[1], &programmer, &error) < 0)
		return fprintf(stderr, "programmer_tool: %s\n", error.text), 1;
	printf("{\"found\": \"%s\"}\n", found[programmer_found(programmer)]);
	fflush(stdout);
	said_clear(&said);
	while (fgets(line, sizeof(line), stdin)) {
		char *words[8] = {0}, *rest = NULL, *word = strtok_r(line, " \n", &rest);

		for (size_t i = 0; word && i < array_length(words) - 1; i++, word = strtok_r(NULL, " \n", &rest))
			words[i] = word;
		if (words[0] && obey(programmer, &said, words, &error) < 0)
			printf("{\"error\": \"%s\"}\n", error.text);
		fflush(stdout);
	}
	return 0;
}
