# SPDX-License-Identifier: Apache-2.0
"""selvage-dns beside real servers and clients: the same records as unbound, header and EDNS behaviour, upstreams that fail, restarts."""
import itertools
import os
import pathlib
import random
import re
import select
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time

import dns.dnssec
import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

import edge_site
from dns_compare import SYNTHESIZED, Comparison, exchange, some_queries
from dns_parts import (NSD, PROGRAM, RESOLVER, UNBOUND, UPSTREAMS, Place, Upstream, address_answer, addresses, errors, frame, good, later, make,
                       read_frame, silent)
from edge_site import wait_for

SEED = 20261121
QUERIES = 10000


@pytest.fixture
def place():
    if not PROGRAM.exists():
        pytest.skip(f"{PROGRAM} is not built")
    with edge_site.Site() as site:
        place = Place(site)
        upstreams = place.upstreams = []
        yield place
        for each in upstreams:
            each.end()
        if place.process and place.process.poll() is None:
            print("--- log of selvage-dns\n" + place.log()[-4000:])
            assert place.stop() == 0, place.log()[-4000:]  # a sanitizer's complaint, too


def upstream(place, number, behave, **more):
    place.upstreams.append(Upstream(place, UPSTREAMS[number], behave, **more))
    return place.upstreams[-1]


# --- the same records as unbound --------------------------------------------------------------------------------------------


def test_the_same_records_as_unbound(place, measured):
    place.nsd()
    start = time.monotonic()
    place.unbound()
    place.configure()
    place.start()
    queries = some_queries(random.Random(SEED), QUERIES)
    ours, theirs = exchange(place.namespace, RESOLVER, queries), exchange(place.namespace, UNBOUND, queries)
    seconds = time.monotonic() - start + 1
    found = Comparison(queries, ours, theirs, seconds)
    measured("queries compared with unbound", f"{len(queries)}, {len(found.differences)} differ")
    measured("and for a reason", f"{found.explained}: {SYNTHESIZED}")
    assert not found.differences, f"seed {SEED}:\n" + "\n".join(found.differences[:10])
    assert found.explained < QUERIES / 10 and seconds < 50


# --- header, EDNS, TCP --------------------------------------------------------------------------------------------------------


def test_odd_queries_get_the_answers_that_bind_gives(place):
    place.nsd()
    place.configure()
    place.start()
    plain = make("www.example.").to_wire()

    def code_of(wire):
        answer = place.udp(RESOLVER, wire, 1.0)
        return answer and dns.rcode.to_text(answer[3] & 15)

    def with_flags(flags):
        return plain[:2] + struct.pack("!H", flags) + plain[4:]

    for opcode in range(1, 16):
        assert code_of(with_flags(opcode << 11 | 0x0100)) == "NOTIMP", opcode
    assert code_of(with_flags(0x8180)) is None, "an answer is answered"
    assert place.udp(RESOLVER, plain[:11], 0.2) is None, "too short to be answered"
    assert code_of(plain[:4] + b"\0\2" + plain[6:]) == "FORMERR", "two questions"
    assert code_of(plain + b"behind") == "FORMERR"
    assert code_of(plain[:20]) == "FORMERR"
    # reserved and other flags are neither an error nor given back
    answer = dns.message.from_wire(place.udp(RESOLVER, with_flags(0x0140 | 0x0400 | 0x0200)))
    assert answer.rcode() == 0 and not answer.flags & (0x0040 | 0x0400 | 0x0200)
    versions = make("www.example.")
    versions.ednsflags |= 1 << 16
    answer = dns.message.from_wire(place.udp(RESOLVER, versions.to_wire()))
    assert answer.rcode() == dns.rcode.BADVERS and answer.edns == 0 and not answer.answer
    answer = place.ask("www.example.", edns=False)
    assert answer.edns == -1 and len(answer.answer) == 1
    assert place.ask("www.example.", kind="ANY").answer[0].rdtype == 13  # HINFO: RFC 8482
    assert place.ask("www.example.", rdclass="CH").rcode() == dns.rcode.REFUSED
    assert place.ask("example.", kind="AXFR", server=RESOLVER).rcode() in (dns.rcode.REFUSED, dns.rcode.NOTIMP)
    # without RD: what is here, and nothing is asked for
    assert place.ask("www.example.", flags=0).rcode() == 0
    assert place.ask("caa.example.", kind="CAA", flags=0).rcode() == dns.rcode.REFUSED
    # a cookie comes back with ours behind it (RFC 7873), one that is none is an error
    cookie = dns.edns.GenericOption(10, b"12345678")
    answer = place.ask("www.example.", options=[cookie])
    assert [each.data[:8] for each in answer.options if each.otype == 10] == [b"12345678"]
    assert place.ask("www.example.", options=[dns.edns.GenericOption(10, b"123")]).rcode() == dns.rcode.FORMERR
    # 512 bytes at least, whatever the client says; what does not fit is cut off whole
    answer = place.ask("many.example.", size=100)
    assert answer.flags & dns.flags.TC and not answer.answer
    assert place.ask("big.example.", kind="TXT", size=4096).flags & dns.flags.TC, "1232 bytes are sent by UDP at most"


