# SPDX-License-Identifier: Apache-2.0
"""The control socket, the command line, metrics and the status page: what they say, and what they refuse."""
import json
import os
import re
import socket
import struct
import subprocess
import time

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether
from scapy.utils import rdpcap, wrpcap

import edge_site
import manifests

VIP4, VIP6 = manifests.vips(200)


@pytest.fixture
def node(echo_node):
    return echo_node


def everything(node):
    """All objects as they are stored."""
    kinds = ("services", "endpointslices", "endpoints", "ipaddresspools", "l2advertisements", "nodes")
    return {kind: node.selvage("get", kind, "-A", "-o", "json", check=False).stdout for kind in kinds}


# --- bad input -----------------------------------------------------------------------------------------------------------

GOOD = 'apiVersion: v1\nkind: Service\nmetadata: {name: fine}\nspec:\n  type: LoadBalancer\n  ports:\n  - port: 1\n'
BAD = {
    "unknown field": (GOOD.replace("- port: 1", "- port: 1\n    prot: UDP"), "8:5"),
    "wrong type": (GOOD.replace("port: 1", "port: [1]"), "7:11"),
    "out of range": (GOOD.replace("port: 1", "port: 70000"), "7:11"),
    "duplicate key": (GOOD.replace("- port: 1", "- port: 1\n    port: 2"), "8:5"),
    "tab": (GOOD.replace("  - port", "\t- port"), "7:1"),
    "unknown kind": (GOOD.replace("Service", "Servise"), "2:7"),
    "second document": (GOOD + "---\n" + GOOD.replace("name: fine", "name: Not_Fine"), "11:18"),
    "pool of no addresses": ("apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: p, namespace: m}\n"
                             "spec:\n  addresses: [192.0.2.300/24]\n", "5:15"),
    "unfinished": ("apiVersion: v1\nkind: [\n", "3:1"),
}


@pytest.fixture(scope="module")
def quiet_node(machine):
    """A node without traffic for tests that change nothing."""
    with edge_site.Site() as site:
        node = site.add_node()
        node.start_daemon()
        node.apply(manifests.stream(manifests.POOL, manifests.advertisement()))
        yield node


@pytest.mark.parametrize("name", BAD)
def test_a_bad_manifest_changes_nothing(quiet_node, tmp_path, name):
    text, place = BAD[name]
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    before, revision = everything(quiet_node), quiet_node.status()["revision"]
    done = quiet_node.selvage("apply", "-f", path, check=False)
    assert done.returncode == 1
    assert f"{path}:{place}:" in done.stderr, done.stderr
    assert everything(quiet_node) == before and quiet_node.status()["revision"] == revision
    # the socket itself, without the command line's own look at it
    status, answer = quiet_node.api("POST", "/selvage/v1/apply", text, "application/yaml")
    assert status in (400, 422) and answer["kind"] == "Status" and place in answer["message"], answer
    assert everything(quiet_node) == before


def test_conflicts_are_refused_with_a_sentence(quiet_node):
    quiet_node.apply(manifests.stream(manifests.service("first", 210, ["80/TCP"])))
    before = everything(quiet_node)
    done = quiet_node.selvage("apply", "-f", "-", stdin=manifests.stream(manifests.service("second", 210, ["80/TCP"])), check=False)
    assert done.returncode == 1 and "192.0.2.210" in done.stderr and "first" in done.stderr, done.stderr
    assert everything(quiet_node) == before
    quiet_node.selvage("delete", "service", "first")


def test_huge_and_deep_manifests(quiet_node):
    before = everything(quiet_node)
    for text in ("a: [" * 100000, "a: &a [x]\n" + "".join(f"b{i}: &b{i} [{', '.join(['*b%d' % (i - 1) if i else '*a'] * 10)}]\n" for i in range(12)),
                 "x: y\n" * 1000000):
        start = time.monotonic()
        done = quiet_node.selvage("apply", "-f", "-", stdin=text, check=False)
        assert done.returncode == 1 and re.search(r":\d+:\d+: ", done.stderr), done.stderr[:500]
        assert time.monotonic() - start < 20
    assert everything(quiet_node) == before


