# SPDX-License-Identifier: Apache-2.0
"""Backends behind tunnels. A far end in Python unwraps what comes, checks it, and answers the client as a backend would."""
import shutil
import socket
import threading

import pytest

import manifests

SILENT = {"health-check": "none"}
GUE_PORT, IPIP, IPV6_IN, IPV6_HDRINCL = 6080, 4, 41, 36


def sum16(data):
    data += b"\0" * (len(data) % 2)
    total = sum(int.from_bytes(data[i:i + 2], "big") for i in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total


def udp_packet(source, destination, sport, dport, load):
    """A whole IP packet, with checksums."""
    length = (8 + len(load)).to_bytes(2, "big")
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    a, b = socket.inet_pton(family, source), socket.inet_pton(family, destination)
    head = sport.to_bytes(2, "big") + dport.to_bytes(2, "big") + length
    check = (~sum16(a + b + bytes([0, 17]) + length + head + load) & 0xffff) or 0xffff
    udp = head + check.to_bytes(2, "big") + load
    if family == socket.AF_INET6:
        return bytes([0x60, 0, 0, 0]) + length + bytes([17, 64]) + a + b + udp
    ip = bytes([0x45, 0]) + (20 + len(udp)).to_bytes(2, "big") + bytes([0, 1, 0x40, 0, 64, 17])
    return ip + (~sum16(ip + a + b) & 0xffff).to_bytes(2, "big") + a + b + udp


class FarEnd:
    """Unwraps on a backend of the LAN, and answers from the virtual IP, as its own host would."""

    def __init__(self, namespace, gue, outer6):
        family = socket.AF_INET6 if outer6 else socket.AF_INET
        self.gue, self.outer6, self.ports, self.seen, self.wrong = gue, outer6, set(), [], []
        if gue:
            self.sockets = [namespace.socket(family, socket.SOCK_DGRAM)]
            self.sockets[0].bind(("::" if outer6 else "0.0.0.0", GUE_PORT))
            if outer6:  # RFC 6935: the tunnel's end takes zero checksums
                self.sockets[0].setsockopt(socket.IPPROTO_UDP, 102, 1)
        else:
            self.sockets = [namespace.socket(family, socket.SOCK_RAW, protocol) for protocol in (IPIP, IPV6_IN)]
        self.out4 = namespace.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self.out6 = namespace.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
        for each in self.sockets:
            threading.Thread(target=self.serve, args=(each,), daemon=True).start()

    def serve(self, sock):
        while True:
            try:
                data, peer = sock.recvfrom(65536)
            except OSError:
                return
            if self.gue:
                if data[:4] not in (bytes([0, IPIP, 0, 0]), bytes([0, IPV6_IN, 0, 0])) or (data[1] == IPIP) != (data[4] >> 4 == 4):
                    self.wrong.append(data)
                    continue
                self.ports.add(peer[1])
                data = data[4:]
            elif not self.outer6:
                data = data[(data[0] & 15) * 4:]  # a raw socket of IPv4 shows the header
            self.answer(data)

    def answer(self, data):
        ipv6 = data[0] >> 4 == 6
        head = 40 if ipv6 else (data[0] & 15) * 4
        source, vip = ((socket.inet_ntop(socket.AF_INET6, data[8:24]), socket.inet_ntop(socket.AF_INET6, data[24:40])) if ipv6 else
                       (socket.inet_ntoa(data[12:16]), socket.inet_ntoa(data[16:20])))
        udp = data[head:]
        sport, dport = int.from_bytes(udp[:2], "big"), int.from_bytes(udp[2:4], "big")
        if not ipv6 and sum16(data[:head]) != 0xffff:
            self.wrong.append(data)
        self.seen.append((source, vip, dport))
        packet = udp_packet(vip, source, dport, sport, b"far:" + udp[8:])
        (self.out6 if ipv6 else self.out4).sendto(packet, (source, 0))

    def close(self):
        for each in [*self.sockets, self.out4, self.out6]:
            each.close()


def exchange(client, vip, count):
    """Asks from `count` ports; what came back from the virtual IP alone."""
    answers = []
    for number in range(count):
        with client.socket(socket.AF_INET6 if ":" in vip else socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(2)
            asking.connect((vip, 7000))
            for attempt in range(3):  # hardware addresses may have to be asked for
                asking.send(b"%d" % number)
                try:
                    answers.append(asking.recv(100))
                    break
                except TimeoutError:
                    if attempt == 2:
                        raise
    return answers


@pytest.mark.parametrize("mode", ["ipip", "gue"])
@pytest.mark.parametrize("outer6", [False, True], ids=["over4", "over6"])
def test_a_backend_behind_a_tunnel_answers_the_client_itself(site, mode, outer6):
    """The endpoint's node is known, by one address: both families travel in that one's."""
    node, client = site.add_node(), site.add_client()
    far = site.add_client("far1", 31)
    end = FarEnd(far, mode == "gue", outer6)
    try:
        service = manifests.service("wrapped", 200, ["7000/UDP"], {**SILENT, "forwarding": mode})
        slices = manifests.slices(service, [far])
        for each in slices:
            each["endpoints"][0]["nodeName"] = "far1"
        there = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "far1"},
                 "status": {"addresses": [{"type": "InternalIP", "address": far.address6 if outer6 else far.address4}]}}
        node.start_daemon()
        node.apply(manifests.stream(manifests.POOL, manifests.advertisement(), there, service, slices))
        node.wait_backends("wrapped", up=2)
        for vip in manifests.vips(200):
            end.ports.clear()
            assert exchange(client, vip, 12) == [b"far:%d" % number for number in range(12)]
            own = client.address6 if ":" in vip else client.address4
            assert set(end.seen[-12:]) == {(own, vip, 7000)}
            if mode == "gue":
                assert len(end.ports) > 6 and min(end.ports) >= 49152  # each flow has an entropy of its own
        assert end.wrong == []
        assert node.selvage("service", "list").stdout.count(mode) >= 1
    finally:
        end.close()


