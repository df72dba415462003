#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the golden packets: DIRECTORY/cases.json for each scenario.

What goes in and what must come out is built here with scapy, from the RFCs and the manifests beside this file, and never by
running the packet program. Checksums of what comes out are computed anew from the whole packet by scapy, so an incremental
update that is wrong differs from them.

    tests/vectors/make.py            write the files
    tests/vectors/make.py --check    exit 1 when a file is not what would be written
"""
import base64
import hashlib
import hmac
import ipaddress
import json
import logging
import os
import struct
import sys
import zlib

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

logging.getLogger("scapy").setLevel(logging.ERROR)

from scapy.layers.inet import ICMP, IP, TCP, UDP, ICMPerror, IPerror, UDPerror, fragment  # noqa: E402,F401
from scapy.layers.inet6 import (ICMPv6DestUnreach, ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS,  # noqa: E402
                                ICMPv6NDOptDstLLAddr, ICMPv6NDOptSrcLLAddr, ICMPv6ND_RS, ICMPv6PacketTooBig,
                                ICMPv6ParamProblem, ICMPv6TimeExceeded, IPv6, IPv6ExtHdrDestOpt,
                                IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, fragment6, in6_chksum)
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether, GRE  # noqa: E402
from scapy.packet import Padding, Raw  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))

ETH0, ETH1 = "02:00:00:00:00:01", "02:00:00:00:00:02"
ROUTER, CLIENT = "02:00:00:00:00:fe", "02:00:00:00:00:50"
NODE4, VIP4, VIP6, CLIENT4, CLIENT6 = "192.0.2.2", "192.0.2.100", "2001:db8:0:1::100", "192.0.2.50", "2001:db8:0:1::50"
THEIRS4, THEIRS6 = "192.0.2.200", "2001:db8:0:1::200"
BACKEND4, BACKEND6, BACKEND_MAC = "10.0.0.21", "2001:db8:0:2::21", "02:00:00:00:02:21"
FAR4, FAR6 = "203.0.113.9", "2001:db8:ffff::9"  # clients behind the router

cases = []


def frame(packet):
    return bytes(packet) if not isinstance(packet, bytes) else packet


def summary(data):
    return Ether(data).summary() if len(data) >= 14 else f"{len(data)} bytes"


def step(packet, verdict, function, reason=None, backend=None, out=None, by="eth0", **more):
    """One packet and what becomes of it. `out` may be a dict of backends to packets; `by`: where it leaves."""
    data = frame(packet)
    expect = {"verdict": verdict, "function": function, "reason": reason}
    if isinstance(out, dict):
        expect["out_by_backend"] = {name: frame(value).hex() for name, value in out.items()}
    else:
        expect["backend"] = backend
        if out is not None:
            expect["out"] = frame(out).hex()
    if verdict in ("tx", "redirect"):
        expect["interface"] = by
    expect.update(more.pop("expect", {}))
    return {**more, "summary": summary(data), "in": data.hex(), "expect": expect}


def case(name, why, *steps, **more):
    assert name not in [c["name"] for c in cases], name
    cases.append({"name": name, "why": why, **more, "steps": list(steps)})


def dropped(name, why, packet, reason, function="vip", backend=None, **more):
    case(name, why, step(packet, "drop", function, reason, backend, **more))


def passed(name, why, packet, **more):
    case(name, why, step(packet, "pass", "parse", **more))


def answered(name, why, packet, out, **more):
    case(name, why, step(packet, "tx", "vip", out=out, **more))


def never_leaves(name, why, packet, **more):
    """Every prefix of the frame is a counted drop or a pass."""
    data = frame(packet)
    cases.append({"name": name, "why": why, **more, "summary": summary(data), "prefixes_of": data.hex()})


def without_checks(packet):
    """The same packet with the checksums of every layer taken out, for scapy to compute when it is built."""
    packet = packet.copy()
    for layer in (IP, UDP, TCP):
        at = packet.getlayer(layer)
        if at is not None and not (layer is UDP and at.chksum == 0):
            del at.chksum
    return packet


def ether(tags=(), src=CLIENT, dst=ETH0):
    head = Ether(src=src, dst=dst)
    for tag in tags:
        head = head / tag
    return head


def forwarded(packet, source_mac, destination_mac, address, port=None, tags=()):
    """Full NAT towards a backend that keeps the client's address; `packet` begins with its IP header."""
    packet = without_checks(packet)
    if IP in packet:
        packet[IP].dst, packet[IP].ttl = address, packet[IP].ttl - 1
    else:
        packet[IPv6].dst, packet[IPv6].hlim = address, packet[IPv6].hlim - 1
    if port:
        packet[UDP if UDP in packet else TCP].dport = port
    return ether(tags, source_mac, destination_mac) / packet


def translated(packet, source_mac, destination_mac, address, port, tags=()):
    """A backend's answer, which comes from the virtual IP again."""
    packet = without_checks(packet)
    if IP in packet:
        packet[IP].src, packet[IP].ttl = address, packet[IP].ttl - 1
    else:
        packet[IPv6].src, packet[IPv6].hlim = address, packet[IPv6].hlim - 1
    packet[UDP if UDP in packet else TCP].sport = port
    return ether(tags, source_mac, destination_mac) / packet


def direct(packet, source_mac, destination_mac):
    packet = without_checks(packet)
    if IP in packet:
        packet[IP].ttl -= 1
    else:
        packet[IPv6].hlim -= 1
    return ether((), source_mac, destination_mac) / packet


def write(directory, about, manifests):
    document = {"about": about, "made_by": "tests/vectors/make.py", "node": "edge", "manifests": manifests, "cases": list(cases)}
    cases.clear()
    path = os.path.join(HERE, directory, "cases.json")
    text = json.dumps(document, indent=1) + "\n"
    if "--check" in sys.argv:
        with open(path, encoding="utf-8") as file:
            if file.read() != text:
                sys.exit(f"{path} is not what make.py writes")
        return
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


# --- links -------------------------------------------------------------------------------------------------------------

def links():
    whole = frame(ether() / IP(src=CLIENT4, dst=VIP4) / UDP(sport=1, dport=53))
    dropped("frame of 13 bytes", "no Ethernet header", whole[:13], "ethernet_short", "parse")
    dropped("frame of no byte", "no Ethernet header", b"", "ethernet_short", "parse")
    dropped("tag cut off", "IEEE 802.1Q: a tag has 4 bytes", frame(ether([Dot1Q(vlan=7)]) / IP(dst=VIP4))[:17], "vlan_short",
            "parse")
    dropped("second tag cut off", "IEEE 802.1ad: two tags have 8 bytes",
            frame(ether([Dot1AD(vlan=7), Dot1Q(vlan=9)]) / IP(dst=VIP4))[:21], "vlan_short", "parse")
    passed("LLDP", "not our protocol", ether(dst="01:80:c2:00:00:0e") / Raw(bytes(46)))
    passed("length field of 802.3", "an LLC frame", Ether(src=CLIENT, dst="01:80:c2:00:00:00", type=38) / Raw(bytes(46)))
    passed("three tags", "only two are looked behind",
           ether([Dot1AD(vlan=7), Dot1Q(vlan=8), Dot1Q(vlan=9)]) / IP(src=CLIENT4, dst=VIP4) / UDP(sport=1, dport=53))
    passed("VLAN without an interface", "no interface of this node has that VLAN",
           ether([Dot1Q(vlan=99)]) / IP(src=CLIENT4, dst=VIP4) / UDP(sport=1, dport=53))


# --- ARP ---------------------------------------------------------------------------------------------------------------

def arp_request(tags=(), dst="ff:ff:ff:ff:ff:ff", target=VIP4, source=CLIENT4, **fields):
    return ether(tags, CLIENT, dst) / ARP(op=1, hwsrc=fields.pop("hwsrc", CLIENT), psrc=source, hwdst="00:00:00:00:00:00",
                                          pdst=target, **fields)


def arp_answer(tags=(), target=CLIENT4, vip=VIP4, padding=b"", hwdst=CLIENT):
    return ether(tags, ETH0, CLIENT) / ARP(op=2, hwsrc=ETH0, psrc=vip, hwdst=hwdst, pdst=target) / Padding(padding)


def arp():
    answered("ARP request", "RFC 826: the owner of the address answers the sender", arp_request(), arp_answer())
    answered("ARP request, padded", "an Ethernet frame has at least 60 bytes; padding is kept", arp_request() / Padding(bytes(18)),
             arp_answer(padding=bytes(18)))
    answered("ARP request, unicast", "RFC 1122 section 2.3.2.1: a cache is validated by unicast polls", arp_request(dst=ETH0),
             arp_answer())
    answered("ARP request, carried by another", "RFC 826: the answer goes to the sender that the packet names",
             Ether(src=ROUTER, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=CLIENT, psrc=CLIENT4, pdst=VIP4), arp_answer())
    answered("ARP probe", "RFC 5227 section 2.1.1: who probes for an address in use is answered", arp_request(source="0.0.0.0"),
             arp_answer(target="0.0.0.0"))
    answered("ARP request, VLAN", "the answer has the request's tag", arp_request([Dot1Q(vlan=7, prio=3)]),
             arp_answer([Dot1Q(vlan=7, prio=3)]))
    answered("ARP request, priority tag", "IEEE 802.1Q: VLAN 0 is the untagged LAN", arp_request([Dot1Q(vlan=0, prio=5)]),
             arp_answer([Dot1Q(vlan=0, prio=5)]))
    answered("ARP request, two tags", "802.1ad outside, 802.1Q inside", arp_request([Dot1AD(vlan=7), Dot1Q(vlan=5)]),
             arp_answer([Dot1AD(vlan=7), Dot1Q(vlan=5)]))
    dropped("ARP request for another node's address", "who does not own it stays silent", arp_request(target=THEIRS4),
            "vip_not_owned")
    passed("ARP request for the node", "the kernel's to answer", arp_request(target=NODE4))
    passed("ARP request for a third machine", "not about a virtual IP", arp_request(target="192.0.2.77"))
    case("ARP request on the backends' side", "eth1 is in no L2Advertisement",
         step(arp_request(), "drop", "vip", "vip_not_owned", interface="eth1"))
    dropped("ARP request from the virtual IP", "RFC 5227 section 2.4: somebody else uses the address",
            arp_request(source=VIP4, target="192.0.2.77"), "arp_conflict")
    dropped("gratuitous ARP for the virtual IP", "RFC 5227 section 2.4", arp_request(source=VIP4, target=VIP4), "arp_conflict")
    dropped("ARP answer that claims the virtual IP", "RFC 5227 section 2.4",
            ether((), CLIENT, ETH0) / ARP(op=2, hwsrc=CLIENT, psrc=VIP4, hwdst=ETH0, pdst=NODE4), "arp_conflict")
    passed("our own announcement comes back", "a loop in the link is no second owner",
           Ether(src=ETH0, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=ETH0, psrc=VIP4, pdst=VIP4[:-3] + "77"))
    passed("ARP answer to the node", "the kernel asked", ether((), CLIENT, ETH0) /
           ARP(op=2, hwsrc=CLIENT, psrc=CLIENT4, hwdst=ETH0, pdst=NODE4))
    passed("ARP answer to a virtual IP", "not a question", ether((), CLIENT, ETH0) /
           ARP(op=2, hwsrc=CLIENT, psrc=CLIENT4, hwdst=ETH0, pdst=VIP4))
    dropped("ARP request from a group address", "RFC 1812 section 3.3.2: a group is nobody's hardware address",
            arp_request(hwsrc="01:00:5e:00:00:01"), "arp_sender_invalid")
    dropped("ARP cut off", "RFC 826: 28 bytes", frame(arp_request())[:41], "arp_short")
    passed("ARP for another hardware", "RFC 826: not Ethernet", arp_request(hwtype=6))
    passed("ARP for another protocol", "RFC 826: not IPv4", arp_request(ptype=0x86dd))
    passed("ARP with long addresses", "RFC 826: lengths that are not Ethernet's and IPv4's", arp_request(hwlen=8, plen=4))
    never_leaves("ARP request, truncated", "cut off anywhere", arp_request())


# --- neighbour discovery -----------------------------------------------------------------------------------------------

def group_of(address):
    """Solicited-node group of an address: RFC 4291 section 2.7.1; its hardware address: RFC 2464 section 7."""
    low = int.from_bytes(__import__("ipaddress").IPv6Address(address).packed[-3:], "big")
    return f"ff02::1:ff{low >> 16:02x}:{low & 0xffff:x}", "33:33:ff:" + ":".join(f"{b:02x}" for b in low.to_bytes(3, "big"))


def solicitation(target=VIP6, source=CLIENT6, unicast=False, option=True, tags=(), hlim=255, code=0, chksum=None, extra=b"",
                 to=None):
    group, mac = group_of(target)
    packet = ether(tags, CLIENT, ETH0 if unicast else mac) / IPv6(src=source, dst=to or (target if unicast else group), hlim=hlim)
    packet /= ICMPv6ND_NS(tgt=target, code=code, cksum=chksum)
    if option:
        packet /= ICMPv6NDOptSrcLLAddr(lladdr=CLIENT)
    return packet / Raw(extra) if extra else packet


def advertisement(target=VIP6, to=CLIENT6, solicited=True, tags=(), mac=CLIENT):
    return (ether(tags, ETH0, mac) / IPv6(src=target, dst=to, hlim=255) / ICMPv6ND_NA(tgt=target, R=0, S=int(solicited), O=1) /
            ICMPv6NDOptDstLLAddr(lladdr=ETH0))


def nd():
    answered("solicitation", "RFC 4861 section 7.2.4: solicited advertisement to the source", solicitation(), advertisement())
    answered("solicitation, unicast", "RFC 4861 section 7.2.2: unreachability detection asks by unicast",
             solicitation(unicast=True), advertisement())
    answered("solicitation, unicast without option", "RFC 4861 section 4.3: in unicast the option may be left out",
             solicitation(unicast=True, option=False), advertisement())
    answered("solicitation, multicast without option", "answered to the frame's source", solicitation(option=False),
             advertisement())
    answered("solicitation, carried by another", "RFC 4861 section 7.2.3: the source link-layer address is the asker's",
             Ether(src=ROUTER, dst=group_of(VIP6)[1]) / solicitation().payload, advertisement())
    group = solicitation(option=False) / ICMPv6NDOptSrcLLAddr(lladdr="33:33:00:00:00:01")
    answered("solicitation from a group's hardware address", "nobody has it: answered to the frame's source", group, advertisement())
    answered("duplicate address detection", "RFC 4861 section 7.2.4, RFC 4862 section 5.4.3: to all nodes, not solicited",
             solicitation(source="::", option=False), advertisement(to="ff02::1", solicited=False, mac="33:33:00:00:00:01"))
    answered("solicitation, VLAN", "the answer has the question's tag", solicitation(tags=[Dot1Q(vlan=7, prio=2)]),
             advertisement(tags=[Dot1Q(vlan=7, prio=2)]))
    answered("solicitation, two tags", "802.1ad outside", solicitation(tags=[Dot1AD(vlan=7), Dot1Q(vlan=5)]),
             advertisement(tags=[Dot1AD(vlan=7), Dot1Q(vlan=5)]))
    answered("solicitation with an unknown option", "RFC 4861 section 7.1.1: options of unknown types are ignored",
             solicitation(extra=bytes([14, 1, 1, 2, 3, 4, 5, 6])), advertisement())
    answered("solicitation with padding behind it", "trailing bytes go, and what stays of an odd number is padding",
             solicitation() / Padding(b"\1\2\3"), advertisement() / Padding(b"\3"))
    dropped("solicitation for another node's address", "who does not own it stays silent", solicitation(target=THEIRS6),
            "vip_not_owned")
    passed("solicitation for a third machine", "not about a virtual IP", solicitation(target="2001:db8:0:1::77"))
    passed("solicitation for a third machine in our group", "RFC 4291: addresses with the same last 24 bits share a group",
           solicitation(target="2001:db8:0:99::100"))
    dropped("solicitation with hop limit 254", "RFC 4861 section 7.1.1: hop limit MUST be 255", solicitation(hlim=254),
            "nd_hop_limit")
    dropped("solicitation with a wrong checksum", "RFC 4861 section 7.1.1", solicitation(chksum=0x1234), "nd_checksum")
    dropped("solicitation with code 1", "RFC 4861 section 7.1.1: code is 0", solicitation(code=1), "nd_malformed")
    dropped("option of length zero", "RFC 4861 section 7.1.1: all options have a length greater than zero",
            solicitation(option=False, extra=bytes([1, 0, 2, 0, 0, 0, 0, 0x50])), "nd_malformed")
    dropped("option behind the end", "RFC 4861 section 4.6: the length is in units of 8 bytes",
            solicitation(option=False, extra=bytes([1, 2, 2, 0, 0, 0, 0, 0x50])), "nd_malformed")
    dropped("half an option", "RFC 4861 section 4.6: the length is in units of 8 bytes", solicitation(extra=bytes([14, 1, 0, 0])),
            "nd_malformed")
    dropped("unspecified source with an option", "RFC 4861 section 7.1.1: there is no source link-layer address option then",
            solicitation(source="::", option=True), "nd_source")
    dropped("unspecified source to unicast", "RFC 4861 section 7.1.1: the destination is the solicited-node group then",
            solicitation(source="::", option=False, to=VIP6), "nd_source")
    dropped("unspecified source to another group", "RFC 4861 section 7.1.1: the destination is the solicited-node group then",
            solicitation(source="::", option=False, to="ff02::1:ff00:1"), "nd_source")
    dropped("72 bytes of options", "more than this node reads", solicitation(extra=bytes([14, 8] + [0] * 62)), "nd_option_limit")
    dropped("advertisement of our address", "somebody else uses the address",
            ether((), CLIENT, "33:33:00:00:00:01") / IPv6(src=VIP6, dst="ff02::1", hlim=255) / ICMPv6ND_NA(tgt=VIP6, R=0, S=0, O=1) /
            ICMPv6NDOptDstLLAddr(lladdr=CLIENT), "nd_conflict")
    passed("advertisement of a client", "the kernel's", ether((), CLIENT, ETH0) / IPv6(src=CLIENT6, dst="2001:db8:0:1::2", hlim=255) /
           ICMPv6ND_NA(tgt=CLIENT6, R=0, S=1, O=1) / ICMPv6NDOptDstLLAddr(lladdr=CLIENT))
    passed("router solicitation", "the kernel's", ether((), CLIENT, "33:33:00:00:00:02") / IPv6(src=CLIENT6, dst="ff02::2", hlim=255) /
           ICMPv6ND_RS())
    never_leaves("solicitation, truncated", "cut off anywhere", solicitation())


# --- echo --------------------------------------------------------------------------------------------------------------

