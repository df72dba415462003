# SPDX-License-Identifier: Apache-2.0
"""The XDP and tc hosts with real traffic: NAT and layer-2 direct return, IPv4 and IPv6, backends on the LAN and behind a
veth, answers to ARP, neighbour solicitations and echo, and a daemon that is killed.

SELVAGE_BUILD names the build directory; the tool is tests/programmer_tool in it.

    client ─┐
    lan ────┼─ switch (bridge) ─── lan0 node wl0 ─── workload
"""

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time

import pytest

BUILD = os.environ.get("SELVAGE_BUILD", os.path.join(os.path.dirname(__file__), "..", "..", "build"))
TOOL = os.path.join(BUILD, "tests", "programmer_tool")
PASS = os.path.join(BUILD, "tests", "xdp_pass.bpf.o")
PREFIX = f"ebpf{os.getpid()}"
NODE_MAC, CLIENT_MAC, LAN_MAC, WORKLOAD_MAC = (f"02:00:00:00:00:0{i}" for i in (1, 2, 3, 4))
VIP = {4: "10.0.0.50", 6: "fd00::50"}
VIP_DIRECT = {4: "10.0.0.51", 6: "fd00::51"}

if os.geteuid() != 0:
    pytest.skip("network namespaces and BPF need root", allow_module_level=True)
if not os.path.exists(TOOL):
    pytest.skip(f"{TOOL} is not built", allow_module_level=True)

ECHO = textwrap.dedent("""
    import socket, sys, threading
    name, port = sys.argv[1], int(sys.argv[2])
    def tcp():
        server = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
        while True:
            connection, _ = server.accept()
            threading.Thread(target=serve, args=(connection,), daemon=True).start()
    def serve(connection):
        with connection:
            while data := connection.recv(65536):
                connection.sendall(name.encode() + b" " + data)
    threading.Thread(target=tcp, daemon=True).start()
    udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    IP_PKTINFO, udp4 = 8, None
    udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    udp.bind(("::", port))
    print("ready", flush=True)
    while True:
        data, control, _, peer = udp.recvmsg(65536, 256)
        # The answer comes from the address that was asked: a virtual one under direct return.
        udp.sendmsg([name.encode() + b" " + data],
                    [(level, kind, value) for level, kind, value in control if kind == socket.IPV6_PKTINFO], 0, peer)
""")

ASK = textwrap.dedent("""
    import socket, sys, threading
    kind, host, port, text, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4].encode(), int(sys.argv[5])
    if text.isdigit():
        text = b"x" * int(text)
    for _ in range(count):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as s:
            s.settimeout(3)
            s.connect((host, port))
            threading.Thread(target=s.sendall, args=(text,)).start()
            answer = b""
            while len(answer) < len(text) + 2:
                answer += s.recv(65536)
            print(answer.split(b" ")[0].decode(), len(answer), flush=True)
""")


def run(*words, check=True, timeout=30):
    done = subprocess.run(words, capture_output=True, text=True, timeout=timeout)
    if check:
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def within(namespace, *words, **options):
    return run("ip", "netns", "exec", PREFIX + namespace, *words, **options)


def ip(namespace, command):
    return run("ip", "-n", PREFIX + namespace, *command.split())


def cable(a, a_name, b, b_name):
    run("ip", "link", "add", a_name, "netns", PREFIX + a, "type", "veth", "peer", "name", b_name, "netns", PREFIX + b)


def machine(namespace, name, mac, addresses):
    ip(namespace, "link set lo up")
    ip(namespace, f"link set {name} address {mac}")
    within(namespace, "sysctl", "-qw", f"net.ipv6.conf.{name}.accept_dad=0")
    for address in addresses:
        ip(namespace, f"addr add {address} dev {name}" + (" nodad" if ":" in address else ""))
    ip(namespace, f"link set {name} up")


