# SPDX-License-Identifier: Apache-2.0
"""ctrl/program/network_follow and vip/announce_send against a real kernel, in network namespaces.

SELVAGE_BUILD names the build directory; the tools are tests/network_probe_tool and tests/announce_tool in it.
"""

import json
import os
import select
import signal
import subprocess
import time

import pytest

BUILD = os.environ.get("SELVAGE_BUILD", os.path.join(os.path.dirname(__file__), "..", "..", "build"))
HERE, PEER = f"netfollow{os.getpid()}a", f"netfollow{os.getpid()}b"
LOOKS_S = 15

if os.geteuid() != 0:
    pytest.skip("network namespaces need root", allow_module_level=True)


def run(*words, stdin=None):
    return subprocess.run(words, check=True, input=stdin, capture_output=True, text=True).stdout


def ip(namespace, command):
    return run("ip", "-n", namespace, *command.split())


class Tool:
    """A tool in a namespace, spoken to by lines. The last line that matters is kept in `state`."""

    def __init__(self, name, namespace):
        program = os.path.join(BUILD, "tests", name)
        if not os.path.exists(program):
            pytest.skip(f"{program} is not built")
        self.process = subprocess.Popen(["ip", "netns", "exec", namespace, program], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)
        self.buffer = b""

    def say(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def line(self, timeout_s=LOOKS_S):
        end = time.monotonic() + timeout_s
        while b"\n" not in self.buffer:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                return None
            read = os.read(self.process.stdout.fileno(), 1 << 20)
            assert read, "the tool ended"
            self.buffer += read
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def until(self, condition, timeout_s=LOOKS_S):
        end = time.monotonic() + timeout_s
        state = None
        while time.monotonic() < end:
            state = self.line(max(0.0, end - time.monotonic()))
            if state is not None and condition(state):
                return state
        raise AssertionError(f"never came: last seen {state}")

    def end(self):
        self.process.stdin.close()
        assert self.process.wait(10) == 0  # with sanitizers: nothing leaked


@pytest.fixture
def site():
    """Two namespaces: `veth0` 10.9.0.1 fd00:9::1 here, `veth0` 10.9.0.2 fd00:9::2 at the peer."""
    for namespace in (HERE, PEER):
        run("ip", "netns", "add", namespace)
        ip(namespace, "link set lo up")
    try:
        ip(HERE, f"link add veth0 type veth peer name veth0 netns {PEER}")
        for namespace, number in ((HERE, 1), (PEER, 2)):
            ip(namespace, f"link set veth0 address 02:00:00:00:09:0{number} up")
            ip(namespace, f"address add 10.9.0.{number}/24 dev veth0")
            ip(namespace, f"address add fd00:9::{number}/64 dev veth0 nodad")
        yield
    finally:
        for namespace in (HERE, PEER):
            run("ip", "netns", "delete", namespace)


@pytest.fixture
def follow(site):
    tool = Tool("network_probe_tool", HERE)
    yield tool
    if tool.process.poll() is None:
        tool.end()


@pytest.fixture
def announce(site):
    tool = Tool("announce_tool", HERE)
    yield tool
    tool.end()


def link(state, name):
    return next((each for each in state["links"] if each["name"] == name), None)


def route(state, to):
    return next((each for each in state["routes"] if f"{each['to']}/{each['length']}" == to), None)


def hop(state, to):
    return next((each for each in state["next_hops"] if each["to"] == to), None)


def test_what_is_there_at_the_start(follow):
    state = follow.line()
    veth = link(state, "veth0")
    assert veth["mac"] == "02:00:00:00:09:01" and veth["up"] and veth["away"] and veth["mtu"] == 1500
    assert {"10.9.0.1", "fd00:9::1"} <= set(veth["addresses"])
    assert veth["kind"] == 1 and link(state, "lo")["kind"] == 5
    assert route(state, "10.9.0.0/24")["ifindex"] == veth["ifindex"]
    assert route(state, "fd00:9::/64")["gateway"] == ""


def test_links_come_change_and_go(follow):
    ip(HERE, "link add br0 type bridge")
    bridge = link(follow.until(lambda state: link(state, "br0")), "br0")
    assert bridge["kind"] == 3 and not bridge["up"]
    ip(HERE, "link set veth0 master br0 mtu 1400")
    follow.until(lambda state: link(state, "veth0")["master"] == bridge["ifindex"]
                 and link(state, "veth0")["mtu"] == 1400)
    ip(HERE, "link add left0 type veth peer name right0")
    state = follow.until(lambda state: link(state, "left0"))
    assert link(state, "left0")["parent"] == link(state, "right0")["ifindex"]
    assert not link(state, "left0")["away"]
    ip(PEER, "link set veth0 down")
    follow.until(lambda state: not link(state, "veth0")["carrier"])
    ip(HERE, "link delete br0")
    follow.until(lambda state: not link(state, "br0") and link(state, "veth0")["master"] == 0)


def test_routes_come_change_and_go_with_their_link(follow):
    ip(HERE, "route add 192.0.2.0/24 via 10.9.0.2 metric 7")
    ip(HERE, "-4 route add default via inet6 fd00:9::2 dev veth0")
    ip(HERE, "route add blackhole 198.51.100.0/24")
    ip(HERE, "route add 2001:db8::/32 nexthop via fd00:9::2 dev veth0 nexthop via fd00:9::3 dev veth0")
    state = follow.until(lambda state: route(state, "2001:db8::/32"))
    assert route(state, "192.0.2.0/24")["gateway"] == "10.9.0.2" and route(state, "192.0.2.0/24")["metric"] == 7
    assert route(state, "0.0.0.0/0")["gateway"] == "fd00:9::2"
    assert route(state, "198.51.100.0/24")["unreachable"]
    assert route(state, "2001:db8::/32")["gateway"] in ("fd00:9::2", "fd00:9::3")
    ip(HERE, "route replace 192.0.2.0/24 via 10.9.0.3 metric 7")
    follow.until(lambda state: route(state, "192.0.2.0/24")["gateway"] == "10.9.0.3")
    ip(HERE, "link set veth0 down")  # the kernel tells of no IPv4 route that this removes
    follow.until(lambda state: not route(state, "192.0.2.0/24") and not route(state, "0.0.0.0/0"))


def test_wanted_next_hops_are_resolved_through_the_gateway(follow):
    ip(HERE, "route add 192.0.2.0/24 via 10.9.0.2")
    ip(HERE, "route add 2001:db8::/32 via fd00:9::2")
    follow.say("192.0.2.1 2001:db8::1 10.9.0.2")
    state = follow.until(lambda state: all(each["state"] == "resolved" for each in state["next_hops"] or [{"state": 0}]))
    assert hop(state, "192.0.2.1")["via"] == "10.9.0.2"
    assert hop(state, "2001:db8::1")["via"] == "fd00:9::2"
    assert {each["mac"] for each in state["next_hops"]} == {"02:00:00:00:09:02"}
    assert state["probes"] >= 2


def test_a_silent_neighbour_fails_and_is_probed_again_until_it_answers(follow):
    follow.say("10.9.0.77")
    state = follow.until(lambda state: hop(state, "10.9.0.77") and hop(state, "10.9.0.77")["failed"])
    probes = state["probes"]
    ip(PEER, "address add 10.9.0.77/24 dev veth0")
    state = follow.until(lambda state: hop(state, "10.9.0.77")["state"] == "resolved", timeout_s=20)
    assert 1 <= state["probes"] - probes <= 4  # backed off


def test_a_changed_hardware_address_is_noticed(follow):
    follow.say("10.9.0.2")
    follow.until(lambda state: hop(state, "10.9.0.2") and hop(state, "10.9.0.2")["state"] == "resolved")
    # Unseen by us: the peer does not announce it, and sends nothing.
    ip(PEER, "link set veth0 arp off")
    ip(PEER, "link set veth0 address 02:00:00:00:09:55")
    ip(PEER, "link set veth0 arp on")
    ip(HERE, "neighbour change 10.9.0.2 dev veth0 nud stale")  # what the kernel does after half a minute
    follow.until(lambda state: hop(state, "10.9.0.2")["mac"] == "02:00:00:00:09:55", timeout_s=25)


def test_lost_events_are_made_up_for(follow):
    assert follow.line()["overruns"] == 0
    os.kill(tool_pid(follow), signal.SIGSTOP)
    try:
        lines = []
        for turn in range(30):
            for host in range(1, 251):
                lines.append(f"neighbour replace 10.9.0.{host} lladdr 02:00:00:01:{turn:02x}:{host:02x} "
                             "nud permanent dev veth0")
        run("ip", "-n", HERE, "-batch", "-", stdin="\n".join(lines) + "\n")
        ip(HERE, "link add late0 type bridge")
    finally:
        os.kill(tool_pid(follow), signal.SIGCONT)
    state = follow.until(lambda state: state["overruns"] and link(state, "late0"))
    neighbours = {each["ip"]: each["mac"] for each in state["neighbours"]}
    assert all(neighbours[f"10.9.0.{host}"] == f"02:00:00:01:1d:{host:02x}" for host in range(1, 251))
    ip(HERE, "neighbour delete 10.9.0.9 dev veth0")  # and events are followed again
    follow.until(lambda state: "10.9.0.9" not in {each["ip"] for each in state["neighbours"]})


def tool_pid(tool):
    """`ip netns exec` becomes the program."""
    return tool.process.pid


def test_a_burst_of_changes_is_few_reports(follow):
    before = follow.line()["changes"]
    run("ip", "-n", HERE, "-batch", "-", stdin="".join(f"route add 192.0.2.{host}/32 dev veth0\n" for host in range(200)))
    state = follow.until(lambda state: len([each for each in state["routes"] if each["to"].startswith("192.0.2.")]) == 200)
    assert state["changes"] - before < 100


def capture(namespace, seconds, count, expression, start):
    """Frames at the peer's veth0, as scapy packets."""
    from scapy.all import Ether, rdpcap  # noqa: F401
    path = f"/tmp/{namespace}.pcap"
    tcpdump = subprocess.Popen(["ip", "netns", "exec", namespace, "timeout", str(seconds), "tcpdump", "-U", "-i", "veth0",
                                "-c", str(count), "-w", path, expression], stderr=subprocess.PIPE)
    try:
        os.read(tcpdump.stderr.fileno(), 4096)  # "listening on": from here on it sees everything
        start()
        tcpdump.wait(seconds + 5)
        return list(rdpcap(path))
    finally:
        tcpdump.stderr.close()
        if tcpdump.poll() is None:
            tcpdump.kill()
        os.unlink(path)


MAC = "02:00:00:00:09:01"


def test_gratuitous_arp_at_the_peer(announce):
    frames = capture(PEER, 8, 8, "arp", lambda: announce.say(f"10.9.0.100@veth0/{MAC}"))
    assert [frame.op for frame in frames] == [1, 2] * 4
    for frame in frames:
        assert frame.dst == "ff:ff:ff:ff:ff:ff" and frame.src == MAC and frame.hwsrc == MAC
        assert frame.psrc == frame.pdst == "10.9.0.100"
    waits = [round(float(frames[2 * i + 2].time - frames[2 * i].time), 1) for i in range(3)]
    assert waits == pytest.approx([0.1, 0.9, 2.0], abs=0.15)


def test_unsolicited_advertisement_at_the_peer(announce):
    from scapy.all import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
    frames = capture(PEER, 8, 3, "icmp6 and ip6[40] == 136", lambda: announce.say(f"fd00:9::100@veth0/{MAC}"))
    assert len(frames) == 3
    for frame in frames:
        advertisement = frame[ICMPv6ND_NA]
        assert frame.dst == "33:33:00:00:00:01" and frame.src == MAC
        assert frame[IPv6].dst == "ff02::1" and frame[IPv6].src == "fd00:9::100" and frame[IPv6].hlim == 255
        assert (advertisement.R, advertisement.S, advertisement.O) == (0, 0, 1) and advertisement.tgt == "fd00:9::100"
        assert frame[ICMPv6NDOptDstLLAddr].lladdr == MAC
        seen = advertisement.cksum
        del frame[ICMPv6ND_NA].cksum
        assert type(frame)(bytes(frame))[ICMPv6ND_NA].cksum == seen


@pytest.mark.parametrize("vip", ["10.9.0.100", "fd00:9::100"])
def test_the_peer_follows_the_announcement(announce, vip):
    ip(PEER, f"neighbour replace {vip} lladdr 02:00:00:00:00:99 nud stale dev veth0")
    announce.say(f"{vip}@veth0/{MAC}")
    end = time.monotonic() + 5
    while MAC not in ip(PEER, f"neighbour show {vip}"):
        assert time.monotonic() < end
        time.sleep(0.02)


def groups(namespace):
    return ip(namespace, "maddress show dev veth0")


def test_membership_is_shared_reported_and_left(announce):
    def expect(line, group, filter_open):
        announce.say(line)
        assert announce.line() is not None
        assert ("ff02::1:ff00:abcd" in groups(HERE)) == group
        assert ("33:33:ff:00:ab:cd" in groups(HERE)) == filter_open

    report = capture(PEER, 5, 1, "ip6[48] == 143 and ip6[72:4] == 0xff00abcd",
                     lambda: expect(f"fd00:9::abcd@veth0/{MAC}", True, True))
    assert len(report) == 1
    assert bytes.fromhex("ff0200000000000000000001ff00abcd") in bytes(report[0])
    expect(f"fd00:9::abcd@veth0/{MAC} fd00:8::abcd@veth0/{MAC}", True, True)
    expect(f"fd00:8::abcd@veth0/{MAC}", True, True)
    expect("", False, False)


def test_the_filter_is_opened_where_ipv6_is_off(announce):
    ip(HERE, "link set veth0 mtu 1279")  # below 1280 the kernel takes IPv6 off the link
    announce.say(f"fd00:9::abcd@veth0/{MAC}")
    assert announce.line() is not None
    assert "33:33:ff:00:ab:cd" in groups(HERE) and "ff02::1:ff00:abcd" not in groups(HERE)
    announce.say("")
    assert announce.line() is not None
    assert "33:33:ff:00:ab:cd" not in groups(HERE)