def echo():
    ping = ether() / IP(src=CLIENT4, dst=VIP4, ttl=17, id=99, tos=0x20) / ICMP(id=7, seq=3) / Raw(b"abcdefgh")
    pong = ether((), ETH0, CLIENT) / IP(src=VIP4, dst=CLIENT4, ttl=64, id=99, tos=0x20) / ICMP(type=0, id=7, seq=3) / Raw(b"abcdefgh")
    answered("echo", "RFC 1122 section 3.2.2.6: data is returned entirely", ping, pong)
    answered("echo of one byte, padded", "padding is not the packet's",
             ether() / IP(src=CLIENT4, dst=VIP4) / ICMP(id=7, seq=4) / Raw(b"x") / Padding(bytes(17)),
             ether((), ETH0, CLIENT) / IP(src=VIP4, dst=CLIENT4, ttl=64) / ICMP(type=0, id=7, seq=4) / Raw(b"x") / Padding(bytes(17)))
    answered("echo, checksum 0xffff becomes what it must", "RFC 1624 section 3: eqn. 3 has no corner here",
             ether() / IP(src=CLIENT4, dst=VIP4) / ICMP(id=0xf7ff, seq=0), ether((), ETH0, CLIENT) /
             IP(src=VIP4, dst=CLIENT4, ttl=64) / ICMP(type=0, id=0xf7ff, seq=0))
    answered("echo, VLAN", "the answer has the question's tag",
             ether([Dot1Q(vlan=7)]) / IP(src=CLIENT4, dst=VIP4) / ICMP(id=1, seq=1),
             ether([Dot1Q(vlan=7)], ETH0, CLIENT) / IP(src=VIP4, dst=CLIENT4, ttl=64) / ICMP(type=0, id=1, seq=1))
    answered("echo, IPv6", "RFC 4443 section 4.2", ether() / IPv6(src=CLIENT6, dst=VIP6, hlim=9, fl=0x12345, tc=8) /
             ICMPv6EchoRequest(id=7, seq=3, data=b"abcdefg"), ether((), ETH0, CLIENT) / IPv6(src=VIP6, dst=CLIENT6, hlim=64, fl=0x12345, tc=8) /
             ICMPv6EchoReply(id=7, seq=3, data=b"abcdefg"))
    dropped("echo to another node's address", "who does not own it stays silent", ether() / IP(src=CLIENT4, dst=THEIRS4) / ICMP(),
            "vip_not_owned")
    dropped("first fragment of an echo", "echo of fragments needs reassembly",
            ether() / IP(src=CLIENT4, dst=VIP4, flags="MF") / ICMP() / Raw(bytes(16)), "echo_fragment")
    dropped("later fragment of an echo", "echo of fragments needs reassembly",
            ether() / IP(src=CLIENT4, dst=VIP4, frag=3, proto=1) / Raw(bytes(16)), "echo_fragment")
    dropped("fragment of an echo, IPv6", "echo of fragments needs reassembly",
            ether() / IPv6(src=CLIENT6, dst=VIP6) / IPv6ExtHdrFragment(offset=0, m=1, id=4, nh=58) / ICMPv6EchoRequest(), "echo_fragment")
    dropped("echo by broadcast frame", "RFC 1122 section 3.3.6", ether((), CLIENT, "ff:ff:ff:ff:ff:ff") / IP(src=CLIENT4, dst=VIP4) / ICMP(),
            "link_group_address")
    dropped("echo from the virtual IP to itself", "RFC 1122 section 3.2.1.3", ether() / IP(src=VIP4, dst=VIP4) / ICMP(), "source_invalid")
    for source in ("127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "0.1.2.3", "240.0.0.1"):
        dropped(f"echo from {source}", "RFC 1122 section 3.2.1.3: never a source of a packet from elsewhere",
                ether() / IP(src=source, dst=VIP4) / ICMP(), "source_invalid")
    for source in ("::1", "::", "ff02::1", "::ffff:192.0.2.50"):
        dropped(f"echo from {source}", "RFC 4291 section 2.5 and 2.7: never a source of such a packet",
                ether() / IPv6(src=source, dst=VIP6) / ICMPv6EchoRequest(), "source_invalid")
    dropped("4 bytes of ICMP", "RFC 792: 8 bytes", ether() / IP(src=CLIENT4, dst=VIP4, proto=1) / Raw(bytes([8, 0, 0, 0])) /
            Padding(bytes(22)), "icmp_header_short")
    dropped("4 bytes of ICMPv6", "RFC 4443: 8 bytes", ether() / IPv6(src=CLIENT6, dst=VIP6, nh=58) / Raw(bytes([128, 0, 0, 0])),
            "icmp_header_short")
    dropped("ICMP timestamp", "RFC 1122 section 3.2.2.8: MAY be implemented", ether() / IP(src=CLIENT4, dst=VIP4) / ICMP(type=13, ts_ori=1, ts_rx=2, ts_tx=3),
            "vip_protocol_unsupported")
    dropped("ICMPv6 in IPv4", "not a protocol of IPv4", ether() / IP(src=CLIENT4, dst=VIP4, proto=58) / Raw(bytes([128, 0] + [0] * 6)),
            "vip_protocol_unsupported")
    dropped("GRE", "a virtual IP serves TCP, UDP and echo", ether() / IP(src=CLIENT4, dst=VIP4) / GRE() / IP() / UDP(),
            "vip_protocol_unsupported")
    dropped("no next header", "RFC 8200 section 4.7", ether() / IPv6(src=CLIENT6, dst=VIP6, nh=59), "vip_protocol_unsupported")
    passed("echo to the node", "the kernel's to answer", ether() / IP(src=CLIENT4, dst=NODE4) / ICMP())
    passed("echo in another machine's frame", "flooded by the switch", ether((), CLIENT, "02:00:00:00:00:99") /
           IP(src=CLIENT4, dst=VIP4) / ICMP())
    never_leaves("echo, truncated", "cut off anywhere", ping)
    never_leaves("echo, IPv6, truncated", "cut off anywhere", ether() / IPv6(src=CLIENT6, dst=VIP6) / ICMPv6EchoRequest(data=b"abc"))


# --- headers that lie --------------------------------------------------------------------------------------------------

def lies():
    udp = UDP(sport=1, dport=53) / Raw(b"data")
    dropped("IPv4 header cut off", "RFC 791: 20 bytes", frame(ether() / IP(src=CLIENT4, dst=VIP4) / udp)[:33], "ipv4_header_short",
            "parse")
    dropped("IPv4 of version 5", "RFC 791", ether() / IP(version=5, src=CLIENT4, dst=VIP4) / udp, "ipv4_header_invalid", "parse")
    dropped("IPv4 header of 16 bytes", "RFC 791: at least 20", ether() / IP(ihl=4, src=CLIENT4, dst=VIP4) / udp,
            "ipv4_header_invalid", "parse")
    dropped("IPv4 total length behind the frame", "RFC 791", ether() / IP(len=33, src=CLIENT4, dst=VIP4) / udp,
            "ipv4_length_lies", "parse")
    dropped("IPv4 total length below the header", "RFC 791", ether() / IP(len=19, src=CLIENT4, dst=VIP4) / udp,
            "ipv4_length_lies", "parse")
    dropped("IPv4 options behind the frame", "RFC 791", ether() / IP(ihl=15, len=32, src=CLIENT4, dst=VIP4) / udp,
            "ipv4_length_lies", "parse")
    dropped("IPv6 header cut off", "RFC 8200: 40 bytes", frame(ether() / IPv6(src=CLIENT6, dst=VIP6) / udp)[:53],
            "ipv6_header_short", "parse")
    dropped("IPv6 of version 4", "RFC 8200", ether() / IPv6(version=4, src=CLIENT6, dst=VIP6) / udp, "ipv6_header_invalid",
            "parse")
    dropped("IPv6 payload behind the frame", "RFC 8200", ether() / IPv6(plen=13, src=CLIENT6, dst=VIP6) / udp,
            "ipv6_length_lies", "parse")
    dropped("hop-by-hop options behind the packet", "RFC 8200 section 4.3", ether() / IPv6(src=CLIENT6, dst=VIP6, nh=0) /
            Raw(bytes([17, 4] + [0] * 14)), "ipv6_extension_short")
    dropped("half a fragment header", "RFC 8200 section 4.5", ether() / IPv6(src=CLIENT6, dst=VIP6, nh=44) / Raw(bytes([17, 0, 0, 0])),
            "ipv6_extension_short")
    seven = ether() / IPv6(src=CLIENT6, dst=VIP6)
    for _ in range(7):
        seven /= IPv6ExtHdrDestOpt()
    way = IPv6ExtHdrRouting(type=0, segleft=1, addresses=["2001:db8::5"]) / UDP(sport=1, dport=53)
    dropped("routing header with a segment left", "RFC 5095: nobody routes by it here, and its checksum is another destination's",
            ether() / IPv6(src=CLIENT6, dst=VIP6) / way, "ipv6_routing_header")
    passed("routing header with a segment left, for the node", "the kernel's to judge", ether() / IPv6(src=CLIENT6, dst="2001:db8:0:1::2") / way)
    dropped("seven extension headers", "RFC 8504 section 5.3: a limit is allowed", seven / udp, "ipv6_extension_limit")
    dropped("4 bytes of UDP", "RFC 768: 8 bytes", ether() / IP(src=CLIENT4, dst=VIP4, proto=17) / Raw(bytes([0, 1, 0, 53])) /
            Padding(bytes(22)), "udp_header_short")
    dropped("UDP length 7", "RFC 768: at least 8", ether() / IP(src=CLIENT4, dst=VIP4) / UDP(sport=1, dport=53, len=7) / Raw(b"data"),
            "udp_length_lies")
    dropped("UDP length behind the packet", "RFC 768", ether() / IP(src=CLIENT4, dst=VIP4) / UDP(sport=1, dport=53, len=13) /
            Raw(b"data") / Padding(bytes(14)), "udp_length_lies")
    dropped("16 bytes of TCP", "RFC 9293: 20 bytes", ether() / IP(src=CLIENT4, dst=VIP4, proto=6) / Raw(bytes([0, 1, 0, 80] + [0] * 12)),
            "tcp_header_short")
    dropped("TCP header of 16 bytes", "RFC 9293: at least 20", ether() / IP(src=CLIENT4, dst=VIP4) / TCP(dport=80, dataofs=4),
            "tcp_offset_lies")
    dropped("TCP options behind the packet", "RFC 9293", ether() / IP(src=CLIENT4, dst=VIP4) / TCP(dport=80, dataofs=6) /
            Padding(bytes(6)), "tcp_offset_lies")
    passed("4 bytes of UDP to the node", "what passes is the host's to judge", ether() / IP(src=CLIENT4, dst=NODE4, proto=17) /
           Raw(bytes([0, 1, 0, 53])) / Padding(bytes(22)))
    passed("an IPv4 address in an IPv6 header", "RFC 4291 section 2.5.5.2: never on the wire, so not the virtual IP",
           ether() / IPv6(src=CLIENT6, dst="::ffff:" + VIP4) / udp)
    for name, packet in (("UDP", ether() / IP(src=CLIENT4, dst=VIP4) / udp),
                         ("UDP with tags", ether([Dot1AD(vlan=7), Dot1Q(vlan=5)]) / IP(src=CLIENT4, dst=VIP4) / udp),
                         ("TCP with options", ether() / IP(src=CLIENT4, dst=VIP4, options=b"\x01\x01\x01\x00") /
                          TCP(dport=80, options=[("MSS", 1460), ("Timestamp", (1, 0))])),
                         ("UDP over IPv6 with extension headers", ether() / IPv6(src=CLIENT6, dst=VIP6) / IPv6ExtHdrHopByHop() /
                          IPv6ExtHdrDestOpt() / udp),
                         ("TCP over IPv6", ether() / IPv6(src=CLIENT6, dst=VIP6) / TCP(dport=80)),
                         ("a backend's answer", Ether(src=BACKEND_MAC, dst=ETH1) / IP(src=BACKEND4, dst=CLIENT4) / UDP(sport=5353, dport=1))):
        never_leaves(name + ", truncated", "cut off anywhere", packet)


# --- balancing: full NAT -----------------------------------------------------------------------------------------------

def round_trip(name, why, request, answer, tags=(), back_tags=(), client=CLIENT, port=5353, vip_port=53, request_end=b""):
    """A request that goes to the backend behind eth1, and its answer. Both begin with their IP headers."""
    backend, vip = (BACKEND4, VIP4) if IP in request else (BACKEND6, VIP6)
    text = f"{backend}:{port}" if IP in request else f"[{backend}]:{port}"
    case(name, why,
         step(ether(tags, client) / request / Padding(request_end), "redirect", "lb", backend=text, by="eth1",
              out=forwarded(request, ETH1, BACKEND_MAC, backend, port) / Padding(request_end)),
         step(Ether(src=BACKEND_MAC, dst=ETH1) / answer, "redirect", "lb", backend=text, interface="eth1",
              out=translated(answer, ETH0, client, vip, vip_port, back_tags)))


def nat():
    def both(network, sport, request=b"question", answer=b"the answer", client=CLIENT4, client6=CLIENT6):
        if network == 4:
            return (IP(src=client, dst=VIP4, ttl=63, id=5) / UDP(sport=sport, dport=53) / Raw(request),
                    IP(src=BACKEND4, dst=client, ttl=64, id=6) / UDP(sport=5353, dport=sport) / Raw(answer))
        return (IPv6(src=client6, dst=VIP6, hlim=63) / UDP(sport=sport, dport=53) / Raw(request),
                IPv6(src=BACKEND6, dst=client6, hlim=64) / UDP(sport=5353, dport=sport) / Raw(answer))

    round_trip("UDP", "destination and port become the backend's; the answer comes from the virtual IP; TTL less one, checksums right",
               *both(4, 1001))
    round_trip("UDP over IPv6", "the same over IPv6", *both(6, 1001))
    request, answer = both(4, 1002)
    request[UDP].chksum = answer[UDP].chksum = 0
    round_trip("UDP without checksum", "RFC 768: zero says that there is none, and stays", request, answer)
    for network in (4, 6):
        request, answer = both(network, 1003, b"\0\0", b"\0\0")
        request = sum_to_zero(request, BACKEND4 if network == 4 else BACKEND6, 5353)
        answer[UDP].remove_payload()
        answer = sum_to_zero(answer / Raw(b"\0\0"), VIP4 if network == 4 else VIP6, 53, reverse=True)
        round_trip(f"UDP checksum that comes out as zero, IPv{network}", "RFC 768: sent as all ones", request, answer)
    round_trip("UDP of one byte, padded to 60", "padding stays behind the packet", *both(4, 1004, b"x", b"y"), request_end=bytes(17))
    round_trip("UDP without data", "8 bytes", *both(4, 1005, b"", b""))
    round_trip("UDP from behind the router", "the answer goes to the next hop", *both(4, 1006, client=FAR4, client6=FAR6), client=ROUTER)
    round_trip("UDP over IPv6 from behind the router", "the answer goes to the next hop", *both(6, 1006, client=FAR4, client6=FAR6),
               client=ROUTER)
    request, answer = both(4, 1007)
    request[IP].options = answer[IP].options = b"\x07\x07\x04\x00\x00\x00\x00\x00"
    round_trip("UDP with IPv4 options", "RFC 791: options stay", request, answer)
    headers = IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / IPv6ExtHdrRouting(segleft=0, addresses=["2001:db8::5"])
    udp6, back6 = both(6, 1008)
    round_trip("UDP behind extension headers", "RFC 8200 section 4: extension headers stay",
               IPv6(src=CLIENT6, dst=VIP6, hlim=63) / headers / udp6[UDP], IPv6(src=BACKEND6, dst=CLIENT6, hlim=64) /
               IPv6ExtHdrDestOpt() / back6[UDP])
    round_trip("UDP in an atomic fragment", "RFC 6946: a fragment header of a whole packet",
               IPv6(src=CLIENT6, dst=VIP6, hlim=63) / IPv6ExtHdrFragment(id=1) / UDP(sport=1009, dport=53) / Raw(b"abc"),
               IPv6(src=BACKEND6, dst=CLIENT6) / UDP(sport=5353, dport=1009) / Raw(b"abc"))
    tagged, back = both(4, 1010, client="198.51.100.50")
    round_trip("UDP from the VLAN", "the tag goes; the answer gets it", tagged, back, tags=[Dot1Q(vlan=7, prio=6)],
               back_tags=[Dot1Q(vlan=7)])
    tagged, back = both(6, 1010, client6="2001:db8:0:7::50")
    round_trip("UDP over IPv6 from the VLAN", "the tag goes; the answer gets it", tagged, back, tags=[Dot1Q(vlan=7)],
               back_tags=[Dot1Q(vlan=7)])
    request, _ = both(4, 1011, client="198.51.100.51")
    case("UDP with two tags", "both tags go",
         step(ether([Dot1AD(vlan=7), Dot1Q(vlan=5)]) / request, "redirect", "lb", backend="10.0.0.21:5353", by="eth1",
              out=forwarded(request, ETH1, BACKEND_MAC, BACKEND4, 5353)))
    request, answer = both(4, 1012)
    round_trip("UDP with a priority tag", "VLAN 0 is the untagged LAN", request, answer, tags=[Dot1Q(vlan=0, prio=7)])
    for network in (4, 6):
        vip, client, backend = (VIP4, CLIENT4, BACKEND4) if network == 4 else (VIP6, CLIENT6, BACKEND6)
        ip = IP if network == 4 else IPv6
        options = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (17, 0)), ("NOP", None), ("WScale", 7)]
        round_trip(f"TCP, IPv{network}", "options and all stay; the flow begins with SYN and is answered",
                   ip(src=client, dst=vip) / TCP(sport=2001, dport=80, flags="S", seq=7, options=options),
                   ip(src=backend, dst=client) / TCP(sport=8080, dport=2001, flags="SA", seq=9, ack=8, options=options),
                   port=8080, vip_port=80)
    request = IP(src=CLIENT4, dst=VIP4, ttl=64) / TCP(sport=2002, dport=80, flags="PA", seq=1, ack=1) / Raw(b"GET / HTTP/1.1\r\n\r\n")
    case("TCP whose SYN was not seen here", "a flow is taken up in its middle (this node took over from another)",
         step(ether() / request, "redirect", "lb", backend="10.0.0.21:8080", by="eth1",
              out=forwarded(request, ETH1, BACKEND_MAC, BACKEND4, 8080)))
    near = IP(src=CLIENT4, dst="192.0.2.101", ttl=64) / UDP(sport=1020, dport=80) / Raw(b"hello")
    back = IP(src="192.0.2.21", dst=CLIENT4, ttl=64) / UDP(sport=80, dport=1020) / Raw(b"hello")
    case("backend on the clients' link", "out of the interface that it came from",
         step(ether() / near, "tx", "lb", backend="192.0.2.21:80", out=forwarded(near, ETH0, "02:00:00:00:01:21", "192.0.2.21")),
         step(ether((), "02:00:00:00:01:21") / back, "tx", "lb", backend="192.0.2.21:80",
              out=translated(back, ETH0, CLIENT, "192.0.2.101", 80)))
    tagged = IP(src=CLIENT4, dst="192.0.2.107", ttl=64) / UDP(sport=1021, dport=80) / Raw(b"hello")
    back = IP(src="198.51.100.21", dst=CLIENT4, ttl=64) / UDP(sport=80, dport=1021) / Raw(b"hello")
    case("backend on the VLAN", "the packet gets a tag, its answer loses it",
         step(ether() / tagged, "tx", "lb", backend="198.51.100.21:80",
              out=forwarded(tagged, ETH0, "02:00:00:00:07:21", "198.51.100.21", tags=[Dot1Q(vlan=7)])),
         step(ether([Dot1Q(vlan=7)], "02:00:00:00:07:21") / back, "tx", "lb", backend="198.51.100.21:80",
              out=translated(back, ETH0, CLIENT, "192.0.2.107", 80)))
    passed("a backend's own packet", "it answers no flow of ours", Ether(src=BACKEND_MAC, dst=ETH1) / IP(src=BACKEND4, dst=CLIENT4) /
           UDP(sport=5353, dport=9999), interface="eth1")
    passed("a backend's packet from another port", "not the service's", Ether(src=BACKEND_MAC, dst=ETH1) / IP(src=BACKEND4, dst=CLIENT4) /
           UDP(sport=5354, dport=1001), interface="eth1")
    udp = IP(src=CLIENT4, dst=VIP4, ttl=1) / UDP(sport=1030, dport=53)
    dropped("TTL 1", "RFC 1812 section 5.3.1: a router does not forward it", ether() / udp, "hop_limit_exceeded", "lb", "10.0.0.21:5353")
    dropped("TTL 0", "RFC 1812 section 5.3.1", ether() / IP(src=CLIENT4, dst=VIP4, ttl=0) / UDP(sport=1031, dport=53),
            "hop_limit_exceeded", "lb", "10.0.0.21:5353")
    dropped("hop limit 1", "RFC 8200 section 3", ether() / IPv6(src=CLIENT6, dst=VIP6, hlim=1) / TCP(dport=80, flags="S"),
            "hop_limit_exceeded", "lb", "[2001:db8:0:2::21]:8080")
    request, answer = both(4, 1032)
    answer[IP].ttl = 1
    case("answer with TTL 1", "RFC 1812 section 5.3.1",
         step(ether() / request, "redirect", "lb", backend="10.0.0.21:5353", by="eth1", out=forwarded(request, ETH1, BACKEND_MAC, BACKEND4, 5353)),
         step(Ether(src=BACKEND_MAC, dst=ETH1) / answer, "drop", "lb", "hop_limit_exceeded", "10.0.0.21:5353", interface="eth1"))
    request = IP(src="192.0.2.66", dst=VIP4, ttl=64) / UDP(sport=1033, dport=53)
    answer = IP(src=BACKEND4, dst="192.0.2.66", ttl=64) / UDP(sport=5353, dport=1033)
    case("client that nobody has seen on its link", "it came in elsewhere, so its hardware address is unknown: it is asked for",
         step(Ether(src=CLIENT, dst=ETH1) / request, "tx", "lb", backend="10.0.0.21:5353", interface="eth1", by="eth1",
              out=forwarded(request, ETH1, BACKEND_MAC, BACKEND4, 5353)),
         step(Ether(src=BACKEND_MAC, dst=ETH1) / answer, "drop", "lb", "neighbour_unresolved", "10.0.0.21:5353", interface="eth1"))
    dropped("closed port, TCP", "no service there", ether() / IP(src=CLIENT4, dst=VIP4) / TCP(dport=81), "vip_port_closed")
    dropped("closed port, UDP over IPv6", "no service there", ether() / IPv6(src=CLIENT6, dst=VIP6) / UDP(dport=54), "vip_port_closed")
    # Whatever a flag or a port says, nothing of a virtual IP but its services is anybody's: never the host's.
    for flags in ("S", "SA", "A", "PA", "FA", "R", "", "FPU"):
        dropped(f"closed port, TCP {flags or 'null'}", "no service there, and no answer: ADR 0007",
                ether() / IP(src=CLIENT4, dst=VIP4) / TCP(sport=22, dport=22, flags=flags), "vip_port_closed")
        dropped(f"closed port, TCP {flags or 'null'} over IPv6", "no service there, and no answer: ADR 0007",
                ether() / IPv6(src=CLIENT6, dst=VIP6) / TCP(sport=22, dport=22, flags=flags), "vip_port_closed")
    for port in (0, 22, 52, 54, 5353, 65535):
        dropped(f"closed port {port}, UDP", "no service there", ether() / IP(src=CLIENT4, dst=VIP4) / UDP(sport=1, dport=port) / Raw(b"x"),
                "vip_port_closed")
    dropped("closed port, UDP without checksum", "no service there", ether() / IP(src=CLIENT4, dst=VIP4) / UDP(sport=1, dport=22, chksum=0),
            "vip_port_closed")
    dropped("closed port on the VLAN", "no service there", ether([Dot1Q(vlan=7)]) / IP(src="198.51.100.50", dst=VIP4) / TCP(dport=22, flags="S"),
            "vip_port_closed")
    for number in (2, 4, 41, 46, 47, 50, 51, 89, 112, 132, 136, 253):  # IGMP, IPIP, 6in4, RSVP, GRE, ESP, AH, OSPF, VRRP, SCTP, UDP-Lite, a test's
        dropped(f"IP protocol {number}", "a virtual IP serves TCP, UDP and echo", ether() / IP(src=CLIENT4, dst=VIP4, proto=number) /
                Raw(bytes([0, 1, 0, 22]) + bytes(36)), "vip_protocol_unsupported")
    for number in (2, 4, 41, 47, 50, 89, 132, 136):
        dropped(f"IP protocol {number} over IPv6", "a virtual IP serves TCP, UDP and echo", ether() / IPv6(src=CLIENT6, dst=VIP6, nh=number) /
                Raw(bytes([0, 1, 0, 22]) + bytes(36)), "vip_protocol_unsupported")
    dropped("UDP to a TCP service", "no service there", ether() / IP(src=CLIENT4, dst=VIP4) / UDP(dport=80), "vip_port_closed")
    dropped("service without endpoints", "nobody to send to", ether() / IP(src=CLIENT4, dst="192.0.2.106") / TCP(dport=80, flags="S"),
            "service_no_backend", "lb")
    dropped("UDP by broadcast frame", "RFC 1122 section 3.3.6", ether((), CLIENT, "ff:ff:ff:ff:ff:ff") / udp, "link_group_address")
    dropped("TCP by multicast frame, IPv6", "RFC 1122 section 3.3.6", ether((), CLIENT, "33:33:00:00:00:01") /
            IPv6(src=CLIENT6, dst=VIP6) / TCP(dport=80), "link_group_address")
    dropped("land attack", "source and destination are the same", ether() / IP(src=VIP4, dst=VIP4) / TCP(sport=80, dport=80, flags="S"),
            "source_invalid")
    passed("flooded frame", "for another machine", ether((), CLIENT, "02:00:00:00:00:99") / udp)
    passed("to the node", "the kernel's", ether() / IP(src=CLIENT4, dst=NODE4) / TCP(dport=80, flags="S"))
    passed("fragment to the node", "the kernel's to reassemble", ether() / IP(src=CLIENT4, dst=NODE4, frag=2, proto=17) / Raw(bytes(16)))
    case("no room in front", "a host that cannot give it",
         step(ether() / IP(src=CLIENT4, dst="192.0.2.107", ttl=64) / UDP(sport=1040, dport=80), "drop", "lb", "room_failed",
              "198.51.100.21:80", headroom=0), engines=["native", "dpdk"])


# --- balancing: fragments ------------------------------------------------------------------------------------------------

def pieces(packet, size=40):
    """A datagram that begins with its IP header, in fragments of `size` bytes. Checksums are those of the whole."""
    if IP in packet:
        return fragment(IP(bytes(packet)), size)
    whole = IPv6(bytes(packet))
    before = len(whole) - len(whole[IPv6ExtHdrFragment].payload)
    return [IPv6(bytes(part)) for part in fragment6(whole, before + size)]


def held(packet, **more):
    return step(packet, "hold", "lb", **more)


def released(packet, verdict, function, reason=None, backend=None, out=None, by="eth1"):
    """What becomes of a fragment that was held."""
    return {key: value for key, value in step(packet, verdict, function, reason, backend, out, by)["expect"].items()}


class Train:
    """A datagram to the service on port 53 in fragments: what comes in, and what leaves for the backend."""

    def __init__(self, network, number, length=100, size=40, before=None, behind=None, client=None, tags=(), service=None,
                 transport=None, **fields):
        vip, backend, port, vip_port = service or ((VIP4, BACKEND4, 5353, 53) if network == 4 else (VIP6, BACKEND6, 5353, 53))
        transport = transport or UDP(sport=number, dport=vip_port)
        client = client or (CLIENT4 if network == 4 else CLIENT6)
        data = Raw(bytes((number + i) % 251 for i in range(length)))
        if network == 4:
            whole = IP(src=client, dst=vip, id=number, ttl=63, **fields) / transport / data
        else:
            head = IPv6(src=client, dst=vip, hlim=63, **fields)
            whole = (head / before if before else head) / IPv6ExtHdrFragment(id=number)
            whole = (whole / behind if behind else whole) / transport / data
        self.text = f"{backend}:{port}" if network == 4 else f"[{backend}]:{port}"
        self.frames = [ether(tags) / part for part in pieces(whole, size)]
        moved = forwarded(whole, ETH1, BACKEND_MAC, backend, port)
        self.outs = [ether((), ETH1, BACKEND_MAC) / part for part in pieces(moved.payload, size)]

    def __len__(self):
        return len(self.frames)

    def sent(self, i, **more):
        return step(self.frames[i], "redirect", "lb", backend=self.text, by="eth1", out=self.outs[i], **more)

    def held(self, i, **more):
        return held(self.frames[i], **more)

    def released(self, i):
        return released(self.frames[i], "redirect", "lb", backend=self.text, out=self.outs[i])

    def dropped(self, i, reason, function="lb", **more):
        return step(self.frames[i], "drop", function, reason, **more)


