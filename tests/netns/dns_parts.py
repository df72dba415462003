# SPDX-License-Identifier: Apache-2.0
"""What the tests of selvage-dns share: the program, servers that answer as they are told, queries and their answers compared."""
import json
import os
import select
import shutil
import socket
import struct
import threading
import time

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

import edge_site
from edge_site import wait_for

PROGRAM = edge_site.BUILD / "ctrl/resolver/selvage-dns"
# Addresses of the one namespace that a test has, all on its loopback interface.
RESOLVER, UNBOUND, NSD = "10.53.0.1", "10.53.0.2", "10.53.0.3"
UPSTREAMS = ["10.53.0.11", "10.53.0.12", "10.53.0.13"]

ZONE = """$ORIGIN example.
$TTL 300
@ SOA ns host 1 3600 900 86400 60
@ NS ns
@ MX 10 www
ns A %s
www A 192.0.2.1
www A 192.0.2.2
www A 192.0.2.3
www AAAA 2001:db8::1
alias CNAME www
chain CNAME alias
away CNAME www.other.example.
txt TXT "hello" "world"
srv SRV 1 2 3 www
naptr NAPTR 100 10 "U" "E2U+sip" "!^.*$!sip:info@example!" .
caa CAA 0 issue "ca.example"
short 2 A 192.0.2.9
brief 1 A 192.0.2.8
unknown TYPE65280 \\# 4 01020304
svcb HTTPS 1 . alpn="h2"
*.wild A 192.0.2.77
deep.down.below A 192.0.2.78
d DNAME www
ptr PTR www
big TXT %s
""" % (NSD, " ".join('"%s"' % ("x" * 250) for _ in range(7))) + "".join(
    f"{name} A 198.51.100.{i}\n" for name, last in (("many", 89), ("some", 32)) for i in range(1, last + 1))


class Place:
    """A namespace, one of its own if it is given none, with everything on its loopback interface."""

    def __init__(self, site, namespace=None):
        self.site = site
        self.namespace = namespace or site.add(edge_site.Namespace(site, "dns"))
        self.directory = self.namespace.directory
        self.namespace.ip(*[f"addr replace {each}/32 dev lo" for each in [RESOLVER, UNBOUND, NSD, *UPSTREAMS]])
        self.process = None

    def nsd(self, zone=ZONE):
        (self.directory / "example.zone").write_text(zone)
        config = self.directory / "nsd.conf"
        config.write_text(f"""server:
  ip-address: {NSD}
  username: ""
  chroot: ""
  database: ""
  zonesdir: "{self.directory}"
  pidfile: "{self.directory}/nsd.pid"
  xfrdfile: "{self.directory}/xfrd.state"
  zonelistfile: "{self.directory}/zone.list"
  logfile: "{self.directory}/nsd.log"
  server-count: 1
  rrl-ratelimit: 0
remote-control:
  control-enable: no
zone:
  name: "example"
  zonefile: "example.zone"
""")
        self.namespace.start("nsd", "-c", config, "-d", stdout=open(self.directory / "nsd.out", "w"), stderr=-2)
        wait_for(lambda: self.answers(NSD, "www.example"), 5, "nsd")

    def unbound(self, upstream=NSD):
        config = self.directory / "unbound.conf"
        config.write_text(f"""server:
  interface: {UNBOUND}
  access-control: 0.0.0.0/0 allow
  username: ""
  chroot: ""
  directory: "{self.directory}"
  pidfile: ""
  use-syslog: no
  logfile: "{self.directory}/unbound.log"
  module-config: "iterator"
  do-not-query-localhost: no
  do-daemonize: no
  unblock-lan-zones: yes
  insecure-lan-zones: yes
  num-threads: 1
  max-udp-size: 1232
remote-control:
  control-enable: no
forward-zone:
  name: "."
  forward-addr: {upstream}
""")
        self.namespace.start("unbound", "-d", "-c", config, stdout=open(self.directory / "unbound.out", "w"), stderr=-2)
        wait_for(lambda: self.answers(UNBOUND, "www.example"), 5, "unbound")

    # --- selvage-dns --------------------------------------------------------------------------------------------------------

    def configure(self, upstreams=(NSD,), more=""):
        self.config = self.directory / "selvage.yaml"
        self.config.write_text(f"""node: {{name: n1}}
runDirectory: {self.directory}/run
stateDirectory: {self.directory}/state
log: {{level: debug}}
dns:
  listen: ["{RESOLVER}"]
  upstreams: {json.dumps(list(upstreams))}
{more}""")

    def start(self, wait=True, **more):
        with open(self.directory / "selvage-dns.log", "a") as log:
            self.process = self.namespace.start(PROGRAM, "--config", self.config, stdout=log, stderr=log, **more)
        if wait:
            wait_for(lambda: (self.directory / "run/dns.sock").exists() and self.answers(RESOLVER, "version.bind", "CH"), 5,
                     lambda: "selvage-dns: " + self.log())

    def stop(self, kill=False):
        (self.process.kill if kill else self.process.terminate)()
        return self.process.wait(5)

    def log(self):
        return (self.directory / "selvage-dns.log").read_text()

    def control(self, **message):
        """A line to the control socket; its answer."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(6)
            connection.connect(str(self.directory / "run/dns.sock"))
            connection.sendall(json.dumps(message).encode() + b"\n")
            received = b""
            while not received.endswith(b"\n"):
                part = connection.recv(1 << 20)
                if not part:
                    raise edge_site.Failure(f"the control socket was closed: {self.log()[-2000:]}")
                received += part
            return json.loads(received)

    def stats(self):
        return self.control(id=1, op="stats")["result"]

    # --- queries ------------------------------------------------------------------------------------------------------------

    def udp(self, server, wire, timeout_s=3.0, port=53):
        """The answer's bytes; None: none came."""
        with self.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
            connection.settimeout(timeout_s)
            connection.connect((server, port))
            connection.send(wire)
            try:
                return connection.recv(65535)
            except (TimeoutError, ConnectionRefusedError):
                return None

    def ask(self, name, kind="A", server=RESOLVER, timeout_s=3.0, **more):
        query = make(name, kind, **more)
        wire = self.udp(server, query.to_wire(), timeout_s)
        return wire and dns.message.from_wire(wire)

    def answers(self, server, name, kind="A"):
        query = make("version.bind", "TXT", rdclass="CH") if kind == "CH" else make(name, kind)
        return self.udp(server, query.to_wire(), 0.2) is not None

    def tcp(self, server=RESOLVER, port=53):
        connection = self.namespace.socket(socket.AF_INET, socket.SOCK_STREAM)
        connection.settimeout(4)
        connection.connect((server, port))
        return connection


