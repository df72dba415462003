#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the DNS cache's golden packets: dns/cases.json.

Queries, the answers that the cache is filled with, and what must come back are built here with dnspython and scapy, and never by
running the packet program: the answer that must come is made anew from its records, with their TTLs as they then are, not by
patching the stored one.

    tests/vectors/dns_make.py            write the file
    tests/vectors/dns_make.py --check    exit 1 when it is not what would be written
"""
import json
import logging
import os
import sys

sys.path = [each for each in sys.path if each not in ("", os.getcwd())]  # the folder dns/ is not the library
logging.getLogger("scapy").setLevel(logging.ERROR)

import dns.edns  # noqa: E402
import dns.flags  # noqa: E402
import dns.message  # noqa: E402
import dns.name  # noqa: E402
import dns.opcode  # noqa: E402
import dns.rcode  # noqa: E402
import dns.rdata  # noqa: E402
import dns.rdataclass  # noqa: E402
import dns.rdatatype  # noqa: E402
import dns.rrset  # noqa: E402
from scapy.layers.inet import IP, UDP, TCP  # noqa: E402
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt  # noqa: E402
from scapy.layers.l2 import Dot1Q, Ether  # noqa: E402
from scapy.packet import Raw  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
ETH0, ETH1, WORKLOAD = "02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03"
CLIENT = "02:00:00:00:00:50"
DNS4, DNS6, LIMITED = "169.254.20.10", "fd00::10", "169.254.20.11"
CLIENT4, CLIENT6 = "192.0.2.50", "2001:db8::50"
NODE = {
    "links": [{"mac": ETH0.replace(":", ""), "dns": True},
              {"mac": ETH1.replace(":", ""), "dns": False},
              {"mac": WORKLOAD.replace(":", ""), "dns": True, "workload": True},
              {"mac": ETH0.replace(":", ""), "dns": True, "vlan": 7, "ifindex": 1}],
    "addresses": [{"address": DNS4, "protocol": "udp"}, {"address": DNS4, "protocol": "tcp"},
                  {"address": DNS6, "protocol": "udp"}, {"address": DNS6, "protocol": "tcp"},
                  {"address": LIMITED, "protocol": "udp", "burst": 2}],
}
MACS = {1: ETH0, 2: ETH1, 3: WORKLOAD}
SIZE = 1232

cases = []
names = set()


# --- messages --------------------------------------------------------------------------------------------------------------

def records(*lines):
    """Records in the order given; lines as in a zone file, one record each."""
    return [dns.rrset.from_text(*parts) for parts in
            ((owner, int(ttl), "IN", kind, data) for owner, ttl, kind, data in
             (line.split(None, 3) for line in lines))]


class Answer:
    """What an authority or a resolver says to a question."""

    def __init__(self, name, kind="A", answer=(), authority=(), additional=(), rcode=0, ra=True):
        self.name, self.kind, self.rcode, self.ra = name, kind, rcode, ra
        self.sections = [records(*section) for section in (answer, authority, additional)]

    def message(self, query_id, flags, question, age=0, edns=None, order=None, fixed_ttl=None, options=()):
        message = dns.message.Message(query_id)
        message.flags = flags
        message.question.append(dns.rrset.RRset(dns.name.from_text(question), dns.rdataclass.IN, dns.rdatatype.from_text(self.kind)))
        places = (message.answer, message.authority, message.additional)
        for place, section in zip(places, self.sections):
            for rrset in section:
                aged = rrset.copy()
                aged.ttl = fixed_ttl if fixed_ttl is not None else rrset.ttl - age
                place.append(aged)
        if order is not None:
            turning = [rrset for rrset in message.answer if rrset.rdtype == dns.rdatatype.from_text(self.kind)]
            first = message.answer.index(turning[0])
            message.answer[first:first + len(turning)] = turning[order:] + turning[:order]
        message.set_rcode(self.rcode)
        if edns is not None:
            message.use_edns(0, dns.flags.DO if edns else 0, SIZE, options=list(options))
        return message

    def wire(self, edns=False, flags=0):
        """As it comes from upstream: lower case, an identifier of its own."""
        flags |= dns.flags.QR | dns.flags.RD | (dns.flags.RA if self.ra else 0)
        return self.message(4711, flags, self.name.lower(), edns=False if edns else None).to_wire()


def query(name, kind="A", query_id=0x1234, rd=True, edns=None, do=False, ad=False, cd=False, options=(), klass="IN"):
    """`edns`: the size; None: no OPT record."""
    message = dns.message.Message(query_id)
    message.flags = (dns.flags.RD if rd else 0) | (dns.flags.AD if ad else 0) | (dns.flags.CD if cd else 0)
    message.question.append(dns.rrset.RRset(dns.name.from_text(name), dns.rdataclass.from_text(klass),
                                            dns.rdatatype.from_text(kind)))
    if edns is not None:
        message.use_edns(0, dns.flags.DO if do else 0, edns, options=list(options))
    message.asked = {"name": name, "rd": rd, "edns": edns, "do": do, "ad": ad, "cd": cd}
    return message


# --- frames ----------------------------------------------------------------------------------------------------------------

def frame(payload, ipv6=False, link=1, tags=(), to=None, sport=40000, dport=53, checksum=None, ip_options=()):
    packet = Ether(src=CLIENT, dst=MACS[link])
    for tag in tags:
        packet = packet / Dot1Q(vlan=tag)
    if ipv6:
        packet = packet / IPv6(src=CLIENT6, dst=to or DNS6, hlim=61, tc=3, fl=77)
    else:
        packet = packet / IP(src=CLIENT4, dst=to or DNS4, ttl=61, id=999, tos=8, options=list(ip_options))
    udp = UDP(sport=sport, dport=dport)
    if checksum is not None:
        udp.chksum = checksum
    return bytes(packet / udp / Raw(payload))


def reply(payload, ipv6=False, link=1, tags=(), to=None, sport=40000, checksum=None):
    packet = Ether(src=MACS[link], dst=CLIENT)
    for tag in tags:
        packet = packet / Dot1Q(vlan=tag)
    if ipv6:
        packet = packet / IPv6(src=to or DNS6, dst=CLIENT6, hlim=64)
    else:
        packet = packet / IP(src=to or DNS4, dst=CLIENT4, ttl=64, id=0, flags="DF")
    udp = UDP(sport=53, dport=sport)
    if checksum is not None:
        udp.chksum = checksum
    return bytes(packet / udp / Raw(payload))


# --- cases -----------------------------------------------------------------------------------------------------------------

def put(answer, refused=None, wire=None, **how):
    item = {"answer": (wire if wire is not None else answer.wire()).hex(), **how}
    if refused:
        item["refused"] = refused
    return item


def case(name, why, *steps, **more):
    assert name not in names, name
    names.add(name)
    cases.append({"name": name, "why": why, **more, "steps": list(steps)})


LINKS = {1: 1, 2: 2, 3: 3}


def step(data, verdict, function="dns", result=None, reason=None, out=(), link=1, **more):
    expect = {"verdict": verdict, "function": function}
    if result:
        expect["result"] = result
    if reason:
        expect["reason"] = reason
    if out:
        expect["out"] = [each.hex() for each in out]
    return {"link": link, "in": data.hex(), **more, "expect": expect}


def passes(message, result="unusual", at_ms=0, **how):
    more = {key: how.pop(key) for key in ("put", "tailroom_none", "zones", "add_names") if key in how}
    link = how.get("link", 1)
    data = frame(message if isinstance(message, bytes) else message.to_wire(), **how)
    return step(data, "pass", result=result, link=link, at_ms=at_ms, **more)


def answers(message, answer, result="answer", at_ms=0, age=0, aa=False, authentic=False, truncated=False, rotates=0, turns=0,
            fixed_ttl=None, error=None, **how):
    """The answer that must come back: `age` in seconds, `rotates`: so many orders may."""
    asked = message.asked
    more = {key: how.pop(key) for key in ("put", "zones", "add_names") if key in how}
    flags = dns.flags.QR | (dns.flags.AA if aa else 0) | (dns.flags.RA if answer.ra else 0)
    flags |= (dns.flags.RD if asked["rd"] else 0) | (dns.flags.CD if asked["cd"] else 0)
    if authentic and (asked["ad"] or asked["do"]) and not truncated:
        flags |= dns.flags.AD
    shown = answer
    if truncated:
        flags |= dns.flags.TC
        shown = Answer(answer.name, answer.kind, rcode=answer.rcode)
    options = [dns.edns.GenericOption(15, error.to_bytes(2, "big"))] if error is not None and not truncated else []
    outs = []
    for order in range(rotates) if rotates else [None]:
        wire = shown.message(message.id, flags, asked["name"], age, asked["do"] if asked["edns"] is not None else None,
                             order, fixed_ttl, options).to_wire()
        outs.append(reply(wire, **{key: how[key] for key in how if key in ("ipv6", "link", "tags", "to", "sport", "checksum")}))
    data = frame(message.to_wire(), **how)
    link = how.get("link", 1) if how.get("tags") != (7,) else 4
    if turns:
        more["turns"] = turns
    # a tagged frame comes in by the same interface
    return step(data, "tx", result=result, out=outs, link=1 if how.get("tags") else link, at_ms=at_ms, **more)


A1 = Answer("www.example.com", "A", ["www.example.com. 300 A 192.0.2.1"])
A4 = Answer("four.example.com", "A", [f"four.example.com. 60 A 192.0.2.{i}" for i in range(1, 5)])
AAAA3 = Answer("three.example.com", "AAAA", [f"three.example.com. 60 AAAA 2001:db8::{i}" for i in range(1, 4)])
CHAIN = Answer("alias.example.com", "A", ["alias.example.com. 300 CNAME target.example.net.",
                                          "target.example.net. 60 CNAME end.example.net.",
                                          "end.example.net. 30 A 192.0.2.7", "end.example.net. 30 A 192.0.2.8"])
SOA = "example.com. 3600 SOA ns.example.com. admin.example.com. 1 7200 3600 1209600 120"
SOA_NEGATIVE = SOA.replace(" 3600 SOA", " 120 SOA")


def negative(answer):
    """As RFC 2308 section 3 wants it sent: the SOA's TTL no more than its minimum."""
    shown = Answer(answer.name, answer.kind, rcode=answer.rcode)
    shown.sections = [answer.sections[0], records(SOA_NEGATIVE), []]
    return shown