def fragments():
    later = ether(dst="01:80:c2:00:00:0e") / Raw(bytes(46))  # nobody's, while time passes
    for network in (4, 6):
        def train(number, network=network, **more):
            return Train(network, number, **more)

        name = f", IPv{network}"
        t = train(6001)
        assert len(t) == 3
        case("fragments in order" + name, "they go where the first one goes; its checksum is that of the whole datagram",
             *[t.sent(i) for i in range(3)])
        t = train(6002)
        case("fragments, the first one last" + name, "those before it wait, and follow in the order in which they came",
             t.held(2), t.held(1), t.sent(0, released=[t.released(2), t.released(1)]))
        t = train(6003)
        case("fragments, the first one in the middle" + name, "one waits, the others go at once",
             t.held(1), t.sent(0, released=[t.released(1)]), t.sent(2))
        t = train(6004, length=400)
        assert len(t) == 11
        case("fragments with gaps" + name, "behind the first one any order is as good", t.sent(0),
             *[t.sent(i) for i in (10, 2, 6, 3, 1, 7, 5, 9, 4, 8)])
        t = train(6005)
        case("fragments that come twice" + name, "RFC 8200 section 4.5: a node may drop exact duplicates and keep the rest",
             t.sent(0), t.dropped(0, "fragment_duplicate"), t.sent(2), t.dropped(2, "fragment_duplicate"), t.sent(1),
             t.dropped(1, "fragment_duplicate"))
        t = train(6006)
        case("a held fragment that comes twice" + name, "the second one is a duplicate when it is looked at", t.held(1), t.held(1),
             t.sent(0, released=[t.released(1), released(t.frames[1], "drop", "lb", "fragment_duplicate")]), t.sent(2))
        a, b = train(6007), train(6007, length=120, size=56)
        case("a fragment that overlaps the first" + name, "RFC 5722 section 4: the whole datagram is given up, what follows too",
             a.sent(0), step(shifted(a.frames[1], -16), "drop", "lb", "fragment_overlap"), a.dropped(1, "fragment_overlap"),
             a.dropped(2, "fragment_overlap"), a.dropped(0, "fragment_overlap"))
        a = train(6008, length=200)
        case("a fragment that overlaps one beyond a gap" + name, "RFC 5722 section 4", a.sent(0), a.sent(3),
             step(shifted(a.frames[2], 8), "drop", "lb", "fragment_overlap"), a.dropped(1, "fragment_overlap"))
        a = train(6009, length=200)
        case("a fragment behind the last" + name, "RFC 5722 section 4: the datagram contradicts itself", a.sent(0), a.sent(len(a) - 1),
             step(shifted(a.frames[2], 400), "drop", "lb", "fragment_overlap"), a.dropped(1, "fragment_overlap"))
        a = train(6010, length=200)
        case("a last fragment before others" + name, "RFC 5722 section 4: the datagram contradicts itself", a.sent(0), a.sent(3),
             step(shifted(a.frames[-1], 80 - 40 * (len(a) - 1)), "drop", "lb", "fragment_overlap"))
        a, b = train(6011), train(6011, size=56)
        case("a longer first fragment" + name, "RFC 5722 section 4", a.sent(0), step(b.frames[0], "drop", "lb", "fragment_overlap"),
             a.dropped(1, "fragment_overlap"))
        t = train(6012, length=400)
        case("fragments with five gaps" + name, "more than this node follows, and what cannot be told apart is not sent on", t.sent(0),
             t.sent(2), t.sent(4), t.sent(6), t.dropped(8, "fragment_gaps"), t.dropped(1, "fragment_gaps"))
        t, u = train(6013), train(6013)
        case("an identification that is used again" + name, "the datagram before was complete", *[t.sent(i) for i in range(3)],
             *[u.sent(i) for i in range(3)])
        t = train(6014, length=400)
        case("fragments of which nine come before the first" + name, "a sender has eight slots, for a second",
             *[t.held(i) for i in range(1, 9)], t.dropped(9, "fragment_hold_full"),
             t.sent(0, at_ms=1001 + 50, released=[released(t.frames[i], "drop", "lb", "fragment_without_first") for i in range(1, 9)]))
        t = train(6015)
        case("fragments whose first one never comes" + name, "they wait for a second", t.held(1),
             step(later, "pass", "parse", at_ms=1100,
                  released=[released(t.frames[1], "drop", "lb", "fragment_without_first")]))
        t = train(6016)
        case("fragments two seconds behind the first" + name, "the record's life", t.sent(0), t.sent(1, at_ms=1990), t.held(2, at_ms=2010),
             step(later, "pass", "parse", at_ms=3100,
                  released=[released(t.frames[2], "drop", "lb", "fragment_without_first")]))
        vip, client, backend = (VIP4, CLIENT4, BACKEND4) if network == 4 else (VIP6, CLIENT6, BACKEND6)
        t = train(6017, service=(vip, backend, 5353, 54))
        case("fragments to a closed port" + name, "all of a datagram fare like its first one", t.dropped(0, "vip_port_closed", "vip"),
             t.dropped(1, "vip_port_closed"), t.dropped(2, "vip_port_closed"))
        t = train(6018)
        field = IP if network == 4 else IPv6
        late = t.frames[1].copy()
        setattr(late[field], "ttl" if network == 4 else "hlim", 1)
        if network == 4:
            del late[IP].chksum
        case("a later fragment with TTL 1" + name, "RFC 1812 section 5.3.1: each is a packet", t.sent(0),
             step(late, "drop", "lb", "hop_limit_exceeded", t.text))
        t = train(6019, transport=TCP(sport=6019, dport=80, flags="PA", seq=1, ack=1), service=(vip, backend, 8080, 80))
        case("TCP in fragments" + name, "fares like UDP", t.held(2), t.sent(0, released=[t.released(2)]), t.sent(1))
        t = train(6020, transport=TCP(sport=6020, dport=80, flags="S"), service=(vip, backend, 8080, 80), size=16)
        case("a first fragment of 16 bytes of TCP" + name, "RFC 1858 section 3.2.1, RFC 7112 section 5: its header is not whole",
             t.dropped(0, "fragment_tiny", "vip"), t.dropped(1, "fragment_tiny"), t.dropped(2, "fragment_tiny"))
        t = train(6021, transport=TCP(sport=6021, dport=80, flags="S"), service=(vip, backend, 8080, 80), size=8)
        case("a TCP fragment at byte 8" + name, "RFC 1858 section 3.2.2: it would bring the flags", t.dropped(1, "fragment_tiny"))
        t = train(6022, size=8)
        case("UDP fragments of 8 bytes" + name, "RFC 791: a fragment may be as small", *[t.sent(i) for i in range(len(t))])
        t = train(6023)
        case("a first fragment of 4 bytes" + name, "not even the ports' whole header", step(cut(t.frames[0], 4), "drop", "vip", "fragment_tiny"))
        t = train(6024)
        case("a first fragment of 12 bytes" + name, "RFC 8200 section 4.5: a length that is no multiple of 8",
             step(cut(t.frames[0], 12), "drop", "lb", "fragment_length_lies"), t.dropped(1, "fragment_length_lies"))
        t = train(6025)
        case("a later fragment of 12 bytes" + name, "RFC 8200 section 4.5: it is discarded, the others are not", t.sent(0),
             step(cut(t.frames[1], 12), "drop", "lb", "fragment_length_lies"), t.sent(1), t.sent(2))
        t = train(6026)
        case("a fragment without data" + name, "it belongs to nothing", step(cut(t.frames[1], 0), "drop", "lb", "fragment_length_lies"))
        t = train(6027)
        case("a fragment beyond 65535 bytes" + name, "RFC 8200 section 4.5", t.sent(0),
             step(shifted(t.frames[2], 65528 - 80), "drop", "lb", "fragment_length_lies"))
        t = train(6028, length=4000, size=1344)
        assert len(t) == 3
        case("4000 bytes" + name, "as a sender with an MTU of 1400 takes them apart", t.held(1), t.held(2),
             t.sent(0, released=[t.released(1), t.released(2)]))
        t = train(6029, length=4000, size=1968)
        case("a later fragment of 2000 bytes" + name, "more than a slot holds", t.dropped(1, "fragment_hold_full"))
        answer = ((IP(src=backend, dst=client, id=6030, ttl=64) if network == 4 else
                   IPv6(src=backend, dst=client, hlim=64) / IPv6ExtHdrFragment(id=6030)) /
                  UDP(sport=5353, dport=6030) / Raw(bytes(range(100))))
        t = train(6030)
        back = translated(answer, ETH0, CLIENT, vip, 53)
        frames, outs = pieces(answer), pieces(back.payload)

        def told(i, frames=frames, outs=outs, text=t.text, **more):
            return step(Ether(src=BACKEND_MAC, dst=ETH1) / frames[i], "redirect", "lb", backend=text, interface="eth1",
                        out=ether((), ETH0, CLIENT) / outs[i], **more)
        case("a backend's answer in fragments" + name, "it comes from the virtual IP, all of it",
             step(Ether(src=BACKEND_MAC, dst=ETH1) / frames[1], "pass", "parse", interface="eth1"), t.sent(0), told(0), told(2), told(1),
             step(Ether(src=BACKEND_MAC, dst="02:00:00:00:00:99") / frames[1], "pass", "parse", interface="eth1"),
             step(Ether(src=BACKEND_MAC, dst=ETH1) / frames[1], "drop", "lb", "fragment_duplicate", interface="eth1"))
        t = train(6031)
        case("a later fragment in a group's frame" + name, "RFC 1122 section 3.3.6", t.sent(0),
             step(Ether(src=CLIENT, dst="ff:ff:ff:ff:ff:ff") / t.frames[1].payload, "drop", "vip", "link_group_address"), t.sent(1))
        t = train(6032, tags=[Dot1Q(vlan=7)], client="198.51.100.50" if network == 4 else "2001:db8:0:7::50")
        case("fragments from the VLAN" + name, "the tags go, of held ones too", t.held(2), t.sent(0, released=[t.released(2)]), t.sent(1))
    t = Train(4, 6040, options=b"\x94\x04\x00\x00\x01\x01\x01\x00")
    case("fragments with IPv4 options", "RFC 791: options stay", *[t.sent(i) for i in (0, 2, 1)])
    t = Train(4, 6041, transport=UDP(sport=6041, dport=53, chksum=0))
    case("fragments without a UDP checksum", "RFC 768: zero stays", t.sent(0), t.sent(1), t.sent(2))
    t, u = Train(4, 6042), Train(4, 6042, transport=TCP(sport=6042, dport=80, flags="PA"), service=(VIP4, BACKEND4, 8080, 80))
    case("fragments of two protocols with one identification", "RFC 791 section 3.2: the protocol is part of it", t.sent(0), u.sent(0), t.sent(1), u.sent(1))
    t = Train(6, 6043, before=IPv6ExtHdrHopByHop())
    case("fragments behind hop-by-hop options", "RFC 8200 section 4.5: what comes before the fragment header is in each",
         t.held(1), t.sent(0, released=[t.released(1)]), t.sent(2))
    t = Train(6, 6044, behind=IPv6ExtHdrDestOpt())
    case("fragments with destination options in the first", "RFC 8200 section 4.5: later ones name the options, not UDP",
         t.held(1), t.sent(0, released=[t.released(1)]), t.sent(2))
    t = Train(6, 6045)
    other = t.frames[1].copy()
    other[IPv6ExtHdrFragment].nh = 6
    out = t.outs[1].copy()
    out[IPv6ExtHdrFragment].nh = 6
    case("a later fragment that names another protocol", "RFC 8200 section 4.5: only the first one's counts", t.sent(0),
         step(other, "redirect", "lb", backend=t.text, by="eth1", out=out))
    t = Train(6, 6046, behind=IPv6ExtHdrDestOpt(options=[]), size=8)
    options = ether() / IPv6(src=CLIENT6, dst=VIP6, nh=44) / IPv6ExtHdrFragment(id=6046, m=1, nh=60) / Raw(bytes([17, 1, 1, 4, 0, 0, 0, 0]))
    dropped("a first fragment that ends in an extension header", "RFC 7112 section 5", options, "fragment_tiny")
    nested = ether() / IPv6(src=CLIENT6, dst=VIP6) / IPv6ExtHdrFragment(id=6047, m=1) / IPv6ExtHdrFragment(id=6048, m=1) / \
        UDP(sport=6047, dport=53) / Raw(bytes(24))
    dropped("a fragment of a fragment", "it would have two identifications", nested, "fragment_nested")
    dropped("a fragment of GRE", "a virtual IP serves TCP, UDP and echo", ether() / IP(src=CLIENT4, dst=VIP4, frag=3, proto=47) / Raw(bytes(16)),
            "fragment_unsupported")
    dropped("a first fragment of GRE", "a virtual IP serves TCP, UDP and echo", ether() / IP(src=CLIENT4, dst=VIP4, flags="MF", proto=47) / Raw(bytes(16)),
            "fragment_unsupported")
    passed("first fragment to the node", "the kernel's to reassemble", ether() / IP(src=CLIENT4, dst=NODE4, flags="MF") / UDP(dport=53) / Raw(bytes(16)))
    for sport in (6060, 6061, 6062, 6063):
        whole = IP(src=CLIENT4, dst="192.0.2.104", id=sport) / UDP(sport=sport, dport=90) / Raw(bytes(100))
        outs = {f"10.0.0.{i}": pieces(forwarded(whole, ETH1, BACKEND_MAC, f"10.0.0.{i}", 90).payload) for i in (21, 22, 23)}
        case(f"fragments to one of three backends, client port {sport}", "the later ones have no port to be hashed by",
             *[step(ether() / part, "redirect", "lb", by="eth1", expect={"same_backend_as": 0} if i else {},
                    out={f"{name}:90": ether((), ETH1, f"02:00:00:00:02:{name[-2:]}") / out[i] for name, out in outs.items()})
               for i, part in enumerate(pieces(whole))])
    whole = IP(src=CLIENT4, dst="192.0.2.102", id=6070) / UDP(sport=6070, dport=80) / Raw(bytes(100))
    case("fragments by direct return", "hardware addresses and TTL change, nothing else",
         *[step(ether() / part, "tx", "lb", backend="192.0.2.22:80", out=direct(part, ETH0, "02:00:00:00:01:22")) for part in pieces(whole)])
    whole = IP(src=CLIENT4, dst="192.0.2.103", id=6071) / UDP(sport=6071, dport=10007) / Raw(bytes(100))
    moved = pieces(forwarded(whole, ETH1, BACKEND_MAC, BACKEND4).payload)
    case("fragments to a port range", "the port is kept",
         *[step(ether() / part, "redirect", "lb", backend="10.0.0.21" if i else "10.0.0.21:10007", by="eth1",
                out=ether((), ETH1, BACKEND_MAC) / moved[i]) for i, part in enumerate(pieces(whole))])
    for name, packet in (("fragment", Train(4, 6080).frames[0]), ("fragment over IPv6", Train(6, 6080, before=IPv6ExtHdrHopByHop()).frames[0])):
        never_leaves("first " + name + ", truncated", "cut off anywhere", packet)


def shifted(frame_, by):
    """The fragment, `by` bytes further on."""
    moved = Ether(bytes(frame_))
    if IP in moved:
        moved[IP].frag += by // 8
        del moved[IP].chksum
    else:
        moved[IPv6ExtHdrFragment].offset += by // 8
    return moved


def cut(frame_, length):
    """The fragment with so many bytes of data, and more to follow."""
    packet = Ether(bytes(frame_))
    if IP in packet:
        data = bytes(packet[IP].payload)[:length]
        head = packet[IP].copy()
        head.remove_payload()
        del head.len, head.chksum
        head.flags = "MF"
        return ether() / head / Raw(data)
    data = bytes(packet[IPv6ExtHdrFragment].payload)[:length]
    head = packet[IPv6].copy()
    head[IPv6ExtHdrFragment].remove_payload()
    del head.plen
    head[IPv6ExtHdrFragment].m = 1
    return ether() / head / Raw(data)


def sum_to_zero(packet, address, port, reverse=False):
    """Gives a two-byte payload with which the translated packet's checksum is zero, before RFC 768's exception."""
    after = packet.copy()
    ip = after[IP] if IP in after else after[IPv6]
    if reverse:
        ip.src, after[UDP].sport = address, port
    else:
        ip.dst, after[UDP].dport = address, port
    if after[UDP].payload.load != b"\0\0":
        raise ValueError
    del after[UDP].chksum
    checksum = type(after)(bytes(after))[UDP].chksum
    result = packet.copy()
    result[UDP].remove_payload()
    return type(packet)(bytes(result / Raw(checksum.to_bytes(2, "big"))))


# --- ICMP errors ---------------------------------------------------------------------------------------------------------

HOP4, HOP6 = "203.0.113.1", "2001:db8:ffff::1"  # a router somewhere between


def seen(packet, hops=1, length=None):
    """The packet as a router `hops` further sees it, its first bytes."""
    packet = type(packet)(bytes(packet))
    if IP in packet:
        packet[IP].ttl -= hops
        del packet[IP].chksum
    else:
        packet[IPv6].hlim -= hops
    return bytes(packet)[:length]


def error(source, to, quote, kind, ttl=60, id=77):
    """An ICMP error from its IP header on. `kind`: scapy's header of it, without checksum; `quote`: bytes."""
    if ":" in to:
        return IPv6(src=source, dst=to, hlim=ttl) / kind / Raw(quote)
    return IP(src=source, dst=to, ttl=ttl, id=id) / kind / Raw(quote)


def errors4():
    """Each kind of ICMP error; a gateway's next-hop MTU (RFC 1191) and pointer (RFC 792) are not ours to touch."""
    return {"port unreachable": ICMP(type=3, code=3), "host unreachable": ICMP(type=3, code=1),
            "fragmentation needed": ICMP(type=3, code=4, nexthopmtu=1400), "time exceeded": ICMP(type=11, code=0),
            "parameter problem": ICMP(type=12, code=0, ptr=20)}


def errors6():
    return {"port unreachable": ICMPv6DestUnreach(code=4), "packet too big": ICMPv6PacketTooBig(mtu=1280),
            "time exceeded": ICMPv6TimeExceeded(), "parameter problem": ICMPv6ParamProblem(code=1, ptr=40)}


def icmp_errors():
    port = 6000
    for network, kinds in ((4, errors4), (6, errors6)):
        ip, client, vip, backend, hop = (IP, CLIENT4, VIP4, BACKEND4, HOP4) if network == 4 else (IPv6, CLIENT6, VIP6, BACKEND6, HOP6)
        between = "10.0.0.254" if network == 4 else "2001:db8:0:2::254"
        for transport, vip_port, backend_port in ((UDP, 53, 5353), (TCP, 80, 8080)):
            text = f"{backend}:{backend_port}" if network == 4 else f"[{backend}]:{backend_port}"
            for name in kinds():
                port += 1
                flags = {"flags": "S"} if transport is TCP else {}
                back = {"flags": "SA"} if transport is TCP else {}
                load = bytes() if transport is TCP else b"the question, or what there is of it"
                request = ip(src=client, dst=vip) / transport(sport=port, dport=vip_port, **flags) / Raw(load)
                answer = ip(src=backend, dst=client) / transport(sport=backend_port, dport=port, **back) / Raw(load)
                to_backend = forwarded(request, ETH1, BACKEND_MAC, backend, backend_port)
                to_client = translated(answer, ETH0, CLIENT, vip, vip_port)
                first = step(ether() / request, "redirect", "lb", backend=text, by="eth1", out=to_backend)
                second = step(Ether(src=BACKEND_MAC, dst=ETH1) / answer, "redirect", "lb", backend=text, interface="eth1", out=to_client)
                # The whole packet, and of IPv4 the 8 bytes behind its header that RFC 792 promises: TCP's checksum is not in them.
                for length in (None, 28) if network == 4 else (None,):
                    part = ", 8 bytes quoted" if length else ""
                    quote = lambda packet, hops: seen(packet, hops, length)  # noqa: E731
                    said = error(hop, vip, quote(to_client.payload, 3), kinds()[name])
                    means = error(hop, backend, quote(answer, 4), kinds()[name], ttl=59)
                    case(f"{name} about an answer, {transport.__name__}, IPv{network}{part}",
                         "RFC 5508 section 4.2: to whom sent the answer, as that one sent it", first, second,
                         step(ether((), ROUTER) / said, "redirect", "lb", backend=text, by="eth1",
                              out=Ether(src=ETH1, dst=BACKEND_MAC) / means))
                    said = error(backend, client, quote(to_backend.payload, 0), kinds()[name])
                    means = error(vip, client, quote(request, 1), kinds()[name], ttl=59)
                    case(f"{name} from the backend, {transport.__name__}, IPv{network}{part}",
                         "RFC 5508 section 4.1: the client sees what it sent, and the virtual IP as its source", first,
                         step(Ether(src=BACKEND_MAC, dst=ETH1) / said, "redirect", "lb", backend=text, interface="eth1",
                              out=Ether(src=ETH0, dst=CLIENT) / means))
                    said = error(between, client, quote(to_backend.payload, 1), kinds()[name])
                    means = error(between, client, quote(request, 2), kinds()[name], ttl=59)
                    case(f"{name} from a router before the backend, {transport.__name__}, IPv{network}{part}",
                         "RFC 5508 section 4.1: the router's own address stays", first,
                         step(Ether(src=BACKEND_MAC, dst=ETH1) / said, "redirect", "lb", backend=text, interface="eth1",
                              out=Ether(src=ETH0, dst=CLIENT) / means))
    icmp_errors_rest()


def icmp_errors_rest():
    request = IP(src=CLIENT4, dst=VIP4) / UDP(sport=6500, dport=53, chksum=0) / Raw(b"x")
    answer = IP(src=BACKEND4, dst=CLIENT4) / UDP(sport=5353, dport=6500, chksum=0) / Raw(b"y")
    first = step(ether() / request, "redirect", "lb", backend="10.0.0.21:5353", by="eth1", out=forwarded(request, ETH1, BACKEND_MAC, BACKEND4, 5353))
    gone = translated(answer, ETH0, CLIENT, VIP4, 53).payload
    case("error about an answer without UDP checksum", "RFC 768: none stays none", first,
         step(ether() / error(CLIENT4, VIP4, seen(gone, 0), ICMP(type=3, code=3)), "redirect", "lb", backend="10.0.0.21:5353", by="eth1",
              out=Ether(src=ETH1, dst=BACKEND_MAC) / error(CLIENT4, BACKEND4, seen(answer, 1), ICMP(type=3, code=3), ttl=59)))
    for network, backend, vip, client, kind in ((4, BACKEND4, VIP4, CLIENT4, ICMP(type=3, code=3)), (6, BACKEND6, VIP6, CLIENT6, ICMPv6DestUnreach())):
        ip, text = (IP, f"{backend}:5353") if network == 4 else (IPv6, f"[{backend}]:5353")
        request = ip(src=client, dst=vip) / UDP(sport=6507, dport=53) / Raw(b"x")
        answer = sum_to_zero(ip(src=backend, dst=client) / UDP(sport=5353, dport=6507) / Raw(b"\0\0"), client, 6507)
        assert answer[UDP].chksum in (None, 0xffff) and type(answer)(bytes(answer))[UDP].chksum == 0xffff
        gone = translated(answer, ETH0, CLIENT, vip, 53).payload
        case(f"error about an answer whose checksum was all ones, IPv{network}", "RFC 768: zero is sent as all ones",
             step(ether() / request, "redirect", "lb", backend=text, by="eth1", out=forwarded(request, ETH1, BACKEND_MAC, backend, 5353)),
             step(ether() / error(client, vip, seen(gone, 0), kind), "redirect", "lb", backend=text, by="eth1",
                  out=Ether(src=ETH1, dst=BACKEND_MAC) / error(client, backend, seen(answer, 1), kind, ttl=59)))
    request = IPv6(src=CLIENT6, dst=VIP6) / IPv6ExtHdrDestOpt() / UDP(sport=6501, dport=53) / Raw(b"x")
    sent = forwarded(request, ETH1, BACKEND_MAC, BACKEND6, 5353)
    case("error about a request with extension headers", "RFC 8200 section 4: the ports lie behind them",
         step(ether() / request, "redirect", "lb", backend=f"[{BACKEND6}]:5353", by="eth1", out=sent),
         step(Ether(src=BACKEND_MAC, dst=ETH1) / error(BACKEND6, CLIENT6, seen(sent.payload, 0), ICMPv6DestUnreach(code=4)), "redirect", "lb",
              backend=f"[{BACKEND6}]:5353", interface="eth1",
              out=Ether(src=ETH0, dst=CLIENT) / error(VIP6, CLIENT6, seen(request, 1), ICMPv6DestUnreach(code=4), ttl=59)))
    request = IP(src=CLIENT4, dst=VIP4, options=b"\x07\x07\x04\x00\x00\x00\x00\x00") / UDP(sport=6502, dport=53) / Raw(b"x")
    sent = forwarded(request, ETH1, BACKEND_MAC, BACKEND4, 5353)
    case("error about a request with options, from the VLAN to come", "RFC 791: the ports lie behind them",
         step(ether() / request, "redirect", "lb", backend="10.0.0.21:5353", by="eth1", out=sent),
         step(Ether(src=BACKEND_MAC, dst=ETH1) / error(BACKEND4, CLIENT4, seen(sent.payload, 0), ICMP(type=3, code=2)), "redirect", "lb",
              backend="10.0.0.21:5353", interface="eth1",
              out=Ether(src=ETH0, dst=CLIENT) / error(VIP4, CLIENT4, seen(request, 1), ICMP(type=3, code=2), ttl=59)))
    request = IP(src=CLIENT4, dst="192.0.2.103") / UDP(sport=6503, dport=10007) / Raw(b"media")
    answer = IP(src=BACKEND4, dst=CLIENT4) / UDP(sport=10007, dport=6503) / Raw(b"media")
    case("errors about a port of a range", "the port is kept in both directions",
         step(ether() / request, "redirect", "lb", backend="10.0.0.21:10007", by="eth1", out=forwarded(request, ETH1, BACKEND_MAC, BACKEND4)),
         step(ether() / error(CLIENT4, "192.0.2.103", seen(translated(answer, ETH0, CLIENT, "192.0.2.103", 10007).payload, 0), ICMP(type=3, code=3)),
              "redirect", "lb", backend="10.0.0.21:10007", by="eth1",
              out=Ether(src=ETH1, dst=BACKEND_MAC) / error(CLIENT4, BACKEND4, seen(answer, 1), ICMP(type=3, code=3), ttl=59)),
         step(Ether(src=BACKEND_MAC, dst=ETH1) / error(BACKEND4, CLIENT4, seen(forwarded(request, ETH1, BACKEND_MAC, BACKEND4).payload, 0),
                                                       ICMP(type=3, code=3)), "redirect", "lb", backend="10.0.0.21:10007", interface="eth1",
              out=Ether(src=ETH0, dst=CLIENT) / error("192.0.2.103", CLIENT4, seen(request, 1), ICMP(type=3, code=3), ttl=59)))
    for network in (4, 6):
        ip, vip, client, kind = (IP, "192.0.2.102", CLIENT4, ICMP(type=3, code=4, nexthopmtu=1300)) if network == 4 else (
            IPv6, "2001:db8:0:1::102", CLIENT6, ICMPv6PacketTooBig(mtu=1300))
        text, mac = "192.0.2.22:80" if network == 4 else "[2001:db8:0:1::22]:80", "02:00:00:00:01:22"
        request, answer = (ip(src=client, dst=vip) / UDP(sport=6504, dport=80) / Raw(b"x"), ip(src=vip, dst=client) / UDP(sport=80, dport=6504) /
                           Raw(b"y"))
        said = error(HOP4 if network == 4 else HOP6, vip, seen(answer, 2), kind)
        case(f"packet too big, direct return, IPv{network}", "the backend sent it from the virtual IP: only hardware addresses and TTL change",
             step(ether() / request, "tx", "lb", backend=text, out=direct(request, ETH0, mac)),
             step(ether((), ROUTER) / said, "tx", "lb", backend=text, out=direct(said, ETH0, mac)))
    request = IP(src="198.51.100.50", dst=VIP4) / UDP(sport=6505, dport=53) / Raw(b"x")
    sent = forwarded(request, ETH1, BACKEND_MAC, BACKEND4, 5353)
    case("error to a client on the VLAN", "it gets the tag of its way",
         step(ether([Dot1Q(vlan=7)]) / request, "redirect", "lb", backend="10.0.0.21:5353", by="eth1", out=sent),
         step(Ether(src=BACKEND_MAC, dst=ETH1) / error(BACKEND4, "198.51.100.50", seen(sent.payload, 0), ICMP(type=3, code=3)), "redirect", "lb",
              backend="10.0.0.21:5353", interface="eth1",
              out=ether([Dot1Q(vlan=7)], ETH0, CLIENT) / error(VIP4, "198.51.100.50", seen(request, 1), ICMP(type=3, code=3), ttl=59)))

    # What is about no flow, and what lies.
    def refused(name, why, quote, reason="icmp_error_malformed", kind=None, ttl=60, client=ROUTER, backend=None):
        dropped(name, why, ether((), client) / error(HOP4, VIP4, quote, kind or ICMP(type=3, code=1), ttl=ttl), reason, "lb", backend)

    answer = IP(src=VIP4, dst=CLIENT4) / UDP(sport=53, dport=6999) / Raw(b"y")
    refused("error about no flow", "nobody asked", bytes(answer), "icmp_error_flow_unknown")
    dropped("error about no flow, IPv6", "nobody asked", ether((), ROUTER) / error(
        HOP6, VIP6, bytes(IPv6(src=VIP6, dst=CLIENT6) / UDP(sport=53, dport=6999)), ICMPv6DestUnreach()), "icmp_error_flow_unknown", "lb")
    refused("error about a port without a service", "nobody asked", bytes(IP(src=VIP4, dst=CLIENT4) / UDP(sport=54, dport=6999)),
            "icmp_error_flow_unknown")
    refused("error about another's packet", "RFC 5927 section 4.1: not one that the virtual IP sent",
            bytes(IP(src="192.0.2.101", dst=CLIENT4) / UDP(sport=80, dport=6999)))
    refused("error that quotes nothing", "RFC 792: the header and 8 bytes", b"")
    refused("error that quotes half a header", "RFC 792: the header and 8 bytes", bytes(answer)[:19])
    refused("error that quotes 7 bytes behind the header", "RFC 792: the header and 8 bytes", bytes(answer)[:27])
    refused("error that quotes a header of 16 bytes", "RFC 791: at least 20", bytes(IP(ihl=4, src=VIP4, dst=CLIENT4) / UDP(sport=53)))
    refused("error that quotes IPv6 in IPv4", "RFC 791", b"\x65" + bytes(answer)[1:])
    dropped("error that quotes half an IPv6 header", "RFC 4443 section 3", ether((), ROUTER) / error(HOP6, VIP6, bytes(39), ICMPv6DestUnreach()),
            "icmp_error_malformed", "lb")
    dropped("error that quotes an extension header without end", "RFC 8200 section 4", ether((), ROUTER) / error(
        HOP6, VIP6, bytes(IPv6(src=VIP6, dst=CLIENT6, nh=0)) + bytes([17, 9, 0, 0, 0, 0, 0, 0]), ICMPv6DestUnreach()), "icmp_error_malformed", "lb")
    refused("error about an echo answer", "of no flow", bytes(IP(src=VIP4, dst=CLIENT4) / ICMP(type=0)), "icmp_error_unsupported")
    refused("error about a later fragment", "it has no ports", bytes(IP(src=VIP4, dst=CLIENT4, frag=3, proto=17)) + bytes(8),
            "icmp_error_unsupported")
    dropped("error about a later fragment, IPv6", "it has no ports", ether((), ROUTER) / error(
        HOP6, VIP6, bytes(IPv6(src=VIP6, dst=CLIENT6) / IPv6ExtHdrFragment(offset=3, nh=17) / Raw(bytes(8))), ICMPv6PacketTooBig()),
        "icmp_error_unsupported", "lb")
    dropped("source quench", "RFC 6633: to be ignored", ether((), ROUTER) / error(HOP4, VIP4, bytes(answer), ICMP(type=4)), "vip_protocol_unsupported")
    request = IP(src=CLIENT4, dst=VIP4) / UDP(sport=6506, dport=53)
    answer = IP(src=VIP4, dst=CLIENT4) / UDP(sport=53, dport=6506)
    case("error with TTL 1", "RFC 1812 section 5.3.1",
         step(ether() / request, "redirect", "lb", backend="10.0.0.21:5353", by="eth1", out=forwarded(request, ETH1, BACKEND_MAC, BACKEND4, 5353)),
         step(ether((), ROUTER) / error(HOP4, VIP4, bytes(answer), ICMP(type=3, code=1), ttl=1), "drop", "lb", "hop_limit_exceeded", "10.0.0.21:5353"))
    passed("error to the node", "the kernel's", ether((), ROUTER) / error(HOP4, NODE4, bytes(IP(src=NODE4, dst=CLIENT4) / UDP()), ICMP(type=3, code=1)))
    passed("error to a client about another's packet", "it went to no backend of ours",
           Ether(src=BACKEND_MAC, dst=ETH1) / error(BACKEND4, CLIENT4, bytes(IP(src=CLIENT4, dst="10.0.0.99") / UDP(sport=1, dport=5353)),
                                                    ICMP(type=3, code=3)), interface="eth1")
    passed("error to a client about a packet of no flow", "it was not sent by way of the virtual IP",
           Ether(src=BACKEND_MAC, dst=ETH1) / error(BACKEND4, CLIENT4, bytes(IP(src=CLIENT4, dst=BACKEND4) / UDP(sport=6998, dport=5353)),
                                                    ICMP(type=3, code=3)), interface="eth1")
    passed("error to a client that quotes too little", "nobody's that is known", Ether(src=BACKEND_MAC, dst=ETH1) /
           error(BACKEND4, CLIENT4, bytes(IP(src=CLIENT4, dst=BACKEND4) / UDP(sport=6506, dport=5353))[:27], ICMP(type=3, code=3)), interface="eth1")
    for network, packet in ((4, error(HOP4, VIP4, bytes(answer), ICMP(type=3, code=1))),
                            (6, error(HOP6, VIP6, bytes(IPv6(src=VIP6, dst=CLIENT6) / UDP(sport=53, dport=6998)), ICMPv6DestUnreach()))):
        never_leaves(f"ICMP error, IPv{network}, truncated", "cut off anywhere", ether((), ROUTER) / packet)


