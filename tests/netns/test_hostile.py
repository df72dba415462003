# SPDX-License-Identifier: Apache-2.0
"""Clients that are not wanted, and those that want too much, beside clients that go on."""
import socket
import time

import pytest

import edge_site
import manifests

CHECKS = {"health-interval-ms": 200, "health-timeout-ms": 200, "health-check": "udp", "health-port": 7000, "health-expect": "pong"}


class Scene:
    """A node with two workloads, a client on the link and one behind a router."""

    def __init__(self, site):
        self.site, self.node = site, site.add_node()
        self.client, self.far = site.add_client(), site.add_far_client(self.node)
        self.backends = [self.node.workload("w1", 1), self.node.workload("w2", 2)]
        for backend in self.backends:
            backend.serve(backend.short, udp=["7000"], tcp=["7001"])
        self.node.start_daemon()

    def apply(self, annotations=None, **spec):
        """The service "echo" at .200; once more with other words to change it."""
        service = manifests.service("echo", 200, ["7000/UDP", "7001/TCP"], {**CHECKS, **(annotations or {})}, **spec)
        self.node.apply(manifests.stream(manifests.POOL, manifests.advertisement(), service,
                                         manifests.slices(service, self.backends)))
        self.node.wait_backends("echo", up=8)

    def dropped(self, reason):
        return self.node.drops().get(reason, 0)


@pytest.fixture
def scene(site):
    return Scene(site)


def answered(client):
    return client.report()["received"]


def test_denied_clients_are_not_served_and_lose_what_they_had(scene):
    """Allowed by network, IPv4 and IPv6; a denial ends live flows of its clients, and only theirs."""
    near4, near6 = manifests.vips(200)
    scene.apply()
    with scene.client.client("udp-flows", near4, 7000, flows=20, interval_ms=5) as stays, \
            scene.client.client("tcp-flows", near6, 7001, flows=5, interval_ms=5) as stays_tcp, \
            scene.far.client("udp-flows", near4, 7000, flows=20, interval_ms=5) as goes, \
            scene.far.client("tcp-flows", near4, 7001, flows=5, interval_ms=5) as goes_tcp:
        for each in (stays, stays_tcp, goes, goes_tcp):
            each.until(lambda report: report["received"] > 100, 10, "answers")
        assert scene.dropped("source_not_allowed") == 0
        scene.apply(loadBalancerSourceRanges=["192.0.2.0/24", "2001:db8:0:1::/64"])
        # within an epoch of 8 to 10 seconds
        goes.until(lambda report, last=[0, 0]: silent(report, last), 30, "the denied client's answers to end")
        goes_tcp.until(lambda report, last=[0, 0]: silent(report, last), 30, "the denied client's answers to end")
        assert scene.dropped("source_not_allowed") > 0
        kept, kept_tcp = stays.stop(), stays_tcp.stop()
        assert kept["sent"] == kept["received"] and kept_tcp["sent"] == kept_tcp["received"] and kept_tcp["failed"] == 0
        # and is served again when the list says so
        before = answered(goes)
        scene.apply(loadBalancerSourceRanges=["192.0.2.0/24", "2001:db8::/32", "198.51.100.0/24"])
        goes.until(lambda report: report["received"] > before + 100, 10, "answers again")


def test_limits_stop_the_client_that_begins_too_much_and_nobody_else(scene):
    """One client's new flows are cut to its rate; its live ones and another client's go on untouched."""
    near4, _ = manifests.vips(200)
    scene.apply({"limit-new-flows": "5/s burst 40"})
    with scene.client.client("udp-flows", near4, 7000, flows=20, interval_ms=5) as live, \
            scene.far.client("udp-flows", near4, 7000, flows=20, interval_ms=5) as other:
        for each in (live, other):
            each.until(lambda report: report["received"] > 100, 10, "answers")
        start = time.monotonic()
        with scene.client.client("udp-flows", near4, 7000, flows=400, interval_ms=2) as greedy:
            greedy.until(lambda report: report["sent"] > 1200, 20, "three packets of each flow")
            allowed = 20 + 5 * (time.monotonic() - start)
            report = greedy.stop()
        served = sum(flow["received"] > 0 for flow in report["flows"])
        assert 20 <= served <= allowed + 5, served
        assert scene.dropped("limit_new_flows") > 100
        # who was let in is not cut off again
        assert all(flow["received"] > 0 for flow in other.stop()["flows"])
        kept = live.stop()
        assert kept["sent"] == kept["received"], kept["sent"] - kept["received"]


