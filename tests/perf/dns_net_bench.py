#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Answers of a warm cache over a veth: Selvage, unbound, dnsmasq and knot-resolver beside echoes, in one run: tools/bench dns.

    client ── node      (echoes: a program at tc or XDP that exchanges addresses, a process that sends back what it gets)

Prints lines of JSON. The client (tests/perf/dns_load.c) is pinned to processor 0, all servers' processes to processor 1. Each has the
same ten thousand names of two addresses from nsd, which has ended before anything is measured. (XDP on a veth can make a frame longer by
no more than what rounding to 64 bytes has left: names are so long that two addresses fit in there, and four never would.)

Latency: one query after the other. Cost: processor time of whoever does the server's work, for a query that it answered, with 128 on the
way: of the process, or of a thread for the work of the node's NIC (threaded NAPI), which is all that Selvage and the echoes of BPF need.
Nearly all of that thread's time is the veth's own, and there is none of the kernel's work before the processes' sockets in theirs, so the
program's time is told as well, as the kernel's statistics of BPF have it in rounds of their own; the aim is about that. Nobody's time to
deliver to the client's socket is in any of it: the client's NIC has a thread of its own.

The best round counts, of each way and each figure: the machine may be shared, and that is the round that others disturbed least.
"""
import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import nft_bench
import rtc_bench
from nft_bench import BUILD, ECHO, PASS, PREFIX, run
from rtc_bench import NICE, ask, napi_threads, remove, wait_until

LOAD, BPF_ECHO = BUILD / "tests/perf/dns_load", BUILD / "tests/perf/dns_echo.bpf.o"
SELVAGE, SELVAGED, RESOLVER = BUILD / "ctrl/cli/selvage", BUILD / "ctrl/daemon/selvaged", BUILD / "ctrl/resolver/selvage-dns"
CLIENT, NODE, NSD = "10.91.1.2", "10.91.1.1", "10.53.0.3"
NAMES = int(os.environ.get("SELVAGE_BENCH_NAMES", 10000))
ROUNDS, PINGS = 5, 4000
LOAD_MS, COST_ROUNDS, STATS_MS = 400, 5, 250
LATENCY_AIM, COST_AIM = 1.5, 20
TEXT = {"tc-echo": "echo, tc", "selvage-tc": "Selvage, tc", "xdp-echo": "echo, XDP", "selvage-xdp": "Selvage, XDP",
        "udp-echo": "echo, process", "unbound": "unbound", "dnsmasq": "dnsmasq", "kresd": "knot-resolver"}
FLOOR = {"selvage-tc": "tc-echo", "selvage-xdp": "xdp-echo"}
PROGRAMS = {"tc-echo": "echo_tc", "selvage-tc": "edge_tc", "xdp-echo": "echo_xdp", "selvage-xdp": "edge_xdp"}


class Way(nft_bench.Way):
    """A client, a node and who answers there."""

    def __init__(self, kind, stack):
        self.kind, self.stack, self.worker, self.process, self.daemon = kind, stack, None, None, None
        self.bpf = kind in PROGRAMS
        self.names = {part: f"{PREFIX}-{kind}-{part}" for part in "cn"}
        for name in self.names.values():
            run("ip", "netns", "add", name)
            stack.callback(subprocess.run, ["ip", "netns", "del", name], check=False)
            run("ip", "-n", name, "link", "set", "lo", "up")
        self.link("c", "eth0", CLIENT, "n", "c0", NODE)
        run("ip", "-n", self.names["n"], "address", "add", NSD + "/32", "dev", "lo")
        for part, link, to, at in (("c", "eth0", NODE, ("n", "c0")), ("n", "c0", CLIENT, ("c", "eth0"))):
            run("ip", "-n", self.names[part], "neighbour", "replace", to, "lladdr", self.mac(*at), "dev", link)
        if kind.endswith("-xdp") or kind == "xdp-echo":  # a veth passes on XDP's packets only to a peer with a program
            run("ip", "-n", self.names["c"], "link", "set", "dev", "eth0", "xdp", "object", PASS, "section", "xdp.frags")
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="selvage-bench-"))
        stack.callback(remove, self.place)
        getattr(self, kind.replace("-", "_"))()
        if self.process:
            wait_until(lambda: self.listens(NODE), f"{TEXT[kind]} to listen")

    def serve(self, *words):
        with open(self.place / "log", "a") as log:
            return self.start("n", "taskset", "-c", "1", *words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def listens(self, address):
        return f"{address}:53 " in self.inside("n", "ss", "-Hlun")

    def file(self, name, text):
        (self.place / name).write_text(text)
        return self.place / name

    # --- echoes

    def tc_echo(self):
        self.inside("n", "tc", "qdisc", "add", "dev", "c0", "clsact")
        self.inside("n", "tc", "filter", "add", "dev", "c0", "ingress", "bpf", "direct-action", "object-file", BPF_ECHO, "section", "tc")

    def xdp_echo(self):
        run("ip", "-n", self.names["n"], "link", "set", "dev", "c0", "xdp", "object", BPF_ECHO, "section", "xdp.frags")

    def udp_echo(self):
        self.process = self.serve(ECHO, "echo", 1, NODE, 53)

    # --- servers

    def nsd(self):
        self.file("bench.zone", "$ORIGIN bench.\n$TTL 86400\n@ SOA ns host 1 3600 900 86400 60\n@ NS ns\nns A 192.0.2.1\n" + "".join(
            f"n{name:05} A 198.{18 + name // 65536}.{name // 256 % 256}.{name % 256}\nn{name:05} A 203.0.113.1\n" for name in range(NAMES)))
        process = self.serve("nsd", "-d", "-c", self.file("nsd.conf", f"""server:
  ip-address: {NSD}
  username: ""
  chroot: ""
  database: ""
  zonesdir: "{self.place}"
  pidfile: ""
  xfrdfile: "{self.place}/xfrd.state"
  zonelistfile: "{self.place}/zone.list"
  server-count: 1
  rrl-ratelimit: 0