NXDOMAIN = Answer("none.example.com", "A", authority=[SOA], rcode=3)
NODATA = Answer("www.example.com", "AAAA", authority=[SOA])


def plain():
    case("hit", "a cached answer turns the frame around", answers(query("www.example.com"), A1), put=[put(A1)])
    case("hit over IPv6", "the same over IPv6, with its checksum", answers(query("www.example.com"), A1, ipv6=True), put=[put(A1)])
    case("hit from a workload", "by the veth of a local workload", answers(query("www.example.com"), A1, link=3), put=[put(A1)])
    case("hit with a VLAN tag", "the tag stays", answers(query("www.example.com"), A1, tags=(7,)),
         answers(query("www.example.com"), A1, tags=(7,), ipv6=True), put=[put(A1)])
    case("case is echoed", "RFC 4343, and what resolvers do with 0x20 bits: the question stays as it came",
         answers(query("wWw.ExAmPlE.cOm"), A1), answers(query("WWW.EXAMPLE.COM", edns=1232), A1), put=[put(A1)])
    case("letters alone have case", "RFC 4343 section 3: @ and [ and bytes above 127 are no letters",
         answers(query("\\[x\\@.example.com"), Answer("\\[x\\@.example.com", "A", ["\\[x\\@.example.com. 5 A 192.0.2.1"])),
         passes(query("{x`.example.com"), "miss"), passes(query("\\251x\\@.example.com"), "miss"),
         put=[put(Answer("\\[x\\@.example.com", "A", ["\\[x\\@.example.com. 5 A 192.0.2.1"]))])
    case("identifier and port", "go back as they came",
         *[answers(query("www.example.com", query_id=number), A1, sport=port) for number, port in ((0, 1), (0xffff, 65535), (1, 53))],
         put=[put(A1)])
    case("another name, type or nothing", "misses pass", passes(query("ww.example.com"), "miss"),
         passes(query("www.example.com", "AAAA"), "miss"), passes(query("www.example.co"), "miss"),
         passes(query("example.com"), "miss"), passes(query("."), "miss"), put=[put(A1)])
    case("no UDP checksum", "RFC 768: over IPv4 none was sent, none comes back", answers(query("www.example.com"), A1, checksum=0),
         put=[put(A1)])
    case("no UDP checksum over IPv6", "RFC 8200 section 8.1: not allowed, the host's to judge",
         passes(query("www.example.com"), ipv6=True, checksum=0), put=[put(A1)])
    case("padding", "behind a short packet is not answered with", answers(query("a.b"), Answer("a.b", "A", ["a.b. 5 A 192.0.2.1"])),
         step(frame(query("a.b").to_wire()) + bytes(18), "tx", result="answer",
              out=[reply(Answer("a.b", "A", ["a.b. 5 A 192.0.2.1"]).message(0x1234, 0x8180, "a.b").to_wire())]),
         put=[put(Answer("a.b", "A", ["a.b. 5 A 192.0.2.1"]))])
    case("names of all lengths", "one to 255 bytes: every end of the last word, and names that go on in another block",
         *[answers(query(name.upper()), Answer(name, "A", [f"{name}. 9 A 192.0.2.9"]),
                   put=[put(Answer(name, "A", [f"{name}. 9 A 192.0.2.9"]))]) for name in long_names()])
    case("a long name's last letter counts", "names that differ in their first or middle byte only",
         passes(query("b" + long_names()[-1][1:]), "miss"), passes(query(long_names()[-1][:100] + "b" + long_names()[-1][101:]), "miss"),
         put=[put(Answer(long_names()[-1], "A", [f"{long_names()[-1]}. 9 A 192.0.2.9"]))])
    case("the root", "a name without labels", answers(query(".", "NS"), Answer(".", "NS", [". 518400 NS a.root-servers.net."])),
         put=[put(Answer(".", "NS", [". 518400 NS a.root-servers.net."]))])
    for number, data in enumerate((query("www.example.com").to_wire(), query("www.example.com", edns=1232, do=True).to_wire())):
        cases.append({"name": f"cut off {number}", "why": "no beginning of a query is answered", "put": [put(A1), put(A1, do=True)],
                      "prefixes_of": frame(data).hex(), "steps": []})