def test_tcp_is_pipelined_and_may_be_half_closed(place):
    place.nsd()
    # the slow one's answer comes last, though it was asked for first
    upstream(place, 0, lambda query, send, tcp: later(0.3, send, address_answer(query)))
    place.configure(more=f'  zones: [{{name: slow, upstreams: ["{UPSTREAMS[0]}"]}}]\n')
    place.start()
    with place.tcp() as connection:
        queries = [make("a.slow."), make("www.example."), make("big.example.", "TXT"), make("nothing.example.")]
        stream = b"".join(frame(each.to_wire()) for each in queries)
        for at in range(0, len(stream), 7):  # in pieces
            connection.sendall(stream[at:at + 7])
        connection.shutdown(socket.SHUT_WR)
        got = [dns.message.from_wire(read_frame(connection)) for _ in queries]
        assert read_frame(connection) is None
    assert {each.id for each in got} == {each.id for each in queries}
    assert got[-1].id == queries[0].id, "an answer waits for another's"
    assert len(next(each for each in got if each.id == queries[2].id).to_wire()) > 1700
    with place.tcp() as connection:  # what is no query ends the connection, and nothing else
        connection.sendall(b"\0\3abc")
        assert read_frame(connection) is None
    with place.tcp() as connection:
        connection.sendall(b"\0\xffGET / HTTP/1.1\r\n")
    assert addresses(place.ask("www.example."))


def test_answers_wait_for_a_client_that_is_slow_to_fetch_them(place):
    """Twenty megabytes of answers to queries in one burst: all arrive, and the process has not held them meanwhile."""
    def large(query, send, tcp):
        answer = dns.message.make_response(query, recursion_available=True)
        if tcp:
            answer.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "TXT", " ".join(['"%s"' % ("x" * 250)] * 240)))
        else:
            answer.flags |= dns.flags.TC
        send(answer.to_wire(max_size=65535))

    def resident():
        return int(re.search(r"VmRSS:\s+([0-9]+) kB", pathlib.Path(f"/proc/{place.process.pid}/status").read_text()).group(1)) / 1024

    upstream(place, 0, large, tcp=True)
    place.configure(UPSTREAMS[:1])
    place.start()
    query, count = make("big.lab.", "TXT").to_wire(), 350
    with place.tcp() as connection:
        connection.sendall(frame(query))
        assert len(read_frame(connection)) > 60000
        before = resident()
        connection.sendall(frame(query) * count)
        wait_for(lambda: select.select([connection], [], [], 0)[0], 2, "answers")
        time.sleep(0.3)
        assert resident() - before < 8, "answers that nobody fetches"
        connection.shutdown(socket.SHUT_WR)
        assert all(len(read_frame(connection) or b"") > 60000 for _ in range(count))
        assert read_frame(connection) is None


def test_tls_towards_clients_and_upstreams(place):
    key, certificate = place.directory / "key.pem", place.directory / "certificate.pem"
    edge_site.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out",
                  certificate, "-days", "2", "-subj", "/CN=dns.lab", "-addext", "subjectAltName=DNS:dns.lab")
    served = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = place.namespace.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind((UPSTREAMS[0], 853))
    listener.listen(4)

    def serve():
        while True:
            try:
                with context.wrap_socket(listener.accept()[0], server_side=True) as connection:
                    while wire := read_frame(connection):
                        served.append(wire)
                        connection.sendall(frame(address_answer(dns.message.from_wire(wire), "203.0.113.9").to_wire()))
            except ssl.SSLError:
                continue
            except OSError:
                return

    threading.Thread(target=serve, daemon=True).start()
    for name, works in (("dns.lab", True), ("other.lab", False)):
        place.configure([f"tls://{UPSTREAMS[0]}#{name}"], more=f'  certificateAuthorities: {certificate}\n'
                        f'  tls: {{listen: ["{RESOLVER}"], certificate: {certificate}, key: {key}}}\n')
        place.start()
        trusting = ssl.create_default_context(cafile=certificate)
        with trusting.wrap_socket(place.tcp(port=853), server_hostname="dns.lab") as connection:
            connection.settimeout(8)
            names = [f"a{i}.lab." for i in range(3 if works else 1)]
            for name in names:
                connection.sendall(frame(make(name, options=[dns.edns.GenericOption(12, b"")]).to_wire()))
            for _ in names:
                wire = read_frame(connection)
                answer = dns.message.from_wire(wire)
                assert (addresses(answer) == ["203.0.113.9"]) == works and len(wire) % 468 == 0, answer
        assert place.stop() == 0
        (place.directory / "state/dns-answers").unlink()
    assert len(served) == 3, "a server whose certificate names another was asked"
    listener.close()