def test_ordinary_users_are_refused(quiet_node):
    os.chmod(quiet_node.run_directory, 0o755)
    for name in ("run", ""):
        os.chmod(quiet_node.directory / name, 0o755)
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
    cli = [edge_site.BUILD / "ctrl/cli/selvage", "--socket", quiet_node.socket_path]
    words = ["status"]
    done = edge_site.run(*as_nobody, *cli, *words, check=False)
    assert done.returncode == 1 and "ermission denied" in done.stderr, done.stderr
    # even where the socket's permissions let everybody in, the peer's user id decides
    os.chmod(quiet_node.socket_path, 0o666)
    for words, stdin in ((["status"], None), (["apply", "-f", "-"], GOOD), (["trace", "-c", "1"], None)):
        done = edge_site.run(*as_nobody, *cli, *words, stdin=stdin, check=False)
        assert done.returncode == 1 and "this user may not use the control socket" in done.stderr, done.stderr
    assert "services \"fine\" not found" in quiet_node.selvage("get", "service", "fine", check=False).stderr
    os.chmod(quiet_node.socket_path, 0o660)


def test_garbage_on_the_control_socket(quiet_node):
    pieces = [
        b"\0" * 5000, os.urandom(5000), b"GET\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 100000,
        b"POST /selvage/v1/apply HTTP/1.1\r\nContent-Length: 99999999999999\r\n\r\n",
        b"POST /selvage/v1/apply HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /selvage/v1/apply HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /selvage/v1/apply HTTP/1.1\r\nContent-Length: 100\r\n\r\nkind: Serv",  # and never the rest
        b"GET /selvage/v1/status HTTP/1.1\r\n\r\n" * 200,
    ]
    held = []
    for data in pieces:
        for half_close in (False, True):
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(5)
            connection.connect(str(quiet_node.socket_path))
            try:
                connection.sendall(data)
                if half_close:
                    connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # it hung up already
            held.append(connection)  # and not closed while the daemon is asked
            assert quiet_node.status()["ready"]
    # gone without a word, with answers unread
    for connection in held:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    assert quiet_node.status()["ready"] and quiet_node.daemon.poll() is None


def test_many_silent_connections(quiet_node):
    held = []
    for _ in range(200):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(5)
        try:
            connection.connect(str(quiet_node.socket_path))
            held.append(connection)
        except OSError:
            break
    for connection in held:
        connection.close()
    quiet_node.selvage("status")


# --- words and numbers ---------------------------------------------------------------------------------------------------


def frame_to(node, payload=b"0 0", port=7000, **ip):
    return bytes(Ether(dst=node.mac, src="02:00:00:00:00:65") / IP(src="192.0.2.101", dst=VIP4, **ip) / UDP(sport=40000, dport=port) / payload)


def test_explain_tells_what_happens(node, tmp_path):
    node.site.namespaces["c1"].run("ping", "-c", "1", VIP4)  # the client's neighbour entry, on both sides
    told = json.loads(node.selvage("explain", "--packet", frame_to(node).hex(), "-o", "json").stdout)
    told = told["results"][0] if "results" in told else told[0] if isinstance(told, list) else told
    assert told["verdict"] in ("tx", "redirect") and told["function"] == "lb" and told["service"].startswith("default/echo")
    assert told["backend"] in ("192.0.2.21:7000", "10.77.1.2:7000") and told["steps"]
    # it is what really happens
    with node.site.namespaces["c1"].sniffer() as sniffer:
        pass
    words = node.selvage("explain", "--packet", frame_to(node, port=7001).hex()).stdout
    assert "vip_port_closed" in words and "no service on this protocol and port" in words, words
    capture = tmp_path / "in.pcap"
    wrpcap(str(capture), [Ether(frame_to(node)), Ether(frame_to(node, ttl=1)),
                          Ether(dst="ff:ff:ff:ff:ff:ff", src="02:00:00:00:00:65") / ARP(psrc="192.0.2.101", pdst=VIP4)])
    words = node.selvage("explain", "--in", capture).stdout
    assert "hop_limit_exceeded" in words and "vip" in words, words
    assert node.drops()["vip_port_closed"] == 0  # explaining is not doing
    bad = node.selvage("explain", "--packet", "zz", check=False)
    assert bad.returncode != 0 and bad.stderr.startswith("selvage: ")


