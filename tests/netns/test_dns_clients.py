# SPDX-License-Identifier: Apache-2.0
"""Resolvers that programs are built on ask a node: those of glibc, musl and Node.js, configured as a Kubernetes pod's are (ndots:5)."""
import json
import pathlib
import shutil
import time

import dns.flags
import dns.rcode
import dns.rrset
import pytest

import manifests
from dns_parts import address_answer, addresses
from dns_site import service, serving, slice_of
from edge_site import run, wait_for

SOURCE = pathlib.Path(__file__).with_name("resolve_tool.c")
COMPILERS = {"glibc": ["gcc", "-lresolv"], "musl": ["musl-gcc"]}
MANY = [f"203.0.113.{number}" for number in range(1, 80)]  # 1.3 kB: neither UDP without EDNS has room for them nor with it
QUICK_S = 2  # a resolver that hears no answer, or a wrong one, asks again after 5 s (glibc), 2.5 s (musl)

NODE = """
const dns = require('dns').promises;
const ask = async (what, promise) => { try { out[what] = await promise; } catch (error) { out[what] = error.code; } };
const out = {};
(async () => {
  await Promise.all([
    ask('lookup', dns.lookup('web', {all: true})),
    ask('public', dns.lookup('www.example.com', {all: true})),
    ask('nothing', dns.lookup('nothing.example.com')),
    ask('resolve4', dns.resolve4('web.default.svc.cluster.local', {ttl: true})),
    ask('resolve6', dns.resolve6('web.default.svc.cluster.local')),
    ask('noSuchName', dns.resolve4('none.default.svc.cluster.local')),
    ask('noData', dns.resolveMx('web.default.svc.cluster.local')),
    ask('srv', dns.resolveSrv('_sip._udp.sip.default.svc.cluster.local')),
    ask('reverse', dns.reverse('10.96.0.10')),
    ask('many', dns.resolve4('many.example.com')),
    ask('text', dns.resolveTxt('text.example.com')),
  ]);
  console.log(JSON.stringify(out));
})();
"""


def answer(query, send, tcp):
    """What the node's server knows, the large ones by TCP alone."""
    question = query.question[0]
    name, kind = str(question.name).lower(), question.rdtype
    said = address_answer(query)
    said.answer, said.authority = [], [dns.rrset.from_text("example.com.", 60, "IN", "SOA", "ns.example.com. host.example.com. 1 1 1 1 30")]
    known = {("www.example.com.", 1): ("A", ["203.0.113.1"]), ("many.example.com.", 1): ("A", MANY),
             ("text.example.com.", 16): ("TXT", [f'"{"x" * 200}{number}"' for number in range(20)])}
    if (name, kind) in known:
        said.authority, said.answer = [], [dns.rrset.from_text_list(name, 60, "IN", *known[name, kind])]
    elif not any(name == each for each, _ in known):
        said.set_rcode(dns.rcode.NXDOMAIN)
    wire = said.to_wire(max_size=65535)
    if not tcp and len(wire) > 1232:
        said.answer, said.flags = [], said.flags | dns.flags.TC
        wire = said.to_wire()
    send(wire)


class Pod:
    """Programs of a client with a resolv.conf of its own, in a mount namespace: the machine's stays as it is."""

    def __init__(self, client, server):
        self.client = client
        self.files = {}
        for name, text in (("resolv.conf", f"nameserver {server}\nsearch default.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n"),
                           ("nsswitch.conf", "hosts: files dns\n"), ("hosts", "127.0.0.1 localhost\n")):
            if pathlib.Path("/etc", name).exists():
                self.files[name] = client.directory / f"{server.replace(':', '-')}-{name}"
                self.files[name].write_text(text)

    def run(self, *words, **more):
        mounts = " && ".join(f"mount --bind {file} /etc/{name}" for name, file in self.files.items())
        start = time.monotonic()
        done = self.client.run("unshare", "--mount", "sh", "-c", mounts + ' && exec "$@"', "sh", *words, **more)
        return done.stdout.splitlines(), time.monotonic() - start


@pytest.fixture
def served(site):
    with serving(site) as served:
        served.upstream.behave = answer
        served.node.apply(manifests.stream(
            service("web", ("10.96.0.10", "fd00:96::10")), service("sip", ("None",), ports=[{"name": "sip", "port": 5060, "protocol": "UDP"}]),
            slice_of("sip", [{"addresses": ["10.1.0.1"], "hostname": "sip-0"}])))
        wait_for(lambda: addresses(served.ask("sip.default.svc.cluster.local.")), 2, "the names")
        yield served


