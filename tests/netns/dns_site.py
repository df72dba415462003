# SPDX-License-Identifier: Apache-2.0
"""A node that answers DNS, its client on the LAN and the server that it asks; Services as manifests."""
import contextlib
import json
import socket

import dns.message
import dns.rcode
import dns.rrset
import pytest

from dns_parts import PROGRAM, Upstream, address_answer, make
from edge_site import wait_for

UPSTREAM = "10.53.0.11"


class Dns:
    """selvage-dns in a node's namespace, asked by a client on the LAN."""

    def __init__(self, site, more="", listen=("192.0.2.1", "2001:db8:0:1::1"), upstream=UPSTREAM):
        self.site = site
        self.node = site.add_node(more=f"""dns:
  listen: {json.dumps(list(listen))}
  upstreams: ["{upstream}"]
{more}""")
        self.client = site.add_client()
        self.node.ip(f"addr add {UPSTREAM}/32 dev lo")
        self.namespace = self.node
        self.process = None
        self.upstream = Upstream(self, UPSTREAM, self.answer, tcp=True)
        self.existing = {"www.example.com.": "203.0.113.1"}
        self.aliases = {}

    def answer(self, query, send, tcp):
        name = str(query.question[0].name).lower()
        if name in self.existing:
            answer = address_answer(query, self.existing[name])
        else:
            answer = address_answer(query)
            answer.answer, answer.authority = [], []
            answer.authority.append(dns.rrset.from_text(".", 60, "IN", "SOA", "ns. host. 1 1 1 1 30"))
            if name in self.aliases:
                answer.answer.append(dns.rrset.from_text(name, 60, "IN", "CNAME", self.aliases[name]))
            answer.set_rcode(dns.rcode.NXDOMAIN)
        send(answer.to_wire())

    def start(self):
        with open(self.node.directory / "selvage-dns.log", "a") as log:
            self.process = self.node.start(PROGRAM, "--config", self.node.config_path, stdout=log, stderr=log)
        wait_for(lambda: self.ask("nothing.cluster.local.", timeout_s=0.2), 5, lambda: "selvage-dns: " + self.log())
        wait_for(lambda: self.node.api("GET", "/selvage/v1/dns/stats")[0] == 200, 5, "selvaged to find selvage-dns")

    def log(self):
        return (self.node.directory / "selvage-dns.log").read_text()

    def ask(self, name, kind="A", server="192.0.2.1", timeout_s=2.0, **more):
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        with self.client.socket(family, socket.SOCK_DGRAM) as connection:
            connection.settimeout(timeout_s)
            connection.connect((server, 53))
            connection.send(make(name, kind, **more).to_wire())
            try:
                return dns.message.from_wire(connection.recv(65535))
            except (TimeoutError, ConnectionRefusedError):
                return None

    def stats(self):
        return self.node.get("/selvage/v1/dns/stats")

    def reached(self):
        """Queries that selvage-dns has answered."""
        return sum(self.stats()["results"].values())


@contextlib.contextmanager
def serving(site, **more):
    """selvaged and selvage-dns at work. Skips the test where the latter is not built."""
    if not PROGRAM.exists():
        pytest.skip(f"{PROGRAM} is not built")
    served = Dns(site, **more)
    served.node.start_daemon()
    served.start()
    yield served
    served.upstream.end()
    if served.process.poll() is None:
        print("--- log of selvage-dns\n" + served.log()[-3000:])
        served.process.terminate()
        assert served.process.wait(5) == 0, served.log()[-3000:]


def service(name, addresses=("10.96.0.1",), namespace="default", ports=({"name": "http", "port": 80, "protocol": "TCP"},), **spec):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
            "spec": {"clusterIP": addresses[0], "clusterIPs": list(addresses), "ipFamilyPolicy": "PreferDualStack", "ports": list(ports), **spec}}


def slice_of(name, endpoints, family="IPv4", namespace="default"):
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family,
            "metadata": {"name": f"{name}-{family.lower()}", "namespace": namespace, "labels": {"kubernetes.io/service-name": name}},
            "ports": [{"name": "sip", "port": 5060, "protocol": "UDP"}], "endpoints": endpoints}