def long_names():
    found = []
    for length in [*range(1, 20), 61, 62, 63, *range(168, 190), 200, 247, 252, 253]:
        labels, left = [], length
        while left > 0:
            take = min(left, 63)
            if left - take == 1:
                take -= 1
            labels.append("a" * take)
            left -= take + 1
        found.append(".".join(labels))
    return found


def time():
    case("TTLs age by the second", "and not before it is over",
         *[answers(query("www.example.com"), A1, at_ms=ms, age=ms // 1000) for ms in (0, 1, 999, 1000, 1001, 1999, 2000, 298999, 299999)],
         passes(query("www.example.com"), "expired", at_ms=300000), passes(query("www.example.com"), "expired", at_ms=900000),
         put=[put(A1)])
    case("every TTL ages", "a chain's records have their own, and the least ends the entry",
         *[answers(query("alias.example.com", edns=1232), CHAIN, at_ms=ms, age=ms // 1000, rotates=2) for ms in (0, 7777, 29999)],
         passes(query("alias.example.com"), "expired", at_ms=30000), put=[put(CHAIN)])
    odd = Answer("odd.example.com", "MX", ["odd.example.com. 70000 MX 10 a.odd.example.com.",
                                           "odd.example.com. 70000 MX 20 bb.odd.example.com."],
                 additional=["a.odd.example.com. 80000 A 192.0.2.1", "bb.odd.example.com. 90000 A 192.0.2.2"])
    case("TTLs at odd places", "the checksum follows those too, over all 16 bits and more",
         *[answers(query("odd.example.com", "MX"), odd, at_ms=s * 1000, age=s) for s in (1, 255, 256, 65535, 65536, 69999)],
         put=[put(odd)])
    many = Answer("many.example.com", "TXT", [f"many.example.com. {100 + i} TXT {'x' * (i % 7)}y" for i in range(32)])
    case("32 records", "TTLs in a block of their own", answers(query("many.example.com", "TXT", edns=1232), many, at_ms=99000, age=99),
         put=[put(many)])
    case("33 records", "are the process'", passes(query("many.example.com", "TXT", edns=1232), "miss"),
         put=[put(Answer("many.example.com", "TXT", [f"many.example.com. 100 TXT {'x' * (i % 7)}y" for i in range(33)]), refused="length")])
    case("a TTL of zero", "is not kept", passes(query("zero.example.com"), "miss"),
         put=[put(Answer("zero.example.com", "A", ["zero.example.com. 0 A 192.0.2.1"]), refused="life")])
    week = Answer("week.example.com", "A", ["week.example.com. 2000000 A 192.0.2.1"])
    case("a TTL above a week", "RFC 8767 section 4: lowered to one",
         answers(query("week.example.com"), Answer("week.example.com", "A", ["week.example.com. 604800 A 192.0.2.1"]), at_ms=604799000,
                 age=604799), passes(query("week.example.com"), "expired", at_ms=604800000), put=[put(week)])
    case("replaced", "the newer answer counts, at once",
         answers(query("www.example.com"), A1),
         answers(query("www.example.com"), Answer("www.example.com", "A", ["www.example.com. 30 A 192.0.2.99"]), at_ms=5000,
                 put=[put(Answer("www.example.com", "A", ["www.example.com. 30 A 192.0.2.99"]))]), put=[put(A1)])
    stale = Answer("old.example.com", "A", ["old.example.com. 30 A 192.0.2.1"])
    case("stale", "RFC 8767 section 4 and 5: a TTL of 30 seconds; RFC 8914 section 4.4 for those who speak EDNS",
         answers(query("old.example.com", edns=1232), stale, "stale", error=3, at_ms=1000, fixed_ttl=30),
         answers(query("old.example.com"), stale, "stale", at_ms=29999, fixed_ttl=30),
         passes(query("old.example.com"), "expired", at_ms=30000),
         put=[put(Answer("old.example.com", "A", ["old.example.com. 77 A 192.0.2.1"]), stale=True)])
    case("stale no such name", "RFC 8914 section 4.20",
         answers(query("gone.example.com", edns=1232), Answer("gone.example.com", authority=[SOA.replace("3600 SOA", "30 SOA")], rcode=3),
                 "stale", error=19, fixed_ttl=30),
         put=[put(Answer("gone.example.com", authority=[SOA], rcode=3), stale=True)])
    case("fixed", "an own zone's TTLs stay, and its answers last as long as they are told to",
         answers(query("www.example.com", rd=False), A1, aa=True, at_ms=3600000), answers(query("www.example.com", edns=512), A1, aa=True),
         put=[put(A1, authoritative=True, fixed=True, life_s=0xffffffff)])


def edns():
    case("EDNS", "RFC 6891: OPT comes back to those who send it, with our own size",
         answers(query("www.example.com", edns=1232), A1), answers(query("www.example.com", edns=512), A1),
         answers(query("www.example.com", edns=0), A1), answers(query("www.example.com", edns=65535), A1),
         answers(query("www.example.com", edns=4097), A1, ipv6=True), put=[put(A1)])
    signed = Answer("www.example.com", "A", ["www.example.com. 300 A 192.0.2.1",
                                             "www.example.com. 300 RRSIG A 13 3 300 20300101000000 20200101000000 1 example.com. " + "QUJD" * 22])
    case("DO", "RFC 4035 section 3.2.1: with signatures, from an entry of its own",
         answers(query("www.example.com", edns=1232, do=True), signed, authentic=True), answers(query("www.example.com", edns=1232), A1, authentic=True),
         answers(query("www.example.com", edns=1232, ad=True), A1, authentic=True), answers(query("www.example.com", ad=True), A1, authentic=True),
         put=[put(signed, do=True, authentic=True), put(A1, authentic=True)])
    case("DO without an entry", "is a miss", passes(query("www.example.com", edns=1232, do=True), "miss"), put=[put(A1)])
    case("AD is for the validated", "and not for others", answers(query("www.example.com", ad=True), A1), put=[put(A1)])
    case("CD", "RFC 4035 section 3.2.2: unchecked answers are entries of their own",
         passes(query("www.example.com", cd=True), "miss"), answers(query("www.example.com", cd=True), A1, put=[put(A1, cd=True)]),
         put=[put(A1)])
    cookie = dns.edns.GenericOption(10, b"12345678")
    subnet = dns.edns.ECSOption("192.0.2.0", 24)
    case("options", "cookies (RFC 7873), client subnets (RFC 7871), NSID, padding and unknown ones are the process'",
         *[passes(query("www.example.com", edns=1232, options=[option])) if option.otype != -1 else None for option in
           (cookie, subnet, dns.edns.GenericOption(3, b""), dns.edns.GenericOption(12, bytes(20)), dns.edns.GenericOption(65001, b""))],
         put=[put(A1)])
    version = query("www.example.com", edns=1232).to_wire()
    case("OPT records that are not plain", "version 1 (BADVERS), an extended code, unknown flags, a name, two of them",
         passes(version[:-5] + b"\x01" + version[-4:]), passes(version[:-6] + b"\x01" + version[-5:]),
         passes(version[:-4] + b"\x40\x00" + version[-2:]), passes(version[:-4] + b"\x00\x01" + version[-2:]),
         passes(version[:-11] + b"\x01" + version[-10:]),
         passes(version[:10] + b"\x00\x02" + version[12:] + version[-11:]),
         passes(version[:-9] + b"\x2a" + version[-8:]), passes(version[:-2] + b"\x00\x01"),
         put=[put(A1)])
    case("an OPT record that is counted and not there", "and one that is there and not counted",
         passes(version[:-11]), passes(version[:10] + b"\0\0" + version[12:]), put=[put(A1)])


def negatives():
    case("no such name", "RFC 2308 section 5: for all types, with the SOA record, aged",
         answers(query("none.example.com"), negative(NXDOMAIN), "negative"),
         answers(query("none.example.com", "AAAA", edns=1232), negative(Answer("none.example.com", "AAAA", rcode=3)), "negative", at_ms=119999, age=119),
         answers(query("NONE.example.com", "TYPE65280"), negative(Answer("none.example.com", "TYPE65280", rcode=3)), "negative"),
         passes(query("none.example.com"), "expired", at_ms=120000), put=[put(NXDOMAIN)])
    case("no data", "for the one type alone", answers(query("www.example.com", "AAAA"), negative(NODATA), "negative", at_ms=60500, age=60),
         passes(query("www.example.com"), "miss"), put=[put(NODATA)])
    case("a name that comes up", "RFC 8767 or not: a positive answer takes \"no such name\" away, whatever type it was asked for with",
         answers(query("none.example.com"), negative(NXDOMAIN), "negative"),
         answers(query("none.example.com"), Answer("none.example.com", "A", ["none.example.com. 9 A 192.0.2.1"]),
                 put=[put(Answer("none.example.com", "A", ["none.example.com. 9 A 192.0.2.1"]))]),
         passes(query("none.example.com", "AAAA"), "miss"), put=[put(NXDOMAIN)])
    lost = Answer("alias.example.com", "A", ["alias.example.com. 300 CNAME none.example.com."], authority=[SOA], rcode=3)
    shown = Answer("alias.example.com", "A", ["alias.example.com. 300 CNAME none.example.com."], authority=[SOA_NEGATIVE], rcode=3)
    case("an alias of a missing name", "RFC 6604 section 3: the alias itself is there, so other types are not answered",
         answers(query("alias.example.com"), shown, at_ms=1000, age=1), passes(query("alias.example.com", "TXT"), "miss"), put=[put(lost)])
    case("failure", "RFC 9520: kept for a moment", answers(query("bad.example.com"), Answer("bad.example.com", rcode=2), "negative", at_ms=4999),
         passes(query("bad.example.com"), "expired", at_ms=5000), put=[put(Answer("bad.example.com", rcode=2))])
    case("failure with its reason", "RFC 8914: DNSSEC bogus",
         answers(query("bad.example.com", edns=1232), Answer("bad.example.com", rcode=2), "negative", error=6, at_ms=299999),
         passes(query("bad.example.com"), "expired", at_ms=300000),
         put=[put(Answer("bad.example.com", rcode=2), extended_error=6, life_s=4000)])
    case("negative without SOA", "RFC 2308 section 5: is not to be cached", passes(query("none.example.com"), "miss"),
         put=[put(Answer("none.example.com", rcode=3), refused="life"), put(Answer("none.example.com"), refused="life")])
    case("referral", "is no answer", passes(query("below.example.com"), "miss"),
         put=[put(Answer("below.example.com", authority=["example.com. 300 NS ns.example.net."]), refused="referral")])


def types():
    kinds = {
        "TYPE65280": "\\# 4 01020304", "HTTPS": "1 . alpn=h2,h3 ipv4hint=192.0.2.1", "SVCB": "0 svc.example.net.",
        "SRV": "0 0 80 www.example.net.", "NAPTR": '100 50 "s" "http" "" _http._tcp.example.com.', "CAA": '0 issue "ca.example"',
        "PTR": "host.example.net.", "SOA": "ns.example.com. admin.example.com. 1 2 3 4 5", "DS": "1 13 2 " + "AB" * 32,
    }
    steps, puts = [], []
    for kind, data in kinds.items():
        answer = Answer("any.example.com", kind, [f"any.example.com. 60 {kind} {data}"])
        puts.append(put(answer))
        steps.append(answers(query("any.example.com", kind), answer, at_ms=30000, age=30))
    case("types", "known and unknown ones (RFC 3597, RFC 9460)", *steps[:8], put=puts[:8])
    case("a type of a full name", "the ninth type of a name takes another's place", steps[8], put=puts)
    case("meta types", "are questions, not records", *[passes(query("any.example.com", kind), "miss") for kind in ("ANY", "AXFR", "IXFR", "MAILB")],
         put=[put(Answer("any.example.com", "ANY", ["any.example.com. 60 A 192.0.2.1"]), refused="question")])


def sizes():
    def text(name, length):
        strings = " ".join("z" * min(200, length - at) for at in range(0, length, 200))
        return Answer(name, "TXT", [f"{name}. 60 TXT {strings}"])

    case("answers of all lengths", "one block to six: every end of a part",
         *[answers(query("t.example.com", "TXT", edns=1232), text("t.example.com", length), at_ms=1000 * i, age=0,
                   put=[put(text("t.example.com", length))])
           for i, length in enumerate((1, 100, 139, 140, 141, 142, 143, 144, 145, 146, 147, 148, 380, 381, 382, 383, 384, 385, 386, 387, 388, 389, 390,
                                       500, 620, 700, 860, 1000, 1100, 1160))])
    big = text("t.example.com", 700)
    case("too long", "RFC 1035 section 4.2.1, RFC 6891 section 6.2.3: TC, and nothing that is a part",
         answers(query("t.example.com", "TXT"), big, "truncated", truncated=True),
         answers(query("t.example.com", "TXT", edns=0), big, "truncated", truncated=True),
         answers(query("t.example.com", "TXT", edns=512), big, "truncated", truncated=True, ipv6=True),
         answers(query("t.example.com", "TXT", edns=700), big, "truncated", truncated=True, at_ms=5000),
         answers(query("t.example.com", "TXT", edns=4096), big, at_ms=5000, age=5), put=[put(big)])
    whole = len(text("t.example.com", 300).message(1, 0x8180, "t.example.com").to_wire()) + 11
    exact = text("t.example.com", 300 + 700 - whole)
    length = len(exact.message(1, 0x8180, "t.example.com").to_wire()) + 11
    case("just long enough", "to the byte", answers(query("t.example.com", "TXT", edns=length), exact),
         answers(query("t.example.com", "TXT", edns=length - 1), exact, "truncated", truncated=True), put=[put(exact)])
    case("longer than 1232 bytes", "RFC 9715: nobody is sent so much", passes(query("t.example.com", "TXT", edns=4096), "miss"),
         put=[put(text("t.example.com", 1300), refused="length")])
    almost = next(each for each in (text("t.example.com", length) for length in range(1100, 1200))
                  if len(each.message(1, 0x8180, "t.example.com").to_wire()) == 1222)
    case("with OPT longer than 1232 bytes", "is too long as well",
         answers(query("t.example.com", "TXT", edns=4096), almost, "truncated", truncated=True), put=[put(almost)])
    case("without room", "where packets cannot grow the process answers", passes(query("www.example.com"), "no_room", tailroom_none=True),
         answers(query("www.example.com"), A1), put=[put(A1)], engines=["native"])


def rotation():
    case("four addresses", "are turned", answers(query("four.example.com"), A4, rotates=4, turns=200), put=[put(A4)])
    case("four addresses, aged, with EDNS", "the checksum stays right",
         answers(query("four.example.com", edns=1232), A4, rotates=4, turns=200, at_ms=3000, age=3, ipv6=True), put=[put(A4)])
    case("three IPv6 addresses", "are turned", answers(query("three.example.com", "AAAA"), AAAA3, rotates=3, turns=200, at_ms=1000, age=1),
         put=[put(AAAA3)])
    for count, name in ((2, "two.example.com"), (3, "three.example.com")):
        some = Answer(name, "A", [f"{name}. 432000 A 192.0.2.{i}" for i in range(1, count + 1)])
        case(f"{count} addresses, aged, with EDNS", "each order has all of them, once",
             answers(query(name, edns=1232), some, rotates=count, turns=200, at_ms=100_000_999, age=100_000), put=[put(some)])
    for name in ("six.example.com", "even.example.com"):
        one = Answer(name, "AAAA", [f"{name}. 86400 AAAA 2001:db8:1122:3344:5566:7788:99aa:bbcc"])
        case(f"an IPv6 address of {name}", "aged, at an odd and at an even place", answers(query(name, "AAAA", edns=1232), one, at_ms=66_000_000, age=66000),
             answers(query(name, "AAAA"), one, at_ms=66_001_000, age=66001, ipv6=True), put=[put(one)])
    for labels, turning in ((1, 3), (4, 0)):  # behind the longest names there is no room for what turns
        name = ".".join(["x" * 49] * labels) + ".example.com"
        some = Answer(name, "A", [f"{name}. 60 A 192.0.2.{i}" for i in range(1, 4)])
        case(f"addresses of a name of {len(name) + 2} bytes", "the name's words lie in more places than the addresses",
             answers(query(name, edns=1232), some, rotates=turning, turns=200 if turning else 0, at_ms=5000, age=5), put=[put(some)])
    apart = Answer("apart.example.com", "A", ["apart.example.com. 60 A 192.0.2.1", "apart.example.com. 61 A 192.0.2.2"])
    case("addresses whose TTLs differ", "stay as they are", answers(query("apart.example.com"), apart, at_ms=5000, age=5), put=[put(apart)])
    case("behind aliases", "CNAME records stay in front", answers(query("alias.example.com"), CHAIN, rotates=2, turns=100), put=[put(CHAIN)])
    seven = Answer("s.example.com", "A", [f"s.example.com. 60 A 192.0.2.{i}" for i in range(1, 8)])
    case("seven addresses", "are turned", answers(query("s.example.com"), seven, rotates=7, turns=400), put=[put(seven)])
    many = Answer("s.example.com", "A", [f"s.example.com. 60 A 192.0.2.{i}" for i in range(1, 18)])
    case("seventeen addresses", "stay as they are: so many do not turn", answers(query("s.example.com"), many), put=[put(many)])
    other = Answer("o.example.com", "A", ["o.example.com. 60 A 192.0.2.1", "o.example.com. 60 A 192.0.2.2",
                                          "o.example.com. 60 TXT hello", "o.example.com. 60 A 192.0.2.3"])
    turned = Answer("o.example.com", "A", ["o.example.com. 60 A 192.0.2.2", "o.example.com. 60 A 192.0.2.1",
                                           "o.example.com. 60 TXT hello", "o.example.com. 60 A 192.0.2.3"])
    both = answers(query("o.example.com"), other)
    both["expect"]["out"] += answers(query("o.example.com"), turned)["expect"]["out"]
    both["turns"] = 100
    case("addresses with something between", "the first ones are turned", both, put=[put(other)])


def zones():
    def zone(name, existing, ttl=5):
        soa = dns.rdata.from_text("IN", "SOA", f"ns.{name}. hostmaster.{name}. 7 7200 1800 86400 {ttl}")
        return {"zone": dns.name.from_text(name).to_wire().hex(), "soa": soa.to_wire().hex(), "ttl": ttl,
                "names": [dns.name.from_text(each).to_wire().hex() for each in existing]}

    def denied(asked, name, ttl=5):
        """The SOA's own names are sent whole: only its owner is a pointer."""
        answer = Answer(asked.asked["name"], dns.rdatatype.to_text(asked.question[0].rdtype), rcode=3)
        edns_on = asked.asked["edns"] is not None
        head = answer.message(asked.id, 0, asked.asked["name"])
        flags = 0x8480 | (0x100 if asked.asked["rd"] else 0) | (0x10 if asked.asked["cd"] else 0) | 3
        owner = dns.name.from_text(asked.asked["name"]).to_wire()
        below = len(owner) - len(dns.name.from_text(name).to_wire())
        soa = dns.rdata.from_text("IN", "SOA", f"ns.{name}. hostmaster.{name}. 7 7200 1800 86400 {ttl}").to_wire()
        wire = head.to_wire()
        wire = (wire[:2] + flags.to_bytes(2, "big") + b"\0\1\0\0\0\1" + (b"\0\1" if edns_on else b"\0\0") + wire[12:] +
                (0xc000 + 12 + below).to_bytes(2, "big") + b"\0\6\0\1" + ttl.to_bytes(4, "big") + len(soa).to_bytes(2, "big") + soa)
        # what a library reads in it is what was meant
        read = dns.message.from_wire(wire if not edns_on else wire[:10] + b"\0\0" + wire[12:])
        assert read.rcode() == 3 and read.authority[0].name == dns.name.from_text(name) and read.authority[0].ttl == ttl
        if edns_on:
            wire += b"\0\0\x29\x04\xd0\0\0" + (b"\x80" if asked.asked["do"] else b"\0") + b"\0\0\0"
        return wire

    def denies(asked, name, ttl=5, **how):
        return step(frame(asked.to_wire(), **how), "tx", result="no_name",
                    out=[reply(denied(asked, name, ttl), **how)], link=1, at_ms=0)

    cluster = zone("cluster.local", ["cluster.local", "svc.cluster.local", "default.svc.cluster.local", "www.default.svc.cluster.local"])
    case("search lists", "ndots:5 asks for many names that are not there: told so here, where all names are known",
         denies(query("api.example.com.default.svc.cluster.local"), "cluster.local"),
         denies(query("api.example.com.svc.cluster.local", "AAAA", edns=1232), "cluster.local"),
         denies(query("api.example.com.cluster.LOCAL"), "cluster.local", ipv6=True),
         denies(query("a.cluster.local", edns=512, do=True, cd=True, rd=False), "cluster.local"),
         denies(query("wwx.default.svc.cluster.local", "SRV", edns=1232), "cluster.local", ipv6=True), zones=[cluster])
    case("names that are there", "of another type, or between others, are the process'",
         *[passes(query(name, kind), "miss") for name in ("www.default.svc.cluster.local", "WWW.Default.svc.cluster.local", "svc.cluster.local",
                                                          "cluster.local") for kind in ("A", "TXT")], zones=[cluster])
    case("other zones", "are not denied", passes(query("local"), "miss"), passes(query("xcluster.local"), "miss"),
         passes(query("a.cluster.loca"), "miss"), passes(query("cluster.local.example.com"), "miss"), passes(query("."), "miss"), zones=[cluster])
    case("a label that looks like the zone", "the bytes of a zone's name within a label are no labels",
         passes(query("a.x\\007cluster\\005local"), "miss"), passes(query("ab\\007cluster.local"), "miss"), zones=[cluster])
    case("a name that appears", "is not denied any more, at once", denies(query("new.default.svc.cluster.local"), "cluster.local"),
         passes(query("new.default.svc.cluster.local"), "miss",
                add_names=[dns.name.from_text("new.default.svc.cluster.local").to_wire().hex()]),
         zones=[{**cluster, "names": cluster["names"]}])
    inner = zone("apps.cluster.local", ["apps.cluster.local"], 11)
    case("zones within zones", "the narrowest one speaks", denies(query("x.apps.cluster.local"), "apps.cluster.local", 11),
         denies(query("apps2.cluster.local"), "cluster.local"), zones=[cluster, inner])
    services = {**zone("cluster.local", ["svc.cluster.local"]), "zone": dns.name.from_text("svc.cluster.local").to_wire().hex(),
                "owner_length": len(dns.name.from_text("cluster.local").to_wire())}
    case("a part of a zone", "that is known whole, while the rest is not: the SOA record is the zone's",
         denies(query("api.svc.cluster.local"), "cluster.local"),
         denies(query("aPi.example.com.svc.cluster.local", "AAAA", edns=1232), "cluster.local", ipv6=True),
         passes(query("apps.cluster.local"), "miss"), zones=[services])
    lengths = [zone(f"{'abcd'[i]}luster.local", [f"{'abcd'[i]}luster.local"], 20 + i) for i in range(4)]
    case("zones of one length", "are told apart",
         *[denies(query(f"x.{'abcd'[i]}luster.local"), f"{'abcd'[i]}luster.local", 20 + i) for i in range(4)],
         passes(query("x.eluster.local"), "miss"), zones=lengths)
    case("many labels", "names of 24 labels in front of the zone and more are not looked into",
         denies(query("a." * 23 + "cluster.local"), "cluster.local"), passes(query("a." * 25 + "cluster.local"), "miss"), zones=[cluster])
    case("a name that was pushed", "and its cached denial goes",
         answers(query("late.default.svc.cluster.local"), negative(Answer("late.default.svc.cluster.local", rcode=3)), "negative"),
         passes(query("late.default.svc.cluster.local"), "miss",
                add_names=[dns.name.from_text("late.default.svc.cluster.local").to_wire().hex()]),
         put=[put(Answer("late.default.svc.cluster.local", authority=[SOA], rcode=3))])


def unusual():
    wire = query("www.example.com").to_wire()

    def flags(value):
        return wire[:2] + value.to_bytes(2, "big") + wire[4:]

    case("headers that are not a plain query's", "a response, opcodes, TC, RCODE, Z, AA, RA: the process answers, or does not",
         *[passes(flags(value)) for value in (0x8100, 0x0900, 0x1100, 0x2100, 0x2900, 0x0300, 0x0101, 0x0140, 0x0500, 0x0180)], put=[put(A1)])
    case("counts that are not a plain query's", "no question, two of them, records of answers, authority, additional",
         passes(wire[:4] + b"\0\0" + wire[6:]), passes(wire[:4] + b"\0\2" + wire[6:] + wire[12:]), passes(wire[:6] + b"\0\1" + wire[8:]),
         passes(wire[:8] + b"\0\1" + wire[10:]), passes(wire[:10] + b"\0\1" + wire[12:]), passes(wire[:10] + b"\0\2" + wire[12:]), put=[put(A1)])
    case("other classes", "are the process'", passes(query("www.example.com", klass="CH")), passes(query("www.example.com", klass="ANY")),
         passes(query("www.example.com", klass="NONE")), put=[put(A1)])
    case("without RD", "the cache of others' answers is not looked into for those who do not ask to resolve",
         passes(query("www.example.com", rd=False)), put=[put(A1)])
    case("lengths", "no name, half a question, bytes behind it, a name above 255",
         passes(wire[:12]), passes(wire[:-1], "unusual"), passes(wire + b"\0", "unusual"), passes(wire[:12] + wire[-4:]),
         passes(wire[:12] + b"\1a" * 127 + b"\1a\0" + wire[-4:]), put=[put(A1)])
    case("a compressed name in a question", "is no name that is kept", passes(wire[:12] + b"\xc0\x0c" + wire[-4:], "miss"), put=[put(A1)])
    case("IPv4 options", "are not for the answer", passes(query("www.example.com"), ip_options=[__import__("scapy").layers.inet.IPOption(b"\x94\x04\0\0")]),
         put=[put(A1)])
    extended = Ether(src=CLIENT, dst=ETH0) / IPv6(src=CLIENT6, dst=DNS6) / IPv6ExtHdrDestOpt() / UDP(sport=40000, dport=53) / Raw(wire)
    case("IPv6 extension headers", "are not for the answer", step(bytes(extended), "pass", result="unusual"), put=[put(A1)])
    first = Ether(src=CLIENT, dst=ETH0) / IP(src=CLIENT4, dst=DNS4, flags="MF") / UDP(sport=40000, dport=53, len=100) / Raw(wire[:32])
    case("a fragment", "is the host's to put together", step(bytes(first), "pass"), put=[put(A1)])
    tcp = Ether(src=CLIENT, dst=ETH0) / IP(src=CLIENT4, dst=DNS4) / TCP(sport=40000, dport=53, flags="S")
    case("TCP", "is the process'", step(bytes(tcp), "pass"), put=[put(A1)])
    case("another port", "of the address is not ours", step(frame(wire, dport=54), "pass", "parse"), put=[put(A1)])
    case("an interface without DNS", "nothing is answered where it is not configured",
         step(frame(wire, link=2), "drop", reason="dns_interface", link=2), step(frame(wire, link=2, ipv6=True), "drop", reason="dns_interface", link=2),
         step(bytes(Ether(src=CLIENT, dst=ETH1) / IP(src=CLIENT4, dst=DNS4) / TCP(sport=40000, dport=53, flags="S")), "drop",
              reason="dns_interface", link=2), put=[put(A1)])
    case("a broadcast frame", "carries no query (RFC 1122 section 3.3.6)",
         step(bytes(Ether(src=CLIENT, dst="ff:ff:ff:ff:ff:ff") / IP(src=CLIENT4, dst=DNS4) / UDP(sport=40000, dport=53) / Raw(wire)), "drop", "vip",
              reason="link_group_address"), put=[put(A1)])
    case("limited clients", "one prefix asks twice at once, and once a second",
         answers(query("www.example.com"), A1, to=LIMITED), answers(query("www.example.com"), A1, to=LIMITED),
         step(frame(wire, to=LIMITED), "drop", reason="limit_packets"),
         step(frame(wire, to=LIMITED), "drop", reason="limit_packets", at_ms=500),
         answers(query("www.example.com"), A1, to=LIMITED, at_ms=1500, age=1), put=[put(A1)])


def upstream():
    """Answers that are not what a library would write."""
    wire = A1.wire()
    opt = b"\0\0\x29\x04\xd0\0\0\0\0\0\0"
    counted = wire[:10] + b"\0\1" + wire[12:]
    case("an answer with OPT", "RFC 6891 section 6.2.1: it is not kept", answers(query("www.example.com"), A1),
         answers(query("www.example.com", edns=1232), A1), put=[put(None, wire=counted + opt)])
    compressed = wire[:12] + wire[12:29] + wire[29:]
    assert compressed == wire
    upper = Answer("www.example.com", "A", ["WWW.example.com. 300 A 192.0.2.1"]).message(1, 0x8180, "WWW.Example.COM").to_wire()
    case("an answer in another case", "is kept for every case", answers(query("www.example.com"), A1), put=[put(None, wire=upper)])
    spelled = wire[:33] + dns.name.from_text("www.example.com").to_wire() + wire[35:]
    out = dns.message.from_wire(spelled)
    assert out.answer == A1.message(1, 0x8180, "www.example.com").answer
    case("names that are not compressed", "stay so", step(frame(query("www.example.com").to_wire()), "tx", result="answer",
                                                          out=[reply(b"\x12\x34" + spelled[2:])]), put=[put(None, wire=spelled)])
    loop = wire[:33] + b"\xc0\x21" + wire[35:]
    forward = wire[:33] + b"\xc0\x23" + wire[35:]
    header = wire[:33] + b"\xc0\x02" + wire[35:]
    case("answers that are broken", "are not kept", passes(query("www.example.com"), "miss"),
         put=[put(None, "malformed", each) for each in
              (b"", wire[:11], wire[:12], wire[:20], wire[:-1], wire + b"\0", loop, forward, header,
               wire[:2] + b"\1\0" + wire[4:], wire[:2] + b"\x89\x80" + wire[4:], wire[:4] + b"\0\2" + wire[6:],
               wire[:6] + b"\0\2" + wire[8:], counted, counted + opt[:-1], counted[:11] + b"\2" + counted[12:] + opt + opt,
               wire[:-6] + b"\0\5" + wire[-4:], wire[:12] + b"\xc0\x0c" + wire[29:])])
    case("codes", "but those that say something of a name are the process'", passes(query("www.example.com"), "miss"),
         put=[put(None, "code", wire[:3] + bytes([0x80 | code]) + wire[4:]) for code in (1, 4, 5, 9, 15)] +
         [put(None, "code", counted + b"\0\0\x29\x04\xd0\1\0\0\0\0\0")])
    case("a truncated answer", "is asked for by TCP, not kept", passes(query("www.example.com"), "miss"),
         put=[put(None, "truncated", wire[:2] + b"\x83\x80" + wire[4:])])
    case("another class", "is not kept", passes(query("www.example.com"), "miss"),
         put=[put(None, "question", wire[:31] + b"\0\3" + wire[33:]), put(None, "malformed", wire[:37] + b"\0\3" + wire[39:])])


def main():
    for make in (plain, time, edns, negatives, types, sizes, rotation, zones, unusual, upstream):
        make()
    document = {"about": "The DNS cache: queries, and the answers that must come back.", "made_by": "tests/vectors/dns_make.py",
                "node": NODE, "cases": cases}
    path = os.path.join(HERE, "dns", "cases.json")
    text = json.dumps(document, indent=1) + "\n"
    if "--check" in sys.argv:
        with open(path, encoding="utf-8") as file:
            sys.exit(0 if file.read() == text else f"{path} is not what dns_make.py writes")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    main()
