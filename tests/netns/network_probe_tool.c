/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Follows the network of its namespace and prints it as one line of JSON at the start and after each change. Each line of
 * standard input replaces the wanted destinations (addresses, separated by blanks). Ends with its input.
 */
#include <event2/event.h>
#include <jansson.h>
#include <string.h>

#include "ctrl/program/network_follow.h"

struct tool {
	struct event_base *base;
	struct network_follow *follow;
	struct address destinations[64];
	size_t destination_count;
};

static json_t *text(const struct address *address)
{
	char buffer[ADDRESS_TEXT_SIZE];

	return json_string(address_is_zero(address) ? "" : address_format(address, buffer));
}

static json_t *mac(const uint8_t bytes[6])
{
	char buffer[MAC_TEXT_SIZE];

	return json_string(mac_format(bytes, buffer));
}

static json_t *link_json(const struct network_link *link)
{
	json_t *addresses = json_array();

	for (size_t i = 0; i < link->address_count; i++)
		json_array_append_new(addresses, text(&link->addresses[i].address));
	return json_pack("{s:s s:i s:o s:b s:b s:i s:i s:i s:i s:b s:o}", "name", link->name, "ifindex", link->ifindex,
			 "mac", mac(link->mac), "up", link->up, "carrier", link->carrier, "mtu", link->mtu, "kind",
			 link->kind, "parent", link->parent_ifindex, "master", link->master_ifindex, "away",
			 link->peer_in_other_namespace, "addresses", addresses);
}

static json_t *next_hop_json(const struct network *network, const struct address *destination)
{
	struct network_next_hop hop;

	network_next_hop(network, destination, &hop);
	return json_pack("{s:o s:s s:o s:i s:o s:b}", "to", text(destination), "state",
			 network_next_hop_state_text(hop.state), "via", text(&hop.via), "ifindex", hop.ifindex, "mac",
			 mac(hop.dmac), "failed", hop.failed);
}

static json_t *network_json(const struct network *network)
{
	json_t *links = json_array(), *routes = json_array(), *neighbours = json_array();

	for (size_t i = 0; i < network->link_count; i++)
		json_array_append_new(links, link_json(&network->links[i]));
	for (size_t i = 0; i < network->route_count; i++) {
		const struct network_route *route = &network->routes[i];

		json_array_append_new(routes, json_pack("{s:o s:i s:o s:i s:i s:b}", "to", text(&route->to.address),
							"length", route->to.length, "gateway", text(&route->gateway),
							"ifindex", route->ifindex, "metric", route->metric,
							"unreachable", route->unreachable));
	}
	for (size_t i = 0; i < network->neighbour_count; i++) {
		const struct network_neighbour *neighbour = &network->neighbours[i];

		json_array_append_new(neighbours, json_pack("{s:o s:i s:o s:b s:b}", "ip", text(&neighbour->ip),
							    "ifindex", neighbour->ifindex, "mac", mac(neighbour->mac),
							    "usable", neighbour->usable, "failed", neighbour->failed));
	}
	return json_pack("{s:o s:o s:o}", "links", links, "routes", routes, "neighbours", neighbours);
}

static void network_print(void *context)
{
	struct tool *tool = context;
	const struct network_follow_counters *counters = network_follow_count(tool->follow);
	json_t *root = network_json(network_follow_get(tool->follow)), *hops = json_array();

	for (size_t i = 0; i < tool->destination_count; i++)
		json_array_append_new(hops, next_hop_json(network_follow_get(tool->follow), &tool->destinations[i]));
	json_object_set_new(root, "next_hops", hops);
	json_object_set_new(root, "overruns", json_integer((json_int_t)counters->overruns));
	json_object_set_new(root, "probes", json_integer((json_int_t)counters->probes));
	json_object_set_new(root, "changes", json_integer((json_int_t)counters->changes));
	json_dumpf(root, stdout, JSON_COMPACT);
	putchar('\n');
	fflush(stdout);
	json_decref(root);
}

static void on_input(evutil_socket_t fd, short what, void *context)
{
	struct tool *tool = context;
	char line[4096], *rest = line;

	if (!fgets(line, sizeof(line), stdin)) {
		event_base_loopbreak(tool->base);
		return;
	}
	tool->destination_count = 0;
	for (char *word; (word = strtok_r(rest, " \n", &rest)) && tool->destination_count < 64;)
		if (address_parse(word, &tool->destinations[tool->destination_count]) == 0)
			tool->destination_count++;
	if (network_follow_want(tool->follow, tool->destinations, tool->destination_count) < 0)
		abort();
	network_print(tool);
}

int main(void)
{
	struct tool tool = {.base = event_base_new()};
	struct error error = {0};
	struct event *input;

	if (network_follow_new(tool.base, &clock_system, network_print, &tool, &tool.follow, &error) < 0) {
		fprintf(stderr, "network_probe_tool: %s\n", error.text);
		return 1;
	}
	setvbuf(stdin, NULL, _IONBF, 0);
	input = event_new(tool.base, STDIN_FILENO, EV_READ | EV_PERSIST, on_input, &tool);
	event_add(input, NULL);
	network_print(&tool);
	event_base_dispatch(tool.base);
	event_free(input);
	network_follow_free(tool.follow);
	event_base_free(tool.base);
	return 0;
}