def test_trace_and_drops(node, tmp_path):
    client = node.site.namespaces["c1"]
    capture = tmp_path / "drops.pcapng"
    trace = node.start(edge_site.BUILD / "ctrl/cli/selvage", "--socket", node.socket_path, "trace", "--filter",
                       "udp and port 7009 and drops", "-c", "3", "-w", capture, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    before = node.drops()["vip_port_closed"]
    udp = client.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def finished():
        udp.sendto(b"nobody listens here", (VIP4, 7009))
        udp.sendto(b"0 0", (VIP4, 7000))  # not to be traced
        return trace.poll() is not None
    edge_site.wait_for(finished, 10, "three packets to be traced", 0.05)
    out, errors = trace.communicate()
    udp.close()
    assert trace.returncode == 0, errors
    frames = rdpcap(str(capture))
    assert len(frames) == 3 and all(frame[UDP].dport == 7009 for frame in frames)
    assert node.drops()["vip_port_closed"] >= before + 3
    table = node.selvage("drops").stdout
    assert "vip_port_closed" in table and "The virtual IP has no service on this protocol and port." in table
    # live lines as well
    trace = node.start(edge_site.BUILD / "ctrl/cli/selvage", "--socket", node.socket_path, "trace", "--filter",
                       "port 7009", "-c", "1", stdout=subprocess.PIPE, text=True)
    udp = client.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def line_came():
        udp.sendto(b"nobody listens here", (VIP4, 7009))
        return trace.poll() is not None
    edge_site.wait_for(line_came, 10, "a traced packet", 0.05)
    out = trace.communicate()[0]
    udp.close()
    assert "vip_port_closed" in out and VIP4 in out, out
    bad = node.selvage("trace", "--filter", "udp and and", "-c", "1", check=False)
    assert bad.returncode in (1, 2) and bad.stderr


def parse_openmetrics(text):
    """A strict little reader: {(name, labels): value}; complains as a scraper would."""
    types, samples, last = {}, {}, None
    lines = text.split("\n")
    assert lines[-2:] == ["# EOF", ""], "it ends in # EOF and a line's end"
    for line in lines[:-2]:
        comment = re.fullmatch(r"# (HELP|TYPE|UNIT) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.*)", line)
        if comment:
            kind, name, rest = comment.groups()
            assert name == last or name not in types, f"{name} comes in two pieces"
            last = name
            if kind == "TYPE":
                assert rest in ("counter", "gauge", "info", "histogram", "stateset", "summary", "unknown"), line
                types[name] = rest
            continue
        sample = re.fullmatch(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (-?[0-9.e+-]+|NaN|[+-]Inf)', line)
        assert sample, f"no sample: {line!r}"
        name, labels, value = sample.groups()
        labels = labels or ""
        assert re.fullmatch(r'(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*"(?:,(?!$)|$))*', labels), f"labels of {line!r}"
        suffixes = {"counter": ("_total", "_created"), "info": ("_info",), "gauge": ("",), "unknown": ("",),
                    "histogram": ("_bucket", "_sum", "_count"), "summary": ("", "_sum", "_count"), "stateset": ("",)}
        assert last in types and name[len(last):] in suffixes[types[last]] and name.startswith(last), f"{line!r} under {last}"
        assert (name, labels) not in samples, f"twice: {line!r}"
        samples[name, labels] = float(value)
    return samples


def test_metrics_and_the_status_page(node):
    client = node.site.namespaces["c1"]
    with client.client("udp-flows", VIP4, 7000, flows=5, interval_ms=1) as flows:
        flows.until(lambda report: report["received"] >= 100, 10, "100 answers")
        flows.stop()
    fetch = lambda path: node.run("curl", "-sS", "-i", f"http://127.0.0.1:9480{path}").stdout.replace("\r\n", "\n")
    head, _, body = fetch("/metrics").partition("\n\n")
    assert "application/openmetrics-text" in head
    samples = parse_openmetrics(body)
    value = lambda name, *parts: sum(number for (sample, labels), number in samples.items()
                                     if sample == name and all(part in labels for part in parts))
    assert value("selvage_fastpath_packets_total", 'function="lb"', 'verdict="pass"') == 0
    assert value("selvage_fastpath_packets_total", 'function="lb"') >= 200
    assert value("selvage_vip_owner", f'vip="{VIP4}"', 'node="n1"') == 1
    assert value("selvage_backend_health", 'service="default/echo', 'backend="192.0.2.21:7000"') == 1
    reasons = {re.search('reason="(.*?)"', labels).group(1) for name, labels in samples if name == "selvage_fastpath_drops_total"}
    assert reasons == set(node.drops())
    assert parse_openmetrics(node.selvage("metrics").stdout).keys() == samples.keys()
    for path in ("/healthz", "/readyz"):
        assert fetch(path).startswith("HTTP/1.1 200 "), path
    page = fetch("/")
    assert page.startswith("HTTP/1.1 200 ") and "text/html" in page and VIP4 in page and "echo" in page
    assert fetch("/nothing").startswith("HTTP/1.1 404 ")


def test_status_get_and_describe(node):
    text = node.selvage("status").stdout
    assert all(word in text for word in ("n1", "eth0", "xdp-native", "vethw1", "tc", VIP4, "default/echo")), text
    status = json.loads(node.selvage("status", "-o", "json").stdout)
    assert status["node"] == "n1" and {each["name"] for each in status["interfaces"]} == {"eth0", "vethw1"}
    service = json.loads(node.selvage("get", "service", "echo", "-o", "json").stdout)
    assert {each["ip"] for each in service["status"]["loadBalancer"]["ingress"]} == {VIP4, VIP6}
    assert VIP4 in node.selvage("get", "services").stdout
    assert "192.0.2.21" in node.selvage("describe", "service", "echo").stdout
    assert VIP4 in node.selvage("vip", "list").stdout
    assert node.selvage("diff", "-f", "-", stdin=node.manifest, check=False).returncode == 0
    for words, status, says in ((["get", "service", "nothing"], 1, "nothing"), (["frobnicate"], 2, "frobnicate"),
                                (["get", "widgets"], None, "widgets")):
        done = node.selvage(*words, check=False)
        assert done.returncode in ((1, 2) if status is None else (status,)) and done.stderr.startswith("selvage: ") and says in done.stderr
    edge_site.run(edge_site.BUILD / "ctrl/cli/selvage", "--help")
    done = edge_site.run(edge_site.BUILD / "ctrl/cli/selvage", "--socket", "/nonexistent/sock", "status", check=False)
    assert done.returncode == 1 and "/nonexistent/sock" in done.stderr


def test_deleting_takes_the_virtual_ip_away(node):
    client = node.site.namespaces["c1"]
    client.run("ping", "-c", "1", VIP4)
    node.selvage("delete", "service", "echo")
    edge_site.wait_for(lambda: not node.get("/selvage/v1/vips")["items"], 5, "the virtual IPs to go")
    client.ip("neighbour flush dev eth0")
    assert client.run("ping", "-c", "1", "-W", "1", VIP4, check=False).returncode != 0
    node.apply(node.manifest)
    node.wait_backends("echo", up=4)
    client.run("ping", "-c", "3", "-i", "0.2", VIP4)


def test_bad_configuration(site, tmp_path):
    path = tmp_path / "selvage.yaml"
    for text, says in (("interfaces: eth0\n", f"{path}:1:13"), ("node: {name: a, nmae: b}\n", f"{path}:1:"), ("a\n", str(path)),
                       ("interfaces:\n- {name: eth0, engine: fast}\n", "dpdk")):
        path.write_text(text)
        done = edge_site.run(edge_site.BUILD / "ctrl/daemon/selvaged", "--config", path, check=False)
        assert done.returncode == 1 and done.stderr.startswith("selvaged: ") and says in done.stderr, done.stderr
    done = edge_site.run(edge_site.BUILD / "ctrl/daemon/selvaged", "--config", tmp_path / "none", check=False)
    assert done.returncode == 1 and "No such file" in done.stderr
    assert edge_site.run(edge_site.BUILD / "ctrl/daemon/selvaged", "--bad", check=False).returncode == 2


# --- replay --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["native", "xdp", "dpdk"])
def test_replay_agrees_with_the_wire(node, tmp_path, engine):
    """What left the node on the wire is what selvage-replay says, with the same manifests."""
    program = edge_site.BUILD / "ctrl/replay/selvage-replay"
    if not program.exists():
        pytest.skip(f"{program} is not built")
    done = edge_site.run(program, "--engine", engine, "--manifest", edge_site.ROOT / "docs/examples/pool-and-l2.yaml",
                         "--manifest", edge_site.ROOT / "docs/examples/simple-udp.yaml", "--manifest",
                         edge_site.ROOT / "docs/examples/replay-node.yaml", "--node", "edge-1", "--in", capture_of_examples(tmp_path),
                         "--out", tmp_path / "out.pcap", "--json", "--results")
    result = json.loads(done.stdout)
    assert result["packets"] == 2 and result["verdicts"]["tx"] == 2, result
    out = rdpcap(str(tmp_path / "out.pcap"))
    assert out[0][ARP].op == 2 and out[0][ARP].hwsrc == "02:00:00:00:00:01"
    assert out[1][IP].dst in ("192.0.2.21", "192.0.2.22") and out[1][IP].ttl == 63


def capture_of_examples(tmp_path):
    path = tmp_path / "in.pcap"
    vip = "192.0.2.128"
    wrpcap(str(path), [Ether(dst="ff:ff:ff:ff:ff:ff", src="02:00:00:00:00:fe") / ARP(psrc="192.0.2.254", hwsrc="02:00:00:00:00:fe", pdst=vip),
                       Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:fe") / IP(src="198.51.100.7", dst=vip) / UDP(sport=4000, dport=7000) / b"x"])
    return path