# --- upstreams that fail --------------------------------------------------------------------------------------------------------


def took(place, name, **more):
    start = time.monotonic()
    answer = place.ask(name, **more)
    return answer, time.monotonic() - start


def test_a_silent_upstream_costs_milliseconds(place, measured):
    quiet, well = upstream(place, 0, silent), upstream(place, 1, good())
    place.configure(UPSTREAMS[:2])
    place.start()
    times = []
    for number in range(40):
        answer, seconds = took(place, f"n{number}.lab.")
        assert addresses(answer) == ["203.0.113.1"]
        times.append(seconds)
    measured("answers with one of two servers silent: first, longest after it, in ms", [round(times[0] * 1000), round(max(times[1:]) * 1000)])
    assert max(times) < 0.5 and sum(times[5:]) < 1.5
    assert quiet.asked < 30 and well.asked >= 40
    servers = {each["server"]: each for each in place.stats()["upstreams"][0]["servers"]}
    assert servers[f"udp://{UPSTREAMS[1]}:53"]["state"] == "up"


def test_a_slow_upstream_is_overtaken_within_the_budget(place):
    """One answer in four takes 600 ms; a second server is asked after the time that answers usually take."""
    count = itertools.count()

    def sometimes_slow(query, send, tcp):
        later(0.6 if next(count) % 4 == 3 else 0, send, address_answer(query))

    upstream(place, 0, sometimes_slow)
    # well, but always slower than the first one usually is
    upstream(place, 1, lambda query, send, tcp: later(0.03, send, address_answer(query)))
    place.configure(UPSTREAMS[:2], more="  hedge: {delay: 50ms, percent: 30}\n")
    place.start()
    times = [took(place, f"n{number}.lab.")[1] for number in range(40)]
    assert max(times) < 0.5, times
    totals = place.stats()["upstreams"][0]
    assert 0 < sum(each["hedges"] for each in totals["servers"]) <= 20 + 0.3 * totals["queries"]


def test_no_budget_no_second_query(place):
    upstream(place, 0, lambda query, send, tcp: later(0.15, send, address_answer(query)))
    upstream(place, 1, good("203.0.113.2"))
    place.configure(UPSTREAMS[:2], more="  hedge: {delay: 20ms, percent: 0}\n")
    place.start()
    for number in range(60):
        place.ask(f"n{number}.lab.")
    # what had been saved up at the start, and not one more
    assert sum(each["hedges"] for each in place.stats()["upstreams"][0]["servers"]) <= 20


def test_lies_are_not_heard(place):
    def liar(query, send, tcp):
        forged = address_answer(query, "198.51.100.66")
        wire = bytearray(forged.to_wire())
        for guess in range(200):  # other ids
            struct.pack_into("!H", wire, 0, (query.id + 1 + guess) & 0xffff)
            send(bytes(wire))
        other = dns.message.make_query("evil.lab.", "A", use_edns=0)
        other.id = query.id
        send(address_answer(other, "198.51.100.66").to_wire())  # another question
        mixed = address_answer(query)
        mixed.answer += address_answer(other, "198.51.100.66").answer  # a record that nobody asked for
        send(mixed.to_wire())

    lies = upstream(place, 0, liar)
    place.configure(UPSTREAMS[:1])
    place.start()
    # from another address, while the answer is waited for: a connected socket does not hear it
    assert addresses(place.ask("www.lab.")) == ["203.0.113.1"]
    lies.behave = good()
    assert addresses(place.ask("evil.lab.")) == ["203.0.113.1"], "what another answer smuggled in was believed"
    assert place.stats()["upstreams"][0]["servers"][0]["strange"] >= 201


