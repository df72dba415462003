# SPDX-License-Identifier: Apache-2.0
"""What is particular to selvage-dpdk: the host over the same NIC, its control channel, its restart and upgrade, its idleness.

What it has in common with XDP is tested in test_forwarding.py and test_failures.py, on both.
"""
import os
import re
import socket
import time

import pytest

import edge_site
import manifests
from rtc_scene import Crowd, Scene

ENGINES = ["dpdk"]
CHECKS = {"health-interval-ms": 200, "health-timeout-ms": 200}
VIP4, VIP6 = manifests.vips(200)


@pytest.fixture
def node(site):
    return site.add_node()


@pytest.fixture
def scene(site, node):
    """A UDP service with one backend on the LAN and one on the machine."""
    node.client = site.add_client()
    backends = [site.add_backend("b1", 21, node), node.workload("w1", 1)]
    for backend in backends:
        backend.serve(backend.short, udp=["7000"])
    echo = manifests.service("echo", 200, ["7000/UDP"], {**CHECKS, "health-check": "udp", "health-expect": "pong"})
    node.start_daemon()
    node.apply(manifests.stream(manifests.POOL, manifests.advertisement(), [echo], manifests.slices(echo, backends)))
    node.wait_backends("echo", up=4)
    return node


def udp(node, **more):
    return node.client.client("udp-flows", VIP4, 7000, **{"flows": 20, "interval_ms": 2, **more})


def answered(report):
    return all(flow["names"] for flow in report["flows"])


def lost(report):
    return report["sent"] - report["received"]


