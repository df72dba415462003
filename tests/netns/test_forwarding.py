# SPDX-License-Identifier: Apache-2.0
"""Real programs through a virtual IP: curl, wrk, iperf3 and UDP, by NAT and by direct return, IPv4 and IPv6."""
import json
import re
import subprocess
import time

import pytest

import manifests

ENGINES = ["xdp-native", "dpdk"]
CHECKS = {"health-interval-ms": 200, "health-timeout-ms": 200}


class Scene:
    """A site of one node with its services up."""

    def __init__(self, site):
        self.site, self.node = site, site.add_node()
        self.client, self.far = site.add_client(), site.add_far_client(self.node)
        self.backends = []

    def serve(self, *backends):
        self.backends = backends
        for backend in backends:
            backend.serve(backend.short, udp=["7000", "10000-10009"])
            backend.nginx(backend.short, listen=("80",) if self.direct else ("8080",))
        for number, backend in enumerate(backends):
            # With direct return iperf3 must hold the virtual IP itself: its UDP answers do not follow the question's address.
            for address in manifests.vips(201 + number) if self.direct else ("0.0.0.0", "::"):
                backend.start("iperf3", "-s", "-p", "5201", "-B", address, *(["-6"] if address == "::" else []),
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def start(self, annotations):
        target = "" if self.direct else ":8080"
        checks = {**CHECKS, **annotations}
        services = [
            manifests.service("web", 200, [f"80/TCP{target}"], checks),
            manifests.service("echo", 200, ["7000/UDP"], {**checks, "health-check": "udp", "health-expect": "pong"}),
            manifests.service("ports", 200, ["10000/UDP"], {**checks, "port-range": "10000-10009", "health-port": 7000}),
        ]
        for number, backend in enumerate(self.backends):
            services.append(manifests.service(f"iperf-{backend.short}", 201 + number, ["5201/TCP", "5201/UDP"],
                                              {**checks, "health-check": "udp", "health-port": 7000,
                                               "health-expect": "pong"}))  # iperf3 is alone with its client
        for service in services:
            service["metadata"]["annotations"]["metallb.io/allow-shared-ip"] = "yes"
        self.node.start_daemon()
        slices = [manifests.slices(service, self.backends) for service in services[:3]]
        slices += [manifests.slices(service, [backend]) for service, backend in zip(services[3:], self.backends)]
        self.node.apply(manifests.stream(manifests.POOL, manifests.advertisement(), services, *slices))
        for service in services[:3]:
            self.node.wait_backends(service["metadata"]["name"], up=2 * len(self.backends))
        for service in services[3:]:
            self.node.wait_backends(service["metadata"]["name"], up=4)


@pytest.fixture
def nat(site):
    scene = Scene(site)
    scene.direct = False
    scene.serve(site.add_backend("b1", 21, scene.node), scene.node.workload("w1", 1))
    scene.start({})
    return scene


@pytest.fixture
def direct(site):
    scene = Scene(site)
    scene.direct = True
    addresses = [address for number in (200, 201, 202) for address in manifests.vips(number)]
    backends = [site.add_direct_backend("d1", 41, addresses), site.add_direct_backend("d2", 42, addresses)]
    for backend in backends:  # the way back does not lead over the node
        backend.ip("route add default via 192.0.2.254", "route add ::/0 via 2001:db8:0:1::254")
    scene.serve(*backends)
    scene.start({"forwarding": "l2-dsr"})
    return scene


def url(vip):
    return f"http://[{vip}]/" if ":" in vip else f"http://{vip}/"


def curl_sees_both_and_keeps_its_address(scene, client, measured):
    for vip in manifests.vips(200):
        own = client.address6 if ":" in vip else client.address4
        names = set()
        for _ in range(40):
            name, seen = client.run("curl", "-sS", "-m", "5", url(vip)).stdout.split()
            assert seen == own  # the backend sees the client, not the node
            names.add(name)
        assert names == {backend.short for backend in scene.backends}


def wrk(scene, measured):
    for vip in manifests.vips(200):
        out = scene.client.run("wrk", "-t1", "-c16", "-d1s", url(vip)).stdout
        measured(f"wrk {vip}, requests/s", re.search(r"Requests/sec:\s+([0-9.]+)", out).group(1))
        assert "Socket errors" not in out and "Non-2xx" not in out, out


def udp(scene, measured):
    for vip in manifests.vips(200):
        for ports in ({"port": 7000}, {"port": 10000, "port_last": 10009}):
            with scene.client.client("udp-flows", vip, flows=20, interval_ms=1, **ports) as flows:
                flows.until(lambda report: report["received"] >= 400, 10, "400 answers")
                report = flows.stop()
            measured(f"udp {vip}:{ports['port']}, sent/received, latency µs",
                     f"{report['sent']}/{report['received']}, {report['latency_us']}")
            assert report["received"] == report["sent"] and report["again"] == 0
            assert all(len(flow["names"]) == 1 for flow in report["flows"])
            assert len({flow["names"][0][1] for flow in report["flows"]}) == len(scene.backends)


def iperf3_run(client, vip, flags):
    """One measurement. The server opens its port anew after each, so one that comes too soon is refused and asks again."""
    for attempt in range(30):
        out = json.loads(client.run("iperf3", "-J", "-c", vip, *flags, check=False).stdout)
        if not any(words in out.get("error", "") for words in ("Connection refused", "reset by peer", "busy")):
            break
        time.sleep(0.05)
    assert "error" not in out, out["error"]
    return out


def iperf3(scene, measured, client):
    for number, backend in enumerate(scene.backends):
        for vip in manifests.vips(201 + number):
            for flags in (["-n", "32M"], ["-n", "32M", "-R"], ["-u", "-b", "50M", "-l", "1200", "-t", "1"]):
                end = iperf3_run(client, vip, flags)["end"]
                if "-u" in flags:
                    total = end["sum"]
                    text = f"{total['bits_per_second'] / 1e6:.0f} Mbit/s, lost {total['lost_packets']} of {total['packets']}"
                    assert total["lost_packets"] <= total["packets"] * 0.01, text
                else:
                    text = f"{end['sum_received']['bits_per_second'] / 1e6:.0f} Mbit/s"
                    assert end["sum_received"]["bits_per_second"] > 20e6, text
                measured(f"iperf3 {' '.join(flags)} {vip} on {backend.short}", text)


def test_nat(nat, measured):
    curl_sees_both_and_keeps_its_address(nat, nat.client, measured)
    curl_sees_both_and_keeps_its_address(nat, nat.far, measured)
    wrk(nat, measured)
    udp(nat, measured)
    drops = {key: count for key, count in nat.node.drops().items() if count}
    # The router's hardware address may still be asked for when the first answer goes to the client behind it.
    assert drops.pop("neighbour_unresolved", 0) <= 2 and drops == {}


def test_nat_iperf3(nat, measured):
    iperf3(nat, measured, nat.client)


def test_direct_return(direct, measured):
    curl_sees_both_and_keeps_its_address(direct, direct.client, measured)
    curl_sees_both_and_keeps_its_address(direct, direct.far, measured)
    wrk(direct, measured)
    udp(direct, measured)
    assert {key: count for key, count in direct.node.drops().items() if count} == {}


def test_direct_return_iperf3(direct, measured):
    iperf3(direct, measured, direct.client)


def test_generic_xdp(site, measured):
    """The fallback for drivers without native XDP."""
    node = site.add_node(engine="xdp-generic")
    client, backend, workload = site.add_client(), site.add_backend("b1", 21, node), node.workload("w1", 1)
    for each in (backend, workload):
        each.serve(each.short, udp=["7000"])
        each.nginx(each.short)
    web = manifests.service("web", 200, ["80/TCP:8080", "7000/UDP"], CHECKS)
    node.start_daemon()
    node.apply(manifests.stream(manifests.POOL, manifests.advertisement(), web, manifests.slices(web, [backend, workload])))
    node.wait_backends("web", up=8)
    assert [each["engine"] for each in node.status()["interfaces"] if each["name"] == "eth0"] == ["xdp-generic"]
    for vip in manifests.vips(200):
        assert {client.run("curl", "-sS", "-m", "5", url(vip)).stdout.split()[0] for _ in range(30)} == {"b1", "w1"}
        with client.client("udp-flows", vip, 7000, flows=20, interval_ms=1) as flows:
            flows.until(lambda report: report["received"] >= 100, 10, "100 answers")
            report = flows.stop()
        assert report["received"] == report["sent"]


def test_a_workload_as_client(nat, measured):
    """A local workload asks a virtual IP of its own node: what another backend gets is answered."""
    workload, other = nat.backends[1], nat.backends[0]
    for vip in manifests.vips(200):
        with workload.client("udp-flows", vip, 7000, flows=20, interval_ms=1) as flows:
            flows.until(lambda report: report["received"] >= 100, 10, "100 answers")
            report = flows.stop()
        mine = [flow for flow in report["flows"] if flow["names"]]
        measured(f"flows answered by {other.short}, of 20", len(mine))
        assert mine and all(flow["names"][0][1] == other.short and flow["received"] == flow["sent"] for flow in mine)