def test_failing_upstreams_are_passed_over(place):
    def failing(query, send, tcp):
        answer = dns.message.make_response(query)
        answer.set_rcode(dns.rcode.SERVFAIL)
        send(answer.to_wire())

    upstream(place, 0, failing)
    upstream(place, 1, good())
    place.configure(UPSTREAMS[:2])
    place.start()
    for number in range(10):
        answer, seconds = took(place, f"n{number}.lab.")
        assert addresses(answer) == ["203.0.113.1"] and seconds < 0.3


def test_truncated_answers_are_fetched_by_tcp(place):
    def large(query, send, tcp):
        answer = address_answer(query)
        if tcp:
            answer.authority, answer.answer = [], [dns.rrset.from_text_list(query.question[0].name, 60, "IN", "TXT", ['"' + "x" * 200 + f'{i}"' for i in range(40)])]
        else:
            answer.answer = []
            answer.flags |= dns.flags.TC
        send(answer.to_wire(max_size=65535))

    upstream(place, 0, large, tcp=True)
    place.configure(UPSTREAMS[:1])
    place.start()
    for number in range(3):  # over one connection
        with place.tcp() as connection:
            connection.sendall(frame(make(f"n{number}.lab.", "TXT").to_wire()))
            assert len(dns.message.from_wire(read_frame(connection)).answer[0]) == 40
    assert place.stats()["upstreams"][0]["servers"][0]["overTcp"] == 3 and len(place.upstreams[0].connections) == 1


def test_tcp_is_preferred_and_udp_stands_in_for_it(place):
    over = []

    def counting(query, send, tcp):
        over.append(tcp)
        send(address_answer(query).to_wire())

    both = upstream(place, 0, counting, tcp=True)
    place.configure([f"tcp://{UPSTREAMS[0]}"])
    place.start()
    assert addresses(place.ask("a.lab.")) and addresses(place.ask("b.lab."))
    assert over == [True, True]
    both.end()
    place.upstreams.clear()
    upstream(place, 0, counting)  # no TCP any more
    answer, seconds = took(place, "c.lab.")
    assert addresses(answer) and seconds < 1.9 and over[-1] is False


def test_old_answers_are_given_while_nobody_answers(place, measured):
    """RFC 8767: after 1.8 s at first, at once while it is known that nobody answers; with the error of RFC 8914."""
    well = upstream(place, 0, good(ttl=1))
    place.configure(UPSTREAMS[:1], more="  cache: {staleWait: 500ms}\n")
    place.start()
    assert addresses(place.ask("www.lab.")) == ["203.0.113.1"]
    well.behave = silent
    time.sleep(1.1)
    answer, first = took(place, "www.lab.")
    assert addresses(answer) == ["203.0.113.1"] and answer.answer[0].ttl == 30 and errors(answer) == [3]
    answer, second = took(place, "www.lab.")
    assert addresses(answer) == ["203.0.113.1"] and errors(answer) == [3]
    measured("old answer, in ms: first, next", [round(first * 1000), round(second * 1000, 1)])
    assert 0.4 < first < 0.8 and second < 0.1
    # a name that was never asked for fails, and says why
    answer = place.ask("other.lab.", timeout_s=8)
    assert answer.rcode() == dns.rcode.SERVFAIL and errors(answer)
    # a new answer takes the old one's place within the renewal beside
    well.behave = good("203.0.113.7", ttl=60)
    wait_for(lambda: addresses(place.ask("www.lab.")) == ["203.0.113.7"], 8, "the new answer")
    assert errors(place.ask("www.lab.")) == []
    assert place.stats()["results"]["stale"] >= 2


def test_an_answer_in_use_is_renewed_before_it_ends(place):
    """Nobody waits for the upstream, though it takes long, as long as the name is in use."""
    count = itertools.count(1)
    upstream(place, 0, lambda query, send, tcp: later(0.25, send, address_answer(query, f"203.0.113.{next(count)}", 4)))
    place.configure(UPSTREAMS[:1])
    place.start()
    place.ask("www.lab.")
    seen, end = set(), time.monotonic() + 5.5
    while time.monotonic() < end:
        answer, seconds = took(place, "www.lab.")
        assert seconds < 0.15, f"after {sorted(seen)}"
        seen.update(addresses(answer))
        time.sleep(0.02)
    assert len(seen) >= 2 and place.stats()["renewals"] >= 1