def make(name, kind="A", rdclass="IN", edns=True, size=1232, dnssec=False, options=(), flags=dns.flags.RD, **more):
    if not edns:
        query = dns.message.make_query(name, kind, rdclass, use_edns=False)
    else:
        query = dns.message.make_query(name, kind, rdclass, use_edns=0, payload=size, want_dnssec=dnssec, options=list(options))
    query.flags = flags
    return query


def frame(wire):
    return struct.pack("!H", len(wire)) + wire


def read_frame(connection):
    """None at the connection's end."""
    data = b""
    while len(data) < 2 or len(data) < 2 + struct.unpack("!H", data[:2])[0]:
        part = connection.recv(2 - len(data) if len(data) < 2 else 2 + struct.unpack("!H", data[:2])[0] - len(data))
        if not part:
            return None
        data += part
    return data[2:]


def records(section):
    """A section's records as a sorted list of texts, TTLs left aside."""
    return sorted(f"{str(rrset.name).lower()} {dns.rdatatype.to_text(rrset.rdtype)} {str(rdata).lower()}"
                  for rrset in section for rdata in rrset)


def addresses(message):
    return sorted(rdata.address for rrset in message.answer for rdata in rrset if rrset.rdtype in (1, 28))


def errors(message):
    """Codes of extended errors (RFC 8914)."""
    return [option.code for option in message.options if option.otype == dns.edns.OptionType.EDE]


class Upstream(threading.Thread):
    """A server that answers as `behave(query, wire, send)` says: over UDP, and TCP if asked to."""

    def __init__(self, place, address, behave, tcp=False, port=53):
        super().__init__(daemon=True)
        self.behave, self.asked, self.ended = behave, 0, False
        self.names = []
        self.socket = place.namespace.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, port))
        self.listener = None
        self.connections = []
        if tcp:
            self.listener = place.namespace.socket(socket.AF_INET, socket.SOCK_STREAM)
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.listener.bind((address, port))
            self.listener.listen(16)
        self.start()

    def run(self):
        while not self.ended:
            waiting = [self.socket, *self.connections] + ([self.listener] if self.listener else [])
            for ready in select.select(waiting, [], [], 0.05)[0]:
                if ready is self.socket:
                    wire, peer = self.socket.recvfrom(65535)
                    self.take(wire, lambda answer, peer=peer: self.socket.sendto(answer, peer), False)
                elif ready is self.listener:
                    self.connections.append(self.listener.accept()[0])
                else:
                    try:
                        wire = read_frame(ready)
                    except OSError:
                        wire = None
                    if wire is None:
                        self.connections.remove(ready)
                        ready.close()
                    else:
                        self.take(wire, lambda answer, ready=ready: ready.sendall(frame(answer)), True)

    def take(self, wire, send, over_tcp):
        query = dns.message.from_wire(wire)
        self.asked += 1
        self.names.append(str(query.question[0].name).lower())
        try:
            self.behave(query, send, over_tcp)
        except OSError:
            pass

    def end(self):
        self.ended = True
        self.join()
        for each in [self.socket, self.listener, *self.connections]:
            if each:
                each.close()


def address_answer(query, address="203.0.113.1", ttl=60):
    answer = dns.message.make_response(query, recursion_available=True)
    if query.question[0].rdtype == 1:
        answer.answer.append(dns.rrset.from_text(query.question[0].name, ttl, "IN", "A", address))
    else:
        answer.authority.append(dns.rrset.from_text("lab.", ttl, "IN", "SOA", "ns.lab. host.lab. 1 1 1 1 30"))
    return answer


def good(address="203.0.113.1", ttl=60):
    return lambda query, send, tcp: send(address_answer(query, address, ttl).to_wire())


def silent(query, send, tcp):
    pass


def later(seconds, send, answer):
    """Unless the server has ended by then."""
    def send_now():
        try:
            send(answer.to_wire())
        except OSError:
            pass

    threading.Timer(seconds, send_now).start()
