#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# dpdk_wire_bench over one end of a veth, in a network namespace of its own: for each driver that works over it.
# Usage: tests/perf/dpdk_wire_bench.sh PROGRAM
set -euo pipefail
space=selvage-wire-$$
ip netns add "$space"
trap 'ip netns del "$space"' EXIT
ip -n "$space" link add bench0 type veth peer name bench1
for name in bench0 bench1; do
	nsenter --net="/run/netns/$space" sysctl -qw "net.ipv6.conf.$name.disable_ipv6=1"
	ip -n "$space" link set "$name" up
done
export LIBXDP_SKIP_DISPATCHER=1
for device in net_af_packet,iface=bench0 net_af_xdp,iface=bench0; do
	nsenter --net="/run/netns/$space" "$1" "$device" bench1 2> >(grep '^dpdk_wire_bench' >&2) ||
		echo "dpdk_wire_bench.sh: nothing measured over ${device%%,*}" >&2
done
