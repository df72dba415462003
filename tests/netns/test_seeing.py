# SPDX-License-Identifier: Apache-2.0
"""What operators see of packets: trace, captures, explain, drops, top; told from real traffic."""
import json
import signal
import socket
import struct
import subprocess
import threading

import pytest
from scapy.layers.inet import IP, UDP
from scapy.utils import PcapNgReader

import edge_site
import manifests

VIP4, VIP6 = manifests.vips(200)
CLIENT4 = "192.0.2.101"


@pytest.fixture
def node(echo_node):
    echo_node.client.run("ping", "-c", "1", VIP4)
    return echo_node


@pytest.fixture
def standing(standing_echo_node):
    """For tests that leave nothing behind but flows and counts."""
    edge_site.wait_for(lambda: not traced(standing_echo_node), 10, "the last test's trace to end")
    standing_echo_node.client.run("ping", "-c", "1", VIP4)
    return standing_echo_node


class Reader:
    """A verb that goes on, and the lines that it has printed."""

    def __init__(self, node, *words):
        self.process = node.start(edge_site.BUILD / "ctrl/cli/selvage", "--socket", node.socket_path, *words,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.lines = []
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.append(line.decode())

    def json(self):
        return [json.loads(line) for line in list(self.lines)]

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        errors = self.process.stderr.read().decode()
        status = self.process.wait(10)
        self.thread.join(10)
        return status, errors


def traced(node):
    """Whether the packet program reports packets now: only then is nothing missed."""
    return int.from_bytes(edge_site.map_bytes(node.run_directory / "bpf" / "edge_config")[8:12], "little") != 0


def ask(node, port=7000, length=100, source=5000):
    with node.client.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        udp.bind((CLIENT4, source))
        udp.sendto(b"0 0".ljust(length), (VIP4, port))


def options(data):
    """Options of a pcapng block, by code."""
    found = {}
    while data and data[:2] != b"\0\0":
        code, length = struct.unpack("<HH", data[:4])
        found[code] = data[4:4 + length]
        data = data[4 + (length + 3) // 4 * 4:]
    return found


def comments(capture):
    """(interface, comment) of every packet: draft-ietf-opsawg-pcapng, sections 4.2 and 4.3; options 1 and 2."""
    data, names, found = capture.read_bytes(), [], []
    while data:
        kind, length = struct.unpack("<II", data[:8])
        body = data[8:length - 4]
        assert struct.unpack("<I", data[length - 4:length])[0] == length
        if kind == 1:
            names.append(options(body[8:])[2].decode())
        if kind == 6:
            interface, _, _, captured, _ = struct.unpack("<5I", body[:20])
            found.append((names[interface], options(body[20 + (captured + 3) // 4 * 4:])[1].decode()))
        data = data[length:]
    return found


# --- captures ------------------------------------------------------------------------------------------------------------


def test_captures_hold_whole_packets_names_and_comments(standing, tmp_path):
    capture = tmp_path / "out.pcapng"
    trace = Reader(standing, "trace", "--filter", f"udp and host {CLIENT4} and port 5000", "-w", capture, "-c", "4")
    edge_site.wait_for(lambda: traced(standing), 10, "the trace to begin")
    ask(standing, length=1400)
    edge_site.wait_for(lambda: capture.stat().st_size > 2900, 10, "the request and its answer")
    ask(standing, port=7009, length=1)
    ask(standing, port=7009, length=1)
    assert trace.process.wait(10) == 0, trace.stop()
    packets = list(PcapNgReader(str(capture)))
    assert [len(each) for each in packets[:2]] == [1442, len(packets[1])] and len(packets) == 4
    request, answer = packets[:2]
    assert request[IP].dst == VIP4 and bytes(request[UDP].payload) == b"0 0".ljust(1400), "as it came, before it is rewritten"
    assert answer[IP].dst == CLIENT4 and answer[IP].src in ("192.0.2.21", "10.77.1.2")
    first, second, closed = comments(capture)[:3]
    assert first[0] == "eth0" and second[0] in ("eth0", "vethw1")
    assert "(lb) service default/echo:p7000-udp backend " in first[1] and first[1].startswith(("redirect", "tx"))
    assert "new flow" in first[1] and "new flow" not in second[1]
    assert closed == ("eth0", "drop vip_port_closed (vip): The virtual IP has no service on this protocol and port.")
    # other people's programs read it too
    told = edge_site.run("tcpdump", "-nn", "-r", capture).stdout
    assert told.count(f"{VIP4}.7009") == 2 and "(1400)" in told and "truncated" not in told


def test_a_capture_goes_to_standard_output(standing, tmp_path):
    trace = subprocess.Popen([edge_site.BUILD / "ctrl/cli/selvage", "--socket", standing.socket_path, "trace", "--filter", "port 7009",
                              "--snaplen", "60", "-c", "2", "-w", "-"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    reader = subprocess.Popen(["tcpdump", "-nn", "-l", "-r", "-"], stdin=trace.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    edge_site.wait_for(lambda: traced(standing), 10, "the trace to begin")
    ask(standing, port=7009, length=500)
    # what is written is seen before the trace has ended
    line = edge_site.read_line(reader, 10, "tcpdump's line")
    assert f"{CLIENT4}.5000 > {VIP4}.7009" in line and "(500)" in line
    ask(standing, port=7009, length=500)
    assert trace.wait(10) == 0 and reader.wait(10) == 0
    assert "2 packets written to standard output" in trace.stderr.read().decode()


def test_filters_choose_and_are_refused(standing):
    def first(expression, source, port=7000):
        trace = Reader(standing, "trace", "--filter", expression, "-o", "json", "-c", "1")
        edge_site.wait_for(lambda: traced(standing), 10, "the trace to begin")
        ask(standing, port=7010, source=source)  # never the right one
        ask(standing, port=port, source=source)
        assert trace.process.wait(10) == 0, trace.stop()
        trace.thread.join(10)
        packet, = trace.json()
        return packet
    backend = first("service default/echo and src host 192.0.2.101", 5001)["backend"]
    packet = first(f"service echo:p7000-udp and backend {backend} and not new and udp src port 5001", 5001)
    assert packet["backend"] == backend and packet["service"] == "default/echo:p7000-udp" and "newFlow" not in packet
    assert first("new and interface eth* and function lb and not net 10.0.0.0/8", 5002)["newFlow"] is True
    assert first("verdict drop and reason vip_port_closed and port 7011-7012", 5003, port=7012)["destinationPort"] == 7012
    bad = standing.selvage("trace", "--filter", "udp and prt 7", check=False)
    assert bad.returncode == 2 and 'column 9, at "prt 7": this word is not known; did you mean "port"?' in bad.stderr


# --- interesting ones ----------------------------------------------------------------------------------------------------


def test_interesting_packets_of_a_flood_are_few(standing, measured):
    """A flood of drops: a few are told, the rest is counted; packets of flows that go on are neither."""
    count, rate = 30000, 40
    with standing.client.client("udp-flows", VIP4, 7000, flows=5, interval_ms=10) as flows:
        flows.until(lambda report: report["received"] >= 20, 10, "20 answers")
        trace = Reader(standing, "trace", "--interesting", "--rate", str(rate), "-o", "json")
        edge_site.wait_for(lambda: traced(standing), 10, "the trace to begin")
        edge_site.wait_for(lambda: flows.report()["received"] >= 100, 10, "100 answers")
        with standing.client.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            for _ in range(count):
                udp.sendto(b"x", (VIP4, 7009))
        told = lambda: ([each for each in trace.json() if each.get("reason") == "vip_port_closed"],
                        sum(each.get("notShown", 0) for each in trace.json()))
        edge_site.wait_for(lambda: len(told()[0]) + told()[1] >= count, 10, lambda: f"all to be told or counted: {told()[1]}")
        shown, hidden = told()
        flows.stop()
    measured("drops in the flood", count)
    measured("of them shown", len(shown))
    assert len(shown) + hidden == count, "every one is shown or counted"
    assert 0 < len(shown) < count / 10
    assert not [each for each in trace.json() if each.get("verdict") in ("redirect", "tx") and "newFlow" not in each]
    assert trace.stop()[0] == 0
    edge_site.wait_for(lambda: not traced(standing), 10, "the packet program to stop telling")


def test_a_trace_ends_when_told_in_the_middle_of_a_flood(standing):
    """The signal comes while a packet is being shown, more often than not."""
    with standing.client.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        for _ in range(10):
            trace = Reader(standing, "trace", "--filter", "drops")
            edge_site.wait_for(lambda: traced(standing), 10, "the trace to begin")
            for _ in range(500):
                udp.sendto(b"x", (VIP4, 7009))
            edge_site.wait_for(lambda: trace.lines, 10, "the first line")
            assert trace.stop()[0] == 0
            edge_site.wait_for(lambda: not traced(standing), 10, "the packet program to stop telling")


# --- rates ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def throughput(site):
    """A TCP and UDP service whose backend is an iperf3."""
    node = site.add_node()
    client = site.add_client()
    worker = node.workload("w1", 1)
    worker.start("iperf3", "-s", stdout=subprocess.DEVNULL)
    web = manifests.service("iperf", 200, ["5201/TCP", "5201/UDP"], {"health-check": "none"})
    node.start_daemon()
    node.apply(manifests.stream(manifests.POOL, manifests.advertisement(), web, manifests.slices(web, [worker])))
    node.wait_backends("iperf", up=4)
    edge_site.wait_for(lambda: client.run("nc", "-z", "-w", "1", VIP4, "5201", check=False).returncode == 0, 10, "iperf3 to listen")
    return node, client


def test_top_says_what_iperf3_says(throughput, measured):
    """50 Mbit/s of UDP to the backend, and as many back, over a restart of the daemon."""
    node, client = throughput
    for reverse in ([], ["-R"]):
        top = Reader(node, "top", "-o", "json", "--interval", "0.5")
        told = client.run("iperf3", "-u", "-c", VIP4, "-b", "50M", "-l", "1000", "-t", "4", "-J", *reverse, timeout_s=30).stdout
        if not reverse:
            node.kill_daemon()
            node.start_daemon()
        edge_site.wait_for(lambda: top.json() and top.json()[-1]["packetsPerSecond"] < 100, 10, "top to see the end")
        assert top.stop()[0] == 0
        sum_ = json.loads(told)["end"]["sum"]
        packets, bits = ("answersPerSecond", "answerBitsPerSecond") if reverse else ("packetsPerSecond", "bitsPerSecond")
        udp = lambda each: next((service for service in each["services"] if service["service"].endswith("-udp")), {packets: 0, bits: 0})
        total = sum(udp(each)[packets] * each["seconds"] for each in top.json())
        best = max(udp(each)[bits] for each in top.json())
        measured(f"packets by top for iperf3's {sum_['packets']}", round(total))
        assert sum_["packets"] * 0.98 <= total + 1 and total <= sum_["packets"] * 1.02 + 20
        # iperf3 counts payload: 1000 bytes of a frame's 1042
        assert 0.8 * 50e6 * 1.042 < best < 1.25 * 50e6 * 1.042
        assert max(each["newFlowsPerSecond"] for each in top.json()) < 100, "counters before the first look are nobody's news"


def test_top_in_lines_and_in_place(standing):
    with standing.client.client("udp-flows", VIP4, 7000, flows=5, interval_ms=5) as flows:
        flows.until(lambda report: report["received"] >= 20, 10, "20 answers")
        ask(standing, port=7009)
        lines = standing.selvage("top", "-n", "2", "--interval", "0.3").stdout
        assert lines.count("packets/s") == 2 and lines.count("default/echo:p7000-udp") == 2 and "\033" not in lines
        assert lines.count("10.77.1.2:7000 at 192.0.2.200") == 2
        # a terminal: script(1) gives it one
        shown = standing.run("timeout", "-s", "INT", "2", "script", "-qec",
                             f"{edge_site.BUILD}/ctrl/cli/selvage --socket {standing.socket_path} top --interval 0.3", "/dev/null", check=False).stdout
        assert shown.count("\033[H") >= 3 and "default/echo" in shown
        flows.stop()
    bad = standing.selvage("top", "--interval", "0", check=False)
    assert bad.returncode == 2 and "seconds" in bad.stderr


def test_drops_tell_what_is_new_and_what_to_do(node, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for _ in range(3):
        ask(node, port=7009)
    first = json.loads(node.selvage("drops", "-o", "json").stdout)
    closed = lambda told: next(each for each in told["items"] if each["reason"] == "vip_port_closed")
    assert closed(first)["count"] == 3 and "new" not in closed(first) and "add it to the service" in closed(first)["advice"]
    for _ in range(5):
        ask(node, port=7009)
    node.kill_daemon()
    node.start_daemon()
    second = json.loads(node.selvage("drops", "-o", "json").stdout)
    assert closed(second)["count"] == 8 and closed(second)["new"] == 5 and closed(second)["perSecond"] > 0
    text = node.selvage("drops").stdout
    assert "NEW is since the last look" in text and "What to do" not in text, "nothing is new"
    ask(node, port=7009)
    text = node.selvage("drops").stdout
    assert "What to do:\nvip_port_closed: If the port should be served" in text
    watch = Reader(node, "drops", "--watch", "--interval", "0.2", "-o", "json")
    edge_site.wait_for(lambda: watch.lines, 10, "the first line")
    ask(node, port=7009)
    edge_site.wait_for(lambda: any(closed(each).get("new") == 1 for each in watch.json()[1:]), 10, "the new drop")
    assert watch.stop()[0] == 0
    assert node.selvage("drops", "--interval", "2", check=False).returncode == 2


# --- explain -------------------------------------------------------------------------------------------------------------


def test_explain_takes_a_flow(node):
    told = node.selvage("explain", "udp", f"{CLIENT4}:5000", f"{VIP4}:7000").stdout
    assert f"It is UDP over IPv4 from {CLIENT4} port 5000 to {VIP4} port 7000." in told and "came in on eth0" in told
    assert "No record of this flow exists: it begins now." in told and "has slot " in told
    ask(node, source=5000)
    result, = json.loads(node.selvage("explain", "udp", f"{CLIENT4}:5000", f"{VIP4}:7000", "-o", "json").stdout)["results"]
    assert any("The flow is recorded with the backend" in step for step in result["steps"]) and result["verdict"] in ("tx", "redirect")
    backend = result["backend"]
    # the same flow's answer comes in where the backend is
    words = node.selvage("explain", "udp", backend, f"{CLIENT4}:5000").stdout
    assert f"came in on {'vethw1' if backend.startswith('10.77') else 'eth0'}" in words and f"its source becomes {VIP4}:7000" in words, words
    # a drained backend keeps what it has: the record decides
    node.selvage("backend", "drain", "echo", backend)
    node.wait_backends("echo", draining=1)
    words = node.selvage("explain", "udp", f"{CLIENT4}:5000", f"{VIP4}:7000").stdout
    assert "The record decides: a flow stays with its backend, which is draining" in words and f"backend {backend}, out of" in words
    assert "What to do:" in node.selvage("explain", "tcp", f"[2001:db8:0:1::101]:5000", f"[{VIP6}]:81").stdout
    assert "is answered" in node.selvage("explain", "icmp", CLIENT4, VIP4, "--interface", "eth0").stdout
    for words, says in ((["udp", CLIENT4, f"{VIP4}:7000"], "is not ADDRESS:PORT"), (["icmp", f"{CLIENT4}:1", VIP4], "no ports"),
                        (["sctp", CLIENT4, VIP4], "not tcp, udp or icmp"), (["udp", f"{CLIENT4}:1"], "give one of")):
        bad = node.selvage("explain", *words, check=False)
        assert bad.returncode == 2 and says in bad.stderr, bad.stderr
    bad = node.selvage("explain", "udp", f"{CLIENT4}:1", f"[{VIP6}]:1", check=False)
    assert bad.returncode == 1 and "one family" in bad.stderr
    assert node.drops()["vip_port_closed"] == 0, "asking is not doing"


def test_explain_takes_what_a_capture_cut_off(standing, tmp_path):
    capture = tmp_path / "cut.pcapng"
    trace = Reader(standing, "trace", "--filter", "udp and src port 5009", "-w", capture, "-c", "1", "--snaplen", "64")
    edge_site.wait_for(lambda: traced(standing), 10, "the trace to begin")
    ask(standing, length=1000, source=5009)
    assert trace.process.wait(10) == 0
    words = standing.selvage("explain", "--in", capture).stdout
    assert "A frame of 1042 bytes, of which the first 64 are known" in words and "Its destination becomes" in words, words
