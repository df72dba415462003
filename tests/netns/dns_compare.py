# SPDX-License-Identifier: Apache-2.0
"""Many queries about dns_parts' zone, with two servers: what differs between their answers."""
import contextlib
import select
import socket
import struct

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

from dns_parts import make, records

SOCKETS, ON_THE_WAY = 4, 64

NAMES = ["www", "alias", "chain", "txt", "srv", "naptr", "caa", "unknown", "svcb", "a.wild", "b.c.wild", "nothing", "deep.down.below",
         "down.below", "below", "x.d", "d", "ptr", "big", "many", "some", "ns", "@", "no.such", "wild"]
TYPES = ["A", "AAAA", "TXT", "MX", "NS", "SOA", "SRV", "CNAME", "PTR", "NAPTR", "CAA", "HTTPS", "TYPE65280", "DNAME", "DS"]

OWN = {"txt": "TXT", "srv": "SRV", "naptr": "NAPTR", "caa": "CAA", "unknown": "TYPE65280", "svcb": "HTTPS", "d": "DNAME", "ptr": "PTR", "big": "TXT",
       "@": "MX", "ns": "NS"}


def some_query(dice, usual):
    """`usual`: for the one or two types that a name is asked for, not for all that there are."""
    name = dice.choice(NAMES)
    kind = dice.choice(["A", OWN.get(name, "AAAA")] if usual else TYPES)
    name = "example." if name == "@" else name + ".example."
    name = "".join(dice.choice([c.lower(), c.upper()]) for c in name)
    edns = dice.random() < 0.8
    options = [dns.edns.GenericOption(65001, b"abc")] if edns and dice.random() < 0.1 else []
    return make(name, kind, edns=edns, size=dice.choice([512, 1232, 4096]), dnssec=dice.random() < 0.2, options=options,
                flags=dns.flags.RD | (dns.flags.AD if dice.random() < 0.2 else 0) | (dns.flags.CD if dice.random() < 0.1 else 0))


def exchange(namespace, server, queries):
    """All the answers, by the queries' ids; a few on their way at once over some sockets, and asked again where none came."""
    answers, left = {}, queries
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(namespace.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(SOCKETS)]
        for connection in connections:
            connection.connect((server, 53))
        for _ in range(3):
            for first in range(0, len(left), ON_THE_WAY):
                some = left[first:first + ON_THE_WAY]
                for number, query in enumerate(some):
                    connections[number % SOCKETS].send(query.to_wire())
                missing = {query.id for query in some}
                while missing and (ready := select.select(connections, [], [], 0.5)[0]):
                    for connection in ready:
                        wire = connection.recv(65535)
                        number, = struct.unpack("!H", wire[:2])
                        answers[number] = wire
                        missing.discard(number)
            left = [query for query in queries if query.id not in answers]
    return answers


SYNTHESIZED = "the TTL of a CNAME that comes from a DNAME: the DNAME's (RFC 6672 section 3.1), unbound 1.17 has 0"


def ttls(message):
    return {(str(rrset.name).lower(), rrset.rdtype): rrset.ttl for rrset in message.answer + message.authority}


def ttls_differ(ours, theirs, seconds):
    """Those that differ by more than the caches may in age; and how many differences have their reason."""
    said, explained = [], 0
    below = [rrset.name for rrset in ours.answer if rrset.rdtype == dns.rdatatype.DNAME]
    for (name, kind), ttl in ttls(theirs).items():
        own = ttls(ours).get((name, kind), ttl)
        if abs(own - ttl) <= seconds:
            continue
        if kind == dns.rdatatype.CNAME and ttl == 0 and any(dns.name.from_text(name).is_subdomain(each) for each in below):
            explained += 1
        else:
            said.append(f"TTL {own} of {name}, unbound has {ttl}")
    return said, explained


def compare(query, ours, theirs, seconds):
    """What differs between two answers, and how many differences are as SYNTHESIZED says."""
    said = []
    if ours.rcode() != theirs.rcode():
        said.append(f"code {dns.rcode.to_text(ours.rcode())}, unbound has {dns.rcode.to_text(theirs.rcode())}")
    if ours.flags != theirs.flags:
        said.append(f"flags {dns.flags.to_text(ours.flags)}, unbound has {dns.flags.to_text(theirs.flags)}")
    for name in ("answer", "authority", "additional"):
        if records(getattr(ours, name)) != records(getattr(theirs, name)):
            said.append(f"{name} {records(getattr(ours, name))}, unbound has {records(getattr(theirs, name))}")
    if [(rrset.name, rrset.rdtype) for rrset in ours.answer] != [(rrset.name, rrset.rdtype) for rrset in theirs.answer]:
        said.append("another order of sets")
    ours_edns, theirs_edns = ((each.edns, each.ednsflags, each.payload, [option.otype for option in each.options]) for each in (ours, theirs))
    if ours_edns != theirs_edns:
        said.append(f"EDNS {ours_edns}, unbound has {theirs_edns}")
    # RFC 5452's 0x20: the question as it was asked
    if str(ours.question[0]) != str(query.question[0]):
        said.append(f"question {ours.question[0]}")
    old, explained = ttls_differ(ours, theirs, seconds)
    return "; ".join(said + old), explained


class Comparison:
    """Of all answers to these queries, by their ids: differences that have no reason, and how many have one."""

    def __init__(self, queries, ours, theirs, seconds):
        self.differences, self.explained = [], 0
        for query in queries:
            assert query.id in ours and query.id in theirs, f"no answer to {query.question[0]}"
            said, count = compare(query, dns.message.from_wire(ours[query.id]), dns.message.from_wire(theirs[query.id]), seconds)
            self.explained += count
            if said:
                self.differences.append(f"{query.question[0]}: {said}")


def some_queries(dice, count, usual=False):
    """Numbered, so that their answers are told apart."""
    queries = [some_query(dice, usual) for _ in range(count)]
    for number, query in enumerate(queries):
        query.id = number
    return queries