# --- what does not fit ---------------------------------------------------------------------------------------------------

def too_big(packet, vip, mtu, source_mac=ETH0, destination_mac=CLIENT, tags=()):
    """What tells the sender: 576 bytes (RFC 1812 section 4.3.2.3) or 1280 (RFC 4443 section 3.2), quoting the packet as it came."""
    if IP in packet:
        told = IP(src=vip, dst=packet[IP].src, ttl=64, id=0, flags="DF", tos=0xc0) / ICMP(type=3, code=4, nexthopmtu=mtu)
        return ether(tags, source_mac, destination_mac) / told / Raw(bytes(packet)[:548])
    told = IPv6(src=vip, dst=packet[IPv6].src, hlim=64, tc=0xc0) / ICMPv6PacketTooBig(mtu=mtu)
    return ether(tags, source_mac, destination_mac) / told / Raw(bytes(packet)[:1232])


def lengths():
    """eth1 takes 1400 bytes, the VLAN 1300."""
    for network in (4, 6):
        ip, client, vip, backend, head = ((lambda **k: IP(flags="DF", **k), CLIENT4, VIP4, BACKEND4, 20) if network == 4 else
                                          (IPv6, CLIENT6, VIP6, BACKEND6, 40))
        for transport, vip_port, backend_port in ((UDP, 53, 5353), (TCP, 80, 8080)):
            flags = {"flags": "A"} if transport is TCP else {}
            own = 20 if transport is TCP else 8
            text = f"{backend}:{backend_port}" if network == 4 else f"[{backend}]:{backend_port}"
            name = f"{transport.__name__}, IPv{network}"

            def load(length):
                return Raw((bytes(range(1, 251)) * 7)[:length - head - own])
            fits = ip(src=client, dst=vip) / transport(sport=6601, dport=vip_port, **flags) / load(1400)
            long = ip(src=client, dst=vip) / transport(sport=6601, dport=vip_port, **flags) / load(1401)
            answer = ip(src=backend, dst=client) / transport(sport=backend_port, dport=6601, **flags) / load(1500)
            case(f"1400 bytes to a link of 1400, {name}", "they fit; so do 1500 the other way",
                 step(ether() / fits, "redirect", "lb", backend=text, by="eth1", out=forwarded(fits, ETH1, BACKEND_MAC, backend, backend_port)),
                 step(Ether(src=BACKEND_MAC, dst=ETH1) / answer, "redirect", "lb", backend=text, interface="eth1",
                      out=translated(answer, ETH0, CLIENT, vip, vip_port)))
            case(f"1401 bytes to a link of 1400, {name}", "RFC 1191 section 4, RFC 4443 section 3.2: told how many pass, from the virtual IP",
                 step(ether() / long, "tx", "lb", out=too_big(long, vip, 1400)))
            more = ip(src=client, dst=vip) / transport(sport=6602, dport=vip_port, **flags) / load(1700)
            case(f"1700 bytes in a frame with padding, {name}", "the quote is the packet's",
                 step(ether() / more / Padding(bytes(6)), "tx", "lb", out=too_big(more, vip, 1400)))
            tagged = "198.51.100.50" if network == 4 else "2001:db8:0:7::50"
            asked = ip(src=tagged, dst=vip) / transport(sport=6603, dport=vip_port, **flags) / load(100)
            back = ip(src=backend, dst=tagged) / transport(sport=backend_port, dport=6603, **flags) / load(1301)
            case(f"an answer of 1301 bytes to a VLAN of 1300, {name}", "the backend is told",
                 step(ether([Dot1Q(vlan=7)]) / asked, "redirect", "lb", backend=text, by="eth1",
                      out=forwarded(asked, ETH1, BACKEND_MAC, backend, backend_port)),
                 step(Ether(src=BACKEND_MAC, dst=ETH1) / back, "tx", "lb", interface="eth1", by="eth1",
                      out=too_big(back, vip, 1300, ETH1, BACKEND_MAC)))
            long = ip(src=tagged, dst=vip) / transport(sport=6604, dport=vip_port, **flags) / load(1450)
            case(f"too big, by a VLAN, {name}", "the answer has the packet's tag",
                 step(ether([Dot1Q(vlan=7, prio=5)]) / long, "tx", "lb", out=too_big(long, vip, 1400, tags=[Dot1Q(vlan=7, prio=5)])))
    long = IP(src=CLIENT4, dst=VIP4) / UDP(sport=6605, dport=53) / Raw(bytes(1400))
    dropped("1428 bytes without DF to a link of 1400", "its sender expects fragments, which this node does not make", ether() / long,
            "mtu_exceeded", "lb", "10.0.0.21:5353")
    long = IP(src=CLIENT4, dst="192.0.2.102", flags="DF") / UDP(sport=6606, dport=80) / Raw(bytes(1480))
    case("1508 bytes to a direct backend", "its link takes 1500", step(ether() / long, "tx", "lb", out=too_big(long, "192.0.2.102", 1500)))
    long = IP(src=CLIENT4, dst="192.0.2.107", flags="DF", options=b"\x01\x01\x01\x00") / UDP(sport=6607, dport=80) / Raw(bytes(1300))
    case("options count", "RFC 1191: the MTU is that of the whole packet", step(ether() / long, "tx", "lb", out=too_big(long, "192.0.2.107", 1300)))


# --- tunnels -------------------------------------------------------------------------------------------------------------

