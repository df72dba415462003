# SPDX-License-Identifier: Apache-2.0
"""Backends that come, drain and die, and a daemon that dies, while traffic goes on."""
import os
import shutil
import signal
import time

import pytest

import edge_site
import manifests

ENGINES = ["xdp-native", "dpdk"]
INTERVAL_MS, TIMEOUT_MS, FALL = 200, 100, 2
FAST_MS = 100  # the interval of a backend in doubt: a quarter of the interval, at least this (ctrl/health/README.md)
CHECKS = {"health-interval-ms": INTERVAL_MS, "health-timeout-ms": TIMEOUT_MS, "health-rise": 2, "health-fall": FALL}
# What ctrl/health/README.md promises for a backend that goes silent, and a margin for a busy machine with sanitizers.
DETECT_S = (INTERVAL_MS + (FALL - 1) * max(FAST_MS, TIMEOUT_MS) + TIMEOUT_MS) / 1000
MARGIN_S = 0.5
VIP4, VIP6 = manifests.vips(200)


class Scene:
    """One node; backends b1, b2 on the LAN and w1 on the machine, each with HTTP, TCP and UDP servers behind VIP 200."""

    def __init__(self, site, names=("b1", "b2", "w1"), **annotations):
        self.site, self.node, self.client = site, site.add_node(), site.add_client()
        self.backends = {name: self.node.workload(name, number) if name[0] == "w" else
                         site.add_backend(name, 20 + number, self.node) for number, name in enumerate(names, 1)}
        self.servers, self.web_servers = {}, {}
        for name in names:
            self.serve(name)
        self.web = manifests.service("web", 200, ["80/TCP:8080"], {**CHECKS, **annotations})
        self.line = manifests.service("line", 200, ["7001/TCP"], {**CHECKS, **annotations})
        self.echo = manifests.service("echo", 200, ["7000/UDP"], {**CHECKS, "health-check": "udp", "health-expect": "pong",
                                                                  **annotations})
        self.services = [self.web, self.line, self.echo]
        for service in self.services:
            service["metadata"]["annotations"]["metallb.io/allow-shared-ip"] = "yes"
        self.node.start_daemon()
        self.node.apply(manifests.stream(manifests.POOL, manifests.advertisement(), self.services))
        self.use(*names)

    def serve(self, name):
        backend = self.backends[name]
        self.servers[name] = backend.serve(name, udp=["7000"], tcp=["7001"])
        self.web_servers[name] = backend.nginx(name)

    def slices(self, *names):
        return manifests.stream([each for service in self.services
                                 for each in manifests.slices(service, [self.backends[name] for name in names])])

    def use(self, *names):
        self.node.apply(self.slices(*names))
        for service in ("web", "line", "echo"):
            self.node.wait_backends(service, up=2 * len(names))

    def udp(self, flows=60, interval_ms=1, vip=VIP4, **more):
        return self.client.client("udp-flows", vip, 7000, flows=flows, interval_ms=interval_ms, **more)

    def tcp(self, flows=30, interval_ms=5, vip=VIP4):
        return self.client.client("tcp-flows", vip, 7001, flows=flows, interval_ms=interval_ms)

    def http(self, workers=3, vip=VIP4, **more):
        return self.client.client("http-load", vip, 80, workers=workers, **more)

    def freeze(self, name):
        """A host that says nothing any more: its cable is out, its servers stand still."""
        for server in (self.servers[name], self.web_servers[name]):
            server.send_signal(signal.SIGSTOP)


@pytest.fixture
def scene(site):
    return Scene(site)


def all_answered(report):
    return all(flow["names"] for flow in report["flows"])


def names_now(report):
    return [flow["names"][-1][1] for flow in report["flows"]]


def names_of_new(report, earlier):
    """Of the flows whose port no flow of the earlier client had: a port again is the same flow again."""
    ports = {flow["port"] for flow in earlier["flows"]}
    return [flow["names"][-1][1] for flow in report["flows"] if flow["port"] not in ports]


def nobody_moved(report):
    return all(len(flow["names"]) == 1 for flow in report["flows"])


# --- backends ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vip", [VIP4, VIP6])
def test_udp_flows_of_a_silent_backend_move(scene, measured, vip):
    with scene.udp(vip=vip) as flows:
        before = flows.until(all_answered, 10, "an answer for every flow")
        victims = [number for number, name in enumerate(names_now(before)) if name == "b1"]
        assert victims
        died = time.monotonic()
        scene.freeze("b1")
        flows.until(lambda report: "b1" not in names_now(report), 10, "every flow of b1 to move")
        report = flows.stop()
    moved = [report["flows"][number]["names"][1][0] - died for number in victims]
    measured("until each UDP flow of the silent backend was answered by another, ms: first, last",
             f"{min(moved) * 1000:.0f}, {max(moved) * 1000:.0f} (promised {DETECT_S * 1000:.0f})")
    assert max(moved) <= DETECT_S + MARGIN_S
    others = [flow for number, flow in enumerate(report["flows"]) if number not in victims]
    assert all(len(flow["names"]) == 1 and not flow["lost"] for flow in others)