@pytest.mark.parametrize("mode", ["ipip", "gue"])
def test_another_node_unwraps_for_its_workload(site, mode):
    """Two nodes with the same objects. One owns the virtual IP; flows whose backend is on the other come straight from there."""
    first, second, client = site.add_node("n1", 1), site.add_node("n2", 2), site.add_client()
    # Each node knows the ways to its own workload and, through the other node, to the other's.
    one, two = first.workload("w1", 1), second.workload("w2", 2)
    first.ip("route add 10.77.2.0/30 via 192.0.2.2", "route add fd00:77:2::/64 via 2001:db8:0:1::2")
    second.ip("route add 10.77.1.0/30 via 192.0.2.1", "route add fd00:77:1::/64 via 2001:db8:0:1::1")
    for workload in (one, two):
        workload.serve(workload.short, udp=["7000"])
    service = manifests.service("spread", 200, ["7000/UDP"], {**SILENT, "forwarding": mode})
    slices = manifests.slices(service, [one, two])
    for each in slices:
        for endpoint, name in zip(each["endpoints"], ("n1", "n2")):
            endpoint["nodeName"] = name
    nodes = [{"apiVersion": "v1", "kind": "Node", "metadata": {"name": node.short},
              "status": {"addresses": [{"type": "InternalIP", "address": node.address4}]}} for node in (first, second)]
    first.start_daemon()
    first.apply(manifests.stream(manifests.POOL, nodes, service, slices))
    assert first.stop_daemon() == 0
    # The same objects and the same hash seed, as nodes of one cluster have.
    shutil.copytree(first.state_directory, second.state_directory)
    first.start_daemon()
    second.start_daemon()
    first.apply(manifests.stream(manifests.advertisement()))
    for node in (first, second):
        node.wait_backends("spread", up=4)
    for vip in manifests.vips(200):
        with client.client("udp-flows", vip, 7000, flows=40, interval_ms=2) as flows:
            flows.until(lambda report: report["received"] >= 400, 10, "400 answers")
            report = flows.stop()
        names = {flow["names"][0][1] for flow in report["flows"]}
        assert names == {"w1", "w2"} and all(len(flow["names"]) == 1 for flow in report["flows"])
        assert report["sent"] - report["received"] <= 4  # hardware addresses were asked for
    for node in (first, second):
        drops = {reason: count for reason, count in node.drops().items() if count and reason != "vip_not_owned"}
        assert drops.pop("neighbour_unresolved", 0) <= 40 and drops.pop("backend_unresolved", 0) <= 4 and drops == {}