class Site:
    """The namespaces, and the servers in them."""

    def __init__(self):
        self.processes = []
        self.spaces = ["switch", "node", "client", "lan", "workload"]
        for space in self.spaces:
            run("ip", "netns", "add", PREFIX + space)
        ip("switch", "link add br0 type bridge mcast_snooping 0")
        for space, name in (("node", "lan0"), ("client", "eth0"), ("lan", "eth0")):
            cable("switch", "to_" + space, space, name)
            ip("switch", f"link set to_{space} master br0 up")
        ip("switch", "link set br0 up")
        within("switch", "ip", "link", "set", "dev", "to_node", "xdp", "object", PASS, "section", "xdp.frags")
        cable("node", "wl0", "workload", "eth0")
        machine("node", "lan0", NODE_MAC, ["10.0.0.1/24", "fd00::1/64"])
        machine("node", "wl0", "02:00:00:00:00:05", ["10.1.0.1/24", "fd01::1/64"])
        machine("client", "eth0", CLIENT_MAC, ["10.0.0.100/24", "fd00::100/64"])
        machine("lan", "eth0", LAN_MAC, ["10.0.0.21/24", "fd00::21/64"])
        machine("workload", "eth0", WORKLOAD_MAC, ["10.1.0.2/24", "fd01::2/64"])
        for space in ("client", "lan"):
            # Frames towards XDP need whole checksums.
            within(space, "ethtool", "-K", "eth0", "tx", "off")
        # Answers of a translated flow go back through the node.
        ip("lan", "route add 10.0.0.100/32 via 10.0.0.1")
        ip("lan", "-6 route add fd00::100/128 via fd00::1")
        ip("workload", "route add default via 10.1.0.1")
        ip("workload", "-6 route add default via fd01::1")
        # Those of a direct one do not: they carry the virtual IP already.
        ip("lan", f"rule add from {VIP_DIRECT[4]} table 100")
        ip("lan", f"-6 rule add from {VIP_DIRECT[6]} table 100")
        ip("lan", "route add 10.0.0.0/24 dev eth0 table 100")
        ip("lan", "-6 route add fd00::/64 dev eth0 table 100")
        within("lan", "sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=1", "net.ipv4.conf.all.arp_announce=2")
        ip("lan", f"addr add {VIP_DIRECT[4]}/32 dev lo")
        ip("lan", f"addr add {VIP_DIRECT[6]}/128 dev lo nodad")
        self.start("lan", sys.executable, "-c", ECHO, "lan", "7000")
        self.start("lan", sys.executable, "-c", ECHO, "direct", "80")
        self.start("workload", sys.executable, "-c", ECHO, "workload", "7000")
        self.directory = tempfile.mkdtemp(prefix=PREFIX)

    def start(self, namespace, *words):
        process = subprocess.Popen(["ip", "netns", "exec", PREFIX + namespace, *words], stdout=subprocess.PIPE, text=True)
        self.processes.append(process)
        assert process.stdout.readline().strip() == "ready"

    def close(self):
        for process in self.processes:
            process.kill()
            process.wait()
        for space in self.spaces:
            run("ip", "netns", "del", PREFIX + space, check=False)
        run("umount", self.directory + "/bpf", check=False)
        shutil.rmtree(self.directory, ignore_errors=True)

    def ask(self, kind, host, port, text="hello", count=1, check=True):
        out = within("client", sys.executable, "-c", ASK, kind, host, str(port), text, str(count), check=check)
        return [(name, int(length)) for name, length in (line.split() for line in out.splitlines())]


