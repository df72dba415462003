# SPDX-License-Identifier: Apache-2.0
"""selvage-dns without upstreams: it asks the root's servers, which are here, and those that they name."""
import itertools
import time

import dns.flags
import dns.rrset
import pytest

import edge_site
from dns_parts import PROGRAM, UPSTREAMS, Place, Upstream, address_answer, addresses, errors, later
from edge_site import wait_for

ROOT = [f"{each}" for each in ("198.41.0.4", "192.33.4.12", "199.7.91.13", "192.203.230.10", "192.5.5.241", "192.112.36.4", "198.97.190.53",
                               "192.36.148.17", "192.58.128.30", "193.0.14.129", "199.7.83.42", "202.12.27.33")]


class World:
    """The root's servers, by nsd on all of their addresses, and the server of `lab`, which answers as it is told."""

    def __init__(self, place, behave):
        self.place = place
        place.namespace.ip(*[f"addr replace {each}/32 dev lo" for each in ROOT])
        (place.directory / "root.zone").write_text("$ORIGIN .\n$TTL 3600\n@ SOA a.root-servers.net. host. 1 3600 900 86400 60\n@ NS a.root-servers.net.\n"
                                                   f"a.root-servers.net. A {ROOT[0]}\nlab. NS ns.lab.\nns.lab. A {UPSTREAMS[0]}\n")
        config = place.directory / "root.conf"
        config.write_text("server:\n" + "".join(f"  ip-address: {each}\n" for each in ROOT) + f"""  username: ""
  chroot: ""
  database: ""
  zonesdir: "{place.directory}"
  pidfile: "{place.directory}/root.pid"
  xfrdfile: "{place.directory}/root.xfrd"
  zonelistfile: "{place.directory}/root.list"
  logfile: "{place.directory}/root.log"
  server-count: 1
  rrl-ratelimit: 0
remote-control:
  control-enable: no
zone:
  name: "."
  zonefile: "root.zone"
""")
        place.namespace.start("nsd", "-c", config, "-d", stdout=open(place.directory / "root.out", "w"), stderr=-2)
        self.server = Upstream(place, UPSTREAMS[0], lambda query, send, tcp: self.take(query, send))
        self.behave = behave
        wait_for(lambda: place.answers(ROOT[0], "lab."), 5, "nsd")

    def take(self, query, send):
        name = str(query.question[0].name).lower()
        if name in ("lab.", "ns.lab."):
            answer = address_answer(query, UPSTREAMS[0])
            if name == "lab.":
                answer.answer = []
            answer.flags |= dns.flags.AA
            send(answer.to_wire())
        else:
            self.behave(query, send)


@pytest.fixture
def place():
    if not PROGRAM.exists():
        pytest.skip(f"{PROGRAM} is not built")
    with edge_site.Site() as site:
        place = Place(site)
        place.world = None
        yield place
        if place.world:
            place.world.server.end()
        if place.process and place.process.poll() is None:
            print("--- log of selvage-dns\n" + place.log()[-4000:])
            assert place.stop() == 0, place.log()[-4000:]


def authoritative(query, address, ttl):
    answer = address_answer(query, address, ttl)
    answer.flags |= dns.flags.AA
    return answer


def test_answers_in_use_are_renewed_before_they_end(place):
    """
    As long as a name is in use nobody waits for its server, though that takes long: also where a renewal finds in libunbound's memory what
    another name's has brought, aged. When the server is gone, what is old is given.
    """
    count, gone = itertools.count(1), False

    def behave(query, send):
        name = str(query.question[0].name)
        answer = authoritative(query, f"203.0.113.{next(count)}" if name == "www.lab." else "192.0.2.1", 4)
        if name.startswith("alias"):
            answer.answer = [dns.rrset.from_text(name, 60, "IN", "CNAME", "target.lab.")]
        if not gone:
            later(0.2, send, answer)

    place.world = World(place, behave)
    place.configure([], more="  dnssec: false\n  cache: {staleWait: 200ms}\n")
    place.start()
    place.ask("old.lab.")
    begun, seen, waited, known = time.monotonic(), [], [], set()
    while time.monotonic() < begun + 8:
        for name, at in (("www.lab.", 0), ("alias1.lab.", 0), ("alias2.lab.", 1.7), ("target.lab.", 3)):
            start = time.monotonic()
            if start < begun + at:
                continue
            answer = place.ask(name)
            assert len(addresses(answer)) == 1 and not errors(answer)
            if name in known and time.monotonic() - start > 0.15:
                waited.append((name, round(start - begun, 2)))
            known.add(name)
            if name == "www.lab." and addresses(answer) not in seen:
                seen.append(addresses(answer))
        time.sleep(0.02)
    assert not waited, f"clients waited at {waited}"
    assert seen == [[f"203.0.113.{number}"] for number in (1, 2, 3)], "renewed once, and again"
    stats = place.stats()
    assert stats["renewals"] >= 4 and stats["results"]["resolved"] <= 5, stats
    gone = True
    stale = place.ask("old.lab.")
    assert addresses(stale) == ["192.0.2.1"] and stale.answer[0].ttl == 30 and errors(stale) == [3]
    gone = False
    wait_for(lambda: not errors(place.ask("old.lab.")), 8, "the server's return")


def test_a_flush_reaches_what_libunbound_remembers(place):
    count = itertools.count(1)
    place.world = World(place, lambda query, send: send(authoritative(query, f"203.0.113.{next(count)}", 300).to_wire()))
    place.configure([], more="  dnssec: false\n")
    place.start()
    for number in (1, 2, 3):
        assert addresses(place.ask("www.lab.")) == [f"203.0.113.{number}"]
        assert place.control(id=1, op="flush", name="lab.").get("result"), "flush"