def test_udp_flows_of_a_killed_backend_move(scene, measured):
    """Its host lives and refuses: noticed as soon as the checks say so."""
    with scene.udp() as flows:
        flows.until(all_answered, 10, "an answer for every flow")
        died = time.monotonic()
        scene.servers["w1"].kill()
        flows.until(lambda report: "w1" not in names_now(report), 10, "every flow of w1 to move")
        report = flows.stop()
    moved = [flow["names"][1][0] - died for flow in report["flows"] if len(flow["names"]) > 1]
    lost = sum(len(flow["lost"]) for flow in report["flows"])
    measured("UDP flows of the killed backend moved after, ms: first, last", f"{min(moved) * 1000:.0f}, {max(moved) * 1000:.0f}")
    measured("packets sent, lost meanwhile", f"{report['sent']}, {lost}")
    assert max(moved) <= DETECT_S + MARGIN_S


def test_all_backends_dead(scene):
    for name in scene.backends:
        scene.freeze(name)
    scene.node.wait_backends("echo", down=6)
    before = scene.node.drops()["service_no_backend"]
    with scene.udp(flows=5) as flows:
        flows.until(lambda report: report["sent"] >= 50, 10, "50 packets")
        report = flows.stop()
    assert report["received"] == 0
    counted = scene.node.drops()["service_no_backend"] - before
    assert counted == report["sent"]
    assert "no healthy backend" in scene.node.selvage("drops").stdout


def test_a_new_backend_moves_no_flow(site, measured):
    scene = Scene(site, ("b1", "w1"))
    scene.backends["b2"] = site.add_backend("b2", 29, scene.node)
    scene.serve("b2")
    with scene.udp() as busy, scene.tcp() as connections, scene.http(interval_ms=5) as http, \
            scene.udp(flows=300, rounds=True) as quiet:
        busy.until(all_answered, 10, "an answer for every flow")
        # these have sent one packet each, and their next one only after the change
        quiet.until(lambda report: report["received"] == 300, 10, "300 answers")
        scene.use("b1", "w1", "b2")
        quiet.say("round")
        quiet.until(lambda report: report["received"] == 600, 10, "300 more answers")
        http.until(lambda report: "b2" in report["names"], 10, "the new backend to get requests")
        reports = {"busy": busy.stop(), "quiet": quiet.stop(), "connections": connections.stop()}
        requests = http.stop()
    for what, report in reports.items():
        measured(f"{what} flows, packets sent, received", f"{len(report['flows'])}, {report['sent']}, {report['received']}")
        assert nobody_moved(report) and report["received"] == report["sent"]
    assert reports["connections"]["failed"] == 0 and requests["failed"] == 0
    # and it does get new ones
    with scene.udp() as fresh:
        assert "b2" in names_now(fresh.until(all_answered, 10, "an answer for every flow"))


def test_drain_under_load(scene, measured):
    with scene.http() as http, scene.tcp() as connections, scene.udp() as flows:
        flows.until(all_answered, 10, "an answer for every flow")
        http.until(lambda report: len(report["names"]) == 3, 10, "requests at every backend")
        for service, port in (("web", 8080), ("line", 7001), ("echo", 7000)):
            scene.node.selvage("backend", "drain", service, f"{scene.backends['b1'].address4}:{port}")
        drained = time.monotonic()
        total = http.report()["requests"]
        http.until(lambda report: report["requests"] > total + 300, 20, "300 more requests")
        requests, lines, packets = http.stop(), connections.stop(), flows.stop()
    measured("requests, failed", f"{requests['requests']}, {requests['failed']}")
    measured("last request at the drained backend began, ms after drain", round((requests["names"]["b1"]["last"] - drained) * 1000))
    assert requests["failed"] == 0, requests["failures"]
    assert requests["names"]["b1"]["last"] < drained + 0.1
    # what it had stays
    assert lines["failed"] == 0 and nobody_moved(lines) and "b1" in names_now(lines)
    assert nobody_moved(packets) and packets["received"] == packets["sent"] and "b1" in names_now(packets)
    # nothing new
    with scene.udp() as fresh:
        assert "b1" not in names_of_new(fresh.until(all_answered, 10, "an answer for every flow"), packets)
    states = {each["address"]: each for each in scene.node.backends("echo")}
    assert states[scene.backends["b1"].address4]["state"] == "draining"
    assert not states[scene.backends["b1"].address4]["drained"], "it has flows yet"
    scene.node.selvage("backend", "undrain", "echo", scene.backends["b1"].address4)
    with scene.udp() as fresh:
        assert "b1" in names_now(fresh.until(all_answered, 10, "an answer for every flow"))