def test_one_question_that_many_ask_is_asked_once(place):
    slow = upstream(place, 0, lambda query, send, tcp: later(0.3, send, address_answer(query)))
    place.configure(UPSTREAMS[:1])
    place.start()
    with place.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.connect((RESOLVER, 53))
        connection.settimeout(3)
        queries = [make("www.lab.") for _ in range(100)]
        for query in queries:
            connection.send(query.to_wire())
        got = {dns.message.from_wire(connection.recv(65535)).id for _ in queries}
    assert got == {each.id for each in queries} and slow.asked == 1


# --- DNSSEC ---------------------------------------------------------------------------------------------------------------------


def test_answers_are_validated(place):
    """Signed answers are told to be authentic, forged ones fail with the error that says so, and CD asks for them all the same."""
    private = ed25519.Ed25519PrivateKey.generate()
    key = dns.dnssec.make_dnskey(private.public_key(), dns.dnssec.Algorithm.ED25519, flags=257)
    apex = dns.name.from_text("signed.")
    keys = dns.rrset.from_rdata("signed.", 300, key)

    def signed(rrset):
        return dns.rrset.from_rdata(rrset.name, rrset.ttl, dns.dnssec.sign(rrset, private, apex, key, lifetime=3600))

    def serve(query, send, tcp):
        name, kind = str(query.question[0].name).lower(), query.question[0].rdtype
        answer = dns.message.make_response(query, recursion_available=True)
        if name == "signed." and kind == dns.rdatatype.DNSKEY:
            answer.answer = [keys, signed(keys)]
        elif kind == dns.rdatatype.A and name.endswith(".signed."):
            right = dns.rrset.from_text(name, 300, "IN", "A", "192.0.2.1")
            answer.answer = [right, signed(right)]
            if name == "forged.signed.":
                answer.answer[0] = dns.rrset.from_text(name, 300, "IN", "A", "198.51.100.66")
        else:
            answer = address_answer(query)
        send(answer.to_wire())

    upstream(place, 0, serve)
    anchor = place.directory / "anchor.key"
    anchor.write_text(keys.to_text() + "\n")
    place.configure(UPSTREAMS[:1], more=f"  dnssec: true\n  trustAnchor: {anchor}\n")
    place.start()
    for flags, dnssec, authentic in ((dns.flags.RD, False, False), (dns.flags.RD | dns.flags.AD, False, True), (dns.flags.RD, True, True)):
        answer = place.ask("www.signed.", flags=flags, dnssec=dnssec)
        assert addresses(answer) == ["192.0.2.1"] and bool(answer.flags & dns.flags.AD) == authentic
        assert any(rrset.rdtype == dns.rdatatype.RRSIG for rrset in answer.answer) == dnssec
    answer = place.ask("forged.signed.")
    assert answer.rcode() == dns.rcode.SERVFAIL and errors(answer) == [6]
    answer = place.ask("forged.signed.", flags=dns.flags.RD | dns.flags.CD)
    assert addresses(answer) == ["198.51.100.66"] and not answer.flags & dns.flags.AD
    assert place.ask("forged.signed.").rcode() == dns.rcode.SERVFAIL, "what was told to one who asked for it unchecked was told to another"
    assert addresses(place.ask("www.unsigned.lab.")) == ["203.0.113.1"]


# --- restarts -------------------------------------------------------------------------------------------------------------------


def test_what_is_kept_outlives_a_restart_and_a_kill(place, measured):
    well = upstream(place, 0, good(ttl=600))
    place.configure(UPSTREAMS[:1])
    place.start()
    for number in range(50):
        place.ask(f"n{number}.lab.")
    assert place.stop() == 0
    well.behave = silent
    start = time.monotonic()
    place.start(wait=False)
    wait_for(lambda: place.answers(RESOLVER, "n0.lab"), 5, "an answer", 0.001)
    restarted = time.monotonic() - start
    for number in range(50):
        assert addresses(place.ask(f"n{number}.lab.")) == ["203.0.113.1"]
    # under load: the outage that a client sees
    times, ended = [time.monotonic()], threading.Event()

    def load():
        while not ended.is_set():
            if place.answers(RESOLVER, "n1.lab"):
                times.append(time.monotonic())

    thread = threading.Thread(target=load)
    thread.start()
    time.sleep(0.2)
    assert place.control(id=1, op="flush", name="n3.lab")["result"] == {"removed": 1}
    assert place.stop(kill=True) == -signal.SIGKILL
    place.start(wait=False)
    time.sleep(0.7)
    ended.set()
    thread.join()
    outage = max(after - before for before, after in zip(times, times[1:]))
    measured("restart until the first answer, outage at kill -9 under load, in ms", [round(restarted * 1000), round(outage * 1000)])
    assert restarted < 1.0 and outage < 1.0
    assert addresses(place.ask("n49.lab.")) == ["203.0.113.1"]
    assert not place.control(id=1, op="dump", name="n3.lab")["result"]["items"], "what was flushed is there again"


