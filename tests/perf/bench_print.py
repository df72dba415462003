#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Prints what the benchmarks say, a line of JSON for each measurement, as tables; with --json as one JSON object."""
import json
import platform
import sys

COLUMNS = {
    "packet": [("over swap ns", "over_swap_ns"), ("quartiles", "quartiles"), ("ns", "ns"), ("swap ns", "swap_ns")],
    "dpdk": [("Mpps", "mpps"), ("swap Mpps", "swap_mpps"), ("of swap %", "share_percent"), ("ns", "ns"), ("swap ns", "swap_ns")],
    "sessions-dpdk": [("to one call", "ratio_to_one"), ("over swap ns", "over_swap_ns"), ("ns", "ns"), ("UDP hit ns", "udp_hit_ns")],
    "sessions": [("to one call", "ratio_to_one"), ("over swap ns", "over_swap_ns"), ("ns", "ns")],
    "dpdk-trips": [("p50 us", "p50_us"), ("p99 us", "p99_us"), ("p99.9 us", "p999_us")],
    "flows": [("to one flow", "ratio_to_one"), ("over swap ns", "over_swap_ns"), ("ns", "ns"), ("looked up", "looked_up_share")],
    "dns": [("over swap ns", "over_swap_ns"), ("quartiles", "quartiles"), ("least", "least_over_swap_ns"), ("swap ns", "swap_ns"), ("to thousand", "to_thousand"),
            ("bytes a name", "bytes_a_name")],
    "dns-veth": [("p50 to floor", "p50_to_floor"), ("p99 to floor", "p99_to_floor"), ("p50 us", "p50_us"), ("p99 us", "p99_us"),
                 ("p99.9 us", "p999_us"), ("to process %", "left_to_process_percent")],
    "dns-cost": [("unbound/program", "unbound_to_program"), ("program ns", "program_ns"), ("unbound/all", "unbound_to_this"),
                 ("all ns", "ns_a_query"), ("queries/s/core", "queries_a_second_of_a_core")],
    "ring": [("moved %", "moved_percent"), ("paper %", "paper_moved_percent"), ("ratio", "ratio_to_paper"), ("build us", "build_us"),
             ("paper us", "paper_build_us")],
    "apply": [("to copy", "ratio_to_copy"), ("ms", "ms")],
    "nft": [("to nft", "ratio_to_nft"), ("packets/s", "packets_a_second"), ("over direct ns", "over_direct_ns_a_packet"),
            ("p50 us", "round_trip_p50_us"), ("p99 us", "round_trip_p99_us"), ("p99.9 us", "round_trip_p999_us")],
    "rtc": [("over veth us", "over_direct_us"), ("over hop us", "over_hop_us"), ("p50 us", "one_way_p50_us"), ("p99 us", "one_way_p99_us"),
            ("p99.9 us", "one_way_p999_us"), ("packets/s", "packets_a_second"), ("lost %", "lost_percent")],
    "rtc-cost": [("to coturn", "ratio_to_turn"), ("ns", "ns_a_packet"), ("packets/s/core", "packets_a_second_of_a_core"),
                 ("set-ups/s", "setups_a_second")],
}
NOTES = {
    "xdp": "nanoseconds a packet, less a bare swap of MAC and IP addresses in the same rounds",
    "native": "nanoseconds a packet, less a bare swap of MAC and IP addresses in the same rounds",
    "dpdk": "one worker over a NIC of rings, bursts of 32, beside one that swaps MAC and IP addresses",
    "sessions-xdp": "RTP of calls in random order, with all statistics",
    "sessions-native": "RTP of calls in random order, with all statistics",
    "sessions-dpdk": "one worker over a NIC of rings, bursts of 32: RTP of calls in random order, with all statistics",
    "dpdk-wire": "one worker over a veth, full bursts of 32 beside a sender that keeps its queue full, and one that swaps addresses",
    "dpdk-trips": "one packet to the worker and back, at the sender's packet socket",
    "dns": "nanoseconds a query, less a bare swap of MAC and IP addresses on the same frames",
    "dns-veth": "a warm cache of ten thousand names over a veth, one query after the other; the floor is the echo at tc or XDP",
    "dns-cost": "processor time for a query: of the process, or of the NIC's thread, and of the BPF program alone",
    "flows-xdp": "UDP hits in random order, in one epoch; 'looked up': share of flows that the filter does not vouch for",
    "flows-native": "UDP hits in random order, in one epoch; 'looked up': share of flows that the filter does not vouch for",
    "ring": "slots of the survivors that move, beside the paper's method",
    "apply": "beside copying the balancer's tables; in memory, without waiting for packets in flight",
    "rtc": "media of WebRTC sessions, 50 packets a second each: one-way, from sending until the agent's kernel has it",
    "rtc-cost": "processor time of whoever stands in between, for a packet that it handles",
    "nft": "UDP, 160 bytes; packets a second that one core brings to the backend's socket, and round trips",
}
BEST = ("dns-veth", "dns-cost")  # of each figure, the round that others on the machine disturbed least


def columns_of(name):
    if name in COLUMNS:
        return COLUMNS[name]
    return COLUMNS["packet" if name in ("xdp", "native") else name.split("-")[0]]


def cell(result, key):
    if key == "quartiles":
        return f"{result['over_swap_low_ns']:g}-{result['over_swap_high_ns']:g}"
    return f"{result[key]:g}" if isinstance(result[key], float) else str(result[key])


def aim(result):
    if "aim" not in result:
        return ""
    return f"aim {result['aim']:g}: " + ("met" if result["met"] else "NOT met")


def print_line(result, last):
    if result["bench"] != last:
        print(f"\n{result['bench']}: {NOTES[result['bench']]}; {'best' if result['bench'] in BEST else 'median'} of {result['rounds']} rounds")
        print(f"  {'':42}" + "".join(f"{title:>16}" for title, _ in columns_of(result["bench"])))
    cells = "".join(f"{cell(result, key):>16}" for _, key in columns_of(result["bench"]))
    print(f"  {result['text']:42}{cells}  {aim(result)}".rstrip(), flush=True)


def processor():
    with open("/proc/cpuinfo") as file:
        return next((line.split(":")[1].strip() for line in file if line.startswith("model name")), platform.machine())


def main():
    results, last = [], None
    machine = {"processor": processor(), "kernel": platform.release()}
    whole = "--json" in sys.argv
    if not whole:
        print(f"{machine['processor']}, Linux {machine['kernel']}")
    for line in sys.stdin:
        result = json.loads(line)
        results.append(result)
        if not whole:
            print_line(result, last)
        last = result["bench"]
    if whole:
        print(json.dumps({"machine": machine, "results": results}, indent=1))


if __name__ == "__main__":
    main()