def cpu_s(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_the_host_is_reached_over_the_same_nic(site, node):
    """With and without selvaged: what the program leaves alone goes to the TAP, and the host's answers leave by the NIC."""
    client = site.add_client()
    node.serve("host", udp=["9000"], tcp=["9001"])
    for round_number in range(2):
        for address in (node.address4, node.address6):
            client.run("ping", "-c", "3", "-i", "0.2", "-W", "2", address)
            for kind, port in (("udp-flows", 9000), ("tcp-flows", 9001)):
                with client.client(kind, address, port, flows=5, interval_ms=5) as flows:
                    assert answered(flows.until(answered, 10, f"answers of the host at {address} to {kind}"))
        if round_number == 0:
            node.start_daemon()
    assert node.status()["interfaces"][0]["engine"] == "dpdk"
    client.run("ping", "-c", "2", "-i", "0.2", "-s", "1472", "-W", "2", node.address4)


def test_traces_explanations_and_drops(scene, tmp_path):
    with udp(scene) as flows:
        flows.until(answered, 10, "an answer for every flow")
        traced = scene.selvage("trace", "--filter", "udp and port 7000", "-c", "4").stdout
        flows.stop()
    assert traced.count("echo") >= 4 and "eth0" in traced, traced
    capture = tmp_path / "whole.pcapng"
    trace = scene.start(edge_site.BUILD / "ctrl/cli/selvage", "--socket", scene.socket_path, "trace", "--filter", "udp and port 7000 and dst host " + VIP4,
                        "-w", capture, "-c", "1")
    with scene.client.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        def whole():
            asking.sendto(b"0 0".ljust(1400), (VIP4, 7000))
            return trace.poll() is not None
        edge_site.wait_for(whole, 10, "the trace to end", interval_s=0.1)
    assert b"0 0".ljust(1400) in capture.read_bytes(), "a trace holds whole packets"
    before = scene.drops()["vip_port_closed"]
    scene.client.run("nc", "-u", "-w1", VIP4, "7999", stdin="x\n", check=False)
    edge_site.wait_for(lambda: scene.drops()["vip_port_closed"] > before, 5, "the drop to be counted")
    metrics = scene.run("curl", "-sS", "http://127.0.0.1:9480/metrics").stdout
    assert re.search(r'selvage_dpdk_packets_total\{interface="eth0",what="to_workload"\} [1-9]', metrics), metrics[:4000]
    assert re.search(r'selvage_fastpath_drops_total\{reason="vip_port_closed"[^}]*\} [1-9]', metrics), metrics[:2000]


def test_bad_requests_change_nothing(scene):
    """Whoever may open the socket can send anything: it is refused, and packets go on."""
    path = str(scene.run_directory / "dpdk.sock")
    with udp(scene) as flows:
        flows.until(answered, 10, "an answer for every flow")
        for request in (b"", b"x", b"\0" * 440, os.urandom(440), os.urandom(9000)):
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as peer:
                peer.settimeout(5)
                peer.connect(path)
                peer.send(request)
                answer = peer.recv(1000)
                # an empty message is none, and ends the connection
                assert answer == b"" if not request else int.from_bytes(answer[12:16], "little", signed=True) < 0, answer
        report = flows.until(lambda report: report["received"] >= 200, 10, "200 answers")
        assert answered(report)
    assert "is refused" in scene.log() and scene.dataplane.poll() is None


def test_calls_go_on_while_selvaged_is_killed(site, measured):
    """WebRTC calls with an agent on the machine, and with one on the LAN."""
    scene, client = Scene(site), site.add_client()
    scene.agents["b1"] = site.add_backend("b1", 21, scene.node)
    scene.use("w1", "b1")
    for name in ("w1", "b1"):
        with Crowd(scene, scene.agents[name], client, 2, calls=20) as crowd:
            scene.node.kill_daemon()
            time.sleep(0.5)
            scene.node.start_daemon()
            report = crowd.end()
        measured(f"20 calls with {name}", f"{report['sent']} sent, {report['returned']} returned, round trip p50/p99 {report['roundTrip']['p50Ms']:g}/"
                 f"{report['roundTrip']['p99Ms']:g} ms, longest gap {report['longestGap']['maxMs']:g} ms")
        assert report["connected"] == 20 and report["failed"] == report["silent"] == 0
        assert report["returned"] == report["sent"] >= 0.25 * 20 * 2 / 0.02
    assert not any(scene.node.drops().values()), scene.node.selvage("drops").stdout


def test_a_killed_dataplane_comes_back(scene, measured):
    """Its successor gets the tables from selvaged, flows and all; addresses and routes of the TAP stay."""
    with udp(scene, interval_ms=1) as flows:
        flows.until(answered, 10, "an answer for every flow")
        scene.dataplane.kill()
        scene.dataplane.wait()
        scene.start_dataplane()
        at = flows.report()["received"]
        flows.until(lambda report: report["received"] > at + 200, 15, "answers through the new one")
        report = flows.stop()
    measured("selvage-dpdk killed and started anew, packets lost of sent", f"{lost(report)} of {report['sent']}")
    assert scene.log().count("packets go through the packet program") == 2
    # A backend that could not be checked meanwhile may have lost its flows, once; the other kept its own.
    assert all(len(flow["names"]) <= 3 for flow in report["flows"])


def test_an_upgrade_takes_over(scene, measured):
    """selvage-dpdk --take-over: the new one is ready before the old one lets go."""
    old = scene.dataplane
    with udp(scene, interval_ms=1) as flows:
        flows.until(answered, 10, "an answer for every flow")
        scene.start_dataplane("--take-over")
        at = flows.report()["received"]
        flows.until(lambda report: report["received"] > at + 300, 15, "answers through the new one")
        report = flows.stop()
    assert old.wait(10) == 0
    gaps = [item[1] for flow in report["flows"] for item in flow["lost"]]
    span_ms = (max(gaps) - min(gaps)) * 1000 if gaps else 0
    measured("selvage-dpdk upgraded under traffic: packets lost of sent, from the first to the last of them",
             f"{lost(report)} of {report['sent']}, {span_ms:.0f} ms")
    assert span_ms < 1000 and all(len(flow["names"]) == 1 for flow in report["flows"])


def test_an_idle_one_sleeps(scene, measured):
    time.sleep(0.5)
    start, before = time.monotonic(), cpu_s(scene.dataplane.pid)
    time.sleep(3)
    percent = (cpu_s(scene.dataplane.pid) - before) / (time.monotonic() - start) * 100
    measured("selvage-dpdk idle, % of a processor", f"{percent:.1f}")
    assert percent < 5  # the aim is 2; sanitizers cost


def test_what_is_missing_is_said(site, node):
    program = edge_site.BUILD / "dataplane/selvage-dpdk"

    def says(sentence, *words, status=1):
        done = node.run(program, "--run-directory", node.directory / "other", *words, check=False)
        assert done.returncode == status and sentence in done.stderr, (done.returncode, done.stderr)
    says("no port", status=2)
    says("is no port", "--port", "eth0", status=2)
    says("--workers wants a number", "--workers", "0", "--port", "a=net_null", status=2)
    says("no PCI device", "--no-huge", "--port", "a=ffff:00:00.0")
    says("are needed: reserve them", "--memory", "1000000", "--port", "a=net_null")
    says("is no TAP", "--no-huge", "--port", "nic0=net_null")
    says("another process holds it", "--no-huge", "--port", "eth0=net_null")
    done = node.run(program, "--no-huge", "--run-directory", node.run_directory, "--port", "b=net_null", check=False)
    assert done.returncode == 1 and "another selvage-dpdk serves" in done.stderr
    node.start_daemon()
    assert node.stop_dataplane() == 0
    edge_site.wait_for(lambda: "selvage-dpdk is not running" in node.selvage("status").stdout, 20,
                       lambda: f"the alarm; {node.selvage('status').stdout}")
    node.start_dataplane()
    edge_site.wait_for(lambda: "selvage-dpdk is not running" not in node.selvage("status").stdout, 20, "the alarm to go")


def test_a_cold_start_does_not_wait_for_link_local_addresses(site, node, measured):
    """
    The kernel solicits neighbours from its link-local address and, while that one is looked for duplicates of, silently not at all. Here
    that takes ten seconds; next hops with global addresses are resolved all the same, also the router's, at once.
    """
    client = site.add_far_client(node)
    backend = site.add_backend("b1", 21, node)
    backend.serve("b1", udp=["7000"])
    node.ip("link set eth0 down")
    node.sysctl(ipv6__conf__eth0__dad_transmits=10)
    node.ip("link set eth0 up", f"address replace {node.address6}/64 dev eth0 nodad", f"route replace default via {edge_site.LAN6}254")
    echo = manifests.service("echo", 200, ["7000/UDP"], {**CHECKS, "health-check": "udp", "health-expect": "pong"})
    node.start_daemon()
    assert "tentative" in node.run("ip", "-6", "address", "show", "dev", "eth0", "scope", "link").stdout
    node.apply(manifests.stream(manifests.POOL, manifests.advertisement(), [echo], manifests.slices(echo, [backend])))
    start = time.monotonic()
    node.wait_backends("echo", up=2)
    measured("both backends up after, s", round(time.monotonic() - start, 2))
    assert "tentative" in node.run("ip", "-6", "address", "show", "dev", "eth0", "scope", "link").stdout
    with client.client("udp-flows", VIP6, 7000, flows=5, interval_ms=20) as flows:
        flows.until(answered, 5, "answers by way of the router")
    assert "tentative" in node.run("ip", "-6", "address", "show", "dev", "eth0", "scope", "link").stdout
