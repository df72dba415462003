#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The same UDP flow through Selvage's NAT and through nftables DNAT, between namespaces, on one machine in one run.

    SELVAGE_BUILD=build/release tests/perf/nft_latency.py [--rounds N] [--count N] [--seconds N]

One LAN, two nodes: n1 runs selvaged, n2 forwards by an nftables rule; each has a backend of its own behind it. Beside them the
way without a node in between. Prints one line of JSON for each measurement:

    latency   UDP questions one after the other; µs for the way there and back, Python's share (the same everywhere) included
    packets   one core sends, and does all the work of the way to the backend in its softirq; packets a second that arrive

Veths are hard on XDP: each frame is copied for the program at the node and made a new packet of the kernel's behind it, which
is most of node_ns here; nftables works on the packet where it is. tools/bench says what the program itself takes.
"""
import argparse
import json
import os
import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "netns"))
import edge_site  # noqa: E402
import manifests  # noqa: E402

VIP = manifests.vips(200)[0]
NFT_VIP = "192.0.2.240"
RULES = f"""
table ip nat {{
    chain prerouting {{
        type nat hook prerouting priority dstnat;
        ip daddr {NFT_VIP} udp dport 7000 dnat to 192.0.2.22:7000
        ip daddr {NFT_VIP} udp dport 7001 dnat to 192.0.2.22:7001
    }}
}}
"""
SENDER = """
import os, socket, sys, time
os.sched_setaffinity(0, {int(sys.argv[4])})
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.connect((sys.argv[1], int(sys.argv[2])))
data, send, end = bytes(64), udp.send, time.monotonic() + float(sys.argv[3])
while time.monotonic() < end:
    for _ in range(256):
        try:
            send(data)
        except OSError:
            pass
"""


def build_site(site):
    selvage, nft = site.add_node("n1", 1), site.add_node("n2", 2)
    site.lan.run("ip", "link", "set", "p-n2", "xdp", "off")  # nothing of ours in the other's way
    backends = {"selvage": site.add_backend("b1", 21, selvage), "nft": site.add_backend("b2", 22, nft),
                "direct": site.add_client("b3", 23)}
    for name, backend in backends.items():
        backend.serve(name, udp=["7000"])
        # What arrives on port 7001 nobody answers, not even by ICMP.
        backend.run("nft", "-f", "-", stdin="table ip filter { chain in { type filter hook input priority 0; udp dport 7001 counter drop; }; }")
    nft.ip(f"address add {NFT_VIP}/32 dev eth0")
    nft.run("nft", "-f", "-", stdin=RULES)
    service = manifests.service("echo", 200, ["7000/UDP", "7001/UDP"], {"health-check": "udp", "health-port": 7000,
                                                                       "health-expect": "pong"})
    selvage.start_daemon()
    selvage.apply(manifests.stream(manifests.POOL, manifests.advertisement(), service,
                                   manifests.slices(service, [backends["selvage"]])))
    selvage.wait_backends("echo", up=4)
    return site.add_client(), backends, {"selvage": VIP, "nft": NFT_VIP, "direct": backends["direct"].address4}


def arrived(backend):
    rules = json.loads(backend.run("nft", "-j", "list", "table", "ip", "filter").stdout)
    return next(word["counter"]["packets"] for each in rules["nftables"] if "rule" in each
                for word in each["rule"]["expr"] if "counter" in word)


def latency(client, address, count):
    out = client.run(edge_site.PYTHON, edge_site.PEER, "udp-ping", "--to", address, "--port", 7000, "--count", count).stdout
    report = json.loads(out)
    if report["lost"]:
        raise edge_site.Failure(f"{report['lost']} of {count} packets to {address} were lost")
    return report["latency_us"]


def packets_per_second(client, backend, address, seconds):
    before, start = arrived(backend), time.monotonic()
    client.run(edge_site.PYTHON, "-c", SENDER, address, 7001, seconds, os.cpu_count() - 1)
    return (arrived(backend) - before) / seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seconds", type=float, default=1)
    options = parser.parse_args()
    with edge_site.Site() as site:
        client, backends, ways = build_site(site)
        latencies, rates = {way: [] for way in ways}, {way: [] for way in ways}
        for way, address in ways.items():
            latency(client, address, 500)  # warms the way up
        for _ in range(options.rounds):  # turn by turn, so that what else the machine does falls on all
            for way, address in ways.items():
                latencies[way].append(latency(client, address, options.count))
                rates[way].append(packets_per_second(client, backends[way], address, options.seconds))
        figures = {}
        for way in ways:
            figures[way] = {key: statistics.median(each[key] for each in latencies[way]) for key in ("p50", "p99", "p999")}
            print(json.dumps({"name": f"udp_latency_{way}", "unit": "us", "rounds": options.rounds, **figures[way]}))
        medians = {way: statistics.median(values) for way, values in rates.items()}
        for way, rate in medians.items():
            line = {"name": f"udp_packets_{way}", "unit": "packets/s", "rounds": options.rounds, "median": round(rate)}
            if way != "direct":  # what the node adds to the sender's and the bridge's work
                line["node_ns"] = round(1e9 / rate - 1e9 / medians["direct"])
            print(json.dumps(line))
        print(json.dumps({"name": "udp_nft_beside_selvage", "latency_p50_ratio": round(figures["nft"]["p50"] / figures["selvage"]["p50"], 3),
                          "packets_ratio": round(medians["selvage"] / medians["nft"], 3)}))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except edge_site.Failure as failure:
        print(f"nft_latency: {failure}", file=sys.stderr)
        sys.exit(1)
