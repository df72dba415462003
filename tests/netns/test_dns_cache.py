# SPDX-License-Identifier: Apache-2.0
"""The DNS cache on real interfaces: answers over sockets, by tc on a veth whose checksums are partial and by XDP, read by dnspython.

    client (c0) ── veth ── node (n0, 169.254.20.10, fd00::10)
"""
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path = [each for each in sys.path if each not in ("", os.getcwd())]  # the folder dns/ is not the library

import pytest  # noqa: E402

dns_message = pytest.importorskip("dns.message")
import dns.flags  # noqa: E402
import dns.rrset  # noqa: E402

BUILD = pathlib.Path(os.environ.get("SELVAGE_BUILD", pathlib.Path(__file__).resolve().parents[2] / "build"))
TOOL, PASS = BUILD / "tests/dns_tool", BUILD / "tests/xdp_pass.bpf.o"
PREFIX = f"dns{os.getpid()}"
RESULTS = ["answer", "negative", "no_name", "stale", "truncated", "miss", "expired", "unusual", "no_room", "torn"]
ASK = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
asker = socket.socket(family, socket.SOCK_DGRAM)
asker.settimeout(2)
asker.connect((sys.argv[1], 53))
asker.send(bytes.fromhex(sys.argv[2]))
try:
    print(asker.recv(4096).hex())
except (TimeoutError, OSError) as error:
    print("none", error, file=sys.stderr)
"""

if os.geteuid() != 0:
    pytest.skip("network namespaces and BPF need root", allow_module_level=True)
if not TOOL.exists():
    pytest.skip(f"{TOOL} is not built", allow_module_level=True)


def run(*words, check=True):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(map(str, words))}: {done.stderr}")
    return done.stdout.strip()


def inside(part, *words):
    return ["nsenter", f"--net=/run/netns/{PREFIX}{part}", "--", *map(str, words)]


class Site:
    tool = directory = None

    def open(self, mode):
        for part in "cn":
            run("ip", "netns", "add", PREFIX + part)
        run("ip", "link", "add", "c0", "netns", PREFIX + "c", "type", "veth", "peer", "name", "n0", "netns", PREFIX + "n")
        for part, link, addresses in (("c", "c0", ("169.254.20.50/24", "fd00::50/64")), ("n", "n0", ("169.254.20.10/24", "fd00::10/64"))):
            run("ip", "-n", PREFIX + part, "link", "set", "lo", "up")
            for address in addresses:
                run("ip", "-n", PREFIX + part, "address", "add", address, "dev", link, *(["nodad"] if ":" in address else []))
            run("ip", "-n", PREFIX + part, "link", "set", link, "up")
        if mode != "tc":  # XDP wants whole checksums, and a program on the other end of a veth
            run(*inside("c", "ethtool", "-K", "c0", "tx", "off"))
            run(*inside("c", "ip", "link", "set", "c0", "xdp", "obj", PASS, "section", "xdp.frags"))
        self.directory = tempfile.TemporaryDirectory()
        self.tool = subprocess.Popen(inside("n", TOOL, pathlib.Path(self.directory.name) / "bpf", mode, "n0"), stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, text=True)
        self.say("")

    def say(self, line):
        self.tool.stdin.write(line + "\n")
        self.tool.stdin.flush()
        return self.tool.stdout.readline().strip()

    def put(self, *messages):
        for message in messages:
            self.tool.stdin.write(message.to_wire().hex() + "\n")
        assert self.say("") == "ready"

    def results(self):
        return dict(zip(RESULTS, map(int, self.say("results").split())))

    def ask(self, message, server="169.254.20.10"):
        answer = run(*inside("c", "/usr/bin/python3", "-I", "-c", ASK, server, message.to_wire().hex()))
        return dns_message.from_wire(bytes.fromhex(answer)) if answer else None

    def close(self):
        if self.tool:
            self.tool.stdin.close()
            status = self.tool.wait(30)
        if self.directory:
            run("umount", pathlib.Path(self.directory.name) / "bpf", check=False)
            self.directory.cleanup()
        for part in "cn":
            run("ip", "netns", "del", PREFIX + part, check=False)
        assert not self.tool or status == 0


@pytest.fixture(params=["tc", "xdp-generic", "xdp-native"])
def site(request):
    opened = Site()
    opened.mode = request.param
    try:
        opened.open(request.param)
        yield opened
    finally:
        opened.close()


def answer_of(name, kind, *lines, ttl=300):
    message = dns_message.make_response(dns_message.make_query(name, kind))
    message.flags |= dns.flags.RA
    message.answer = [dns.rrset.from_text(name, ttl, "IN", kind, *lines)]
    return message


def test_answers_over_sockets(site):
    short = answer_of("www.example.com.", "A", "192.0.2.1")
    long = answer_of("long.example.com.", "TXT", *[f'"{"z" * 100}{i}"' for i in range(8)])
    longest = ".".join(["n" * 63] * 3 + ["m" * 55]) + ".org."
    site.put(short, long, answer_of(longest, "A", "192.0.2.2", "192.0.2.3"))
    for server in ("169.254.20.10", "fd00::10"):
        query = dns_message.make_query("wWw.ExAmple.com.", "A", use_edns=0, payload=1232)
        answer = site.ask(query, server)
        assert answer is not None, site.results()
        assert query.is_response(answer) and answer.edns == 0 and answer.question == query.question
        assert str(answer.question[0].name) == "wWw.ExAmple.com."
        assert {str(item) for item in answer.answer[0]} == {"192.0.2.1"} and 290 <= answer.answer[0].ttl <= 300
        assert not answer.flags & dns.flags.AA and answer.flags & dns.flags.RA
        answer = site.ask(dns_message.make_query(longest, "A", use_edns=0, payload=1232), server)
        assert str(answer.question[0].name) == longest and {str(item) for item in answer.answer[0]} == {"192.0.2.2", "192.0.2.3"}
        answer = site.ask(dns_message.make_query("long.example.com.", "TXT", use_edns=0, payload=1232), server)
        if answer is not None:
            assert len(answer.answer[0]) == 8 and {len(item.strings[0]) for item in answer.answer[0]} == {101}
        else:
            assert site.mode != "tc" and site.results()["no_room"] > 0
        answer = site.ask(dns_message.make_query("long.example.com.", "TXT"), server)
        assert answer.flags & dns.flags.TC and not answer.answer
    results = site.results()
    assert results["truncated"] == 2 and results["torn"] == 0
    # XDP on a veth has next to no room at a frame's end, and some 200 bytes in front: the long answer is the process' then
    assert results["answer"] + results["no_room"] == 6 and results["no_room"] <= (0 if site.mode == "tc" else 2)


def test_misses_reach_the_host(site):
    site.put(answer_of("www.example.com.", "A", "192.0.2.1"))
    server = subprocess.Popen(inside("n", "/usr/bin/python3", "-I", "-c", """
import socket
taker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
taker.bind(("169.254.20.10", 53))
print("ready", flush=True)
message, client = taker.recvfrom(4096)
taker.sendto(message[:2] + bytes([0x81, 0x85]) + message[4:], client)
"""), stdout=subprocess.PIPE, text=True)
    assert server.stdout.readline() == "ready\n"
    answer = site.ask(dns_message.make_query("other.example.com.", "A"))
    assert answer is not None and answer.rcode() == 5
    assert server.wait(10) == 0
    assert site.results()["miss"] == 1
