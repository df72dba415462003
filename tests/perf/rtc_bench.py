#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Media of many WebRTC sessions through Selvage, coturn's relay, nftables DNAT, and over a bare veth, in one run: tools/bench rtc.

    client ── node ── agent      (Selvage: XDP on both of the node's veths; nft: DNAT and the kernel's forwarding; turn: coturn)
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
import statistics
import subprocess
import sys
import time

import nft_bench
from nft_bench import BACKEND, BUILD, COUNT_PORT, end, run

LOAD = BUILD / "tests/perf/rtc_load"
TURN_PORT = 3478
SESSIONS = (1, 1000, 10000)
PER_SESSION = 50   # packets a second
ROUNDS = 5
ROUND_MS = {1: 4000, 1000: 1000, 10000: 1000}
COST_SESSIONS, COST_MS = 1000, 1000
NICE = -20         # what else runs shall wait
TEXT = {"direct": "bare veth", "nft": "nftables DNAT", "turn": "coturn", "selvage": "Selvage, XDP"}


class Way(nft_bench.Way):
    """One topology with an agent, and clients that come for each number of sessions."""

    def turn(self):
        """coturn on the node, with nobody to be authenticated: each client is who it is."""
        self.target = "10.91.1.1"
        self.relay = self.start("n", "taskset", "-c", "1", "turnserver", "-n", "--no-auth", "--no-cli", "--no-tls", "--no-dtls",
                                "--listening-ip", self.target, "--listening-port", TURN_PORT, "--relay-ip", "10.91.2.1",
                                "--min-port", 20000, "--max-port", 60000, "--relay-threads", 1, "--no-stdout-log", "--log-file", "/dev/null",
                                "--simple-log", "--pidfile", "")
        wait_until(lambda: f":{TURN_PORT} " in self.inside("n", "ss", "-Hlun"), "coturn to listen")

    def serve(self):
        self.agent = self.start("b", LOAD, "receive", 1, BACKEND, COUNT_PORT)
        self.agent.stdout.readline()

    def clients(self, sessions, stack):
        kind, port, more = "plain", COUNT_PORT, ()
        if self.kind == "turn":
            kind, port, more = "turn", TURN_PORT, (BACKEND, COUNT_PORT)
        elif self.kind == "selvage":
            kind, more = "stun", (self.fragments,)
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
                sent, received = send(way, loads[way.kind], sessions * PER_SESSION, ROUND_MS[sessions])
                results[way.kind].append({**received, "lost": 1 - received["received"] / sent["sent"], "rate": sent["sent"] / sent["seconds"]})
    medians = {kind: {key: statistics.median(each[key] for each in rounds) for key in rounds[0]} for kind, rounds in results.items()}
    for way in ways:
        mine, floor = medians[way.kind], medians["direct"]
        print(json.dumps({
            "bench": "rtc", "case": f"{way.kind}-{sessions}", "text": f"{TEXT[way.kind]}, {sessions} session{'s' * (sessions > 1)}",
            **{f"one_way_{key}": round(mine[key], 2) for key in ("p50_us", "p99_us", "p999_us")},
            "added_p50_us": round(mine["p50_us"] - floor["p50_us"], 2), "added_p99_us": round(mine["p99_us"] - floor["p99_us"], 2),
            "lost_percent": round(100 * mine["lost"], 3), "packets_a_second": round(mine["rate"]), "rounds": ROUNDS}), flush=True)
    return {kind: setup["sessions"] / max(setup["seconds"], 1e-6) for kind, setup in setups.items()}


def costs(ways):
    """Processor time of the middle for a packet that arrived."""
    results = {way.kind: [] for way in ways}
    with contextlib.ExitStack() as stack:
        loads = {way.kind: way.clients(COST_SESSIONS, stack) for way in ways}
        for way in ways:
            ask(loads[way.kind], "setup")
            way.give_threads()
        for _ in range(ROUNDS):
            for way in ways:
                before = way.worker_ns()
                _, received = send(way, loads[way.kind], 0, COST_MS)
                results[way.kind].append((way.worker_ns() - before) / max(1, received["received"]))
    return {kind: statistics.median(values) for kind, values in results.items()}


def main():
    os.setpriority(os.PRIO_PROCESS, 0, NICE)
    with contextlib.ExitStack() as stack:
        ways = [Way(kind, stack) for kind in TEXT if kind != "selvage"]
        for way in ways:
            way.serve()
        for sessions in SESSIONS:
            setups = latencies(ways, sessions)
        cost = costs([way for way in ways if way.kind != "direct"])
    for kind, nanoseconds in cost.items():
        print(json.dumps({
            "bench": "rtc-cost", "case": kind, "text": TEXT[kind], "ns_a_packet": round(nanoseconds),
            "packets_a_second_of_a_core": round(1e9 / nanoseconds), "ratio_to_turn": round(cost["turn"] / nanoseconds, 2),
            "setups_a_second": round(setups[kind]) if kind != "nft" else 0, "rounds": ROUNDS}), flush=True)


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, OSError) as error:
        sys.exit(f"rtc_bench: {error}")