class Clock:
    """The clock of the day of a program that is started with `environment`."""

    def __init__(self, directory):
        self.file, library = directory / "clock", directory / "clock_shift.so"
        self.jump(0)
        edge_site.run("gcc", "-shared", "-fPIC", "-O1", "-o", library, pathlib.Path(__file__).with_name("clock_shift.c"))
        # a sanitizer wants to be the first library
        options = ":".join(filter(None, [os.environ.get("ASAN_OPTIONS"), "verify_asan_link_order=0"]))
        self.environment = {**os.environ, "LD_PRELOAD": str(library), "CLOCK_SHIFT": str(self.file), "ASAN_OPTIONS": options}

    def jump(self, seconds):
        with open(self.file, "r+b" if self.file.exists() else "wb") as file:
            file.write(struct.pack("=q", seconds))


DAY_S = 86400


@pytest.mark.parametrize("jump_s", [400 * DAY_S, -400 * DAY_S], ids=["forwards", "backwards"])
def test_a_clock_that_jumps_changes_no_answer(place, jump_s):
    """The clock of the day, as when a machine is told the time after it was without: lives go by another clock."""
    count = itertools.count(1)
    well = upstream(place, 0, lambda query, send, tcp: send(address_answer(
        query, f"203.0.113.{next(count)}", 1 if "brief" in str(query.question[0].name) else 600).to_wire()))
    place.configure(UPSTREAMS[:1], more="  cache: {staleFor: 0s}\n")
    clock = Clock(place.directory)
    place.start(env=clock.environment)
    cookie = place.ask("kept.lab.", options=[dns.edns.GenericOption(10, b"12345678")])
    assert addresses(cookie) == ["203.0.113.1"]
    assert addresses(place.ask("brief.lab.")) == ["203.0.113.2"]
    clock.jump(jump_s)
    # what was kept is as old as before
    kept = place.ask("kept.lab.", options=[each for each in cookie.options if each.otype == 10])
    assert addresses(kept) == ["203.0.113.1"] and 590 < kept.answer[0].ttl <= 600 and well.asked == 2
    times = [struct.unpack("!I", option.data[12:16])[0] for each in (cookie, kept) for option in each.options if option.otype == 10]
    assert abs(times[1] - times[0] - jump_s) < 10, "the clock did not jump"  # RFC 9018 section 4.3
    assert addresses(place.ask("new.lab.")) == ["203.0.113.3"]
    # what ended has ended, and comes anew
    time.sleep(1.1)
    brief = place.ask("brief.lab.")
    assert addresses(brief) == ["203.0.113.4"] and brief.answer[0].ttl <= 1
    # a restart, too: what is kept then is by the clock of the day, which is all there is; nothing gets longer by it
    assert place.stop() == 0
    clock.jump(0)
    place.start(env=clock.environment)
    kept = place.ask("kept.lab.")
    assert addresses(kept)[0].startswith("203.0.113.") and 0 < kept.answer[0].ttl <= 600


def test_a_second_process_is_refused(place):
    """It would write the same files in turn with the first, or put its socket in place of the first one's."""
    upstream(place, 0, good())
    place.configure(UPSTREAMS[:1])
    place.start()

    def refused(config):
        done = place.namespace.run(PROGRAM, "--config", config, check=False, timeout_s=5)
        assert done.returncode == 1 and addresses(place.ask("www.lab.")) == ["203.0.113.1"] and place.stats()
        return done.stderr

    for key, own in (("stateDirectory", "run"), ("runDirectory", "state")):
        other = place.directory / f"other-{own}.yaml"
        other.write_text(place.config.read_text().replace(f"{place.directory}/{own}", f"{place.directory}/other-{own}")
                         .replace(RESOLVER, UNBOUND))
        said = refused(other)
        assert "another selvage-dns uses the directory" in said and f"({key})" in said, said
    other.write_text(other.read_text().replace("/run", "/other-run").replace(UNBOUND, RESOLVER))
    assert f"listening on {RESOLVER}:53: Address already in use" in refused(other)
    # a lock ends with its process, however that ends
    place.stop(kill=True)
    place.start()
