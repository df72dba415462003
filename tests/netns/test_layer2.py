# SPDX-License-Identifier: Apache-2.0
"""Virtual IPs on the wire: ARP, neighbour discovery, echo; who answers, and who announces when."""
import re
import time

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr
from scapy.layers.l2 import ARP, Ether

import manifests

ENGINES = ["xdp-native", "dpdk"]
VIP4, VIP6 = manifests.vips(200)
SOLICITED_NODE = "33:33:ff:00:01:c8"


@pytest.fixture
def two_nodes(site):
    """n1 may own virtual IPs (edge=true), n2 may not (edge=false); both know the same objects."""
    nodes = [site.add_node("n1", 1, {"edge": "true"}), site.add_node("n2", 2, {"edge": "false"})]
    site.add_client()
    web = manifests.service("web", 200, ["80/TCP"])
    for node in nodes:
        node.start_daemon(wait=False)
    for node in nodes:
        node.wait_ready()
        node.apply(manifests.stream(manifests.POOL, manifests.advertisement(), web))
        node.wait_vip(VIP4, "n1" if node is nodes[0] else None)
        node.wait_vip(VIP6, "n1" if node is nodes[0] else None)
    return site, *nodes, site.namespaces["c1"]


def arp_answers(client, vip, count=3):
    """The hardware addresses that answer, one for each answer."""
    done = client.run("arping", "-I", "eth0", "-c", count, "-w", 4, vip, check=False)
    return [each.lower() for each in re.findall(r"\[([0-9A-Fa-f:]{17})\]", done.stdout)]


def nd_answers(client, vip):
    """-m: waits for more than one answer, so that a second owner shows."""
    done = client.run("ndisc6", "-m", "-w", 500, "-r", 2, vip, "eth0", check=False)
    return [each.lower() for each in re.findall(r"Target link-layer address: ([0-9A-Fa-f:]{17})", done.stdout)]


def joined(node):
    return SOLICITED_NODE in node.run("ip", "maddr", "show", "dev", "eth0").stdout


def is_gratuitous_arp(frame, vip, mac):
    packet = Ether(frame)
    return ARP in packet and packet[ARP].psrc == vip == packet[ARP].pdst and packet[ARP].hwsrc == mac and \
        packet.dst == "ff:ff:ff:ff:ff:ff"


def is_unsolicited_na(frame, vip, mac):
    packet = Ether(frame)
    if ICMPv6ND_NA not in packet or packet[ICMPv6ND_NA].tgt != vip or packet.dst != "33:33:00:00:00:01":
        return False
    na = packet[ICMPv6ND_NA]
    return na.S == 0 and na.O == 1 and ICMPv6NDOptDstLLAddr in packet and packet[ICMPv6NDOptDstLLAddr].lladdr == mac


def announcements(sniffer, mac, seconds):
    start, seen = time.monotonic(), {"arp": [], "na": []}
    for when, frame in sniffer.collect(seconds):
        if is_gratuitous_arp(frame, VIP4, mac):
            seen["arp"].append(round(when - start, 2))
        elif is_unsolicited_na(frame, VIP6, mac):
            seen["na"].append(round(when - start, 2))
    return seen


def test_only_the_owner_answers(two_nodes, measured):
    site, owner, other, client = two_nodes
    arp, nd = arp_answers(client, VIP4), nd_answers(client, VIP6)
    measured("arping answers", arp)
    measured("ndisc6 answers", nd)
    assert arp == [owner.mac] * 3
    assert set(nd) == {owner.mac}
    assert joined(owner) and not joined(other)
    # an address of the pool that no service has, and the probe of a host that wants the virtual IP for itself (RFC 5227)
    assert arp_answers(client, "192.0.2.222", 1) == []
    assert client.run("arping", "-D", "-I", "eth0", "-c", "2", "-w", "3", VIP4, check=False).returncode == 1


def test_echo(two_nodes):
    site, owner, other, client = two_nodes
    for vip in (VIP4, VIP6):
        for size in (0, 56, 1400):
            done = client.run("ping", "-c", "3", "-i", "0.05", "-W", "2", "-s", size, vip, check=False)
            assert " 3 received" in done.stdout, done.stdout
    # the owner's program answered, not its kernel, which does not have the address
    assert VIP4 not in owner.run("ip", "address").stdout
    assert re.search(r'function="vip",verdict="tx"} [1-9]', owner.selvage("metrics").stdout)


def test_a_closed_port_is_counted(two_nodes):
    site, owner, other, client = two_nodes
    before = owner.drops()["vip_port_closed"]
    client.run("curl", "-s", "-m", "0.5", f"http://{VIP4}:81/", check=False)
    assert owner.drops()["vip_port_closed"] > before


def test_taking_over_is_announced(two_nodes, measured):
    site, old, new, client = two_nodes
    client.run("ping", "-c", "1", VIP4)
    client.run("ping", "-c", "1", VIP6)
    with client.sniffer() as sniffer:
        start = time.monotonic()
        for node in (old, new):
            node.apply(manifests.stream(manifests.advertisement(edge="false")))
        sniffer.until(lambda frame: is_gratuitous_arp(frame, VIP4, new.mac), 5, "gratuitous ARP of the new owner")
        measured("new owner's first gratuitous ARP after apply, ms", round((time.monotonic() - start) * 1000))
        seen = announcements(sniffer, new.mac, 4)
    measured("announced again after, s", seen)
    assert len(seen["arp"]) >= 6 and len(seen["na"]) >= 2  # 4 × request and reply, 3 × advertisement; the first were eaten
    # RFC 4861 section 7.2.6: they "MUST be separated by at least RetransTimer"
    assert all(later - earlier > 0.95 for earlier, later in zip(seen["na"], seen["na"][1:]))
    assert arp_answers(client, VIP4) == [new.mac] * 3
    assert nd_answers(client, VIP6) == [new.mac]
    assert joined(new) and not joined(old)
    neighbours = client.run("ip", "neighbour", "show", "dev", "eth0").stdout
    assert all(new.mac in line for line in neighbours.splitlines() if line.split()[0] in (VIP4, VIP6)), neighbours


def test_a_link_that_comes_back_is_announced_on(two_nodes, measured):
    site, owner, other, client = two_nodes
    with client.sniffer() as sniffer:
        announcements(sniffer, owner.mac, 4.5)  # those of the start
        assert announcements(sniffer, owner.mac, 0.5) == {"arp": [], "na": []}
        site.port(owner, "down")
        # A cable is out for a while. A TAP follows its NIC within 0.2 s, and the kernel may tell of it as late as a second after.
        time.sleep(1.5 if owner.engine == "dpdk" else 0.2)
        start = time.monotonic()
        site.port(owner, "up")
        sniffer.until(lambda frame: is_gratuitous_arp(frame, VIP4, owner.mac), 5, "gratuitous ARP after the link is back")
        measured("first gratuitous ARP after the link is back, ms", round((time.monotonic() - start) * 1000))
        seen = announcements(sniffer, owner.mac, 1.5)  # the second ones come after a second
    assert seen["arp"] and seen["na"]
    assert arp_answers(client, VIP4, 1) == [owner.mac]
    assert nd_answers(client, VIP6) == [owner.mac]
