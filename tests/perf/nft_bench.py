#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The same UDP flow through Selvage's XDP host, through nftables DNAT, and over a bare veth, in one run: tools/bench nft.

    client ── node ── backend      (selvage: XDP on both of the node's veths; nft: DNAT and the kernel's forwarding)
    client ─────────── backend     (direct: the floor)

Prints lines of JSON. The sender is pinned to processor 0, which does all of the way to the backend's socket in its softirq;
whoever answers or counts is pinned to processor 1.
"""
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

BUILD = pathlib.Path(os.environ.get("SELVAGE_BUILD", pathlib.Path(__file__).resolve().parents[2] / "build/bench"))
TOOL, ECHO, PASS = BUILD / "tests/programmer_tool", BUILD / "tests/perf/udp_echo", BUILD / "tests/xdp_pass.bpf.o"
PREFIX = f"bench{os.getpid()}"
VIP, CLIENT, BACKEND = "10.91.1.100", "10.91.1.2", "10.91.2.2"
ECHO_PORT, COUNT_PORT = 7000, 7001
ROUNDS, PINGS, BLAST_MS = 7, 20000, 1000
WAYS = ("direct", "nft", "selvage")


def run(*words, stdin=None):
    done = subprocess.run([str(word) for word in words], input=stdin, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, words))}: {done.stderr.strip() or done.returncode}")
    return done.stdout


class Way:
    """One topology: its namespaces, and the processes in them."""

    def __init__(self, kind, stack):
        self.kind, self.stack = kind, stack
        self.names = {part: f"{PREFIX}-{kind[0]}{part}" for part in (["c", "b"] if kind == "direct" else ["c", "n", "b"])}
        for name in self.names.values():
            run("ip", "netns", "add", name)
            stack.callback(subprocess.run, ["ip", "netns", "del", name], check=False)
            run("ip", "-n", name, "link", "set", "lo", "up")
        if kind == "direct":
            self.link("c", "eth0", CLIENT, "b", "eth0", BACKEND, "/16")
            self.target = BACKEND
            return
        self.link("c", "eth0", CLIENT, "n", "c0", "10.91.1.1")
        self.link("b", "eth0", BACKEND, "n", "b0", "10.91.2.1")
        run("ip", "-n", self.names["b"], "route", "add", "default", "via", "10.91.2.1")
        self.target = VIP
        getattr(self, kind)()

    def link(self, a, a_name, a_address, b, b_name, b_address, length="/24"):
        run("ip", "link", "add", a_name, "netns", self.names[a], "type", "veth", "peer", "name", b_name, "netns", self.names[b])
        for part, name, address in ((a, a_name, a_address), (b, b_name, b_address)):
            run("ip", "-n", self.names[part], "address", "add", address + length, "dev", name)
            run("ip", "-n", self.names[part], "link", "set", name, "up")
            # Checksums would be left to hardware that is not there, and XDP would meet partial ones.
            self.inside(part, "ethtool", "-K", name, "tx", "off")

    def words(self, part, *words):
        return ["nsenter", f"--net=/run/netns/{self.names[part]}", "--", *map(str, words)]

    def inside(self, part, *words, stdin=None):
        return run(*self.words(part, *words), stdin=stdin)

    def start(self, part, *words, **more):
        process = subprocess.Popen(self.words(part, *words), **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, **more}, text=True)
        self.stack.callback(end, process)
        return process

    def mac(self, part, name):
        return json.loads(run("ip", "-j", "-n", self.names[part], "link", "show", name))[0]["address"]

    def nft(self):
        self.inside("n", "sysctl", "-qw", "net.ipv4.ip_forward=1")
        run("ip", "-n", self.names["n"], "address", "add", VIP + "/32", "dev", "c0")
        self.inside("n", "nft", "-f", "-", stdin=f"""table ip nat {{ chain in {{ type nat hook prerouting priority dstnat;
            ip daddr {VIP} udp dport {ECHO_PORT} dnat to {BACKEND}:{ECHO_PORT}
            ip daddr {VIP} udp dport {COUNT_PORT} dnat to {BACKEND}:{COUNT_PORT}
            }}
        }}