def test_drain_with_wrk(scene, measured):
    """wrk keeps its connections: those of the drained backend go on, and none fails."""
    load = scene.client.start("wrk", "-t1", "-c12", "-d3s", f"http://{VIP4}/", stdout=edge_site.subprocess.PIPE, text=True)
    edge_site.wait_for(lambda: sum(each["packets"] for each in scene.node.backends("web")) > 1000, 10, "wrk to be at work")
    scene.node.selvage("backend", "drain", "web", scene.backends["w1"].address4)
    out = load.communicate(timeout=20)[0]
    measured("wrk while a backend is drained", " ".join(out.split("requests in")[0].split()[-1:]) + " requests")
    assert "Socket errors" not in out and "Non-2xx" not in out, out


def test_distribution_and_weights(site, measured):
    scene = Scene(site)
    names = list(scene.backends)
    scene.node.apply(manifests.stream(manifests.slices(scene.echo, list(scene.backends.values()), [1, 2, 5])))
    shares = edge_site.wait_for(lambda: (lambda rows: rows[0] < rows[1] < rows[2] and rows)(
        [each["share"] for name in names for each in scene.node.backends("echo")
         if each["address"] == scene.backends[name].address4]), 5, "the new weights")
    with scene.udp(flows=800, interval_ms=0.5) as flows:
        seen = names_now(flows.until(all_answered, 20, "an answer for every flow"))
        flows.stop()
    counts = [seen.count(name) for name in names]
    measured("flows of 800 at weights 1, 2, 5; the ring's shares", f"{counts}; {[round(share, 3) for share in shares]}")
    for count, share, weight in zip(counts, shares, (1, 2, 5)):
        assert abs(share - weight / 8) < 0.02
        # five standard deviations of a fair draw
        assert abs(count - 800 * share) < 5 * (800 * share * (1 - share)) ** .5


def test_session_affinity(site, measured):
    scene = Scene(site)
    sticky = manifests.service("sticky", 201, ["80/TCP:8080"], CHECKS, sessionAffinity="ClientIP",
                               sessionAffinityConfig={"clientIP": {"timeoutSeconds": 600}})
    scene.node.apply(manifests.stream(sticky, manifests.slices(sticky, list(scene.backends.values()))))
    scene.node.wait_backends("sticky", up=6)
    scene.client.ip(*(f"address add 192.0.2.{number}/24 dev eth0" for number in range(110, 120)))
    homes = {}
    for number in range(110, 120):
        for _ in range(8):
            body = scene.client.run("curl", "-sS", "-m", "5", "--interface", f"192.0.2.{number}", "http://192.0.2.201/").stdout
            homes.setdefault(number, set()).add(body.split()[0])
    measured("backends of each of 10 clients", [sorted(home) for home in homes.values()])
    assert all(len(home) == 1 for home in homes.values())
    assert len(set.union(*homes.values())) > 1
    # a backend more takes no client away
    scene.backends["b9"] = site.add_backend("b9", 29, scene.node)
    scene.serve("b9")
    scene.node.apply(manifests.stream(manifests.slices(sticky, list(scene.backends.values()))))
    scene.node.wait_backends("sticky", up=8)
    for number, home in homes.items():
        body = scene.client.run("curl", "-sS", "-m", "5", "--interface", f"192.0.2.{number}", "http://192.0.2.201/").stdout
        assert {body.split()[0]} == home


# --- the daemon ----------------------------------------------------------------------------------------------------------


def nothing_was_lost(measured, udp, tcp, http, what):
    udp, tcp, http = udp.stop(), tcp.stop(), http.stop()
    measured(f"{what}: UDP sent, received; TCP sent, received, failed; HTTP requests, failed",
             f"{udp['sent']}, {udp['received']}; {tcp['sent']}, {tcp['received']}, {tcp['failed']}; "
             f"{http['requests']}, {http['failed']}")
    assert udp["received"] == udp["sent"] and nobody_moved(udp) and udp["again"] == 0
    assert tcp["failed"] == 0 and tcp["received"] == tcp["sent"] and nobody_moved(tcp)
    assert http["failed"] == 0, http["failures"]


def difference(before, after):
    """Which tables differ, at which byte first, and the eight bytes there."""
    result = []
    for name in before:
        if before[name] != after[name]:
            at = next(place for place in range(0, len(before[name]), 8) if before[name][place:place + 8] != after[name][place:place + 8])
            result.append(f"{name} at {at:#x}: {before[name][at:at + 8].hex()} -> {after[name][at:at + 8].hex()}")
    return result