def answered(served):
    """Queries that the node has answered, wherever."""
    results = ("answer", "negative", "no_name", "stale", "truncated")
    counted = [line.split() for line in served.node.selvage("metrics").stdout.splitlines() if line.startswith("selvage_dns_queries_total")]
    return served.reached() + sum(float(value) for name, value in counted
                                  if 'place="fastpath"' in name and any(f'result="{each}"' in name for each in results))


def c_library_asks(served, tool, library, measured):
    for server in ("192.0.2.1", "2001:db8:0:1::1"):
        pod = Pod(served.client, server)
        web = {"10.96.0.10", "fd00:96::10"}
        names = {"web": web, "web.default": web, "web.default.svc.cluster.local.": web, "sip-0.sip": {"10.1.0.1"},
                 "www.example.com": {"203.0.113.1"}, "www.example.com.": {"203.0.113.1"}, "nothing": {"error", "NONAME"},
                 "nothing.example.com": {"error", "NONAME"}, "localhost": {"127.0.0.1"}}
        for _ in range(2):  # the second time from packets' cache
            lines, seconds = pod.run(tool, "addresses", *names)
            assert {name: set(line.split()) for name, line in zip(names, lines, strict=True)} == names
            assert seconds < QUICK_S
        assert pod.run(tool, "name", "10.96.0.10", "10.1.0.1")[0] == ["web.default.svc.cluster.local", "sip-0.sip.default.svc.cluster.local"]
        assert pod.run(tool, "services", "_sip._udp.sip.default.svc.cluster.local")[0] == ["0 100 5060 sip-0.sip.default.svc.cluster.local"]
    # both families at once from one socket: nothing of a search list but its first name is asked for
    before = answered(served)
    assert pod.run(tool, "addresses", "www.example.com")[0] == ["203.0.113.1"]
    asked = answered(served) - before
    measured(f"queries of {library} for www.example.com with ndots:5", int(asked))
    assert asked == 2


def glibc_asks_by_tcp(served, tool):
    """musl does from 1.2.4 on, which is not everywhere yet."""
    before = served.stats()["transports"]["tcp"]
    pod = Pod(served.client, "192.0.2.1")
    lines, seconds = pod.run(tool, "addresses", "many.example.com.")
    assert sorted(lines[0].split()) == sorted(MANY) and seconds < QUICK_S
    (text,), seconds = pod.run(tool, "text", "text.example.com")
    assert text.split()[0] == "20" and int(text.split()[1]) > 4000 and seconds < QUICK_S
    assert served.stats()["transports"]["tcp"] >= before + 2


def node_asks(served):
    before = served.stats()["transports"]["tcp"]
    pod = Pod(served.client, "192.0.2.1")
    (line,), _ = pod.run("node", "-e", NODE)
    said = json.loads(line)
    assert sorted(each["address"] for each in said["lookup"]) == ["10.96.0.10", "fd00:96::10"]
    assert said["public"] == [{"address": "203.0.113.1", "family": 4}]
    assert said["nothing"] == said["noSuchName"] == "ENOTFOUND" and said["noData"] == "ENODATA"
    assert [each["address"] for each in said["resolve4"]] == ["10.96.0.10"] and said["resolve4"][0]["ttl"] > 0
    assert said["resolve6"] == ["fd00:96::10"] and said["reverse"] == ["web.default.svc.cluster.local"]
    assert said["srv"] == [{"name": "sip-0.sip.default.svc.cluster.local", "port": 5060, "priority": 0, "weight": 100}]
    assert sorted(said["many"]) == sorted(MANY) and len(said["text"]) == 20
    assert served.stats()["transports"]["tcp"] >= before + 2


def test_resolvers_that_programs_use(served, measured):
    missing = [name for name in (*(words[0] for words in COMPILERS.values()), "node") if not shutil.which(name)]
    for library, (compiler, *libraries) in COMPILERS.items():
        if compiler in missing:
            continue
        tool = served.client.directory / library
        run(compiler, "-D_GNU_SOURCE", "-O1", "-o", tool, SOURCE, *libraries)
        c_library_asks(served, tool, library, measured)
        if library == "glibc":
            glibc_asks_by_tcp(served, tool)
    if "node" not in missing:
        node_asks(served)
    if missing:
        pytest.skip(f"not installed, and so not tried: {' '.join(missing)}")
