/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Announces virtual IPs. Each line of standard input replaces the set: blank-separated "ADDRESS@INTERFACE/MAC". Ends with
 * its input.
 */
#include <event2/event.h>
#include <net/if.h>
#include <string.h>

#include "base/lib/address_text.h"
#include "vip/announce_send.h"

struct tool {
	struct event_base *base;
	struct announce *announce;
};

static void announcement_parse(char *word, struct announcement *announcement)
{
	char *interface = strchr(word, '@'), *mac = strchr(word, '/');

	if (!interface || !mac)
		abort();
	*interface++ = '\0';
	*mac++ = '\0';
	*announcement = (struct announcement){.ifindex = if_nametoindex(interface)};
	if (address_parse(word, &announcement->vip) < 0 || mac_parse(mac, announcement->mac) < 0)
		abort();
}

static void on_input(evutil_socket_t fd, short what, void *context)
{
	struct tool *tool = context;
	struct announcement wanted[64];
	char line[8192], *rest = line;
	size_t count = 0;

	if (!fgets(line, sizeof(line), stdin)) {
		event_base_loopbreak(tool->base);
		return;
	}
	for (char *word; (word = strtok_r(rest, " \n", &rest)) && count < array_length(wanted);)
		announcement_parse(word, &wanted[count++]);
	if (announce_set(tool->announce, wanted, count) < 0)
		abort();
	printf("%zu\n", count);
	fflush(stdout);
}

int main(void)
{
	struct tool tool = {.base = event_base_new()};
	struct error error = {0};
	struct event *input;

	if (announce_new(tool.base, &clock_system, 0, &tool.announce, &error) < 0) {
		fprintf(stderr, "announce_tool: %s\n", error.text);
		return 1;
	}
	setvbuf(stdin, NULL, _IONBF, 0);
	input = event_new(tool.base, STDIN_FILENO, EV_READ | EV_PERSIST, on_input, &tool);
	event_add(input, NULL);
	event_base_dispatch(tool.base);
	event_free(input);
	announce_free(tool.announce);
	event_base_free(tool.base);
	return 0;
}