""")

    def selvage(self):
        for part in ("c", "b"):  # a veth passes on XDP's packets only to a peer with a program
            run("ip", "-n", self.names[part], "link", "set", "dev", "eth0", "xdp", "object", PASS, "section", "xdp.frags")
        pins = tempfile.mkdtemp(prefix="selvage-bench-")
        self.stack.callback(remove_pins, pins)
        tool = self.start("n", TOOL, pins + "/bpf")
        lines = ["interface c0 native", "interface b0 native", "route 10.91.1.0/24 c0", f"vip {VIP}"]
        for port in (ECHO_PORT, COUNT_PORT):
            lines += [f"service udp {VIP}:{port}", f"backend {BACKEND}:{port} b0 {self.mac('b', 'eth0')}"]
        said = [tool.stdout.readline()]
        tool.stdin.write("\n".join(lines + ["apply", "attach"]) + "\n")
        tool.stdin.flush()
        said += [tool.stdout.readline() for _ in range(2)]
        if any("error" in line for line in said) or said[-1].count('"xdp-native"') != 2:
            raise RuntimeError("attaching the packet program: " + " ".join(said))
        self.stack.callback(run_tool, tool, "remove")
        self.tool = tool

    def serve(self):
        self.start("b", ECHO, "echo", 1, BACKEND, ECHO_PORT).stdout.readline()
        self.counter = self.start("b", ECHO, "count", 1, BACKEND, COUNT_PORT)
        self.counter.stdout.readline()

    def counted(self):
        self.counter.stdin.write("\n")
        self.counter.stdin.flush()
        return int(self.counter.stdout.readline())

    def round_trips_us(self):
        return [int(line) / 1000 for line in self.inside("c", ECHO, "ping", 0, self.target, ECHO_PORT, PINGS).split()]

    def packets_a_second(self):
        before = self.counted()
        self.inside("c", ECHO, "blast", 0, self.target, COUNT_PORT, BLAST_MS)
        time.sleep(0.1)  # what is on the way
        return (self.counted() - before) * 1000 / BLAST_MS


def run_tool(tool, line):
    tool.stdin.write(line + "\n")
    tool.stdin.flush()
    return tool.stdout.readline()


def remove_pins(pins):
    subprocess.run(["umount", pins + "/bpf"], check=False, stderr=subprocess.DEVNULL)
    for directory in (pins + "/bpf", pins):
        with contextlib.suppress(OSError):
            os.rmdir(directory)


def end(process):
    process.kill()
    process.communicate()


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def main():
    trips = {way: {"p50": [], "p99": [], "p999": []} for way in WAYS}
    rates = {way: [] for way in WAYS}
    with contextlib.ExitStack() as stack:
        ways = [Way(kind, stack) for kind in WAYS]
        for way in ways:
            way.serve()
        for _ in range(ROUNDS):
            for way in ways:
                values = way.round_trips_us()
                if len(values) < PINGS * 0.999:
                    raise RuntimeError(f"{way.kind}: {PINGS - len(values)} of {PINGS} datagrams were not answered")
                for name, share in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999)):
                    trips[way.kind][name].append(percentile(values, share))
                rates[way.kind].append(way.packets_a_second())
    for way in WAYS:
        medians = {name: statistics.median(values) for name, values in trips[way].items()}
        floor = statistics.median(trips["direct"]["p50"])
        rate, bare = statistics.median(rates[way]), statistics.median(rates["direct"])
        print(json.dumps({
            "bench": "nft", "case": way, "text": {"direct": "bare veth", "nft": "nftables DNAT", "selvage": "Selvage, XDP"}[way],
            **{f"round_trip_{name}_us": round(value, 1) for name, value in medians.items()},
            "round_trip_over_direct_us": round(medians["p50"] - floor, 2),
            "packets_a_second": round(rate), "ratio_to_nft": round(rate / statistics.median(rates["nft"]), 2),
            "over_direct_ns_a_packet": round(1e9 / rate - 1e9 / bare), "rounds": ROUNDS}), flush=True)


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, OSError) as error:
        sys.exit(f"nft_bench: {error}")
