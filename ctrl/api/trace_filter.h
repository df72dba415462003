/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which packets a trace shows. A small language in the manner of tcpdump's:
 *
 *     tcp | udp | icmp | icmp6 | arp | ip | ip6 | proto NAME-OR-NUMBER
 *     [src | dst] host ADDRESS       [src | dst] net PREFIX       [src | dst] port NUMBER[-NUMBER]
 *     vlan NUMBER     interface NAME     service [NAMESPACE/]NAME[:PORT]     backend ADDRESS[:PORT]
 *     drops | decisions | pass | tx | redirect | verdict NAME     reason NAME     function NAME     new     interesting
 *     not X     X and Y     X or Y     (X)
 *
 * A protocol may be followed by a host, net or port without "and": "udp port 53". An interface may be a pattern: "veth*".
 * "and" binds tighter than "or". "decisions" is all but what merely passes; "new" begins a flow;
 * "interesting" is drops, beginnings of flows, and ICMP errors and resets that a function decided. Pure.
 */
#pragma once

#include "ctrl/api/trace_packet.h"

struct trace_filter;

/* -EINVAL with a sentence that names the place, and what would be right there. An empty text, or NULL, lets everything through. */
int trace_filter_parse(const char *text, struct trace_filter **ret_filter, struct error *error);
void trace_filter_free(struct trace_filter *filter);
bool trace_filter_matches(const struct trace_filter *filter, const struct trace_packet *packet);
/* What every packet that matches has in common, as far as the packet program can ask for it. */
struct api_trace_filter trace_filter_coarse(const struct trace_filter *filter);