class Programmer:
    """tests/programmer_tool in the node, under `ip netns exec`, so in a mount namespace of its own."""

    def __init__(self, site):
        self.process = subprocess.Popen(["ip", "netns", "exec", PREFIX + "node", TOOL, site.directory + "/bpf"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.found = self.answer().get("found")

    def answer(self):
        assert select.select([self.process.stdout], [], [], 30)[0], "no answer"
        line = self.process.stdout.readline()
        assert line, "the tool ended"
        return json.loads(line)

    def say(self, text):
        for line in text.strip().splitlines():
            self.process.stdin.write(line.strip() + "\n")
        self.process.stdin.flush()

    def ask(self, text):
        self.say(text)
        return self.answer()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def tables(mode="native", lan="up", workload="up"):
    text = f"""
        interface lan0 {mode}
        interface wl0 workload
        route 10.0.0.0/24 lan0
        route fd00::/64 lan0
    """
    for family in (4, 6):
        v, d = VIP[family], VIP_DIRECT[family]
        bracket = (lambda a: f"[{a}]") if family == 6 else (lambda a: a)
        text += f"vip {v}\nvip {d}\n"
        for kind in ("tcp", "udp"):
            lan_backend = "10.0.0.21" if family == 4 else "fd00::21"
            local_backend = "10.1.0.2" if family == 4 else "fd01::2"
            text += f"service {kind} {bracket(v)}:80\n"
            text += f"backend {bracket(lan_backend)}:7000 lan0 {LAN_MAC} {lan}\n"
            text += f"backend {bracket(local_backend)}:7000 wl0 {WORKLOAD_MAC} {workload}\n"
            text += f"service {kind} {bracket(d)}:80 direct\n"
            text += f"backend {bracket(lan_backend)}:80 lan0 {LAN_MAC} up\n"
    return text


@pytest.fixture(scope="module")
def site():
    site = Site()
    yield site
    site.close()


@pytest.fixture(params=["native", "generic"])
def programmer(site, request):
    programmer = Programmer(site)
    programmer.say(tables(request.param))
    assert "error" not in programmer.ask("apply")
    attachments = programmer.ask("attach")
    assert [a["code"] for a in attachments] == [0, 0], attachments
    assert [a["mode"] for a in attachments] == ["xdp-" + request.param, "tc"]
    yield programmer
    assert programmer.ask("remove") == {"removed": True}
    programmer.kill()


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_nat_reaches_both_backends(site, programmer, family, kind):
    answers = site.ask(kind, VIP[family], 80, count=60)
    assert {name for name, _ in answers} == {"lan", "workload"}
    assert len(answers) == 60


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_direct_return(site, programmer, family, kind):
    assert {name for name, _ in site.ask(kind, VIP_DIRECT[family], 80, count=5)} == {"direct"}


@pytest.mark.parametrize("family", [4, 6])
def test_bulk_over_tcp(site, programmer, family):
    """Large segments from the workload, and back."""
    for _ in range(4):
        assert site.ask("tcp", VIP[family], 80, text="3000000")[0][1] >= 3000000


def test_arp_and_neighbours_and_echo(site, programmer):
    assert NODE_MAC.upper() in within("client", "arping", "-c1", "-w2", "-I", "eth0", VIP[4], check=False).upper()
    assert NODE_MAC.upper() in within("client", "ndisc6", "-1", "-r3", VIP[6], "eth0", check=False).upper()
    within("client", "ping", "-c2", "-W1", VIP[4])
    within("client", "ping", "-c2", "-W1", VIP[6])
    assert not re.search("bytes from", within("client", "ping", "-c1", "-W1", "10.0.0.77", check=False))


def test_killed_daemon_leaves_everything_running(site, programmer):
    programmer.kill()
    assert len(site.ask("udp", VIP[4], 80, count=10)) == 10
    assert len(site.ask("tcp", VIP[6], 80, count=10)) == 10
    second = Programmer(site)
    try:
        assert second.found == "adopted"
        mode = "generic" if "xdpgeneric" in ip("node", "link show lan0") else "native"
        second.say(tables(mode))
        assert second.ask("apply")["any"] is False
        assert [a["changed"] for a in second.ask("attach")] == [False, False]
        assert len(site.ask("tcp", VIP[4], 80, count=10)) == 10
    finally:
        programmer.process = second.process


def test_new_flows_leave_a_draining_backend(site, programmer):
    mode = "generic" if "xdpgeneric" in ip("node", "link show lan0") else "native"
    programmer.say("clear\n" + tables(mode, lan="draining"))
    assert programmer.ask("apply")["any"] is True
    assert {name for name, _ in site.ask("tcp", VIP[4], 80, count=30)} == {"workload"}


def test_tables_of_another_abi_are_replaced(site, programmer):
    """A daemon that cannot read the tables it finds fills new ones, and exchanges the programs without a gap."""
    mode = "generic" if "xdpgeneric" in ip("node", "link show lan0") else "native"
    programmer.kill()
    run("bpftool", "map", "update", "pinned", site.directory + "/bpf/edge_config", "key", "0", "0", "0", "0",
        "value", "99", *["0"] * 63)
    second = Programmer(site)
    programmer.process = second.process
    assert second.found == "replaced"
    assert len(site.ask("udp", VIP[4], 80, count=5)) == 5
    second.say(tables(mode))
    assert second.ask("apply")["any"] is True
    assert [(a["code"], a["changed"]) for a in second.ask("attach")] == [(0, True), (0, True)]
    assert len(site.ask("udp", VIP[4], 80, count=5)) == 5
    assert len(site.ask("tcp", VIP[6], 80, count=5)) == 5
    assert second.ask("totals")["lb_tx"] > 0


def test_foreign_program_is_named(site):
    """Somebody else's program on the NIC is not pushed aside."""
    first = Programmer(site)
    first.say(tables())
    first.ask("apply")
    assert first.ask("attach")[0]["code"] == 0
    other = subprocess.Popen(["ip", "netns", "exec", PREFIX + "node", TOOL, site.directory + "/other"],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert json.loads(other.stdout.readline()) == {"found": "fresh"}
        other.stdin.write("interface lan0 native\nattach\n")
        other.stdin.flush()
        attachment = json.loads(other.stdout.readline())[0]
        assert attachment["code"] == -16
        assert "edge_xdp" in attachment["text"] and "lan0" in attachment["text"]
    finally:
        other.kill()
        other.wait()
        run("umount", site.directory + "/other", check=False)
        assert first.ask("remove") == {"removed": True}
        first.kill()


def test_interface_that_comes_back(site):
    programmer = Programmer(site)
    try:
        programmer.say(tables())
        programmer.ask("apply")
        programmer.ask("attach")
        ip("node", "link del wl0")
        cable("node", "wl0", "workload", "eth0")
        machine("node", "wl0", "02:00:00:00:00:05", ["10.1.0.1/24", "fd01::1/64"])
        machine("workload", "eth0", WORKLOAD_MAC, ["10.1.0.2/24", "fd01::2/64"])
        ip("workload", "route add default via 10.1.0.1")
        ip("workload", "-6 route add default via fd01::1")
        programmer.say("clear\n" + tables(lan="draining"))
        assert programmer.ask("apply")["any"] is True
        assert [a["changed"] for a in programmer.ask("attach")] == [False, True]
        assert {name for name, _ in site.ask("udp", VIP[4], 80, count=5)} == {"workload"}
    finally:
        assert programmer.ask("remove") == {"removed": True}
        programmer.kill()
    assert "xdp" not in ip("node", "link show lan0")