def wrapped(packet, gue, source, destination, source_mac, destination_mac, private=b""):
    """The packet, one hop further, inside another; and where in the frame the flow's entropy lies, which is zero here."""
    inner = private + seen(packet)
    carried, traffic = (4, packet[IP].tos) if IP in packet else (41, packet[IPv6].tc)
    load = UDP(sport=0, dport=6080, chksum=0) / Raw(bytes([len(private) // 4, carried, 0, 0]) + inner) if gue else Raw(inner)
    if ":" in destination:
        outer, entropy = IPv6(src=source, dst=destination, hlim=64, tc=traffic, nh=17 if gue else carried), 14 + 40 if gue else 16
    else:
        outer = IP(src=source, dst=destination, ttl=64, id=0, flags="DF", tos=traffic, proto=17 if gue else carried)
        entropy = 14 + 20 if gue else None
    return Ether(src=source_mac, dst=destination_mac) / outer / load, entropy


def tunnels():
    here4, here6 = "10.0.0.1", "2001:db8:0:2::1"
    ways = {  # virtual IP's last number: wrapped in UDP, and the far ends for IPv4 and IPv6
        108: (True, ("10.0.0.31", 31), ("2001:db8:0:2::31", 31), ("10.0.0.31", "2001:db8:0:2::31")),
        109: (False, ("10.0.0.31", 31), ("2001:db8:0:2::31", 31), ("10.0.0.31", "2001:db8:0:2::31")),
        110: (True, ("2001:db8:0:2::36", 36), ("10.0.0.34", 34), ("172.16.0.1", "2001:db8:9::1")),
        111: (False, ("2001:db8:0:2::36", 36), ("10.0.0.34", 34), ("172.16.0.1", "2001:db8:9::1")),
    }
    for number, (gue, *far_ends, backends) in ways.items():
        for network, (far, mac), backend in zip((4, 6), far_ends, backends):
            inside = (lambda **k: IP(flags="DF", tos=0xb9, **k)) if network == 4 else (lambda **k: IPv6(tc=0xb9, **k))
            client, vip = (CLIENT4, f"192.0.2.{number}") if network == 4 else (CLIENT6, f"2001:db8:0:1::{number}")
            name = f"{'GUE' if gue else 'IP in IP'}, IPv{network} in IPv{6 if ':' in far else 4}"
            growth = (40 if ":" in far else 20) + (12 if gue else 0)
            here = here6 if ":" in far else here4

            def to(packet, port, **more):
                out, entropy = wrapped(packet, gue, here, far, ETH1, f"02:00:00:00:02:{mac}")
                expect = {**more.pop("expect", {}), **({} if entropy is None else {"entropy": entropy})}
                return step(ether() / packet / more.pop("end", Padding()), "redirect", "lb",
                            backend=f"{backend}:{port}" if network == 4 else f"[{backend}]:{port}", by="eth1",
                            out=out / Padding(more.pop("after", b"")), expect=expect, **more)

            udp_port = 8080 if number == 110 else 80
            udp = inside(src=client, dst=vip) / UDP(sport=7001, dport=80) / Raw(b"wrap me")
            case(name + ", UDP", "RFC 2003, draft-ietf-intarea-gue: the packet stays whole, less one hop; DSCP and ECN outside too", to(udp, udp_port),
                 *([to(udp, udp_port, expect={"entropy_as": 0})] if gue or ":" in far else []))
            case(name + ", TCP", "RFC 2003, draft-ietf-intarea-gue", to(inside(src=client, dst=vip) / TCP(sport=7002, dport=80, flags="S"), 80))
            case(name + ", padded", "padding stays behind", to(inside(src=client, dst=vip) / UDP(sport=7003, dport=80) / Raw(b"x"), udp_port,
                                                              end=Padding(bytes(17)), after=bytes(17)))
            fits = inside(src=client, dst=vip) / UDP(sport=7004, dport=80) / Raw(bytes(1400 - growth - 8 - (20 if network == 4 else 40)))
            long = inside(src=client, dst=vip) / UDP(sport=7004, dport=80) / Raw(bytes(1401 - growth - 8 - (20 if network == 4 else 40)))
            case(name + ", as long as fits", "the link takes 1400 bytes with all that is in front", to(fits, udp_port))
            case(name + ", too long", "RFC 2003 section 5.1: the tunnel's MTU, told to the client",
                 step(ether() / long, "tx", "lb", out=too_big(long, vip, 1400 - growth)))
            answer = inside(src=vip, dst=client) / UDP(sport=80, dport=7001) / Raw(b"wrapped")
            told = error(HOP4 if network == 4 else HOP6, vip, seen(answer, 2), ICMP(type=3, code=4, nexthopmtu=1300) if network == 4 else
                         ICMPv6PacketTooBig(mtu=1300))
            case(name + ", an error about an answer", "wrapped like the flow's packets, whose sender it is for", to(udp, udp_port),
                 to(told, udp_port, **({"expect": {"entropy_as": 0}} if gue or ":" in far else {})))
            dropped(name + ", hop limit 1", "RFC 2003 section 3.1: forwarding takes one hop",
                    ether() / (IP(src=client, dst=vip, ttl=1) if network == 4 else IPv6(src=client, dst=vip, hlim=1)) / TCP(sport=7005, dport=80, flags="S"),
                    "hop_limit_exceeded", "lb", f"{backend}:80" if network == 4 else f"[{backend}]:80")
            passed(name + ", the backend's own packet", "answers come from the virtual IP, and not by this node",
                   Ether(src=f"02:00:00:00:02:{mac}", dst=ETH1) / (IP if network == 4 else IPv6)(src=backend, dst=client) / UDP(sport=udp_port, dport=7001),
                   interface="eth1")
    udp = IP(src="198.51.100.50", dst="192.0.2.112", tos=4) / UDP(sport=7010, dport=80, chksum=0) / Raw(b"abc")
    out, entropy = wrapped(udp, True, "192.0.2.2", "203.0.113.77", ETH0, ROUTER)
    case("GUE from a VLAN to a node behind the router", "the tag goes; the next hop is the router",
         step(ether([Dot1Q(vlan=7)]) / udp, "tx", "lb", backend="172.16.0.2:80", out=out, expect={"entropy": entropy}))
    udp = IP(src=CLIENT4, dst="192.0.2.113") / UDP(sport=7011, dport=80) / Raw(b"abc")
    answer = IP(src="10.0.0.22", dst=CLIENT4) / UDP(sport=8080, dport=7011) / Raw(b"def")
    case("a backend of this node in a GUE service", "no tunnel leads to oneself: NAT",
         step(ether() / udp, "redirect", "lb", backend="10.0.0.22:8080", by="eth1", out=forwarded(udp, ETH1, "02:00:00:00:02:22", "10.0.0.22", 8080)),
         step(Ether(src="02:00:00:00:02:22", dst=ETH1) / answer, "redirect", "lb", backend="10.0.0.22:8080", interface="eth1",
              out=translated(answer, ETH0, CLIENT, "192.0.2.113", 80)))
    never_leaves("TCP to a GUE service, truncated", "cut off anywhere", ether() / IP(src=CLIENT4, dst="192.0.2.108") / TCP(sport=7012, dport=80))


# --- where tunnels end ---------------------------------------------------------------------------------------------------

NODES = {4: ("10.0.0.34", "10.0.0.1", "02:00:00:00:02:34"), 6: ("2001:db8:0:2::36", "2001:db8:0:2::1", "02:00:00:00:02:36")}


def arrives(packet, gue, outer, options=b"", source=None, destination=None, mac=None, dst=ETH1, variant=0, carried=None, load=None):
    """What another node sends us."""
    far, here, far_mac = NODES[outer]
    inner = bytes(packet) if load is None else load
    carried = carried if carried is not None else 4 if IP in packet else 41
    if gue:
        body = UDP(sport=50000, dport=6080, chksum=0) / Raw(bytes([variant | len(options) // 4, carried, 0, 0]) + options + inner)
    else:
        body = Raw(inner)
    if outer == 4:
        head = IP(src=source or far, dst=destination or here, ttl=60, flags="DF", proto=17 if gue else carried)
    else:
        head = IPv6(src=source or far, dst=destination or here, hlim=60, nh=17 if gue else carried)
    return Ether(src=mac or far_mac, dst=dst) / head / body


def tunnel_ends():
    sport = 7100
    for gue in (True, False):
        for outer in (4, 6):
            for inner in (4, 6):
                sport += 1
                ip, client, vip, backend = (IP, FAR4, VIP4, BACKEND4) if inner == 4 else (IPv6, FAR6, VIP6, BACKEND6)
                name = f"{'GUE' if gue else 'IP in IP'}, IPv{inner} in IPv{outer}, unwrapped"
                at = (lambda port: f"{backend}:{port}") if inner == 4 else (lambda port: f"[{backend}]:{port}")  # noqa: B023
                request = ip(src=client, dst=vip) / UDP(sport=sport, dport=53) / Raw(b"wrapped")
                answer = ip(src=backend, dst=client) / UDP(sport=5353, dport=sport) / Raw(b"bare")
                back = step(Ether(src=BACKEND_MAC, dst=ETH1) / answer, "redirect", "lb", backend=at(5353), interface="eth1",
                            out=translated(answer, ETH0, ROUTER, vip, 53))
                case(name, "to the backend that is here, and its answer straight to the client",
                     step(arrives(request, gue, outer), "tx", "lb", backend=at(5353), interface="eth1", by="eth1",
                          out=forwarded(request, ETH1, BACKEND_MAC, backend, 5353)), back)
                syn = ip(src=client, dst=vip) / TCP(sport=sport, dport=80, flags="S")
                case(name + ", TCP, padded", "padding stays behind",
                     step(arrives(syn, gue, outer) / Padding(bytes(4)), "tx", "lb", backend=at(8080), interface="eth1", by="eth1",
                          out=forwarded(syn, ETH1, BACKEND_MAC, backend, 8080) / Padding(bytes(4))))
                gone = translated(answer, ETH0, ROUTER, vip, 53).payload
                kind = ICMP(type=3, code=3) if inner == 4 else ICMPv6DestUnreach(code=4)
                case(name + ", an error about an answer", "like the flow's packets",
                     step(arrives(request, gue, outer), "tx", "lb", backend=at(5353), interface="eth1", by="eth1",
                          out=forwarded(request, ETH1, BACKEND_MAC, backend, 5353)),
                     step(arrives(error(client, vip, seen(gone, 0), kind), gue, outer), "tx", "lb", backend=at(5353), interface="eth1", by="eth1",
                          out=Ether(src=ETH1, dst=BACKEND_MAC) / error(client, backend, seen(answer, 1), kind, ttl=59)))
                never_leaves(name + ", truncated", "cut off anywhere", arrives(request, gue, outer), interface="eth1")
    request = IP(src=FAR4, dst=VIP4) / UDP(sport=7150, dport=53) / Raw(b"wrapped")
    out = forwarded(request, ETH1, BACKEND_MAC, BACKEND4, 5353)
    case("GUE with options", "draft-ietf-intarea-gue section 3.2: what is not needed is passed over",
         step(arrives(request, True, 4, options=bytes(range(20))), "tx", "lb", backend="10.0.0.21:5353", interface="eth1", by="eth1", out=out))
    request = IP(src=FAR4, dst="192.0.2.113") / UDP(sport=7151, dport=80) / Raw(b"wrapped")
    case("GUE to a GUE service's backend of this node", "the other node's ring named it as well",
         step(arrives(request, True, 4), "tx", "lb", backend="10.0.0.22:8080", interface="eth1", by="eth1",
              out=forwarded(request, ETH1, "02:00:00:00:02:22", "10.0.0.22", 8080)))
    request = IP(src="192.0.2.77", dst=VIP4) / UDP(sport=7152, dport=53) / Raw(b"wrapped")
    answer = IP(src=BACKEND4, dst="192.0.2.77") / UDP(sport=5353, dport=7152)
    case("a client on the link, by way of a tunnel", "the frame came from the other node: that is not the client's hardware address",
         step(arrives(request, True, 4, source="203.0.113.77", destination="192.0.2.2", mac=ROUTER, dst=ETH0), "redirect", "lb",
              backend="10.0.0.21:5353", by="eth1", out=forwarded(request, ETH1, BACKEND_MAC, BACKEND4, 5353)),
         step(Ether(src=BACKEND_MAC, dst=ETH1) / answer, "drop", "lb", "neighbour_unresolved", "10.0.0.21:5353", interface="eth1"))

    request = IP(src=FAR4, dst=VIP4) / UDP(sport=7153, dport=53) / Raw(b"wrapped")

    def ends(name, why, packet, verdict="drop", function="lb", reason=None, backend=None):
        case(name, why, step(packet, verdict, function, reason, backend, interface="eth1"))
    for name, packet in (("from somebody who is no node", arrives(request, True, 4, source="10.0.0.77")),
                         ("to an address that is not ours", arrives(request, True, 4, destination="10.0.0.99")),
                         ("that holds a packet for the node", arrives(IP(src=FAR4, dst=NODE4) / UDP(dport=53), True, 4)),
                         ("that holds a backend's answer", arrives(IP(src=BACKEND4, dst=FAR4) / UDP(sport=5353, dport=7150), True, 4)),
                         ("in a tunnel", arrives(arrives(request, True, 4).payload, True, 4))):
        ends("GUE " + name, "the host's to judge, as it came", packet, "pass", "parse")
    ends("IP in IP from somebody who is no node", "the host's to judge", arrives(request, False, 4, source="10.0.0.77"), "pass", "parse")
    ends("GUE of variant 1", "draft-ietf-intarea-gue section 4: no such headers between nodes", arrives(request, True, 4, variant=0x40),
         reason="tunnel_malformed")
    ends("GUE control message", "draft-ietf-intarea-gue section 3.1: no data", arrives(request, True, 4, variant=0x20), reason="tunnel_malformed")
    ends("GUE that holds UDP", "only IP is wrapped", arrives(request, True, 4, carried=17), reason="tunnel_malformed")
    ends("GUE whose header is longer than it", "draft-ietf-intarea-gue section 3.1", arrives(request, True, 4, variant=31, load=b"abcd"),
         reason="tunnel_malformed")
    ends("GUE with more options than are taken off", "124 bytes", arrives(request, True, 4, options=bytes(124)), reason="tunnel_malformed")
    ends("GUE that holds half a packet", "its length lies", arrives(request, True, 4, load=bytes(request)[:30]), reason="tunnel_malformed")
    ends("GUE that holds a packet and ends before it, with padding", "its length lies",
         arrives(request, True, 4, load=bytes(request)[:30]) / Padding(bytes(request)[30:]), reason="tunnel_malformed")
    ends("GUE that holds nothing", "RFC 768: 8 bytes, and 4 of GUE", arrives(request, True, 4, load=b""), reason="tunnel_malformed")
    ends("IPv6 in IP that is IPv4", "RFC 8200", arrives(request, False, 4, carried=41), reason="tunnel_malformed")
    ends("GUE for a backend elsewhere", "nodes that disagree must not send it round", arrives(
        IP(src=FAR4, dst="192.0.2.108") / UDP(sport=7154, dport=80), True, 4), reason="tunnel_no_local_backend", backend="10.0.0.31:80")
    ends("GUE that holds an echo request", "the node that wraps answers it", arrives(IP(src=FAR4, dst=VIP4) / ICMP(), True, 4), function="vip",
         reason="vip_protocol_unsupported")
    ends("GUE that holds a solicitation", "RFC 4861 section 7.1.1: it was on another link", arrives(solicitation(unicast=True).payload, True, 4),
         function="vip", reason="vip_protocol_unsupported")
    long = IP(src=FAR4, dst=VIP4, flags="DF") / UDP(sport=7155, dport=53) / Raw(bytes(1390))
    ends("GUE that holds more than the backend's link takes", "the client is not told from here", arrives(long, True, 4), reason="mtu_exceeded",
         backend="10.0.0.21:5353")
    ends("GUE that holds TTL 1", "RFC 1812 section 5.3.1", arrives(IP(src=FAR4, dst=VIP4, ttl=1) / UDP(sport=7156, dport=53), True, 4),
         reason="hop_limit_exceeded", backend="10.0.0.21:5353")
    error_inside = error(FAR4, "192.0.2.108", bytes(IP(src="192.0.2.108", dst=FAR4) / UDP(sport=80, dport=7154)), ICMP(type=3, code=3))
    request = IP(src=FAR4, dst="192.0.2.108") / UDP(sport=7154, dport=80)
    out, entropy = wrapped(request, True, "10.0.0.1", "10.0.0.31", ETH1, "02:00:00:00:02:31")
    case("GUE that holds an error for a backend elsewhere", "not sent round either",
         step(ether((), ROUTER) / request, "redirect", "lb", backend="10.0.0.31:80", by="eth1", out=out, expect={"entropy": entropy}),
         step(arrives(error_inside, True, 4), "drop", "lb", "tunnel_no_local_backend", "10.0.0.31:80", interface="eth1"))
    dropped("GUE to a virtual IP", "tunnels end at addresses of nodes", arrives(request, True, 4, destination=VIP4, dst=ETH0), "vip_port_closed")


# --- balancing: the rest -----------------------------------------------------------------------------------------------

def direct_return():
    mac = "02:00:00:00:01:22"
    for network in (4, 6):
        ip, vip, client = (IP, "192.0.2.102", CLIENT4) if network == 4 else (IPv6, "2001:db8:0:1::102", CLIENT6)
        text = "192.0.2.22:80" if network == 4 else "[2001:db8:0:1::22]:80"
        udp, tcp = ip(src=client, dst=vip) / UDP(sport=3001, dport=80) / Raw(b"abc"), ip(src=client, dst=vip) / TCP(sport=3001, dport=80, flags="S")
        case(f"direct return, UDP, IPv{network}", "hardware addresses and TTL change, nothing else",
             step(ether() / udp, "tx", "lb", backend=text, out=direct(udp, ETH0, mac)))
        case(f"direct return, TCP, IPv{network}", "hardware addresses and TTL change, nothing else",
             step(ether() / tcp, "tx", "lb", backend=text, out=direct(tcp, ETH0, mac)))
    udp = IP(src="198.51.100.50", dst="192.0.2.102") / UDP(sport=3002, dport=80, chksum=0) / Raw(b"abc")
    case("direct return from the VLAN", "the tag goes", step(ether([Dot1Q(vlan=7)]) / udp, "tx", "lb", backend="192.0.2.22:80",
                                                             out=direct(udp, ETH0, mac)))
    passed("direct return: the backend's answer", "it is the virtual IP's own, and no business of ours",
           ether((), mac, ETH0) / IP(src="192.0.2.102", dst=CLIENT4) / UDP(sport=80, dport=3001))


def port_range():
    for port in (10000, 10500, 10999):
        request = IP(src=CLIENT4, dst="192.0.2.103") / UDP(sport=4000, dport=port) / Raw(b"media")
        answer = IP(src=BACKEND4, dst=CLIENT4) / UDP(sport=port, dport=4000) / Raw(b"media")
        case(f"port {port} of a range", "the port is kept in both directions",
             step(ether() / request, "redirect", "lb", backend=f"10.0.0.21:{port}", by="eth1",
                  out=forwarded(request, ETH1, BACKEND_MAC, BACKEND4)),
             step(Ether(src=BACKEND_MAC, dst=ETH1) / answer, "redirect", "lb", backend=f"10.0.0.21:{port}", interface="eth1",
                  out=translated(answer, ETH0, CLIENT, "192.0.2.103", port)))
    for port in (9999, 11000):
        dropped(f"port {port} beside a range", "no service there", ether() / IP(src=CLIENT4, dst="192.0.2.103") / UDP(dport=port),
                "vip_port_closed")


def choices():
    def outs(packet, port):
        return {f"10.0.0.{i}:{port}": forwarded(packet, ETH1, f"02:00:00:00:02:{i}", f"10.0.0.{i}", port) for i in (21, 22, 23)}

    for sport in range(5000, 5008):
        packet = IP(src=CLIENT4, dst="192.0.2.104") / UDP(sport=sport, dport=90) / Raw(b"x")
        first = step(ether() / packet, "redirect", "lb", out=outs(packet, 90), by="eth1")
        again = step(ether() / packet, "redirect", "lb", out=outs(packet, 90), by="eth1", expect={"same_backend_as": 0})
        case(f"three backends, client port {sport}", "any of them, and then always that one", first, again,
             {**again, "at_ms": 9000}, {**again, "at_ms": 18000})
    steps = []
    for sport in range(5100, 5112):
        packet = IP(src=FAR4, dst="192.0.2.105") / UDP(sport=sport, dport=91) / Raw(b"x")
        steps.append(step(ether((), ROUTER) / packet, "redirect", "lb", out=outs(packet, 91), by="eth1",
                          expect={"same_backend_as": 0} if steps else {}))
    case("session affinity", "every flow of a client goes to one backend", *steps)


def quic():
    """draft-ietf-quic-load-balancers: configuration 2 in the first three bits, two bytes of server id, in the clear."""
    def name(server, config=2, nonce=b"\x11\x22\x33\x44\x55"):
        return bytes([config << 5 | 7]) + bytes.fromhex(server) + nonce

    def short(connection_id, rest=bytes(24)):
        return bytes([0x40]) + connection_id + rest

    def long(connection_id, version=1, length=None):
        return bytes([0xc0]) + version.to_bytes(4, "big") + bytes([len(connection_id) if length is None else length]) + connection_id + bytes(40)

    def packet(payload, sport=6000, client=CLIENT4, **fields):
        return IP(src=client, dst="192.0.2.114") / UDP(sport=sport, dport=443, **fields) / Raw(payload)

    def to(i, request, **more):
        return step(ether((), ROUTER if request[IP].src == FAR4 else CLIENT) / request, "redirect", "lb", backend=f"10.0.0.{i}:443", by="eth1",
                    out=forwarded(request, ETH1, f"02:00:00:00:02:{i}", f"10.0.0.{i}"), **more)

    def anywhere(request, **expect):
        outs = {f"10.0.0.{i}:443": forwarded(request, ETH1, f"02:00:00:00:02:{i}", f"10.0.0.{i}") for i in (21, 22, 23)}
        return step(ether() / request, "redirect", "lb", out=outs, by="eth1", expect=expect)

    for i in (21, 22, 23):
        case(f"QUIC, short header, server {i}", "RFC 9000 section 17.3: the id begins behind the flags; the server id routes, whatever the ports",
             *[to(i, packet(short(name(f"c0{i}")), sport)) for sport in range(6000 + 10 * i, 6008 + 10 * i)])
        case(f"QUIC, long header, server {i}", "RFC 9000 section 17.2: flags, version, length, id; of any version (RFC 8999)",
             *[to(i, packet(long(name(f"c0{i}"), version), 6300 + 10 * i + n)) for n, version in enumerate((1, 0x6b3343cf, 0xff00001d, 0x1a2a3a4a))])
    moved = [packet(short(name("c022")), 6500), packet(short(name("c022")), 6501, "192.0.2.51"), packet(short(name("c022")), 6502, FAR4)]
    back = [IP(src="10.0.0.22", dst=each[IP].src) / UDP(sport=443, dport=each[UDP].sport) / Raw(b"answer") for each in moved]
    case("QUIC, the client moves", "RFC 9000 section 9: the connection stays, and its answers follow it",
         *[made for request, reply in zip(moved, back) for made in (
             to(22, request), step(Ether(src="02:00:00:00:02:22", dst=ETH1) / reply, "redirect", "lb", backend="10.0.0.22:443", interface="eth1",
                                   out=translated(reply, ETH0, ROUTER if reply[IP].dst == FAR4 else CLIENT, "192.0.2.114", 443)))],
         *[to(22, moved[0], at_ms=at) for at in (9000, 18000)])
    for n, (what, payload) in enumerate((
            ("an unknown server", short(name("c099"))), ("another configuration", short(name("c022", 1))),
            ("the configuration that routes nowhere", short(name("c022", 7))), ("a long header with an id of two bytes", long(name("c022")[:2])),
            ("a long header with no id", long(b"")), ("a long header whose id is longer than 20 bytes", long(name("c022"), length=21)),
            ("flags alone", b"\x40"), ("a long header cut off behind the version", b"\xc0\0\0\0\1"),
            ("a packet too short to be one", short(name("c022"), b"")[:9]), ("no data", b""))):
        case(f"QUIC, {what}", "unroutable: by addresses and ports, always the same way",
             *[made for sport in range(6600 + 10 * n, 6603 + 10 * n) for made in (
                 anywhere(packet(payload, sport)), anywhere(packet(payload, sport), same_backend_as=2 * (sport - 6600 - 10 * n)))])
    lies = packet(short(name("c022")), 6700, len=8)
    case("QUIC behind the end of UDP", "what lies behind the UDP length is not QUIC's: by addresses and ports",
         anywhere(lies), *[anywhere(packet(short(name("c0" + i))[:0], 6700), same_backend_as=0) for i in ("21", "22")])
    request = IPv6(src=CLIENT6, dst="2001:db8:0:1::114") / UDP(sport=6000, dport=443) / Raw(long(name("c021")))
    case("QUIC over IPv6", "the same", step(ether() / request, "redirect", "lb", backend="[2001:db8:0:2::21]:443", by="eth1",
                                            out=forwarded(request, ETH1, BACKEND_MAC, BACKEND6)))
    never_leaves("QUIC, truncated", "cut off anywhere", ether() / packet(long(name("c021")), 6800))


def scenario_lan():
    links()
    arp()
    nd()
    echo()
    lies()
    nat()
    icmp_errors()
    lengths()
    tunnels()
    tunnel_ends()
    direct_return()
    port_range()
    choices()
    fragments()
    quic()
    write("lan", "One node with clients on eth0 and its VLAN 7, and backends on eth1, eth0 and the VLAN.", ["manifest.yaml"])


def scenario_changes():
    first, second = "192.0.2.21", "192.0.2.22"
    macs = {first: "02:00:00:00:01:21", second: "02:00:00:00:01:22"}

    def udp(sport, vip=VIP4, client=CLIENT4):
        return IP(src=client, dst=vip) / UDP(sport=sport, dport=80) / Raw(b"x")

    def tcp(sport, flags):
        return IP(src=CLIENT4, dst=VIP4) / TCP(sport=sport, dport=80, flags=flags)

    def to(backend, packet, now=None, at_ms=None):
        more = {"manifests": ["node.yaml", "services.yaml", now]} if now else {}
        if at_ms is not None:
            more["at_ms"] = at_ms
        return step(ether() / packet, "tx", "lb", backend=backend + ":80", out=forwarded(packet, ETH0, macs[backend], backend), **more)

    def answer(backend, sport, at_ms=None):
        packet = IP(src=backend, dst=CLIENT4) / UDP(sport=80, dport=sport) / Raw(b"y")
        more = {} if at_ms is None else {"at_ms": at_ms}
        return step(ether((), macs[backend]) / packet, "tx", "lb", backend=backend + ":80", out=translated(packet, ETH0, CLIENT, VIP4, 80), **more)

    case("draining, UDP", "flows of a draining backend stay, new ones go elsewhere", to(first, udp(1)),
         to(first, udp(1), "draining.yaml"), answer(first, 1), to(second, udp(2)), answer(second, 2), to(first, udp(1), at_ms=50000),
         to(first, udp(1), at_ms=100000))
    case("draining, UDP, silent for too long", "after udp-idle-seconds it is a new flow", to(first, udp(3)), to(first, udp(3), "draining.yaml"),
         to(second, udp(3), at_ms=90000))
    case("draining, TCP", "flows of a draining backend stay, new ones go elsewhere", to(first, tcp(1, "S")), to(first, tcp(1, "A")),
         to(first, tcp(1, "PA"), "draining.yaml"), to(second, tcp(2, "S")), to(first, tcp(1, "FA")), to(first, tcp(1, "A")),
         to(second, tcp(1, "S")))
    case("dead, UDP", "its flows move at once", to(first, udp(4)), to(second, udp(4), "dead.yaml"), answer(second, 4))
    case("dead, TCP", "a flow stays until it begins anew", to(first, tcp(3, "S")), to(first, tcp(3, "A"), "dead.yaml"), to(second, tcp(3, "S")))
    case("one more", "no flow moves to a backend that comes", *[to(first, udp(100 + i)) for i in range(16)],
         *[to(first, udp(100 + i), "both.yaml" if i == 0 else None) for i in range(16)],
         *[to(first, udp(100 + i), at_ms=30000) for i in range(16)])
    case("gone", "the flows of a backend that is no more move", to(first, udp(5)), to(second, udp(5), "second.yaml"),
         to(second, tcp(5, "A")))
    case("affinity, draining", "an affine client's flow stays, its next one goes elsewhere",
         to_vip(first, macs, udp(6, "192.0.2.101"), None), to_vip(first, macs, udp(6, "192.0.2.101"), "draining.yaml"),
         to_vip(second, macs, udp(7, "192.0.2.101"), None))
    case("affinity, one more", "an affine client's next flow goes where the last one went",
         to_vip(first, macs, udp(8, "192.0.2.101"), None),
         *[to_vip(first, macs, udp(9 + i, "192.0.2.101"), "both.yaml" if i == 0 else None) for i in range(8)])
    packet = udp(20)
    case("all dead", "new flows are dropped, as the service says by default", to(first, packet),
         step(ether() / packet, "drop", "lb", "service_no_backend", manifests=["node.yaml", "services.yaml", "all-dead.yaml"]))
    packet = udp(21, "192.0.2.102")
    outs = {f"{b}:80": forwarded(packet, ETH0, macs[b], b) for b in macs}
    case("all dead, and sent there all the same", "selvage.io/no-healthy-backends: all",
         step(ether() / packet, "tx", "lb", out=outs, manifests=["node.yaml", "services.yaml", "all-dead.yaml"]),
         step(ether() / packet, "tx", "lb", out=outs, expect={"same_backend_as": 0}))
    packet = udp(22)
    case("next hop lost", "the backend's hardware address is not known any more", to(first, packet),
         step(ether() / packet, "drop", "lb", "backend_unresolved", first + ":80", manifests=["node-lost.yaml", "services.yaml", "both.yaml"]))
    request = udp(23, client=FAR4)
    back = IP(src=first, dst=FAR4) / UDP(sport=80, dport=23)
    case("no way back", "the client is behind a router that this node has no route to", to(first, request),
         step(ether((), macs[first]) / back, "drop", "lb", "route_none", first + ":80"))
    write("changes", "A node whose backends come, drain, die and go.", ["node.yaml", "services.yaml", "first.yaml"])


def second_hop(address, magic=b"SV", version=1, kind=None, reserved=0):
    """docs/wire/gue.md"""
    packed = ipaddress.ip_address(address).packed
    kind = kind if kind is not None else 2 if ":" in address else 1
    return magic + bytes([version << 4 | kind, reserved]) + packed


def scenario_hops():
    macs = {"192.0.2.31": "02:00:00:00:01:31", "192.0.2.32": "02:00:00:00:01:32", "2001:db8:0:1::33": "02:00:00:00:01:33",
            "2001:db8:0:1::34": "02:00:00:00:01:34", "192.0.2.41": "02:00:00:00:01:41"}
    one, two, three, four = list(macs)[:4]
    here4, here6 = "192.0.2.2", "2001:db8:0:1::2"

    def tcp(sport, bits, vip=VIP4, **more):
        return (IPv6(src=FAR6, dst=vip, **more) if ":" in vip else IP(src=FAR4, dst=vip, **more)) / TCP(sport=sport, dport=80, flags=bits)

    def during(name, packet_step):
        return {**packet_step, "manifests": ["node.yaml", "services.yaml", f"{name}.yaml"]}

    def wraps(packet, far, backend, hop=None, **more):
        private = second_hop(hop) if hop else b""
        out, entropy = wrapped(packet, True, here6 if ":" in far else here4, far, ETH0, macs[far], private)
        return step(ether((), ROUTER) / packet, "tx", "lb", backend=f"[{backend}]:80" if ":" in backend else f"{backend}:80", out=out,
                    expect={"entropy": entropy}, **more)

    # The node that owns the virtual IP.
    case("a flow that nobody here knows, in a slot that changed hands", "to the present backend's node, which is told whose the slot was",
         during("draining", wraps(tcp(1000, "A"), two, "10.1.0.2", one)), wraps(tcp(1000, "PA") / Raw(b"data"), two, "10.1.0.2", one),
         wraps(tcp(1000, "FA"), two, "10.1.0.2", one), wraps(tcp(1000, "R"), two, "10.1.0.2", one), wraps(tcp(1000, "A"), two, "10.1.0.2", one, at_ms=30000))
    case("a flow that begins, in a slot that changed hands", "SYN: nobody else can know it, and then it is known here",
         during("draining", wraps(tcp(1001, "S"), two, "10.1.0.2")), wraps(tcp(1001, "A"), two, "10.1.0.2"), wraps(tcp(1001, "A"), two, "10.1.0.2", at_ms=9000))
    case("a flow that is known here", "where it began, without a second hop", wraps(tcp(1002, "S"), one, "10.1.0.1"), wraps(tcp(1002, "A"), one, "10.1.0.1"),
         during("draining", wraps(tcp(1002, "A"), one, "10.1.0.1")), wraps(tcp(1002, "PA"), one, "10.1.0.1", at_ms=20000))
    case("SYN and ACK of a flow that nobody knows", "only servers send that; no second chance",
         during("draining", wraps(tcp(1003, "SA"), two, "10.1.0.2")))
    case("a datagram", "UDP does not tell whether it begins a flow",
         during("draining", wraps(IP(src=FAR4, dst=VIP4) / UDP(sport=1004, dport=80) / Raw(b"x"), two, "10.1.0.2")))
    piece = fragment(IP(src=FAR4, dst=VIP4, id=77) / TCP(sport=1005, dport=80, flags="A") / Raw(bytes(1600)), 800)[0]
    case("a fragment", "the others follow it by its record, which has no second hop", during("draining", wraps(piece, two, "10.1.0.2")))
    case("a backend of this node has the slot", "it does not know the flow: straight to whose the slot was",
         during("draining", wraps(tcp(1006, "A", "192.0.2.101"), one, "10.1.0.3")), wraps(tcp(1006, "PA", "192.0.2.101"), one, "10.1.0.3"))
    syn = tcp(1007, "S", "192.0.2.101")
    ack = tcp(1007, "A", "192.0.2.101")
    case("a backend of this node has the slot, and the flow", "it began here",
         *[during("draining", step(ether((), ROUTER) / packet, "tx", "lb", backend="192.0.2.41:80", out=forwarded(packet, ETH0, macs["192.0.2.41"], "192.0.2.41")))
           for packet in (syn, ack)])
    case("a backend that is no node had the slot", "only nodes are named: they are whom the next one may send to",
         during("draining", wraps(tcp(1008, "A", "192.0.2.102"), two, "10.1.0.4")))
    case("far ends of two families", "who passes on has one address to send from",
         during("draining", wraps(tcp(1009, "A", "192.0.2.104"), four, "10.1.0.8")))
    case("IPv6 outside", "16 bytes of address", during("draining", wraps(tcp(1010, "A", "192.0.2.103"), four, "10.1.0.6", three)))
    case("IPv6 outside and inside", "16 bytes of address", during("draining", wraps(tcp(1010, "A", "2001:db8:0:1::103"), four, "fd00:1::6", three)))
    case("the backend before is gone", "nobody else can have the flow",
         during("draining", wraps(tcp(1011, "A"), two, "10.1.0.2", one)), during("second", wraps(tcp(1011, "A"), two, "10.1.0.2")))
    for vip, far, backend, hop, growth in ((VIP4, two, "10.1.0.2", one, 32 + 8), ("2001:db8:0:1::103", four, "fd00:1::6", three, 52 + 20)):
        head = 60 if ":" in vip else 40
        flags = {} if ":" in vip else {"flags": "DF"}
        fits, long = (tcp(1012, "A", vip, **flags) / Raw(bytes(1500 - growth - head + more)) for more in (0, 1))
        case(f"as long as fits beside a second hop in {'IPv6' if ':' in vip else 'IPv4'}", "RFC 2003 section 5.1: the tunnel's MTU, told to the client",
             during("draining", wraps(fits, far, backend, hop)), step(ether((), ROUTER) / long, "tx", "lb", out=too_big(long, vip, 1500 - growth, destination_mac=ROUTER)))
    low = tcp(1013, "A", ttl=1)
    case("hop limit 1", "forwarding takes one hop", during("draining", step(ether((), ROUTER) / low, "drop", "lb", "hop_limit_exceeded", "10.1.0.2:80")))

    # The node that the packet comes to.
    def comes(packet, hop=None, private=None, flags=0, outer=4, options=None, **fields):
        """From node one or three, which owns the virtual IP in these cases."""
        private = second_hop(hop) if private is None and hop else private or b""
        body = UDP(sport=50123, dport=6080, chksum=0) / Raw(bytes([len(private) // 4, 4 if IP in packet else 41, flags >> 8, flags & 255]) + private +
                                                            bytes(packet))
        if outer == 6:
            return Ether(src=macs[three], dst=ETH0) / IPv6(src=three, dst=here6, hlim=60, nh=17, **fields) / body
        return Ether(src=macs[one], dst=ETH0) / IP(src=one, dst=here4, ttl=60, flags="DF", options=options or [], **fields) / body

    def goes_on(packet, hop, **arriving):
        inner = bytes(packet)
        load = UDP(sport=50123, dport=6080, chksum=0) / Raw(bytes([0, 4 if IP in packet else 41, 0, 0]) + inner)
        if ":" in hop:
            out = IPv6(src=here6, dst=hop, hlim=64, tc=packet[IPv6].tc if IPv6 in packet else packet[IP].tos, nh=17) / load
        else:
            out = IP(src=here4, dst=hop, ttl=64, id=0, flags="DF", tos=packet[IP].tos if IP in packet else packet[IPv6].tc) / load
        return step(comes(packet, hop, outer=6 if ":" in hop else 4, **arriving), "tx", "lb", out=Ether(src=ETH0, dst=macs[hop]) / out)

    def stays(packet, private=None, hop=None, **more):
        return step(comes(packet, hop, private, **more), "tx", "lb", backend="192.0.2.41:80",
                    out=forwarded(packet, ETH0, macs["192.0.2.41"], "192.0.2.41"))

    def mine(sport, bits, **more):
        return tcp(sport, bits, "192.0.2.101", **more)

    case("a flow that is not known here, with a second hop", "passed on without the private data, from the address that it came to",
         during("draining", goes_on(mine(2000, "A", tos=0xb9), two)), goes_on(mine(2000, "PA") / Raw(b"data"), two), goes_on(mine(2000, "FA"), two),
         goes_on(mine(2000, "R"), two))
    case("the same in IPv6", "16 bytes of address", during("draining", goes_on(mine(2001, "A"), four)))
    case("IPv6 inside, passed on", "the packet inside is what it was", during("draining", goes_on(IPv6(src=FAR6, dst="2001:db8:0:1::103", tc=0x2e, hlim=9) / TCP(
        sport=2002, dport=80, flags="A"), two)))
    case("an outer header with options, passed on", "they go with the header", during("draining", goes_on(mine(2003, "A"), two, options=b"\x01\x01\x01\x00")))
    case("a padded frame, passed on", "padding stays behind",
         during("draining", {**goes_on(mine(2004, "A"), two), "in": (frame(comes(mine(2004, "A"), two)) + bytes(9)).hex(),
                             "expect": {**goes_on(mine(2004, "A"), two)["expect"], "out": goes_on(mine(2004, "A"), two)["expect"]["out"] + bytes(9).hex()}}))
    case("a flow that begins, with a second hop", "SYN: it begins here, and is known from then on",
         during("draining", stays(mine(2005, "S"), hop=two)), stays(mine(2005, "A"), hop=two), stays(mine(2005, "PA"), hop=two))
    case("a flow that is recorded here with a backend elsewhere", "where it is known to be is not here",
         during("draining", wraps(tcp(2006, "S"), two, "10.1.0.2")), goes_on(tcp(2006, "A"), two))
    case("a datagram with a second hop", "UDP does not tell whether it begins a flow",
         during("draining", stays(IP(src=FAR4, dst="192.0.2.101") / UDP(sport=2007, dport=80) / Raw(b"x"), hop=two)))
    number = 2100
    for name, why, more in (
            ("another magic", "somebody else's private data", {"private": second_hop(two, magic=b"SW")}),
            ("another version", "not understood", {"private": second_hop(two, version=2)}),
            ("another kind", "not understood", {"private": second_hop(two, kind=3)}),
            ("reserved bits", "not understood", {"private": second_hop(two, reserved=1)}),
            ("IPv6's kind and IPv4's length", "not understood", {"private": second_hop(two, kind=2)}),
            ("IPv4's kind and IPv6's length", "not understood", {"private": second_hop(four, kind=1)}),
            ("more behind it", "not understood", {"private": second_hop(two) + bytes(4)}),
            ("GUE's flags", "draft-ietf-intarea-gue section 3.3: fields may come before private data", {"hop": two, "flags": 0x8000}),
            ("an address of no node", "nothing is sent to strangers", {"hop": "192.0.2.77"}),
            ("this node's own address", "it is no other node", {"hop": "192.0.2.2"}),
            ("no address", "0.0.0.0", {"hop": "0.0.0.0"}),
            ("an address of the other family", "there is no address to send from", {"hop": four})):
        number += 1
        case(f"a second hop with {name}", why + ": as without", during("draining", stays(mine(number, "A"), **more)))
    case("a second hop whose hardware address is not known", "it is asked for",
         during("draining", step(comes(mine(2200, "A"), "192.0.2.39"), "drop", "lb", "neighbour_unresolved")))
    case("a second hop that no route leads to", "named", during("draining", step(comes(mine(2201, "A"), "203.0.113.9"), "drop", "lb", "route_none")))
    low = comes(mine(2202, "A"), two)
    low[IP].ttl = 1
    case("a second hop, outer TTL 1", "RFC 1812 section 5.3.1", during("draining", step(low, "drop", "lb", "hop_limit_exceeded")))
    long = mine(2203, "A") / Raw(bytes(1500 - 32 - 40 + 1))
    case("longer than the link takes, passed on", "the node that wrapped it minds that", during("draining", step(comes(long, two), "drop", "lb", "mtu_exceeded")))
    case("an unknown flow, passed on to its last hop, which does not know it either", "it is not passed on again",
         during("draining", step(comes(tcp(2204, "A")), "drop", "lb", "tunnel_no_local_backend", "10.1.0.2:80")))
    never_leaves("a second hop, truncated", "cut off anywhere", comes(mine(2205, "A"), two))
    write("hops", "A node among others, with services whose backends are elsewhere and change.", ["node.yaml", "services.yaml", "first.yaml"])


def scenario_plain():
    """Nothing but what a Node needs: one nameless interface, no routes, a backend outside its networks."""
    backend, mac = "10.9.8.7", "02:00:00:00:09:07"
    for name, client, client_mac in (("on the link", CLIENT4, CLIENT), ("behind a router", FAR4, ROUTER)):
        request = IP(src=client, dst=VIP4) / UDP(sport=40, dport=53) / Raw(b"ask")
        reply = IP(src=backend, dst=client) / UDP(sport=53, dport=40) / Raw(b"tell")
        case("client " + name, "the answer goes where the request came from",
             step(ether((), client_mac) / request, "tx", "lb", backend=backend + ":53", out=forwarded(request, ETH0, mac, backend)),
             step(ether((), mac) / reply, "tx", "lb", backend=backend + ":53", out=translated(reply, ETH0, client_mac, VIP4, 53)))
    reply = IP(src=backend, dst="192.0.2.51") / UDP(sport=53, dport=40)
    passed("answer that nobody asked for", "of no flow", ether((), mac) / reply)
    answered("ARP request", "RFC 826", arp_request(), arp_answer())
    write("plain", "A Node without interface names and routes.", ["manifest.yaml"])


# --- guards ------------------------------------------------------------------------------------------------------------

GUARD_MAC = "02:00:00:00:01:21"


def guarded(packet, vip_port=53, backend4="192.0.2.21", backend6="2001:db8:0:1::21", mac=GUARD_MAC, client_mac=CLIENT, **more):
    """A packet that goes to the one backend behind a guard."""
    backend = backend4 if IP in packet else backend6
    text = f"{backend}:{vip_port}" if IP in packet else f"[{backend}]:{vip_port}"
    return step(ether((), client_mac) / packet, "tx", "lb", backend=text, out=forwarded(packet, ETH0, mac, backend), **more)


def refused(packet, reason, client_mac=CLIENT, backend=None, **more):
    return step(ether((), client_mac) / packet, "drop", "lb", reason, backend, **more)


def sources():
    def udp4(client, vip="192.0.2.100", sport=6000):
        return IP(src=client, dst=vip) / UDP(sport=sport, dport=53) / Raw(b"x")

    def udp6(client, sport=6000):
        return IPv6(src=client, dst=VIP6) / UDP(sport=sport, dport=53) / Raw(b"x")

    denied = "source_not_allowed"
    for client, good, why in (("192.0.2.63", True, "in 192.0.2.0/24"), ("192.0.2.64", False, "the longer 192.0.2.64/26 is denied"),
                              ("192.0.2.79", False, "the last before 192.0.2.80/28"), ("192.0.2.80", True, "192.0.2.80/28 is longer still"),
                              ("192.0.2.95", True, "the last of 192.0.2.80/28"), ("192.0.2.96", False, "denied again"),
                              ("192.0.2.127", False, "the last of 192.0.2.64/26"), ("192.0.2.128", True, "in 192.0.2.0/24"),
                              ("192.0.2.255", True, "the last of 192.0.2.0/24"), ("192.0.3.0", False, "in no network"),
                              ("192.0.1.255", False, "in no network"), ("203.0.113.8", True, "in 203.0.113.0/25"),
                              ("203.0.113.9", False, "denied alone"), ("203.0.113.10", True, "in 203.0.113.0/25"),
                              ("203.0.113.128", False, "in no network"), ("198.51.100.7", False, "allowed and denied alike: denied"),
                              ("1.0.0.1", False, "below every network"), ("223.0.0.1", False, "above every network")):
        packet = udp4(client)
        case(f"source {client}", f"longest match: {why}", guarded(packet) if good else refused(packet, denied))
    for client, good, why in ((CLIENT6, True, "in 2001:db8::/32"), ("2001:db8:bad::1", False, "2001:db8:bad::/48 is denied"),
                              ("2001:db8:bad:1::1", True, "2001:db8:bad:1::/64 is longer"), ("2001:db8:bad:2::", False, "behind it"),
                              ("2001:db8:bae::", True, "the first behind the denied"), ("2001:db9::", False, "in no network"),
                              ("2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", False, "in no network")):
        packet = udp6(client)
        case(f"source {client}", f"longest match: {why}", guarded(packet) if good else refused(packet, denied))
    for flags in ("S", "A", "FA", "R"):
        packet = IP(src="192.0.2.64", dst="192.0.2.100") / TCP(sport=6001, dport=80, flags=flags)
        case(f"TCP {flags} from a denied source", "whatever it is", refused(packet, denied))
    packet = IP(src=CLIENT4, dst="192.0.2.100") / TCP(sport=6001, dport=80, flags="S")
    case("TCP from an allowed source", "a service's ports have the same lists", guarded(packet, 80))
    case("denial alone", "with no allowed network everybody else is served", refused(udp4(FAR4, "192.0.2.101"), denied),
         guarded(udp4(CLIENT4, "192.0.2.101")), guarded(udp4("204.0.0.1", "192.0.2.101")))
    case("networks of the other family", "a list that names no network of the client's family allows none of it",
         refused(udp4(CLIENT4, "192.0.2.102"), denied))
    case("the ends of the address space", "no bound lies behind the last address",
         refused(udp4("1.0.0.1", "192.0.2.103"), denied), refused(udp4("126.255.255.255", "192.0.2.103"), denied),
         guarded(udp4("128.0.0.1", "192.0.2.103")), guarded(udp4("223.255.255.254", "192.0.2.103")),
         refused(udp4("223.255.255.255", "192.0.2.103"), denied))
    packet = udp4(CLIENT4, sport=6100)
    back = IP(src="192.0.2.21", dst=CLIENT4) / UDP(sport=53, dport=6100) / Raw(b"y")
    answer = dict(out=translated(back, ETH0, CLIENT, "192.0.2.100", 53))
    narrow = {"manifests": ["node.yaml", "narrow.yaml"]}
    usual = {"manifests": ["node.yaml", "sources.yaml", "limits.yaml"]}
    case("a client that is denied from now on", "what it has goes on until the epoch ends, in neither direction longer",
         guarded(packet), step(ether((), GUARD_MAC) / back, "tx", "lb", backend="192.0.2.21:53", **answer),
         guarded(packet),
         guarded(packet, **narrow),
         refused(packet, denied, at_ms=9000),
         step(ether((), GUARD_MAC) / back, "drop", "lb", denied, "192.0.2.21:53", at_ms=9000),
         step(ether((), GUARD_MAC) / back, "drop", "lb", denied, "192.0.2.21:53", at_ms=18000),
         refused(udp4(CLIENT4, sport=6101), denied, at_ms=18000),
         guarded(packet, at_ms=18000, **usual),
         step(ether((), GUARD_MAC) / back, "tx", "lb", backend="192.0.2.21:53", at_ms=18000, **answer))
    packet = udp4("192.0.2.65", sport=6102)
    case("a client that is allowed from now on", "at once", refused(packet, denied),
         guarded(packet, manifests=["node.yaml", "open.yaml"]))


def limits():
    flows4, flows6, packets, total = "192.0.2.110", "2001:db8:0:1::110", "192.0.2.111", "192.0.2.112"

    def udp(sport, vip=flows4, client="192.0.2.150"):
        return (IP if ":" not in vip else IPv6)(src=client, dst=vip) / UDP(sport=sport, dport=53) / Raw(b"x")

    def tcp(sport, flags, client="192.0.2.151"):
        return IP(src=client, dst=flows4) / TCP(sport=sport, dport=80, flags=flags)

    def guarded6(packet, **more):
        return step(ether() / packet, "tx", "lb", backend="[2001:db8:0:1::21]:53", out=forwarded(packet, ETH0, GUARD_MAC, "2001:db8:0:1::21"),
                    **more)

    def guarded(packet, vip_port=53, **more):
        return globals()["guarded"](packet, vip_port, "192.0.2.22", mac="02:00:00:00:01:22", **more)

    begins, sends = "limit_new_flows", "limit_packets"
    case("new flows of a client, UDP", "3 at once, then one each half second; what is known goes on",
         *[guarded(udp(i)) for i in (1, 2, 3)], refused(udp(4), begins), *[guarded(udp(i)) for i in (1, 2, 3)],
         refused(udp(4), begins, at_ms=499), guarded(udp(4), at_ms=500), refused(udp(5), begins, at_ms=999),
         guarded(udp(1), at_ms=999), guarded(udp(5), at_ms=1000), guarded(udp(4), at_ms=1000),
         *[guarded(udp(i), at_ms=9000) for i in (1, 2, 6, 7, 8)], refused(udp(9), begins, at_ms=9000),
         guarded(udp(9, client="192.0.2.152"), at_ms=9000))
    case("new flows of a client, TCP", "SYN begins one; it may come again, and nothing else begins any",
         *[guarded(tcp(i, "S"), 80) for i in (1, 2, 3)], refused(tcp(4, "S"), begins), guarded(tcp(1, "S"), 80), guarded(tcp(1, "A"), 80),
         guarded(tcp(5, "A"), 80), guarded(tcp(6, "PA"), 80), guarded(tcp(1, "FA"), 80), refused(tcp(1, "S"), begins),
         guarded(tcp(1, "S"), 80, at_ms=500))
    for name, first, other, apart in (("64 bits", "2001:db8:5:1::1", "2001:db8:5:1:ffff::2", "2001:db8:5:2::1"),):
        case(f"new flows of an IPv6 client: {name}", "a client's machine has a whole /64",
             *[guarded6(udp(i, flows6, first if i & 1 else other)) for i in (1, 2, 3)], refused(udp(4, flows6, first), begins),
             refused(udp(4, flows6, other), begins), guarded6(udp(4, flows6, apart)))
    case("packets of a client", "4 at once, then one a second, of a /24 together, of known flows too",
         guarded(udp(1, packets)), guarded(udp(1, packets)), guarded(udp(2, packets, "192.0.2.0")), guarded(udp(3, packets, "192.0.2.255")),
         refused(udp(1, packets), sends), guarded(udp(1, packets, "192.0.3.1"), client_mac=ROUTER), refused(udp(1, packets), sends, at_ms=999),
         guarded(udp(1, packets), at_ms=1000), refused(udp(1, packets, "192.0.2.7"), sends, at_ms=1000),
         *[guarded(udp(1, packets), at_ms=20000) for _ in range(4)], refused(udp(1, packets), sends, at_ms=20000))
    case("new flows of all clients", "5 at once, then one a second, whoever it is; what is known goes on",
         *[guarded(udp(1, total, f"192.0.2.{160 + i}")) for i in range(5)], refused(udp(1, total, "192.0.2.170"), begins),
         guarded(udp(1, total, "192.0.2.160")), refused(udp(1, total, "192.0.2.171"), begins, at_ms=999),
         guarded(udp(1, total, "192.0.2.171"), at_ms=1000), refused(udp(1, total, "192.0.2.170"), begins, at_ms=1000))

    def few(sport):
        return IP(src="192.0.2.180", dst="192.0.2.113") / UDP(sport=sport, dport=5300) / Raw(b"x")

    case("recorded flows of a service", "3, until others end: of those that go on none, of those that never did soon",
         *[guarded(few(i), 5300, at_ms=9000) for i in (1, 2, 3)], refused(few(4), "limit_flows", at_ms=9000),
         guarded(few(1), 5300, at_ms=9000), guarded(few(2), 5300, at_ms=9000), refused(few(4), "limit_flows", at_ms=18000),
         guarded(few(4), 5300, at_ms=60000), refused(few(5), "limit_flows", at_ms=60000), guarded(few(1), 5300, at_ms=60000),
         refused(few(5), "limit_flows", at_ms=70000), guarded(few(2), 5300, at_ms=70000))

    held, many = "192.0.2.114", "limit_flows_per_client"

    def back(packet, vip, port, **more):
        return step(ether((), "02:00:00:00:01:22") / packet, "tx", "lb", backend=f"192.0.2.22:{port}", out=translated(packet, ETH0, CLIENT, vip, port), **more)

    def reply(sport, client="192.0.2.193", **more):
        return back(IP(src="192.0.2.22", dst=client) / UDP(sport=53, dport=sport) / Raw(b"y"), held, 53, **more)

    def tcp_held(sport, flags, client="192.0.2.209"):
        return IP(src=client, dst=held) / TCP(sport=sport, dport=80, flags=flags)

    def tcp_reply(sport, flags, client="192.0.2.209", **more):
        return back(IP(src="192.0.2.22", dst=client) / TCP(sport=80, dport=sport, flags=flags), held, 80, **more)

    case("recorded flows of a client", "3, of a /28 together; what is known goes on, and others are others",
         guarded(udp(1, held, "192.0.2.193")), guarded(udp(2, held, "192.0.2.194")), guarded(udp(3, held, "192.0.2.207")),
         refused(udp(4, held, "192.0.2.193"), many), *[guarded(udp(1, held, "192.0.2.193")) for _ in range(5)], refused(udp(4, held, "192.0.2.193"), many),
         guarded(udp(1, held, "192.0.2.192"), at_ms=500000), guarded(udp(4, held, "192.0.2.191")))
    case("recorded flows of a client that are in use", "each counts as one for as long as it is heard of, in either direction",
         *[guarded(udp(i, held, "192.0.2.225")) for i in (1, 2, 3)],
         *[made for at in range(7000, 110000, 7000) for made in (
             guarded(udp(1, held, "192.0.2.225"), at_ms=at), guarded(udp(2, held, "192.0.2.225"), at_ms=at), reply(3, "192.0.2.225", at_ms=at),
             refused(udp(4, held, "192.0.2.225"), many, at_ms=at))])
    case("recorded flows of a client that are silent", "two thirds of a flow are left of each after a minute, and a third place is free",
         *[guarded(udp(i, held, "192.0.2.241")) for i in (11, 12, 13)], refused(udp(14, held, "192.0.2.241"), many, at_ms=45000),
         guarded(udp(14, held, "192.0.2.241"), at_ms=70000), refused(udp(15, held, "192.0.2.241"), many, at_ms=70000))
    case("recorded flows of a client that end", "FIN and RST give their place back, once, whoever sends them",
         *[guarded(tcp_held(i, "S"), 80) for i in (1, 2, 3)], refused(tcp_held(4, "S"), many), guarded(tcp_held(1, "S"), 80),
         guarded(tcp_held(1, "FA"), 80), guarded(tcp_held(1, "FA"), 80), guarded(tcp_held(4, "S"), 80), refused(tcp_held(5, "S"), many),
         tcp_reply(2, "FA"), tcp_reply(2, "FA"), guarded(tcp_held(2, "FA"), 80), guarded(tcp_held(5, "S"), 80), refused(tcp_held(6, "S"), many),
         guarded(tcp_held(3, "R"), 80), guarded(tcp_held(6, "S"), 80), refused(tcp_held(7, "S"), many), guarded(tcp_held(8, "A"), 80))


def scenario_guard():
    sources()
    limits()
    write("guard", "Services that do not take every client, nor everything.", ["node.yaml", "sources.yaml", "limits.yaml"])


# --- media -------------------------------------------------------------------------------------------------------------

CALL4, CALL6, MARKED4, MARKED6, LIMITED4, ANY4, SHARED4 = ("192.0.2.100", "2001:db8:0:1::100", "192.0.2.101", "2001:db8:0:1::101",
                                                  "192.0.2.102", "192.0.2.103", "192.0.2.104")
CALL_PORT, AGENT_PORT = 3478, 7000
AGENTS = {"192.0.2.21": "02:00:00:00:01:21", "192.0.2.22": "02:00:00:00:01:22", "2001:db8:0:1::21": "02:00:00:00:01:21"}
AGENT4, OTHER4, AGENT6 = "192.0.2.21", "192.0.2.22", "2001:db8:0:1::21"
REQUEST, INDICATION, SUCCESS, FAILURE = 0x0001, 0x0011, 0x0101, 0x0111


def siphash24(key, message):
    """J.-P. Aumasson, D. J. Bernstein: SipHash, 2012."""
    mask = (1 << 64) - 1
    k0, k1 = (int.from_bytes(key[i:i + 8], "little") for i in (0, 8))
    v = [k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573]

    def turn(value, bits):
        return (value << bits | value >> (64 - bits)) & mask

    def rounds(count):
        for _ in range(count):
            v[0] = (v[0] + v[1]) & mask
            v[2] = (v[2] + v[3]) & mask
            v[1], v[3] = turn(v[1], 13) ^ v[0], turn(v[3], 16) ^ v[2]
            v[0] = turn(v[0], 32)
            v[2] = (v[2] + v[1]) & mask
            v[0] = (v[0] + v[3]) & mask
            v[1], v[3] = turn(v[1], 17) ^ v[2], turn(v[3], 21) ^ v[0]
            v[2] = turn(v[2], 32)

    padded = message + bytes(-(len(message) + 1) % 8) + bytes([len(message) & 255])
    for at in range(0, len(padded), 8):
        word = int.from_bytes(padded[at:at + 8], "little")
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 0xff
    rounds(4)
    return (v[0] ^ v[1] ^ v[2] ^ v[3]).to_bytes(8, "little")


def encoded(service, address, port=AGENT_PORT, random=7, wrong=False, number=0):
    """docs/wire/ufrag.md, with the secret of its examples."""
    secret = bytes(range(16))
    name = f"selvage ufrag 1default/{service}".encode()
    key = siphash24(secret, b"\1" + name) + siphash24(secret, b"\2" + name)
    address = ipaddress.ip_address(address)
    head = ((1 << 3 | (address.version == 6) << 2 | number) << 42 | random).to_bytes(6, "big")
    plain = address.packed + port.to_bytes(2, "big")
    mask = b"".join(siphash24(key, head + bytes([0, n]) + bytes(24))[:6] for n in (1, 2, 3))
    whole = address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed
    check = siphash24(key, head + bytes(2) + whole + port.to_bytes(2, "big") + bytes(6))[:6]
    if wrong:
        check = bytes([check[0] ^ 1]) + check[1:]
    return base64.b64encode(head + bytes(x ^ y for x, y in zip(plain, mask)) + check).decode()


def attribute(kind, value):
    return struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)


def stun(kind, transaction, *attributes, fingerprint=True, magic=0x2112a442, length=None):
    body = b"".join(attributes)
    size = len(body) + (8 if fingerprint else 0)
    head = struct.pack("!HHI", kind, size if length is None else length, magic) + transaction
    if fingerprint:
        crc = zlib.crc32(head + body) ^ 0x5354554e ^ (1 if fingerprint == "wrong" else 0)
        body += struct.pack("!HHI", 0x8028, 4, crc)
    return head + body


def transaction(number):
    return hashlib.sha256(b"selvage %d" % number).digest()[:12]


INTEGRITY = attribute(0x0008, bytes(range(20)))  # whoever has the password judges it


def integrity(password, kind, transaction, *attributes):
    """MESSAGE-INTEGRITY (RFC 8489 section 14.5): over the message up to it, whose length counts it and nothing behind."""
    body = b"".join(attributes)
    head = struct.pack("!HHI", kind, len(body) + 24, 0x2112a442) + transaction
    return attribute(0x0008, hmac.digest(password.encode(), head + body, "sha1"))


def check(username, number, nominate=False, password=None, **more):
    attributes = [attribute(0x0006, username.encode()), attribute(0x0024, struct.pack("!I", 0x6e7f1eff)), attribute(0x802a, bytes(8))]
    if nominate:
        attributes.append(attribute(0x0025, b""))
    signature = integrity(password, REQUEST, transaction(number), *attributes) if password else INTEGRITY
    return stun(REQUEST, transaction(number), *attributes, signature, **more)


def answer_to(number, kind=SUCCESS):
    return stun(kind, transaction(number), attribute(0x0020, b"\0\1" + bytes(6)), INTEGRITY)


def rtp(sequence, timestamp=None, ssrc=0x11223344, kind=111):
    return struct.pack("!BBHII", 0x80, kind, sequence & 0xffff, (sequence * 960 if timestamp is None else timestamp) & 0xffffffff, ssrc) + bytes(40)


SHA1_80, SHA1_32 = "SRTP_AES128_CM_HMAC_SHA1_80", "SRTP_AES128_CM_HMAC_SHA1_32"


class Srtp:
    """What one key of SRTP's says of packets (RFC 3711 sections 4.2 and 4.3). They are opaque to whom they pass, so nothing is encrypted."""

    def __init__(self, number, profile=SHA1_80, master=None):
        self.master = master or hashlib.sha256(b"selvage srtp %d" % number).digest()[:30]
        self.profile = profile
        salt = bytearray(self.master[16:] + bytes(2))
        salt[7] ^= 1
        cipher = Cipher(algorithms.AES(self.master[:16]), modes.CTR(bytes(salt))).encryptor()
        self.authentication = cipher.update(bytes(20))

    def told(self):
        return {"profile": self.profile, "key": base64.b64encode(self.master).decode()}

    def tag(self, packet, counter):
        return hmac.digest(self.authentication, packet + struct.pack("!I", counter), "sha1")[:4 if self.profile == SHA1_32 else 10]

    def rtp(self, sequence, ssrc, counter=0, payload=bytes(40)):
        packet = rtp(sequence, ssrc=ssrc)[:12] + payload
        return packet + self.tag(packet, counter)


def changed(packet, at):
    return bytes(byte ^ (place == at % len(packet)) for place, byte in enumerate(packet))


RTCP = struct.pack("!BBHI", 0x80, 200, 6, 0x11223344) + bytes(20)
DTLS = bytes([22, 254, 253]) + bytes(8) + struct.pack("!H", 20) + bytes(20)


class Call:
    """One client's end of a call, and what must become of its packets. `seen`: the address that its agent knows it by."""

    def __init__(self, port, client=CLIENT4, vip=CALL4, agent=AGENT4, agent_port=AGENT_PORT, seen=None, mac=CLIENT, tos=None):
        self.client, self.port, self.vip, self.agent, self.agent_port, self.mac, self.tos = client, port, vip, agent, agent_port, mac, tos
        self.seen = seen or (client, port)

    def at(self, client, port, mac=CLIENT):
        """The same call, from another address."""
        return Call(port, client, self.vip, self.agent, self.agent_port, self.seen, mac, self.tos)

    def backend(self):
        return f"[{self.agent}]:{AGENT_PORT}" if ":" in self.agent else f"{self.agent}:{AGENT_PORT}"

    def ip(self, source, destination, sport, dport, data, hops=64):
        head = IPv6(src=source, dst=destination, hlim=hops) if ":" in source else IP(src=source, dst=destination, ttl=hops)
        return head / UDP(sport=sport, dport=dport) / Raw(data)

    def mark(self, packet):
        if self.tos is not None and IP in packet:
            packet[IP].tos = self.tos
        elif self.tos is not None:
            packet[IPv6].tc = self.tos
        return packet

    def sent_up(self, data):
        return ether((), self.mac) / self.ip(self.client, self.vip, self.port, CALL_PORT, data)

    def up(self, data, seen=None, **more):
        seen = seen or self.seen
        out = self.mark(self.ip(seen[0], self.agent, seen[1], self.agent_port, data, 63))
        return step(self.sent_up(data), "tx", "rtc", backend=more.pop("backend", self.backend()),
                    out=ether((), ETH0, AGENTS[self.agent]) / out, **more)

    def up_dropped(self, data, reason, backend=None, **more):
        return step(self.sent_up(data), "drop", "rtc", reason, backend, **more)

    def sent_down(self, data, to=None):
        to = to or self.seen
        return ether((), AGENTS[self.agent]) / self.ip(self.agent, to[0], self.agent_port, to[1], data)

    def down(self, data, to=None, **more):
        out = self.mark(self.ip(self.vip, self.client, CALL_PORT, self.port, data, 63))
        return step(self.sent_down(data, to), "tx", "rtc", backend=more.pop("backend", self.backend()),
                    out=ether((), ETH0, self.mac) / out, **more)

    def down_passed(self, data, to=None, **more):
        return step(self.sent_down(data, to), "pass", "parse", **more)

    def down_dropped(self, data, reason, **more):
        return step(self.sent_down(data), "drop", "rtc", reason, more.pop("backend", self.backend()), **more)

    def begin(self, ufrag, number, **more):
        """A check and its answer: the path is proven."""
        return [self.up(check(f"{ufrag}:cl{number}", number), **more), self.down(answer_to(number))]


def registered(ufrag, backend=f"{AGENT4}:{AGENT_PORT}", vip=CALL4, **more):
    return {"register": [{"service": f"[{vip}]:{CALL_PORT}" if ":" in vip else f"{vip}:{CALL_PORT}", "ufrag": ufrag, "backend": backend, **more}]}


def media_with(*names):
    return {"manifests": ["node.yaml", "services.yaml", *names]}


def media_passwords():
    call = Call(5601)
    password, other = "passwordPASSWORD012345", "p" * 256
    wrong = stun(REQUEST, transaction(151), attribute(0x0006, b"room20:c"))
    case("fragment with a password", "a check that is not signed with it is dropped, and opens no path",
         call.up_dropped(check("room20:c", 150), "rtc_integrity", **registered("room20", password=password)),
         call.up_dropped(wrong, "rtc_integrity"), call.up_dropped(check("room20:c", 152, password=other), "rtc_integrity"),
         call.up_dropped(rtp(1, ssrc=0x2020), "rtc_path_unknown"), call.up(check("room20:c", 153, password=password)), call.down(answer_to(153)),
         call.up(rtp(1, ssrc=0x2020)), call.up(check("room20:c", 154, True, password=password, fingerprint=False)), call.down(answer_to(154)),
         call.at(CLIENT4, 5602).up_dropped(check("room20:c", 155), "rtc_integrity"), call.down(rtp(1, ssrc=0x2020)))
    call = Call(5603)
    case("password of 256 characters", "the longest there is (RFC 8839 section 5.4): longer than a block of the hash",
         call.up(check("room21:c", 156, password=other), **registered("room21", password=other)), call.down(answer_to(156)),
         call.up_dropped(check("room21:c", 157, password=other[1:]), "rtc_integrity"))
    call = Call(5604)
    case("password that changes, or is forgotten", "the last registration counts",
         call.up(check("room22:c", 158, password=password), **registered("room22", password=password)), call.down(answer_to(158)),
         call.up_dropped(check("room22:c", 159, password=password), "rtc_integrity", **registered("room22", password=other)),
         call.up(check("room22:c", 160, password=other)), call.down(answer_to(160)),
         call.up(check("room22:c", 161), **registered("room22")), call.down(answer_to(161)))
    call = Call(5605)
    restart = {"restart": [{"service": f"{CALL4}:{CALL_PORT}", "ufrag": "room23", "new": "room24", "password": other}]}
    case("ICE restart with a password of its own", "each fragment's checks are signed with its own",
         call.up(check("room23:c", 162, password=password), **registered("room23", password=password)), call.down(answer_to(162)),
         call.up(check("room24:d", 163, password=other), **restart), call.down(answer_to(163)),
         call.up(check("room23:c", 164, password=password)), call.down(answer_to(164)),
         call.up_dropped(check("room24:d", 165, password=password), "rtc_integrity"),
         call.up_dropped(check("room23:c", 166, password=other), "rtc_integrity"))
    long = [attribute(0x0006, b"room25:c"), attribute(0x8022, b"s" * 640)]
    call = Call(5606)
    case("longest message that is read", "768 bytes, signed",
         call.up(stun(REQUEST, transaction(167), *long, integrity(password, REQUEST, transaction(167), *long)),
                 **registered("room25", password=password)), call.down(answer_to(167)))


def media_routing():
    call = Call(5000)
    ufrag = encoded("call", AGENT4)
    case("call with an encoded fragment", "the check routes, and everything of its 5-tuple follows in both directions",
         call.up_dropped(rtp(1), "rtc_path_unknown"), call.up_dropped(DTLS, "rtc_path_unknown"),
         call.up(check(f"{ufrag}:abcd", 1)), call.down(answer_to(1)), call.down(DTLS), call.up(DTLS),
         call.up(rtp(100)), call.up(rtp(101)), call.down(rtp(7, ssrc=9)), call.up(RTCP), call.down(RTCP),
         call.up(stun(INDICATION, transaction(2))), call.up(check(f"{ufrag}:abcd", 3, True)), call.down(answer_to(3)))
    call = Call(5001, agent=OTHER4)
    case("call with a registered fragment", "it goes where somebody said",
         call.up_dropped(check("room1:abcd", 10), "rtc_fragment_unknown"),
         call.up(check("room1:abcd", 11), **registered("room1", f"{OTHER4}:7000")), call.down(answer_to(11)), call.up(rtp(1)),
         call.down(rtp(1)), call.up_dropped(check("room2:abcd", 12), "rtc_fragment_unknown"))
    media_passwords()
    longest = "L" * 256
    call = Call(5002)
    case("fragment of 256 characters", "the longest there is (RFC 8445 section 5.3)",
         call.up(check(f"{longest}:{'c' * 256}", 13), **registered(longest)), call.down(answer_to(13)),
         call.up_dropped(check(f"{longest}L:c", 14), "rtc_fragment_unknown"),
         call.up_dropped(check(f"{longest[1:]}M:c", 15), "rtc_fragment_unknown"))
    call = Call(5003, client=CLIENT6, vip=CALL6, agent=AGENT6)
    case("IPv6 call", "with an encoded fragment of five groups", *call.begin(encoded("call", AGENT6), 16), call.up(rtp(1)), call.down(rtp(1)))
    call = Call(5004, client=FAR4, mac=ROUTER)
    case("call of a client behind the router", "its answers go by the route", *call.begin(encoded("call", AGENT4, random=8), 17), call.up(rtp(1)),
         call.down(rtp(1)))
    call = Call(5005, agent=OTHER4, vip=ANY4, agent_port=40001)
    any_backend = {"backend": f"{OTHER4}:40001"}
    case("agent with a port for each call", "that the registered fragment names",
         call.up(check("port1:c", 18), **registered("port1", f"{OTHER4}:0", ANY4, port=40001), **any_backend),
         call.down(answer_to(18), **any_backend), call.up(rtp(1), **any_backend), call.down(rtp(1), **any_backend))
    call, ours = Call(5006), encoded("call", AGENT4, random=9)
    fakes = {"a wrong check": encoded("call", AGENT4, random=9, wrong=True), "another service's key": encoded("marked", AGENT4, random=9),
             "a key that there is none of": encoded("call", AGENT4, random=9, number=1), "another character": "!" + ours[1:],
             "one character less": ours[:-1], "one more": ours + "A", "group 0 of another version": "A" + ours[1:]}
    for why, fake in fakes.items():
        case(f"fragment with {why}", "nobody aims packets without the key", call.up_dropped(check(f"{fake}:c", 19), "rtc_fragment_unknown"))
    for why, target in (("no backend", encoded("call", "192.0.2.2")), ("another port", encoded("call", AGENT4, 7001)),
                        ("the other family", encoded("call", AGENT6))):
        case(f"fragment that leads to {why}", "the key alone is not enough", call.up_dropped(check(f"{target}:c", 20), "rtc_agent_unknown"))
    case("USERNAME without a colon", "RFC 8445 section 7.2.2", call.up_dropped(check(ours, 21), "rtc_fragment_unknown"))
    case("USERNAME with nothing in front of its colon", "no fragment", call.up_dropped(check(":abcd", 22), "rtc_fragment_unknown"))
    case("USERNAME behind MESSAGE-INTEGRITY", "what is not covered does not count (RFC 8489 section 14.5): it asks for its address",
         step(call.sent_up(stun(REQUEST, transaction(23), INTEGRITY, attribute(0x0006, f"{ours}:c".encode()))), "tx", "rtc",
              out=stun_reply(call, 23)))


def stun_reply(call, number):
    """RFC 8489 section 14.2, by the address that the request comes from."""
    address = ipaddress.ip_address(call.client).packed
    pad = struct.pack("!I", 0x2112a442) + transaction(number)
    mapped = struct.pack("!BBH", 0, 1 if len(address) == 4 else 2, call.port ^ 0x2112) + bytes(x ^ y for x, y in zip(address, pad))
    return stun_from_server(call, stun(SUCCESS, transaction(number), attribute(0x0020, mapped)))


def stun_refusal(call, number, types):
    """RFC 8489 sections 14.8 and 14.13: 420, with an empty phrase."""
    unknown = attribute(0x000a, b"".join(struct.pack("!H", t) for t in types))
    return stun_from_server(call, stun(FAILURE, transaction(number), attribute(0x0009, bytes([0, 0, 4, 20])), unknown, fingerprint=False))


def stun_from_server(call, data):
    packet = call.ip(call.vip, call.client, CALL_PORT, call.port, data)
    if IP in packet:
        packet[IP].flags, packet[IP].id = "DF", 0
    return ether((), ETH0, call.mac) / packet


def media_stun_server():
    for name, call in (("IPv4", Call(5100)), ("IPv6", Call(5101, client=CLIENT6, vip=CALL6)),
                       ("IPv4, behind the router", Call(5102, client=FAR4, mac=ROUTER))):
        for why, number, data in (("shortest", 30, stun(REQUEST, transaction(30), fingerprint=False)),
                                  ("with FINGERPRINT", 31, stun(REQUEST, transaction(31))),
                                  ("with SOFTWARE", 32, stun(REQUEST, transaction(32), attribute(0x8022, b"some client with a name"))),
                                  ("longer than the answer", 33, stun(REQUEST, transaction(33), attribute(0x8022, b"x" * 127)))):
            case(f"STUN server, {name}, {why}", "a request without USERNAME is told its address (RFC 8489 section 6.3.1.1)",
                 step(call.sent_up(data), "tx", "rtc", out=stun_reply(call, number)))
    for name, call in (("IPv4", Call(5107)), ("IPv6", Call(5108, client=CLIENT6, vip=CALL6))):
        for number, types in ((70, [0x0003]), (71, [0x7fff, 0x0040]), (72, [0x0003, 0x0002, 0x0016]), (73, [1 << i for i in range(6, 10)]),
                              (74, [0x1000 + i for i in range(6)]), (75, [0x000c])):
            data = stun(REQUEST, transaction(number), *[attribute(t, b"abcd"[:t % 4]) for t in [0x0024, *types, 0x8022]])
            case(f"STUN server, {name}, must understand {', '.join(f'{t:#06x}' for t in types)}",
                 "an error says which attributes nobody knows here (RFC 8489 section 6.3.1), four at most",
                 step(call.sent_up(data), "tx", "rtc", out=stun_refusal(call, number, types[-4:])))
    call = Call(5109)
    data = stun(REQUEST, transaction(76), *[attribute(t, b"x") for t in (0x14, 0x15, 0x1c, 0x1d, 0x20, 0x25, 0x8003, 0xffff)])
    case("STUN server, attributes that are known or need not be", "what RFC 8489 and RFC 8445 define, and what is optional",
         step(call.sent_up(data), "tx", "rtc", out=stun_reply(call, 76)))
    data = stun(REQUEST, transaction(77), INTEGRITY, attribute(0x0003, b"\0\0\0\6"))
    case("STUN server, an unknown attribute behind MESSAGE-INTEGRITY", "does not count (RFC 8489 section 14.5)",
         step(call.sent_up(data), "tx", "rtc", out=stun_reply(call, 77)))
    call = Call(5103)
    tagged = ether([Dot1Q(vlan=0, prio=5)]) / call.ip(call.client, call.vip, call.port, CALL_PORT, stun(REQUEST, transaction(34)))
    reply = Ether(bytes(stun_reply(call, 34)))
    case("STUN server, priority tag", "the tag goes back", step(tagged, "tx", "rtc",
         out=Ether(src=ETH0, dst=CLIENT) / Dot1Q(vlan=0, prio=5) / reply[IP]))
    options = ether() / IP(src=CLIENT4, dst=CALL4, options=[b"\x94\x04\0\0"]) / UDP(sport=5103, dport=CALL_PORT) / Raw(stun(REQUEST, transaction(35)))
    case("STUN server, IPv4 options", "the answer has none", step(options, "tx", "rtc", out=stun_reply(call, 35)))
    call, ask = Call(5104, vip=LIMITED4), lambda number: stun(REQUEST, transaction(number))
    good = lambda number, **more: step(call.sent_up(ask(number)), "tx", "rtc", out=stun_reply(call, number), **more)  # noqa: E731
    case("STUN server, limit", "two at once, then one a second for an address", good(40), good(41),
         call.up_dropped(ask(42), "rtc_stun_limit"), call.up_dropped(ask(43), "rtc_stun_limit", at_ms=900), good(44, at_ms=1000))
    source = lambda last: Call(5106, client=f"192.0.2.{last}", vip=SHARED4)  # noqa: E731
    answered = lambda last, number, **more: step(source(last).sent_up(ask(number)), "tx", "rtc",  # noqa: E731
                                                out=stun_reply(source(last), number), **more)
    case("STUN server, limit of all clients", "three at once, then one a second, whoever asks: nobody's address is flooded with answers from here",
         answered(51, 45), answered(52, 46), answered(53, 47), source(54).up_dropped(ask(48), "rtc_stun_limit_total"),
         source(55).up_dropped(ask(49), "rtc_stun_limit_total", at_ms=900), answered(56, 50, at_ms=1000))
    call = Call(5105)
    for why, data, reason in (
            ("a wrong FINGERPRINT", stun(REQUEST, transaction(50), fingerprint="wrong"), "rtc_stun_fingerprint"),
            ("a length that is no multiple of four", stun(REQUEST, transaction(51), fingerprint=False, length=2) + b"xx", "rtc_stun_malformed"),
            ("a length beyond the datagram", stun(REQUEST, transaction(52), fingerprint=False, length=4), "rtc_stun_malformed"),
            ("bytes behind its end", stun(REQUEST, transaction(53)) + bytes(4), "rtc_stun_malformed"),
            ("no magic cookie", stun(REQUEST, transaction(54), magic=0x2112a443), "rtc_stun_malformed"),
            ("an attribute beyond its end", stun(REQUEST, transaction(55), struct.pack("!HH", 0x8022, 8) + bytes(4), fingerprint=False),
             "rtc_stun_malformed"),
            ("FINGERPRINT before another attribute", stun(REQUEST, transaction(56)) [:2] + struct.pack("!H", 16)
             + stun(REQUEST, transaction(56))[4:] + attribute(0x8022, b"last"), "rtc_stun_malformed"),
            ("33 attributes", stun(REQUEST, transaction(57), *[attribute(0x8022, b"")] * 33, fingerprint=False), "rtc_stun_malformed"),
            ("more than 768 bytes", stun(REQUEST, transaction(58), attribute(0x8022, bytes(748)), fingerprint=False), "rtc_stun_malformed"),
            ("19 bytes", stun(REQUEST, transaction(59), fingerprint=False)[:19], "rtc_stun_malformed"),
            ("a TURN request", stun(0x0003, transaction(60)), "rtc_stun_unsupported"),
            ("a Shared Secret request", stun(0x0002, transaction(61)), "rtc_stun_unsupported"),
            ("an answer of no session", stun(SUCCESS, transaction(62)), "rtc_path_unknown"),
            ("an indication of no session", stun(INDICATION, transaction(63)), "rtc_path_unknown")):
        case(f"STUN with {why}", "never reflected", call.up_dropped(data, reason))
    fine = stun(REQUEST, transaction(64), attribute(0x8022, bytes(744)), fingerprint=False)
    case("STUN of 768 bytes", "the longest that is read", step(call.sent_up(fine), "tx", "rtc", out=stun_reply(call, 64)))
    fine = stun(REQUEST, transaction(65), *[attribute(0x8022, b"")] * 32, fingerprint=False)
    case("STUN of 32 attributes", "as many as are read", step(call.sent_up(fine), "tx", "rtc", out=stun_reply(call, 65)))
    never_leaves("check, cut off", "no prefix of it is taken for whole", call.sent_up(check(f"{encoded('call', AGENT4, random=10)}:c", 66)))


def published(name):
    """A message that somebody else wrote down."""
    with open(os.path.join(HERE, "stun-srtp", f"{name}.hex"), encoding="ascii") as file:
        return bytes.fromhex(file.read())


RFC5769_PASSWORD = "VOkJxbRl1RmTxUk/WvJxBt"


def media_published():
    """RFC 5769: a check for the fragment evtj, by the client whose own is h6vY, and its answers."""
    request, long_term = published("rfc5769_2.1_request"), published("rfc5769_2.4_request_longterm")
    call = Call(5700)
    case("RFC 5769, request and IPv4 response", "the check is signed with its password and routed by its USERNAME, the answer goes back as the virtual IP's and proves the path",
         call.up_dropped(request, "rtc_fragment_unknown"), call.up(request, **registered("evtj", password=RFC5769_PASSWORD)), call.down(published("rfc5769_2.2_response_ipv4")),
         call.up(rtp(1, ssrc=0x51)), call.down(rtp(1)), call.up(request, at_ms=29000), call.down(published("rfc5769_2.2_response_ipv4"), at_ms=29010),
         call.up(rtp(2, ssrc=0x51), at_ms=59000), call.down(rtp(2), at_ms=59000))
    call = Call(5701, client=CLIENT6, vip=CALL6, agent=AGENT6)
    case("RFC 5769, request and IPv6 response", "likewise", call.up(request, **registered("evtj", f"[{AGENT6}]:{AGENT_PORT}", CALL6)),
         call.down(published("rfc5769_2.3_response_ipv6")), call.up(rtp(1, ssrc=0x52)), call.down(rtp(1)))
    call = Call(5702, agent=OTHER4)
    case("RFC 5769, the agent's request", "of the fragment h6vY, which stands second then",
         call.down(request, **registered("h6vY", f"{OTHER4}:{AGENT_PORT}")), call.up(published("rfc5769_2.2_response_ipv4")),
         call.up(check("h6vY:evtj", 190)), call.down(answer_to(190)), call.up(rtp(1, ssrc=0x53)), call.down(rtp(1)))
    call = Call(5703)
    for at, reason in ((64, "rtc_stun_fingerprint"), (107, "rtc_stun_fingerprint"), (3, "rtc_stun_malformed")):
        wrong = request[:at] + bytes([request[at] ^ 1]) + request[at + 1:]
        case(f"RFC 5769, request with another byte {at}", "is dropped before anything is looked for", call.up_dropped(wrong, reason))
    case("RFC 5769, long-term request", "its USERNAME is no pair of fragments", call.up_dropped(long_term, "rtc_fragment_unknown"))


def media_kinds():
    call = Call(5200)
    for why, data in (("ZRTP", b"\x10" + bytes(20)), ("a TURN channel", b"\x40\0\0\x08" + bytes(8)), ("first byte 4", b"\x04" + bytes(30)),
                      ("first byte 192", b"\xc0" + bytes(30)), ("one byte", b"\x80"), ("nothing", b""), ("RTP of 11 bytes", rtp(1)[:11]),
                      ("RTCP of 7 bytes", RTCP[:7]), ("a DTLS record of 12 bytes", DTLS[:12])):
        case(f"datagram of {why}", "not what calls are made of (RFC 7983)", call.up_dropped(data, "rtc_unknown_kind"))
    case("DTLS 1.3 record", "a short header (RFC 9147 section 4), of no session", call.up_dropped(b"\x2f" + bytes(20), "rtc_path_unknown"))
    first = fragment(call.ip(CLIENT4, CALL4, 5200, CALL_PORT, rtp(1) + bytes(1500)), 800)
    case("media in fragments", "WebRTC has none, and each costs",
         step(ether() / first[0], "drop", "rtc", "rtc_fragment"), step(ether() / first[1], "drop", "lb", "rtc_fragment"))
    call = Call(5201)
    case("what else an agent sends", "passes: it is no call's", call.down_passed(rtp(1)), call.down_passed(stun(REQUEST, transaction(70))),
         call.down_passed(answer_to(70)), call.down_passed(check("who:room9", 71)), call.down_passed(DTLS))


def media_checks():
    call, ufrag = Call(5300), encoded("call", AGENT4, random=11)
    case("agent's own check comes first", "USERNAME client:server says whose it is; the client's answer comes back",
         call.down(check(f"abcd:{ufrag}", 80)), call.up_dropped(rtp(1), "rtc_path_unknown", backend=None), call.up(answer_to(80)),
         call.up(check(f"{ufrag}:abcd", 81)), call.down(answer_to(81)), call.up(rtp(1)), call.down(rtp(1)))
    call = Call(5301)
    case("agent's own check of a registered fragment", "likewise", call.down(check("abcd:room3", 82), **registered("room3")),
         call.up(answer_to(82)), call.up(check("room3:abcd", 83)), call.down(answer_to(83)), call.down(rtp(1)))
    case("agent's check under another agent's fragment", "is none of ours", call.down_passed(check(f"abcd:{encoded('call', OTHER4, random=11)}", 84),
                                                                                            (CLIENT4, 5399)))
    call = Call(5302)
    far = Call(5398, FAR4, mac=ROUTER)  # as which the agent asks there
    case("agent checks two addresses", "each check goes to the address that it names, and each answer comes from there; the client's own "
         "checks come from one address, and what is no check goes to the path in use",
         call.down(check("abcd:room4", 85), **registered("room4")), call.up(answer_to(85)), far.down(check("abcd:room4", 87)), far.up(answer_to(87)),
         call.up(check("room4:abcd", 86, True)), call.down(answer_to(86)), far.down(check("abcd:room4", 88)), far.up(answer_to(88)),
         call.down(rtp(1)), call.down(rtp(2), (FAR4, 5398)), call.up(rtp(1)))
    ufrag = encoded("call", AGENT4, random=12)
    first, second = Call(5303), Call(5303).at(FAR4, 5304, ROUTER)
    case("candidate pairs side by side", "each answer goes where its check came from; media follows the pair that is nominated",
         first.up(check(f"{ufrag}:ab", 90)), second.up(check(f"{ufrag}:ab", 91)), second.down(answer_to(91)), first.down(answer_to(90)),
         second.down(rtp(1)),
         first.up(check(f"{ufrag}:ab", 92, True), at_ms=50), first.down(answer_to(92), at_ms=50), first.down(rtp(2), at_ms=50),
         first.up(rtp(1), at_ms=60), second.up(check(f"{ufrag}:ab", 93), at_ms=100), second.down(answer_to(93), at_ms=100),
         first.down(rtp(3), at_ms=100))
    case("agent refuses a check", "its error goes where the check came from, and proves nothing",
         *Call(5305).begin(encoded("call", AGENT4, random=13), 94),
         Call(5305).at(FAR4, 5306, ROUTER).up(check(f"{encoded('call', AGENT4, random=13)}:zz", 95, True), at_ms=200),
         Call(5305).at(FAR4, 5306, ROUTER).down(answer_to(95, FAILURE), at_ms=200), Call(5305).down(rtp(1), at_ms=200))
    call, again = Call(5307), encoded("call", AGENT4, random=15)
    case("ICE restart", "a new fragment from a path that is known is the same call under another name",
         *call.begin(encoded("call", AGENT4, random=14), 96), call.up(rtp(1)), *call.begin(again, 97), call.up(rtp(2)),
         call.at(FAR4, 5308, ROUTER).up(check(f"{again}:ab", 98, True), at_ms=100), call.at(FAR4, 5308, ROUTER).down(answer_to(98), at_ms=100),
         call.at(FAR4, 5308, ROUTER).down(rtp(3), at_ms=100))
    call = Call(5309)
    case("ICE restart that somebody announces", "the new fragment leads to the session that there is",
         call.up(check("room5:ab", 99), **registered("room5")), call.down(answer_to(99)),
         call.at(FAR4, 5310, ROUTER).up(check("room6:ab", 100, True), at_ms=100,
                                       restart=[{"service": f"{CALL4}:{CALL_PORT}", "ufrag": "room5", "new": "room6"}]),
         call.at(FAR4, 5310, ROUTER).down(answer_to(100), at_ms=100), call.at(FAR4, 5310, ROUTER).down(rtp(1), at_ms=100))
    case("the same address for another call", "a NAT gives it out again: another agent's call takes it over",
         *Call(5311).begin(encoded("call", AGENT4, random=16), 101),
         *Call(5311, agent=OTHER4).begin(encoded("call", OTHER4, random=17), 102), Call(5311, agent=OTHER4).up(rtp(1)))


def media_healing():
    call, ufrag = Call(5400), encoded("call", AGENT4, random=20)
    moved = call.at(FAR4, 6400, ROUTER)
    talk = [call.up(rtp(100 + i, ssrc=0x20), at_ms=20 * i) for i in range(5)]
    case("client's address changes", "media that fits goes up at once, under the address that the agent knows; the way down follows "
         "when the old path is silent and three packets in a row fit; the next check proves it",
         *call.begin(ufrag, 110), *talk, call.down(rtp(1), at_ms=80),
         moved.up(rtp(105, ssrc=0x20), at_ms=100), call.down(rtp(2), at_ms=100), moved.up(rtp(106, ssrc=0x20), at_ms=120), call.down(rtp(3), at_ms=120),
         moved.up(rtp(107, ssrc=0x20), at_ms=140), moved.down(rtp(4), at_ms=140), moved.up(RTCP, at_ms=150), moved.down(RTCP, at_ms=150),
         moved.up(check(f"{ufrag}:cl110", 111, True), at_ms=2000), moved.down(answer_to(111), at_ms=2000), moved.down(rtp(5), at_ms=14000))
    call, ufrag = Call(5401), encoded("call", AGENT4, random=21)
    thief = call.at(FAR4, 6401, ROUTER)
    case("somebody sends media that fits, and the client goes on", "it goes up and does no more: the way down stays",
         *call.begin(ufrag, 112), *[call.up(rtp(200 + i, ssrc=0x21), at_ms=20 * i) for i in range(5)],
         *[each for i in range(5) for each in (thief.up(rtp(206 + i, ssrc=0x21), at_ms=90 + 20 * i),
                                               call.up(rtp(205 + i, ssrc=0x21), at_ms=100 + 20 * i),
                                               call.down(rtp(1 + i), at_ms=100 + 20 * i))])
    call, ufrag = Call(5402), encoded("call", AGENT4, random=22)
    thief = call.at(FAR4, 6402, ROUTER)
    stolen = [thief.up(rtp(303 + i, ssrc=0x22), at_ms=200 + 20 * i) for i in range(4)]
    case("somebody sends media that fits while the client is silent", "the way down comes back with the client's next packet, or after ten seconds",
         *call.begin(ufrag, 113), *[call.up(rtp(300 + i, ssrc=0x22), at_ms=20 * i) for i in range(3)], *stolen, thief.down(rtp(1), at_ms=270),
         call.up(rtp(308, ssrc=0x22), at_ms=300), call.down(rtp(2), at_ms=300))
    call, ufrag = Call(5403), encoded("call", AGENT4, random=23)
    thief = call.at(FAR4, 6403, ROUTER)
    case("a path that is never proven", "is given up for one that was",
         *call.begin(ufrag, 114), *[call.up(rtp(400 + i, ssrc=0x23), at_ms=20 * i) for i in range(3)],
         *[thief.up(rtp(403 + i, ssrc=0x23), at_ms=200 + 20 * i) for i in range(3)], thief.down(rtp(1), at_ms=300), thief.down(rtp(2), at_ms=10000),
         call.down(rtp(3), at_ms=10300))
    call, ufrag = Call(5404), encoded("call", AGENT4, random=24)
    other = call.at(FAR4, 6404, ROUTER)
    case("media that does not fit", "is dropped: SSRC, or a sequence number too far off, or what is no media",
         *call.begin(ufrag, 115), call.up(rtp(500, ssrc=0x24)), other.up_dropped(rtp(501, ssrc=0x25), "rtc_path_unknown"),
         other.up_dropped(rtp(1501, ssrc=0x24), "rtc_path_unknown"), other.up_dropped(rtp(467, ssrc=0x24), "rtc_path_unknown"),
         other.up_dropped(RTCP, "rtc_path_unknown"), other.up_dropped(DTLS, "rtc_path_unknown"),
         other.up_dropped(rtp(501, ssrc=0x24), "rtc_path_unknown", at_ms=5000),
         Call(6405, FAR4, MARKED4, mac=ROUTER).up_dropped(rtp(501, ssrc=0x24), "rtc_path_unknown"))
    a, b, c = Call(5405), Call(5406), Call(5407)
    case("media that fits two calls", "could be either's: neither's",
         *a.begin(encoded("call", AGENT4, random=25), 116), *b.begin(encoded("call", AGENT4, random=26), 117), a.up(rtp(600, ssrc=0x26)),
         b.up(rtp(610, ssrc=0x26)), c.at(FAR4, 6406, ROUTER).up_dropped(rtp(611, ssrc=0x26), "rtc_path_unknown"))
    call, ufrag = Call(5408), encoded("call", AGENT4, random=27)
    moved = call.at(FAR4, 6408, ROUTER)
    case("client's address changes, and it nominates", "a check that the agent took for true moves the way down when the old path is silent",
         *call.begin(ufrag, 118), call.up(check(f"{ufrag}:c", 119, True)), call.down(answer_to(119)), call.up(rtp(700, ssrc=0x27)),
         moved.up(check(f"{ufrag}:c", 120, True), at_ms=30), moved.down(answer_to(120), at_ms=30), call.down(rtp(1), at_ms=30),
         moved.up(check(f"{ufrag}:c", 121, True), at_ms=100), moved.down(answer_to(121), at_ms=100), moved.down(rtp(2), at_ms=100),
         call.up(rtp(701, ssrc=0x27), at_ms=100), moved.down(rtp(3), at_ms=120))
    call, ufrag = Call(5411), encoded("call", AGENT4, random=60)
    places = [call, *[call.at(FAR4, 6411 + i, ROUTER) for i in range(4)]]
    steps = [*call.begin(ufrag, 170), *[call.up(rtp(1000 + i, ssrc=0x2a), at_ms=20 * i) for i in range(3)]]
    for i, place in enumerate(places[1:]):  # a second each, all of them proven but the last
        begin = 1000 * (i + 1)
        steps += [place.up(rtp(1003 + 3 * i + k, ssrc=0x2a), at_ms=begin + 20 * k) for k in range(3)] + [place.down(rtp(i), at_ms=begin + 50)]
        if i < 3:
            steps += [place.up(check(f"{ufrag}:c", 171 + i, True), at_ms=begin + 60), place.down(answer_to(171 + i), at_ms=begin + 60)]
    case("client's address changes four times in five seconds", "a proven path that gave way to another that is proven gives its place to the "
         "next at once; the last of them is what the way down goes back to", *steps, places[3].down(rtp(9), at_ms=15000))
    call, ufrag = Call(5420), encoded("call", AGENT4, random=63)
    second, third = call.at(FAR4, 6420, ROUTER), call.at(FAR4, 6421, ROUTER)
    case("client's address changes twice, and the second is never proven", "the way down goes back to the last one that was, not to the one before",
         *call.begin(ufrag, 191), *[call.up(rtp(1200 + i, ssrc=0x2c), at_ms=20 * i) for i in range(3)],
         *[second.up(rtp(1203 + i, ssrc=0x2c), at_ms=200 + 20 * i) for i in range(3)], second.up(check(f"{ufrag}:c", 192, True), at_ms=260),
         second.down(answer_to(192), at_ms=260), second.up(rtp(1206, ssrc=0x2c), at_ms=280), second.down(rtp(1), at_ms=280),
         *[third.up(rtp(1207 + i, ssrc=0x2c), at_ms=400 + 20 * i) for i in range(3)], third.down(rtp(2), at_ms=440), third.down(rtp(3), at_ms=10400),
         second.down(rtp(4), at_ms=10500))
    call, ufrag = Call(5416), encoded("call", AGENT4, random=61)
    other, first, second = (call.at(FAR4, 6416 + i, ROUTER) for i in range(3))
    case("somebody sends media that fits, and the client has two more paths", "that were never left: they keep their places",
         *call.begin(ufrag, 175), *[step for i, path in enumerate((first, second)) for step in
                                    (path.up(check(f"{ufrag}:c", 176 + i)), path.down(answer_to(176 + i)))],
         call.up(rtp(1100, ssrc=0x2b), at_ms=20), other.up_dropped(rtp(1101, ssrc=0x2b), "rtc_path_unknown", at_ms=40),
         first.up(rtp(1101, ssrc=0x2b), at_ms=50), second.up(rtp(1102, ssrc=0x2b), at_ms=60))
    call, ufrag = Call(5409), encoded("call", AGENT4, random=28)
    replay = call.at(FAR4, 6409, ROUTER)
    case("somebody sends a check again that was seen on the way", "the agent answers it, and the way down stays with who talks",
         *call.begin(ufrag, 122), call.up(check(f"{ufrag}:c", 123, True)), call.down(answer_to(123)), call.up(rtp(800, ssrc=0x28)),
         replay.up(check(f"{ufrag}:c", 123, True), at_ms=20), replay.down(answer_to(123), at_ms=20), call.up(rtp(801, ssrc=0x28), at_ms=20),
         call.down(rtp(1), at_ms=20))
    six, ufrag = Call(5410, client=CLIENT6, vip=CALL6, agent=AGENT6), encoded("call", AGENT6, random=29)
    moved = six.at("2001:db8:ffff::9", 6410, ROUTER)
    case("IPv6 client's address changes", "likewise", *six.begin(ufrag, 124), *[six.up(rtp(900 + i, ssrc=0x29), at_ms=20 * i) for i in range(3)],
         *[moved.up(rtp(903 + i, ssrc=0x29), at_ms=110 + 20 * i) for i in range(3)], moved.down(rtp(1), at_ms=160), moved.down(RTCP, at_ms=160))


def media_verified():
    """Calls whose agent told the key of the client's SRTP when their handshake was over."""
    def begin(call, name, number, key):
        return [call.up(check(f"{name}:cl", number), **registered(name)), call.down(answer_to(number)),
                call.up(DTLS, **registered(name, srtp=key.told()))]

    def talk(call, key, first, count, ssrc, at_ms=0, counter=0):
        return [call.up(key.rtp(first + i, ssrc, counter), at_ms=at_ms + 20 * i) for i in range(count)]

    call, key = Call(5800), Srtp(1)
    moved, ssrc = call.at(FAR4, 6800, ROUTER), 0x60
    case("client's address changes, and its SRTP is verified", "the way down follows the second packet that is newer than all others, while the "
         "old path is silent; the next check proves it", *begin(call, "key1", 200, key), *talk(call, key, 100, 5, ssrc), call.down(rtp(1), at_ms=80),
         moved.up(key.rtp(105, ssrc), at_ms=100), moved.up(RTCP, at_ms=110), call.down(rtp(2), at_ms=110),
         moved.up(key.rtp(106, ssrc), at_ms=120), moved.down(rtp(3), at_ms=120), moved.up(key.rtp(107, ssrc), at_ms=140), moved.down(RTCP, at_ms=150),
         moved.up(check("key1:cl", 201, True), at_ms=2000), moved.down(answer_to(201), at_ms=2000), moved.down(rtp(5), at_ms=14000))
    call, key = Call(5801), Srtp(2)
    thief, ssrc = call.at(FAR4, 6801, ROUTER), 0x61
    right = key.rtp(302, ssrc)
    case("somebody sends media that fit, and has no key", "their tags are wrong: no path is opened, and nothing moves though the client is silent",
         *begin(call, "key2", 202, key), *talk(call, key, 300, 2, ssrc),
         *[thief.up_dropped(changed(right, at), "rtc_srtp_tag", at_ms=200 + 20 * i) for i, at in enumerate((1, 7, 12, 51, 52, -1))],
         thief.up_dropped(Srtp(3).rtp(302, ssrc), "rtc_srtp_tag", at_ms=400), thief.up_dropped(key.rtp(302, ssrc, 1), "rtc_srtp_tag", at_ms=400),
         thief.up_dropped(rtp(302, ssrc=ssrc), "rtc_srtp_tag", at_ms=400), thief.up_dropped(rtp(302, ssrc=ssrc)[:12], "rtc_srtp_tag", at_ms=400),
         thief.up_dropped(rtp(302, ssrc=ssrc)[:12] + bytes(9), "rtc_srtp_tag", at_ms=400), thief.up_dropped(RTCP, "rtc_path_unknown", at_ms=420),
         call.down(rtp(1), at_ms=420), thief.up(right, at_ms=440))
    call, key = Call(5802), Srtp(4)
    thief, ssrc = call.at(FAR4, 6802, ROUTER), 0x62
    case("somebody copies what the client sends", "late copies open no path; those that come first go up, and the way down stays, for the client talks",
         *begin(call, "key3", 203, key), *talk(call, key, 400, 3, ssrc), thief.up_dropped(key.rtp(402, ssrc), "rtc_path_unknown", at_ms=50),
         thief.up_dropped(key.rtp(390, ssrc), "rtc_path_unknown", at_ms=50),
         *[each for i in range(4) for each in (thief.up(key.rtp(403 + i, ssrc), at_ms=55 + 20 * i), call.up(key.rtp(403 + i, ssrc), at_ms=60 + 20 * i),
                                               call.down(rtp(1 + i), at_ms=60 + 20 * i))],
         thief.up(key.rtp(406, ssrc), at_ms=300), thief.up(key.rtp(405, ssrc), at_ms=340), call.down(rtp(9), at_ms=360))
    call, key = Call(5803), Srtp(5)
    thief, ssrc = call.at(FAR4, 6803, ROUTER), 0x63
    case("somebody's copies come first while the client's own are held up", "the way down comes back with the first of them; nobody else takes it back",
         *begin(call, "key4", 204, key), *talk(call, key, 500, 3, ssrc), thief.up(key.rtp(503, ssrc), at_ms=60), thief.up(key.rtp(504, ssrc), at_ms=65),
         call.down(rtp(1), at_ms=65), thief.up(key.rtp(505, ssrc), at_ms=70), thief.down(rtp(2), at_ms=72), call.up(RTCP, at_ms=74),
         call.up(changed(key.rtp(506, ssrc), -1), at_ms=76), thief.down(rtp(3), at_ms=78),
         call.up(key.rtp(503, ssrc), at_ms=80), call.down(rtp(4), at_ms=80))
    call, key = Call(5804), Srtp(6)
    moved, ssrc = call.at(FAR4, 6804, ROUTER), 0x64
    case("sequence numbers begin anew", "the rollover counter is in the tag, and not in the packet; a late packet has the one before",
         *begin(call, "key5", 205, key), *talk(call, key, 65534, 2, ssrc), *talk(call, key, 0, 2, ssrc, 40, 1),
         moved.up_dropped(key.rtp(2, ssrc), "rtc_srtp_tag", at_ms=80), moved.up(key.rtp(2, ssrc, 1), at_ms=80), moved.up(key.rtp(65535, ssrc), at_ms=90),
         moved.up(key.rtp(3, ssrc, 1), at_ms=100), moved.down(rtp(1), at_ms=100))
    for port, number, counter, why in ((5805, 7, 2, "one of the first four is found"), (5806, 8, 9, "it is as if none had been told")):
        call, key, name = Call(port), Srtp(number), f"key{number}"
        moved, ssrc = call.at(FAR4, port + 1000, ROUTER), 0x60 + number
        late = [call.down(rtp(1), at_ms=90)] if counter == 9 else [moved.down(rtp(1), at_ms=80)]
        case(f"rollover counter of {counter} that is not known", f"the key was told before the client came by here: {why}",
             call.up(check(f"{name}:cl", number), **registered(name, srtp=key.told())), call.down(answer_to(number)), *talk(call, key, 600, 3, ssrc, 0, counter),
             moved.up(key.rtp(603, ssrc, counter), at_ms=60), moved.up(key.rtp(604, ssrc, counter), at_ms=80), *late,
             moved.up(key.rtp(605, ssrc, counter), at_ms=100), moved.down(rtp(2), at_ms=100))
    call, key, other = Call(5807), Srtp(9), Srtp(10)
    moved, ssrc = call.at(FAR4, 6807, ROUTER), 0x6a
    case("key that changes, or is forgotten", "the last registration counts; another handshake begins with a counter of 0",
         *begin(call, "key9", 206, key), *talk(call, key, 65535, 1, ssrc), *talk(call, key, 0, 2, ssrc, 20, 1),
         call.up(other.rtp(2, ssrc), at_ms=60, **registered("key9", srtp=other.told())), moved.up_dropped(key.rtp(3, ssrc, 1), "rtc_srtp_tag", at_ms=80),
         moved.up(other.rtp(3, ssrc), at_ms=80), call.up(other.rtp(4, ssrc), at_ms=100), call.up(other.rtp(5, ssrc), at_ms=120, **registered("key9")),
         moved.up(rtp(6, ssrc=ssrc), at_ms=140))
    call, key = Call(5808), Srtp(11, SHA1_32)
    moved, ssrc = call.at(FAR4, 6808, ROUTER), 0x6b
    case("tag of 32 bits", "SRTP_AES128_CM_HMAC_SHA1_32", *begin(call, "key11", 207, key), *talk(call, key, 700, 2, ssrc),
         moved.up_dropped(changed(key.rtp(702, ssrc), -1), "rtc_srtp_tag", at_ms=40), moved.up_dropped(Srtp(11).rtp(702, ssrc), "rtc_srtp_tag", at_ms=40),
         moved.up(key.rtp(702, ssrc), at_ms=40), moved.up(key.rtp(703, ssrc), at_ms=60), moved.down(rtp(1), at_ms=60))
    call, key = Call(5809, client=CLIENT6, vip=CALL6, agent=AGENT6), Srtp(12)
    moved, ssrc = call.at("2001:db8:ffff::9", 6809, ROUTER), 0x6c
    room = registered("key12", f"[{AGENT6}]:{AGENT_PORT}", CALL6)
    told = registered("key12", f"[{AGENT6}]:{AGENT_PORT}", CALL6, srtp=key.told())
    lengths = list(range(0, 130, 9)) + [1000, 1130, 1400]
    case("IPv6, and packets of all lengths", "up to what a network carries",
         call.up(check("key12:cl", 208), **room), call.down(answer_to(208)), call.up(DTLS, **told), call.up(key.rtp(800, ssrc)),
         moved.up_dropped(changed(key.rtp(900, ssrc, payload=bytes(1400)), 1380), "rtc_srtp_tag", at_ms=20),
         *[moved.up(key.rtp(801 + i, ssrc, payload=(bytes(range(256)) * 6)[:length]), at_ms=20 + i)
           for i, length in enumerate(lengths)],
         moved.down(rtp(1), at_ms=60))
    call, key = Call(5810), Srtp(13)
    moved, ssrc = call.at(FAR4, 6810, ROUTER), 0x6d
    case("longest media that are verified", "1536 bytes, more than the networks of calls carry",
         *begin(call, "key13", 209, key), call.up(key.rtp(900, ssrc)),
         moved.up_dropped(key.rtp(901, ssrc, payload=bytes(1536 - 21)), "rtc_srtp_tag", at_ms=20), moved.up(key.rtp(901, ssrc, payload=bytes(1400)), at_ms=20))
    call, key = Call(5811), Srtp(14)
    flood, moved, ssrc = call.at(FAR4, 6811, ROUTER), call.at(FAR4, 6911, ROUTER), 0x6e
    case("flood of media that fit", "32 wrong tags in 128 ms are looked at; then none is, and the call goes on",
         *begin(call, "key14", 210, key), *talk(call, key, 1000, 2, ssrc),
         *[flood.up_dropped(rtp(1002 + i, ssrc=ssrc), "rtc_srtp_tag", at_ms=40) for i in range(40)], moved.up_dropped(key.rtp(1002, ssrc), "rtc_srtp_tag", at_ms=40),
         call.up(key.rtp(1002, ssrc), at_ms=40), call.down(rtp(1), at_ms=40), moved.up(key.rtp(1003, ssrc), at_ms=200), moved.up(key.rtp(1004, ssrc), at_ms=220),
         moved.down(rtp(2), at_ms=220))
    call, key = Call(5812), Srtp(15)
    moved, ssrc = call.at(FAR4, 6812, ROUTER), 0x6f
    again = {"restart": [{"service": f"{CALL4}:{CALL_PORT}", "ufrag": "key15", "new": "key16", "srtp": key.told()}]}
    case("ICE restart of a call with a key", "its keys stay: the counter goes on, whichever fragment they are told for",
         *begin(call, "key15", 211, key), *talk(call, key, 65535, 1, ssrc), *talk(call, key, 0, 1, ssrc, 20, 1),
         call.up(check("key16:cl", 212), at_ms=30, **again), call.down(answer_to(212), at_ms=30), call.up(DTLS, at_ms=30, **registered("key15")),
         moved.up_dropped(key.rtp(1, ssrc), "rtc_srtp_tag", at_ms=40), moved.up(key.rtp(1, ssrc, 1), at_ms=40), moved.up(key.rtp(2, ssrc, 1), at_ms=60),
         moved.down(rtp(1), at_ms=60))
    call, key = Call(5813), Srtp(16)
    other, ssrc = call.at(FAR4, 6813, ROUTER), 0x70
    case("two proven paths, and SRTP that is verified", "the way down follows the client's packets from one to the other, and nobody else's",
         *begin(call, "key17", 213, key), *talk(call, key, 1100, 3, ssrc), other.up(check("key17:cl", 214), at_ms=50), other.down(answer_to(214), at_ms=50),
         other.up(rtp(1102, ssrc=ssrc), at_ms=55), other.up(key.rtp(1103, ssrc), at_ms=60), call.down(rtp(1), at_ms=60),
         other.up(key.rtp(1104, ssrc), at_ms=80), other.down(rtp(2), at_ms=80))
    call, key = Call(5814), Srtp(17)
    moved, ssrc = call.at(FAR4, 6814, ROUTER), 0x71
    case("key that is told wrong", "the client's next check proves its new address, and then its media are taken as those of any proven path are",
         *begin(call, "key18", 215, Srtp(18)), *talk(call, key, 1200, 3, ssrc), moved.up_dropped(key.rtp(1203, ssrc), "rtc_srtp_tag", at_ms=60),
         moved.up(check("key18:cl", 216), at_ms=70), moved.down(answer_to(216), at_ms=70), moved.up(key.rtp(1204, ssrc), at_ms=80), call.down(rtp(1), at_ms=80),
         moved.up(key.rtp(1205, ssrc), at_ms=100), moved.down(rtp(2), at_ms=100))


def media_life():
    call, ufrag = Call(5500), encoded("call", AGENT4, random=30)
    case("consent", "30 s after the last check that was answered the call is over (RFC 7675), until another is",
         *call.begin(ufrag, 130), call.up(rtp(1), at_ms=7000), call.up(check(f"{ufrag}:c", 131), at_ms=8000), call.up(rtp(2), at_ms=30000),
         call.up_dropped(rtp(3), "rtc_consent_expired", at_ms=30001), call.down_dropped(rtp(1), "rtc_consent_expired", at_ms=30001),
         call.up(check(f"{ufrag}:c", 132), at_ms=30500), call.down(answer_to(132), at_ms=30600), call.up(rtp(4), at_ms=30700))
    call, ufrag = Call(5510), encoded("call", AGENT4, random=62)
    flood = [call.at(FAR4, 6510 + i, ROUTER) for i in range(3)]
    spoofed = lambda first, at_ms: [each.up(check(f"{ufrag}:x", first + i), at_ms=at_ms) for i, each in enumerate(flood)]  # noqa: E731
    case("somebody floods a call with checks of its fragment", "the client's own has no place any more, but the agent has answered it: the "
         "call has consent, and the way down stays", *call.begin(ufrag, 180), call.up(rtp(1), at_ms=20000),
         call.up(check(f"{ufrag}:c", 181), at_ms=20000), *spoofed(182, 20000), call.down(answer_to(181), at_ms=20000),
         call.up(rtp(2), at_ms=50000), call.down(rtp(1), at_ms=50000),
         call.up(check(f"{ufrag}:c", 185), at_ms=50000), *spoofed(186, 50000), call.down(answer_to(185, FAILURE), at_ms=50000),
         call.up_dropped(rtp(3), "rtc_consent_expired", at_ms=50001))
    call = Call(5501)
    case("consent of a registered call", "its fragment waits for the next client",
         call.up(check("room7:c", 133), **registered("room7")), call.down(answer_to(133)), call.up_dropped(rtp(1), "rtc_path_unknown", at_ms=60000),
         call.up(check("room7:c", 134), at_ms=60000), call.down(answer_to(134), at_ms=60000), call.up(rtp(2), at_ms=60000))
    call = Call(5502)
    case("a call that is ended by command", "nothing of it goes on",
         call.up(check("room8:c", 135), **registered("room8")), call.down(answer_to(135)),
         call.up_dropped(rtp(1, ssrc=0x41), "rtc_path_unknown", end=[{"service": f"{CALL4}:{CALL_PORT}", "ufrag": "room8"}]),
         call.down_passed(rtp(1)), call.up_dropped(check("room8:c", 136), "rtc_fragment_unknown"))
    call, ufrag, again = Call(5503), encoded("call", AGENT4, random=31), encoded("call", AGENT4, random=32)
    case("an agent that is drained", "its calls go on, through ICE restarts too; new ones go elsewhere, unless they are registered",
         *call.begin(ufrag, 137), call.up(rtp(1), **media_with("draining.yaml")), call.down(rtp(1)), *call.begin(again, 138), call.up(rtp(2)),
         Call(5504).up_dropped(check(f"{encoded('call', AGENT4, random=33)}:c", 139), "rtc_agent_draining"),
         *Call(5505, agent=OTHER4).begin(encoded("call", OTHER4, random=34), 140),
         Call(5506).up(check("room10:c", 141), **registered("room10")), Call(5506).down(answer_to(141)),
         Call(5504).up(check(f"{encoded('call', AGENT4, random=33)}:c", 142), **media_with("agents.yaml")))
    call, ufrag = Call(5507), encoded("call", AGENT4, random=35)
    case("an agent that is removed", "its calls are over",
         *call.begin(ufrag, 143), call.up_dropped(rtp(1), "service_no_backend", backend=f"{AGENT4}:7000", **media_with("gone.yaml")),
         call.down_passed(rtp(1)), call.up_dropped(check(f"{encoded('call', AGENT4, random=36)}:c", 144), "rtc_agent_unknown"),
         call.up_dropped(rtp(2, ssrc=0x42), "rtc_path_unknown", at_ms=9000),
         call.up_dropped(rtp(3, ssrc=0x42), "rtc_path_unknown", at_ms=9000, **media_with("agents.yaml")))
    call = Call(5508)
    case("no room for one more call", "those that there are go on",
         *call.begin(encoded("call", AGENT4, random=37), 145), Call(5509).up_dropped(check(f"{encoded('call', AGENT4, random=38)}:c", 146),
                                                                                    "rtc_sessions_full", rows_left=0),
         call.up(rtp(1)), *Call(5509).begin(encoded("call", AGENT4, random=38), 147, rows_left=1000))


def media_limits():
    for name, call, ufrag in (("IPv4", Call(5600, vip=MARKED4, tos=46 << 2), encoded("marked", AGENT4)),
                              ("IPv6", Call(5601, client=CLIENT6, vip=MARKED6, agent=AGENT6, tos=46 << 2), encoded("marked6", AGENT6))):
        case(f"DSCP, {name}", "both directions are marked (RFC 8837)", *call.begin(ufrag, 150), call.up(rtp(1)), call.down(rtp(1)), call.down(RTCP))
    call = Call(5602, vip=MARKED4, tos=46 << 2 | 1)
    marked = ether() / IP(src=CLIENT4, dst=MARKED4, tos=0x21) / UDP(sport=5602, dport=CALL_PORT) / Raw(rtp(1))
    out = IP(src=CLIENT4, dst=AGENT4, ttl=63, tos=46 << 2 | 1) / UDP(sport=5602, dport=AGENT_PORT) / Raw(rtp(1))
    call.tos = 46 << 2
    case("DSCP and ECN", "the last two bits are the sender's (RFC 3168)", *call.begin(encoded("marked", AGENT4, random=40), 151),
         step(marked, "tx", "rtc", backend=f"{AGENT4}:7000", out=ether((), ETH0, AGENTS[AGENT4]) / out))
    call, ufrag = Call(5603, vip=LIMITED4, agent=OTHER4), encoded("limited", OTHER4)
    case("packets of a call", "three at once, then one a second, in each direction by itself; checks are not counted",
         *call.begin(ufrag, 152), *[call.up(rtp(i)) for i in (1, 2, 3)], call.up_dropped(rtp(4), "limit_packets"),
         *[call.down(rtp(i)) for i in (1, 2, 3)], call.down_dropped(rtp(4), "limit_packets", backend=f"{OTHER4}:7000"),
         call.up(rtp(5), at_ms=1000), call.up(check(f"{ufrag}:c", 153), at_ms=1000), call.up_dropped(rtp(6), "limit_packets", at_ms=1000))
    call, other, ufrag = Call(5610, vip="192.0.2.105", agent=OTHER4), Call(5611, client="192.0.2.68", vip="192.0.2.105"), encoded("metered", OTHER4)
    case("packets of a client to calls", "three at once, then one a second, of all kinds; others and the way down are not concerned",
         *call.begin(ufrag, 160), call.up(rtp(1)), call.up(RTCP), call.up_dropped(rtp(2), "limit_packets"), call.up_dropped(b"\x16\xfe\xfd", "limit_packets"),
         call.up_dropped(check(f"{ufrag}:c", 161), "limit_packets"), *[call.down(rtp(i)) for i in (1, 2, 3, 4)],
         other.up_dropped(rtp(1, ssrc=0x77), "rtc_path_unknown"), call.up(rtp(3), at_ms=1000), call.up_dropped(rtp(4), "limit_packets", at_ms=1000))
    calls = [Call(5612 + i, vip="192.0.2.106", agent=OTHER4) for i in range(3)]
    ufrags = [encoded("few", OTHER4, random=70 + i) for i in range(3)]
    case("more calls than a service may have", "two at once; the third one's client is refused, and the others go on",
         calls[0].up(check(f"{ufrags[0]}:c", 162)), calls[1].up(check(f"{ufrags[1]}:c", 163)),
         calls[2].up_dropped(check(f"{ufrags[2]}:c", 164), "limit_flows"), calls[0].up(check(f"{ufrags[0]}:c", 165)), calls[0].up(rtp(1)))
    source, ufrags = "192.0.2.67", [encoded("limited", OTHER4, random=50 + i) for i in range(4)]
    calls = [Call(5604 + i, client=source, vip=LIMITED4, agent=OTHER4) for i in range(4)]
    case("calls that a client begins", "two at once, then one a second; those that there are go on",
         calls[0].up(check(f"{ufrags[0]}:c", 154)), calls[1].up(check(f"{ufrags[1]}:c", 155)),
         calls[2].up_dropped(check(f"{ufrags[2]}:c", 156), "limit_new_flows"), calls[0].up(check(f"{ufrags[0]}:c", 157)),
         calls[2].up(check(f"{ufrags[2]}:c", 158), at_ms=1000), calls[3].up_dropped(check(f"{ufrags[3]}:c", 159), "limit_new_flows", at_ms=1000))
    denied = Call(5610, client="192.0.2.66", vip=LIMITED4, agent=OTHER4)
    case("a call of a client that is not served", "its lists are the service's", denied.up_dropped(check(f"{ufrags[0]}:c", 160), "source_not_allowed"))


def scenario_media():
    media_routing()
    media_stun_server()
    media_published()
    media_kinds()
    media_checks()
    media_healing()
    media_verified()
    media_life()
    media_limits()
    write("media", "Calls: WebRTC by sessions.", ["node.yaml", "services.yaml", "agents.yaml"])


def write_corpus():
    """The frames of the scenario "lan" as the fuzz target's first inputs: sixteen cases to a file."""
    with open(os.path.join(HERE, "lan", "cases.json"), encoding="utf-8") as file:
        steps = [step for item in json.load(file)["cases"] for step in item.get("steps", [])]
    directory = os.path.join(HERE, "..", "fuzz", "corpus", "packet")
    os.makedirs(directory, exist_ok=True)
    for start in range(0, len(steps), 16):
        data = b""
        for item in steps[start:start + 16]:
            packet = bytes.fromhex(item["in"])
            head = len(packet) | (0x8000 if item.get("interface") == "eth1" else 0) | (0x4000 if "at_ms" in item else 0)
            data += head.to_bytes(2, "big") + packet
        with open(os.path.join(directory, f"vectors-{start // 16:02}"), "wb") as file:
            file.write(data)


def write_media_corpus():
    """The datagrams of the scenario "media" likewise, without what is around them, to and from the fuzz target's first places."""
    with open(os.path.join(HERE, "media", "cases.json"), encoding="utf-8") as file:
        items = [item for item in json.load(file)["cases"] if "steps" in item]
    directory = os.path.join(HERE, "..", "fuzz", "corpus", "media")
    os.makedirs(directory, exist_ok=True)
    for start in range(0, len(items), 8):
        data = b""
        for place, item in enumerate(items[start:start + 8]):
            now_ms = 0
            for each in item["steps"]:
                passes = 0 if each.get("at_ms", 0) <= now_ms else 0x40 if each["at_ms"] < now_ms + 4000 else 0x60
                now_ms = each.get("at_ms", now_ms)
                packet = Ether(bytes.fromhex(each["in"]))
                if UDP not in packet:
                    continue
                load = bytes(packet[UDP].payload)[:1400]
                down = 0x80 if packet[UDP].sport != CALL_PORT and packet[UDP].dport != CALL_PORT else 0
                six = 12 if IPv6 in packet else 0
                keys = 0x8000 if load[:1] == DTLS[:1] else 0  # told when the handshake is over
                data += bytes([down | six | place & 3 | passes]) + (keys | len(load)).to_bytes(2, "big") + load
        with open(os.path.join(directory, f"vectors-{start // 8:02}"), "wb") as file:
            file.write(data)


def to_vip(backend, macs, packet, now):
    more = {"manifests": ["node.yaml", "services.yaml", now]} if now else {}
    return step(ether() / packet, "tx", "lb", backend=backend + ":80", out=forwarded(packet, ETH0, macs[backend], backend), **more)


if __name__ == "__main__":
    scenario_lan()
    scenario_changes()
    scenario_plain()
    scenario_guard()
    scenario_hops()
    scenario_media()
    if "--check" not in sys.argv:
        write_corpus()
        write_media_corpus()
