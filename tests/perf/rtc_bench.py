#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Media of many WebRTC sessions through Selvage, coturn's relay, nftables DNAT, and over a bare veth, in one run: tools/bench rtc.

    client ── node ── agent      (Selvage: XDP on both of the node's veths; nft: DNAT and the kernel's forwarding; turn: coturn;
                                  hop: XDP that only sends on, the floor of whatever stands in between)
    client ────────── agent      (direct: the floor)

Prints lines of JSON. tests/perf/rtc_load.c is all clients, pinned to processor 0, and the agent, pinned to processor 1, where coturn
is, too. Times are one-way, up, from before the client's send() until the agent's kernel has the packet.

What a packet costs the middle is the processor time of whoever does the middle's work, under more load than it can take: of coturn's
process, or of a thread that does the work of the NIC towards the clients (threaded NAPI), which is all that Selvage and nftables need.
Nobody's time to deliver to the agent's socket is in that: the agent's NIC has a thread of its own.
"""
import contextlib
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import nft_bench
from nft_bench import BACKEND, BUILD, COUNT_PORT, PASS, VIP, end, run

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "netns"))
import edge_site  # noqa: E402

LOAD, HOP = BUILD / "tests/perf/rtc_load", BUILD / "tests/perf/xdp_hop.bpf.o"
TURN_PORT = 3478
SESSIONS = (1, 1000, 10000)
MANIFESTS = f"""
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {{name: lan, namespace: metallb-system}}
spec: {{addresses: [{VIP}/32]}}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {{name: lan, namespace: metallb-system}}
spec: {{ipAddressPools: [lan]}}
---
apiVersion: v1
kind: Service
metadata: {{name: calls, annotations: {{selvage.io/health-check: none}}}}
spec: {{type: LoadBalancer, ports: [{{name: media, port: {COUNT_PORT}, protocol: UDP, appProtocol: selvage.io/webrtc}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: calls, labels: {{kubernetes.io/service-name: calls}}}}
addressType: IPv4
ports: [{{name: media, port: {COUNT_PORT}, protocol: UDP}}]
endpoints: [{{addresses: [{BACKEND}]}}]
"""
PER_SESSION = 50   # packets a second
ROUNDS = 5
ROUND_MS = {1: 2000, 1000: 1000, 10000: 1000}
COST_SESSIONS, COST_MS = 1000, 1000
AIM = 10           # times coturn's packets a second of one core
NICE = -20         # what else runs shall wait
TEXT = {"direct": "bare veth", "nft": "nftables DNAT", "turn": "coturn", "hop": "XDP that redirects, no more", "selvage": "Selvage, XDP"}


class Way(nft_bench.Way):
    """One topology with an agent, and clients that come for each number of sessions."""

    def turn(self):
        """coturn on the node, with nobody to be authenticated: each client is who it is."""
        self.target = "10.91.1.1"
        self.relay = self.start("n", "taskset", "-c", "1", "turnserver", "-n", "--no-auth", "--no-cli", "--no-tls", "--no-dtls",
                                "--listening-ip", self.target, "--listening-port", TURN_PORT, "--relay-ip", "10.91.2.1",
                                "--min-port", 20000, "--max-port", 60000, "--relay-threads", 1, "--no-stdout-log", "--log-file", "/dev/null",
                                "--simple-log", "--pidfile", "", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: f":{TURN_PORT} " in self.inside("n", "ss", "-Hlun"), "coturn to listen")

    def pass_on(self):
        """A veth passes on XDP's packets only to a peer with a program."""
        for part in ("c", "b"):
            run("ip", "-n", self.names[part], "link", "set", "dev", "eth0", "xdp", "object", PASS, "section", "xdp.frags")

    def hop(self):
        node, agent = self.names["n"], self.names["b"]
        run("ip", "-n", node, "link", "del", "b0")
        run("ip", "-n", node, "link", "add", "b0", "index", 20, "type", "veth", "peer", "name", "eth0", "netns", agent)
        run("ip", "-n", node, "link", "set", "b0", "up")
        run("ip", "-n", agent, "link", "set", "eth0", "address", "02:00:00:00:00:0b", "up")
        run("ip", "-n", agent, "address", "add", BACKEND + "/24", "dev", "eth0")
        self.inside("b", "ethtool", "-K", "eth0", "tx", "off")
        run("ip", "-n", self.names["c"], "route", "add", "default", "via", "10.91.1.1")
        self.pass_on()
        run("ip", "-n", self.names["n"], "link", "set", "c0", "xdp", "object", HOP, "section", "xdp.frags")
        self.target = BACKEND
        run("ip", "-n", self.names["c"], "neighbour", "replace", "10.91.1.1", "lladdr", self.mac("n", "c0"), "dev", "eth0")

    def selvage(self):
        """selvaged on the node, and fragments that say where the agent is."""
        self.pass_on()
        self.inside("n", "sysctl", "-qw", "net.ipv4.ip_forward=1")
        place = pathlib.Path(tempfile.mkdtemp(prefix="selvage-bench-"))
        self.stack.callback(remove, place)
        self.socket = place / "run/selvage.sock"
        (place / "selvage.yaml").write_text(json.dumps({
            "node": {"name": "n1"}, "interfaces": [{"name": name, "engine": "xdp-native"} for name in ("c0", "b0")],
            "runDirectory": str(place / "run"), "stateDirectory": str(place / "state"), "metrics": {"address": "127.0.0.1:9480"}}))
        with open(place / "log", "w") as log:
            self.daemon = self.start("n", BUILD / "ctrl/daemon/selvaged", "--config", place / "selvage.yaml", stdout=log, stderr=log)
        wait_until(lambda: self.daemon.poll() is None and self.socket.exists(), "selvaged to answer")
        wait_until(lambda: json.loads(self.cli("status", "-o", "json")).get("ready"), "selvaged to be ready")
        self.cli("apply", "-f", "-", stdin=MANIFESTS)
        wait_until(lambda: BACKEND in self.cli("service", "backends", "calls"), "the agent to be a backend")
        self.target = VIP

    def cli(self, *words, stdin=None):
        return run(BUILD / "ctrl/cli/selvage", "--socket", self.socket, *words, stdin=stdin)

    def fragments(self, sessions):
        """A file with one for each session."""
        path = self.socket.parent / f"fragments-{sessions}"
        path.write_text("".join(
            self.cli("session", "ufrag", "--service", "calls", "--backend", f"{BACKEND}:{COUNT_PORT}", "--count", min(1000, sessions - done))
            for done in range(0, sessions, 1000)))
        return path

    def serve(self):
        self.agent = self.start("b", LOAD, "receive", 1, BACKEND, COUNT_PORT)
        self.agent.stdout.readline()

    def clients(self, sessions, stack):
        kind, port, more = "plain", COUNT_PORT, ()
        if self.kind == "turn":
            kind, port, more = "turn", TURN_PORT, (BACKEND, COUNT_PORT)
        elif self.kind == "selvage":
            kind, more = "stun", (self.fragments(sessions),)
        load = self.start("c", LOAD, "send", 0, kind, self.target, port, sessions, *more)
        stack.callback(end, load)
        load.stdout.readline()
        return load

    def received(self):
        return ask(self.agent, "")

    def worker_ns(self):
        """Processor time so far of whoever does the middle's work."""
        tasks = pathlib.Path(f"/proc/{self.relay.pid}/task").iterdir() if self.kind == "turn" else [self.worker]
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)

    def worker_packets(self):
        """Packets that it has handled so far, whatever became of them behind it."""
        if self.kind == "turn":
            names, values = [line.split() for line in self.inside("n", "cat", "/proc/net/snmp").splitlines() if line.startswith("Udp:")]
            return int(values[names.index("OutDatagrams")])
        return json.loads(run("ip", "-j", "-s", "-n", self.names["n"], "link", "show", "c0"))[0]["stats64"]["rx"]["packets"]

    def give_threads(self):
        """Threads for the work of the node's NIC towards the clients, and for the agent's."""
        for part, name in (("n", "c0"), ("b", "eth0")):
            if part == "n" and self.kind == "turn":
                continue
            before = napi_threads(name)
            self.inside(part, "ethtool", "-K", name, "gro", "on")
            # sysfs shows the namespace of whoever mounted it
            self.inside(part, "unshare", "-m", "sh", "-c", f"mount -t sysfs sys /sys && echo 1 >/sys/class/net/{name}/threaded")
            thread, = napi_threads(name) - before
            run("taskset", "-pc", 1, thread.name)
            os.setpriority(os.PRIO_PROCESS, int(thread.name), NICE)
            if part == "n":
                self.worker = thread


def remove(place):
    for mount in edge_site.mounts_below(place):
        edge_site.unmount(mount)
    shutil.rmtree(place, ignore_errors=True)


def napi_threads(name):
    found = set()
    for process in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if process.name.isdigit() and (process / "comm").read_text().startswith(f"napi/{name}-"):
                found.add(process)
    return found


def wait_until(condition, what, seconds=20):
    end_s = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end_s:
            raise RuntimeError(f"waited {seconds} s for {what}")
        time.sleep(0.05)


def ask(process, line):
    process.stdin.write(line + "\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        raise RuntimeError(f"rtc_load ended with {process.wait()}")
    return json.loads(answer)


def send(way, load, rate, milliseconds):
    way.received()
    sent = ask(load, f"send {rate} {milliseconds}")
    time.sleep(0.2)  # what is on the way
    return sent, way.received()


def latencies(ways, sessions):
    """Rounds of all ways in turn, with so many sessions of 50 packets a second."""
    results = {way.kind: [] for way in ways}
    with contextlib.ExitStack() as stack:
        loads = {way.kind: way.clients(sessions, stack) for way in ways}
        setups = {way.kind: ask(loads[way.kind], "setup") for way in ways}
        for _ in range(ROUNDS):
            for way in ways:
                ask(loads[way.kind], "setup")  # consent: RFC 7675
                sent, received = send(way, loads[way.kind], sessions * PER_SESSION, ROUND_MS[sessions])
                results[way.kind].append({**received, "lost": 1 - received["received"] / sent["sent"], "rate": sent["sent"] / sent["seconds"]})
    medians = {kind: {key: statistics.median(each[key] for each in rounds) for key in rounds[0]} for kind, rounds in results.items()}
    for way in ways:
        mine, direct, hop = medians[way.kind], medians["direct"], medians["hop"]
        print(json.dumps({
            "bench": "rtc", "case": f"{way.kind}-{sessions}", "text": f"{TEXT[way.kind]}, {sessions} session{'s' * (sessions > 1)}",
            **{f"one_way_{key}": round(mine[key], 2) for key in ("p50_us", "p99_us", "p999_us")},
            "over_direct_us": round(mine["p50_us"] - direct["p50_us"], 2), "over_hop_us": round(mine["p50_us"] - hop["p50_us"], 2),
            "lost_percent": round(100 * mine["lost"], 3), "packets_a_second": round(mine["rate"]), "rounds": ROUNDS}), flush=True)
    return {kind: setup["sessions"] / max(setup["seconds"], 1e-6) for kind, setup in setups.items()}


def costs(ways):
    """Processor time of the middle for a packet that it handled."""
    results = {way.kind: [] for way in ways}
    with contextlib.ExitStack() as stack:
        loads = {way.kind: way.clients(COST_SESSIONS, stack) for way in ways}
        for way in ways:
            way.give_threads()
        for _ in range(ROUNDS):
            for way in ways:
                ask(loads[way.kind], "setup")
                before, packets = way.worker_ns(), way.worker_packets()
                send(way, loads[way.kind], 0, COST_MS)
                results[way.kind].append((way.worker_ns() - before) / max(1, way.worker_packets() - packets))
    return {kind: statistics.median(values) for kind, values in results.items()}


def main():
    os.setpriority(os.PRIO_PROCESS, 0, NICE)
    with contextlib.ExitStack() as stack:
        ways = [Way(kind, stack) for kind in TEXT]
        for way in ways:
            way.serve()
        for sessions in SESSIONS:
            setups = latencies(ways, sessions)
        cost = costs([way for way in ways if way.kind != "direct"])
    for kind, nanoseconds in cost.items():
        print(json.dumps({
            "bench": "rtc-cost", "case": kind, "text": TEXT[kind], "ns_a_packet": round(nanoseconds),
            "packets_a_second_of_a_core": round(1e9 / nanoseconds), "ratio_to_turn": round(cost["turn"] / nanoseconds, 2),
            "setups_a_second": round(setups[kind]) if kind in ("turn", "selvage") else "-", "rounds": ROUNDS,
            **({"aim": AIM, "met": cost["turn"] / nanoseconds > AIM} if kind == "selvage" else {})}), flush=True)


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, OSError) as error:
        sys.exit(f"rtc_bench: {error}")