def settled_tables(node):
    """When two looks agree."""
    last, seen = node.tables(), []

    def same():
        nonlocal last, seen
        now = node.tables()
        seen, last = difference(last, now), now
        return not seen and last
    return edge_site.wait_for(same, 10, lambda: f"the tables to settle: {seen}", 0.3)


def test_kill_and_restart(scene, measured):
    with scene.udp() as udp, scene.tcp() as tcp, scene.http() as http:
        udp.until(all_answered, 10, "an answer for every flow")
        before = settled_tables(scene.node)
        scene.node.kill_daemon()
        killed = udp.report()["sent"]
        udp.until(lambda report: report["sent"] > killed + 1000, 20, "1000 packets without a daemon")
        # ARP, neighbour discovery and echo go on as well
        for vip in (VIP4, VIP6):
            scene.client.run("ping", "-c", "2", "-i", "0.1", vip)
        assert difference(before, scene.node.tables()) == []
        scene.node.start_daemon()
        for service in ("web", "line", "echo"):
            scene.node.wait_backends(service, up=6)
        sent = udp.report()["sent"]
        udp.until(lambda report: report["sent"] > sent + 500, 20, "500 packets more")
        after = settled_tables(scene.node)
        nothing_was_lost(measured, udp, tcp, http, "kill -9 and restart")
    measured("pinned tables compared, bytes", f"{len(before)}, {sum(map(len, before.values()))}")
    assert before.keys() == after.keys() == set(edge_site.DAEMON_TABLES)
    assert difference(before, after) == []


def test_killed_again_and_again(scene, measured):
    """At whatever moment of its start."""
    with scene.udp() as udp, scene.tcp() as tcp, scene.http() as http:
        udp.until(all_answered, 10, "an answer for every flow")
        scene.node.kill_daemon()
        for number in range(8):
            scene.node.start_daemon(wait=False)
            time.sleep(0.02 + 0.06 * number)  # not an event: any moment of the start will do
            scene.node.kill_daemon()
        scene.node.start_daemon()
        for service in ("web", "line", "echo"):
            scene.node.wait_backends(service, up=6)
        nothing_was_lost(measured, udp, tcp, http, "killed 9 times")


def test_upgrade(scene, measured, tmp_path):
    """Stopped as a package does it, and another build started in its place."""
    other = tmp_path / "selvaged"
    shutil.copy(scene.node.program, other)
    with open(other, "ab") as binary:  # another build: another file with other bytes
        binary.write(b"\0another build\0")
    with scene.udp() as udp, scene.tcp() as tcp, scene.http() as http:
        udp.until(all_answered, 10, "an answer for every flow")
        assert scene.node.stop_daemon() == 0, scene.node.log()[-3000:]
        scene.node.start_daemon(other)
        assert os.readlink(f"/proc/{scene.node.daemon.pid}/exe") == str(other)
        for service in ("web", "line", "echo"):
            scene.node.wait_backends(service, up=6)
        nothing_was_lost(measured, udp, tcp, http, "upgrade")
    assert scene.node.stop_daemon() == 0, scene.node.log()[-3000:]


def test_what_was_acknowledged_is_there(scene):
    """apply says yes, the daemon is killed at once: the object is there after the next start."""
    for number in range(5):
        pool = {**manifests.POOL, "metadata": {"name": f"pool-{number}", "namespace": "metallb-system"},
                "spec": {"addresses": [f"203.0.113.{number}/32"]}}
        scene.node.apply(manifests.stream(pool))
        scene.node.kill_daemon()
        scene.node.start_daemon()
        for known in range(number + 1):
            stored = scene.node.get(f"/apis/metallb.io/v1beta1/namespaces/metallb-system/ipaddresspools/pool-{known}")
            assert stored["spec"]["addresses"] == [f"203.0.113.{known}/32"]


def test_a_backend_dies_while_nobody_watches(scene, measured):
    """The daemon is down when the backend dies: its flows move after the restart."""
    with scene.udp() as udp:
        udp.until(all_answered, 10, "an answer for every flow")
        scene.node.kill_daemon()
        scene.freeze("b1")
        start = time.monotonic()
        scene.node.start_daemon()
        udp.until(lambda report: "b1" not in names_now(report), 10, "every flow of b1 to move")
        measured("from the start of the daemon until the last flow moved, ms", round((time.monotonic() - start) * 1000))
        udp.stop()


def test_pins_lie_where_everybody_sees_them(site):
    """Other processes have mount namespaces of their own, as services do: the pins are none of theirs."""
    node = site.add_node()
    other = node.start("unshare", "--mount", "sh", "-c", "echo; exec sleep 60", stdout=edge_site.subprocess.PIPE)
    edge_site.read_line(other, 5, "unshare")
    node.start_daemon()
    assert set(node.tables()) == set(edge_site.DAEMON_TABLES)
    other.kill()
    other.wait()
    node.kill_daemon()
    node.start_daemon()
    assert "adopted the tables" in node.log()
