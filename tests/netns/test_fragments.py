# SPDX-License-Identifier: Apache-2.0
"""Datagrams larger than the MTU through a virtual IP and back: by real sockets, and reordered by hand."""
import contextlib
import socket
import time

import pytest
from scapy.layers.inet import IP, UDP, fragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, fragment6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

import manifests
from edge_site import wait_for

ENGINES = ["xdp-native", "dpdk"]
CHECKS = {"health-interval-ms": 200, "health-timeout-ms": 200, "health-check": "udp", "health-expect": "pong"}


class Scene:
    def __init__(self, site):
        self.node, self.client = site.add_node(), site.add_client()
        self.far = site.add_far_client(self.node)
        self.backends = [site.add_backend("b1", 21, self.node), self.node.workload("w1", 1)]
        for backend in self.backends:
            backend.serve(backend.short, udp=["7000"])
        service = manifests.service("big", 200, ["7000/UDP"], CHECKS)
        self.node.start_daemon()
        self.node.apply(manifests.stream(manifests.POOL, manifests.advertisement(), service, manifests.slices(service, self.backends)))
        self.node.wait_backends("big", up=4)
        for client in (self.client, self.far):
            for vip in self.vips:
                # The router's hardware address is still being asked for at first; an answer that needs it is dropped and counted.
                wait_for(lambda client=client, vip=vip: self.answered(client, vip), 10, f"an answer to {client.short} from {vip}", 0)

    @staticmethod
    def answered(client, vip):
        with contextlib.suppress(TimeoutError):
            return asked(client, vip, 10, 0, timeout_s=0.3)

    @property
    def vips(self):
        # The fan-out of packet sockets, by which DPDK reads the cable here, puts IPv4 fragments together before anybody sees them.
        return manifests.vips(200)[self.node.engine == "dpdk":]

    def drops(self):
        drops = {reason: count for reason, count in self.node.drops().items() if count}
        drops.pop("neighbour_unresolved", None)  # the router's hardware address, when the first answer goes behind it
        return drops

    def released(self):
        """Held fragments that were sent on."""
        line = next(line for line in self.metrics().splitlines() if line.startswith('selvage_fragments_released_total{result="sent"}'))
        return int(line.split()[1])

    def metrics(self):
        return self.node.run("curl", "-sS", "http://127.0.0.1:9480/metrics").stdout


@pytest.fixture
def scene(site):
    return Scene(site)


def data_of(size, number):
    return bytes((number * 7 + i) % 251 for i in range(size))


def asked(client, vip, size, number, timeout_s=3):
    """Who answered a datagram with the same data."""
    with client.socket(socket.AF_INET6 if ":" in vip else socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(timeout_s)
        udp.connect((vip, 7000))
        data = data_of(size, number)
        udp.send(data)
        answer = udp.recv(65536)
        name = answer.split(b" ", 2)[1].decode()
        assert answer == b"pong " + name.encode() + b" " + data
        return name


def test_large_datagrams(scene, measured):
    for client in (scene.client, scene.far):
        for vip in scene.vips:
            for size in (1400, 1473, 4000, 20000, 60000):
                assert {asked(client, vip, size, number) for number in range(12)} == {"b1", "w1"}
    assert scene.drops() == {}
    measured("held meanwhile", scene.released())


def frames(scene, vip, size, port, number):
    """A datagram of the client in fragments for an MTU of 1500, in order."""
    ether = Ether(src=scene.client.mac, dst=scene.node.mac)
    rest = UDP(sport=port, dport=7000) / Raw(data_of(size, number))
    if ":" in vip:
        whole = IPv6(bytes(IPv6(src=scene.client.address6, dst=vip) / IPv6ExtHdrFragment(id=number) / rest))
        return [bytes(ether / part) for part in fragment6(whole, 1500)]
    return [bytes(ether / part) for part in fragment(IP(src=scene.client.address4, dst=vip, id=number) / rest, 1480)]


@contextlib.contextmanager
def port_of(client, vip):
    """A socket that answers come to, and its port."""
    with client.socket(socket.AF_INET6 if ":" in vip else socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("::" if ":" in vip else "0.0.0.0", 0))
        udp.settimeout(3)
        yield udp, udp.getsockname()[1]


def test_out_of_order(scene, measured):
    took = []
    with scene.client.sniffer() as wire:
        for vip in scene.vips:
            for number in range(1, 21):
                with port_of(scene.client, vip) as (udp, port):
                    parts = frames(scene, vip, 4000, port, number)
                    assert len(parts) == 3
                    start = time.monotonic()
                    for part in (parts[::-1] if number % 2 else [parts[1], parts[0], parts[2]]):
                        wire.send(part)
                    answer = udp.recv(65536)
                    took.append(time.monotonic() - start)
                    assert answer.endswith(data_of(4000, number)) and answer.startswith(b"pong ")
    assert scene.drops() == {}
    assert scene.released() == 30 * len(scene.vips)
    measured("answer after its last fragment, median, most, ms", [round(sorted(took)[at] * 1000, 2) for at in (len(took) // 2, -1)])


def test_what_never_completes_is_counted(scene):
    with scene.client.sniffer() as wire:
        for count, vip in enumerate(scene.vips, 1):
            first, second, third = frames(scene, vip, 4000, 5000, 77)
            wire.send(third)
            wait_for(lambda: scene.drops().get("fragment_without_first") == count, 3, "the fragment to be given up")
            wire.send(first)
            wire.send(second)
            wire.send(second)
            wait_for(lambda: scene.drops().get("fragment_duplicate") == count, 3, "the duplicate to be counted")
            assert scene.drops() == {"fragment_without_first": count, "fragment_duplicate": count}
            if count == 1:
                text = scene.node.selvage("drops").stdout
                assert "fragment_without_first" in text and "did not come within a second" in text
    assert scene.released() == 0


def test_without_the_daemon(scene):
    """In order they need none; what was held meanwhile is the next one's to give up."""
    scene.node.kill_daemon()
    for vip in scene.vips:
        assert {asked(scene.client, vip, 4000, number) for number in range(12)} == {"b1", "w1"}
    with scene.client.sniffer() as wire:
        wire.send(frames(scene, scene.vips[0], 4000, 5000, 78)[1])
    scene.node.start_daemon()
    wait_for(lambda: scene.drops().get("fragment_without_first") == 1, 5, "the held fragment to be given up")
    assert {asked(scene.client, scene.vips[-1], 4000, number) for number in range(12)} == {"b1", "w1"}