def test_packets_of_a_client_are_limited(scene):
    near4, _ = manifests.vips(200)
    scene.apply({"limit-packets": "100/s burst 100"})
    with scene.far.client("udp-flows", near4, 7000, flows=2, interval_ms=50) as other, \
            scene.client.client("udp-flows", near4, 7000, flows=1, interval_ms=1) as greedy:
        start = time.monotonic()
        greedy.until(lambda report: report["sent"] > 2000, 30, "packets")
        report, seconds = greedy.stop(), time.monotonic() - start
        assert 150 < report["received"] <= 110 + 101 * seconds, (report["received"], seconds)
        assert scene.dropped("limit_packets") > 500
        kept = other.stop()
        assert kept["sent"] == kept["received"]


@pytest.mark.parametrize("kind", ["udp", "syn"])
def test_a_flood_costs_established_flows_nothing(scene, measured, kind):
    """Beginnings from made-up addresses on one service; live flows of it and of another lose nothing, and keep their backends."""
    near4, near6 = manifests.vips(200)
    scene.apply()
    with scene.client.client("udp-flows", near4, 7000, flows=50, interval_ms=2) as udp, \
            scene.client.client("udp-flows", near6, 7000, flows=50, interval_ms=2) as other, \
            scene.client.client("tcp-flows", near4, 7001, flows=20, interval_ms=2) as tcp:
        live = {"udp": udp, "other": other, "tcp": tcp}
        for each in live.values():
            each.until(lambda report: report["received"] > 1000, 20, "answers")
        calm = {name: each.report()["latency_us"]["p50"] for name, each in live.items()}
        target = scene.node.run("cat", "/sys/class/net/eth0/address").stdout.strip()
        source = scene.client.run("cat", "/sys/class/net/eth0/address").stdout.strip()
        sent = int(scene.client.run(edge_site.BUILD / "tests/flood_tool", "eth0", source, target, near4,
                                    7000 if kind == "udp" else 7001, kind, 20000, 9).stdout)  # longer than an epoch
        measured("flood packets a second", sent // 9)
        # records were kept: a backend that drains keeps what it has
        scene.node.selvage("backend", "drain", "echo", scene.backends[0].address4)
        scene.node.wait_backends("echo", up=6, draining=2)
        time.sleep(1)
        for name, each in live.items():
            report = each.stop()
            assert report["sent"] == report["received"], (name, report["sent"] - report["received"])
            assert report.get("failed", 0) == 0
            if name != "tcp":
                assert all(len(flow["names"]) == 1 for flow in report["flows"]), name
            measured(f"{name}: latency p50, calm and over all, us", (calm[name], report["latency_us"]["p50"]))
        assert sent > 9 * 10000


def test_a_connection_stays_with_its_server_when_the_client_moves(scene):
    """QUIC: another port and another address each time, and still the server that the connection id names."""
    near4, near6 = manifests.vips(200)
    first, second = scene.backends
    scene.apply({"quic-lb": f"config=1, {first.address4}=c001, {second.address4}=c002, {first.address6}=c001, {second.address6}=c002"})
    for vip, family in ((near4, socket.AF_INET), (near6, socket.AF_INET6)):
        for number, backend in enumerate((first, second), 1):
            for client in (scene.client, scene.far) * 5:
                with client.socket(family, socket.SOCK_DGRAM) as moving:
                    moving.settimeout(2)
                    moving.sendto(b"\x40\x27\xc0" + bytes([number]) + bytes(24), (vip, 7000))
                    assert moving.recv(100).startswith(b"pong " + backend.short.encode()), (vip, backend.short)
    seen = set()
    for _ in range(30):  # one that names nobody goes by its ports
        with scene.client.socket(socket.AF_INET, socket.SOCK_DGRAM) as unknown:
            unknown.settimeout(2)
            unknown.sendto(b"\x40\x27\xc0\xff" + bytes(24), (near4, 7000))
            seen.add(unknown.recv(100)[:7])
    assert len(seen) == 2, seen


def silent(report, last):
    """Two seconds without an answer; `last` is [answers, since when]."""
    now = time.monotonic()
    if report["received"] != last[0]:
        last[:] = [report["received"], now]
    return now - last[1] > 2