def test_what_does_not_fit_into_the_tunnel_is_told(site):
    node, client = site.add_node(), site.add_client()
    far = site.add_client("far1", 31)
    end = FarEnd(far, True, False)
    try:
        service = manifests.service("wrapped", 200, ["7000/UDP"], {**SILENT, "forwarding": "gue"})
        node.start_daemon()
        node.apply(manifests.stream(manifests.POOL, manifests.advertisement(), service, manifests.slices(service, [far])))
        node.wait_backends("wrapped", up=2)
        vip = manifests.vips(200)[0]
        exchange(client, vip, 1)
        with client.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(2)
            asking.connect((vip, 7000))
            asking.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER, IP_PMTUDISC_DO
            asking.send(bytes(1441))  # 1469 bytes, 1501 wrapped
            with pytest.raises(OSError):
                asking.recv(2000)
            assert asking.getsockopt(socket.IPPROTO_IP, 14) == 1468  # IP_MTU
            asking.send(bytes(1440))
            assert len(asking.recv(2000)) == 1444
    finally:
        end.close()


def test_flows_that_a_new_owner_does_not_know_are_passed_on(site):
    """
    All connections begin with w1 on n1, which owns the virtual IP. w1 drains, w2 on n2 has all slots, and then n2 and after it n3 take the
    address over: neither has a record of the connections. n2's own ring says w2, which does not know them; n3 asks n2, which passes on.
    """
    nodes = [site.add_node(f"n{number}", number) for number in (1, 2, 3)]
    first, second, third = nodes
    client = site.add_client()
    one, two = first.workload("w1", 1), second.workload("w2", 2)
    for node, number in ((first, 2), (second, 1), (third, 1), (third, 2)):
        node.ip(f"route add 10.77.{number}.0/30 via 192.0.2.{number}", f"route add fd00:77:{number}::/64 via 2001:db8:0:1::{number}")
    for workload in (one, two):
        workload.serve(workload.short, tcp=["7001"])
    service = manifests.service("moving", 200, ["7001/TCP"], {**SILENT, "forwarding": "gue"})

    def slices(*backends):
        made = manifests.slices(service, [backend for backend, _, _ in backends])
        for each in made:
            for endpoint, (_, name, drains) in zip(each["endpoints"], backends):
                endpoint["nodeName"] = name
                if drains:
                    endpoint["conditions"] = {"ready": False, "serving": True, "terminating": True}
        return made
    there = [{"apiVersion": "v1", "kind": "Node", "metadata": {"name": node.short},
              "status": {"addresses": [{"type": "InternalIP", "address": node.address4}]}} for node in nodes]
    first.start_daemon()
    first.apply(manifests.stream(manifests.POOL, there, service, slices((one, "n1", False))))
    assert first.stop_daemon() == 0
    for node in (second, third):  # the same objects and the same hash seed, as nodes of one cluster have
        shutil.copytree(first.state_directory, node.state_directory)
    for node in nodes:
        node.start_daemon()
        node.wait_backends("moving", up=2)
    vips = manifests.vips(200)

    def own(owner):
        for node in nodes:
            if node is not owner:
                node.apply(manifests.stream(manifests.advertisement(edge="nobody")))
        owner.apply(manifests.stream(manifests.advertisement()))
        for vip in vips:
            owner.wait_vip(vip, owner.short)

    own(first)
    with client.client("tcp-flows", vips[0], 7001, flows=20, interval_ms=2) as load4, \
         client.client("tcp-flows", vips[1], 7001, flows=20, interval_ms=2) as load6:
        loads = [load4, load6]
        for node in nodes:
            node.apply(manifests.stream(slices((one, "n1", True), (two, "n2", False))))
            node.wait_backends("moving", up=2, draining=2)
        for owner in (first, second, third):
            own(owner)
            for load in loads:
                answered = [flow["received"] for flow in load.report()["flows"]]
                load.until(lambda report, answered=answered: all(flow["received"] > before + 3 for flow, before in zip(report["flows"], answered)),
                           15, f"each connection to be answered by way of {owner.short}")
        for load, vip in zip(loads, vips):
            report = load.stop()
            assert report["failed"] == 0 and {flow["names"][0][1] for flow in report["flows"]} == {"w1"}
            with client.client("tcp-flows", vip, 7001, flows=3, interval_ms=5) as fresh:
                fresh.until(lambda report: report["received"] >= 9, 5, "new connections")
                assert {flow["names"][0][1] for flow in fresh.stop()["flows"]} == {"w2"}