remote-control:
  control-enable: no
zone:
  name: "bench"
  zonefile: "bench.zone"
"""))
        wait_until(lambda: self.listens(NSD), "nsd to listen")
        return process

    def unbound(self):
        self.process = self.serve("unbound", "-d", "-c", self.file("unbound.conf", f"""server:
  interface: {NODE}
  access-control: 0.0.0.0/0 allow
  username: ""
  chroot: ""
  directory: "{self.place}"
  pidfile: ""
  use-syslog: no
  module-config: "iterator"
  num-threads: 1
  msg-cache-size: 64m
  rrset-cache-size: 128m
  do-not-query-localhost: no
remote-control:
  control-enable: no
forward-zone:
  name: "."
  forward-addr: {NSD}
"""))

    def dnsmasq(self):
        self.process = self.serve("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root",
                                  "--pid-file=", f"--server={NSD}", f"--listen-address={NODE}", "--bind-interfaces",
                                  f"--cache-size={6 * NAMES}", "--log-facility=-")

    def kresd(self):
        (self.place / "kresd").mkdir()
        self.process = self.serve("kresd", "-n", "-c", self.file("kresd.conf", f"""
net.listen('{NODE}', 53)
cache.size = 200 * MB
trust_anchors.remove('.')
modules.unload('ta_update')
modules.unload('ta_signal_query')
policy.add(policy.all(policy.FORWARD('{NSD}')))
"""), self.place / "kresd")

    def selvage(self, **interfaces):
        config = self.file("selvage.yaml", json.dumps({
            "node": {"name": "n1"}, **interfaces, "runDirectory": str(self.place / "run"), "stateDirectory": str(self.place / "state"),
            "metrics": {"address": "127.0.0.1:9480"}, "dns": {"listen": [NODE], "upstreams": [NSD]}}))
        self.daemon = self.serve(SELVAGED, "--config", config)
        wait_until(lambda: (self.place / "run/selvage.sock").exists() and json.loads(self.cli("status", "-o", "json")).get("ready"),
                   "selvaged to be ready")
        self.resolver = self.serve(RESOLVER, "--config", config)
        wait_until(self.connected, "packets' cache to be found")

    def connected(self):
        with contextlib.suppress(RuntimeError):  # selvage-dns is not there yet
            return json.loads(self.cli("dns", "stats", "-o", "json"))["fastPath"]["connected"]
        return False

    def selvage_tc(self):
        self.selvage(workloadInterfaces=["c0"])

    def selvage_xdp(self):
        self.selvage(interfaces=[{"name": "c0", "engine": "xdp-native"}])

    def cli(self, *words):
        return run(SELVAGE, "--socket", self.place / "run/selvage.sock", *words)

    # --- measuring

    def client(self):
        self.load = self.start("c", LOAD, 0, NODE, 53, NAMES, "echo" if "echo" in self.kind else "dns")

    def warm(self):
        if "echo" in self.kind:
            return
        nsd = self.nsd()
        for _ in range(2):
            ask(self.load, "warm")
        nsd.terminate()
        nsd.wait(10)

    def left(self):
        """Queries that packets' cache left to the process so far."""
        if not self.daemon:
            return 0
        return sum(int(float(line.split()[-1])) for line in self.cli("metrics").splitlines()
                   if line.startswith("selvage_dns_queries_total") and 'place="fastpath"' in line
                   and re.search('result="(miss|expired|unusual|no_room|torn)"', line))

    def program(self):
        """What the kernel knows of the program: time and runs."""
        found = [each for each in json.loads(run("bpftool", "-j", "prog", "show")) if each.get("name") == PROGRAMS[self.kind]]
        return sum(each.get("run_time_ns", 0) for each in found), sum(each.get("run_cnt", 0) for each in found)

    def give_threads(self):
        for part, name in (("n", "c0"), ("c", "eth0")):
            before = napi_threads(name)
            self.inside(part, "ethtool", "-K", name, "gro", "on")
            # sysfs shows the namespace of whoever mounted it
            self.inside(part, "unshare", "-m", "sh", "-c", f"mount -t sysfs sys /sys && echo 1 >/sys/class/net/{name}/threaded")
            thread, = napi_threads(name) - before
            run("taskset", "-pc", 1 if part == "n" else 0, thread.name)
            os.setpriority(os.PRIO_PROCESS, int(thread.name), NICE)
            if part == "n" and self.bpf:
                self.worker = thread

    def worker_ns(self):
        tasks = [self.worker] if self.worker else pathlib.Path(f"/proc/{self.process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


def checked(way, result):
    # who has no processor for long loses what its socket has no room for
    if result["wrong"] or result["lost"] > 0.05 * result["answered"] + 5:
        raise RuntimeError(f"{TEXT[way.kind]}: {result}")
    return result


def latencies(ways):
    results = {way.kind: [] for way in ways}
    left = {way.kind: way.left() for way in ways}
    for _ in range(ROUNDS):
        for way in ways:
            results[way.kind].append(checked(way, ask(way.load, f"ping {PINGS}")))
    best = {kind: {key: min(each[key] for each in rounds) for key in ("p50_us", "p99_us", "p999_us")} for kind, rounds in results.items()}
    for way in ways:
        mine, floor = best[way.kind], best[FLOOR.get(way.kind, "tc-echo")]
        ratios = {f"{key}_to_floor": round(mine[f"{key}_us"] / floor[f"{key}_us"], 2) for key in ("p50", "p99")}
        print(json.dumps({
            "bench": "dns-veth", "case": way.kind, "text": TEXT[way.kind], **mine, **ratios,
            "left_to_process_percent": round(100 * (way.left() - left[way.kind]) / (ROUNDS * PINGS), 2), "rounds": ROUNDS,
            **({"aim": LATENCY_AIM, "met": max(ratios.values()) <= LATENCY_AIM} if way.kind in FLOOR else {})}), flush=True)


def costs(ways):
    cost, rate, program = ({way.kind: [] for way in ways} for _ in range(3))
    for way in ways:
        way.give_threads()
    for _ in range(COST_ROUNDS):
        for way in ways:
            before = way.worker_ns()
            result = checked(way, ask(way.load, f"load {LOAD_MS}"))
            cost[way.kind].append((way.worker_ns() - before) / result["answered"])
            rate[way.kind].append(result["answered"] / result["seconds"])
    with bpf_statistics():
        for _ in range(COST_ROUNDS):
            for way in ways:
                if way.bpf:
                    before = way.program()
                    ask(way.load, f"load {STATS_MS}")
                    after = way.program()
                    program[way.kind].append((after[0] - before[0]) / max(1, after[1] - before[1]))
    cost, rate = {kind: min(values) for kind, values in cost.items()}, {kind: max(values) for kind, values in rate.items()}
    for way in ways:
        own = min(program[way.kind]) if way.bpf else cost[way.kind]
        print(json.dumps({
            "bench": "dns-cost", "case": way.kind, "text": TEXT[way.kind], "ns_a_query": round(cost[way.kind]),
            "program_ns": round(own) if way.bpf else "-", "queries_a_second_of_a_core": round(1e9 / cost[way.kind]),
            "came_about_a_second": round(rate[way.kind]), "unbound_to_this": round(cost["unbound"] / cost[way.kind], 1),
            "unbound_to_program": round(cost["unbound"] / own, 1), "rounds": COST_ROUNDS,
            **({"aim": COST_AIM, "met": cost["unbound"] / own >= COST_AIM} if way.kind in FLOOR else {})}), flush=True)


@contextlib.contextmanager
def bpf_statistics():
    path = pathlib.Path("/proc/sys/kernel/bpf_stats_enabled")
    before = path.read_text()
    path.write_text("1\n")
    try:
        yield
    finally:
        path.write_text(before)


def main():
    os.setpriority(os.PRIO_PROCESS, 0, NICE)
    with contextlib.ExitStack() as stack:
        ways = [Way(kind, stack) for kind in TEXT]
        for way in ways:
            way.client()
            way.warm()
        latencies(ways)
        costs(ways)


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, OSError, rtc_bench.edge_site.Failure) as error:
        sys.exit(f"dns_net_bench: {error}")
