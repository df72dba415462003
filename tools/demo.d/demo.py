#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The demonstration itself; tools/demo builds and then runs it. Uses the tests' harness, tests/netns/edge_site.py."""
import json
import pathlib
import re
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/netns"))
import edge_site  # noqa: E402  (its place is known only now)

PREFIX = "selvage-demo"
EXAMPLES = ROOT / "docs/examples"
MANIFESTS = [EXAMPLES / "pool-and-l2.yaml", EXAMPLES / "simple-udp.yaml", EXAMPLES / "http-service.yaml"]
LOCAL = pathlib.Path(__file__).with_name("local-backend.yaml")
CALLS = pathlib.Path(__file__).with_name("calls.yaml")
DNS = "169.254.20.10"  # the node's own, on no wire
ZONE = """$ORIGIN example.
$TTL 300
@ SOA ns host 1 3600 900 86400 60
@ NS ns
ns A 192.0.2.51
www A 203.0.113.80
"""


def say(text):
    print(text, flush=True)


def step(text):
    say(f"== {text}")


def figure(name, value):
    say(f"   {name:<62} {value}")


def need(condition, sentence):
    if not condition:
        raise edge_site.Failure(sentence)


def microseconds(latency):
    return f"p50 {latency['p50']:.0f} µs, p99 {latency['p99']:.0f} µs"


class Demo:
    def __init__(self, site):
        self.site = site
        step("site: a node, four backends and four clients on a LAN; a backend and an agent for calls on the node itself")
        self.node = site.add_node("edge-1", 1, {"edge": "true"}, more=f'dns: {{listen: ["{DNS}"], upstreams: ["192.0.2.51"]}}')
        self.clients = [site.add_client(f"client-{number}", 100 + number) for number in range(1, 5)]
        self.client = self.clients[0]
        self.echo = {name: site.add_backend(name, number, self.node) for name, number in (("echo-21", 21), ("echo-22", 22))}
        self.web = {name: site.add_backend(name, number, self.node) for name, number in (("web-31", 31), ("web-32", 32))}
        self.local = self.node.workload("local", 1)
        self.direct = site.add_client("direct", 51)  # a server without a node in front
        self.agent = self.node.workload("agent", 2)
        self.servers = {name: backend.serve(name, udp=["7000"]) for name, backend in
                        {**self.echo, "local": self.local, "direct": self.direct}.items()}
        for name, backend in self.web.items():
            backend.nginx(name, listen=("8080", "8443"))

    def start(self):
        step("selvaged, and the manifests of docs/examples")
        self.node.start_daemon()
        say(self.node.selvage("apply", *(word for path in MANIFESTS for word in ("-f", path))).stdout.rstrip())
        self.node.wait_backends("echo", up=2)
        self.node.wait_backends("web", up=8)
        addresses = {each["name"]: each["addresses"] for each in self.node.get("/selvage/v1/services")["items"]}
        self.echo_vip = addresses["echo"][0]
        self.web_vip4 = next(each for each in addresses["web"] if ":" not in each)
        self.web_vip6 = next(each for each in addresses["web"] if ":" in each)
        self.node.wait_vip(self.echo_vip, "edge-1")
        engine = next(each["engine"] for each in self.node.status()["interfaces"] if each["name"] == "eth0")
        figure("engine on eth0", engine)

    def look(self):
        step("who answers")
        arp = self.client.run("arping", "-c", "1", "-w", "2", "-I", "eth0", self.echo_vip).stdout
        mac = re.search(r"\[([0-9A-Fa-f:]{17})\]", arp).group(1).lower()
        need(mac == self.node.mac, f"{self.echo_vip} is answered for by {mac}, which is not the node")
        figure(f"ARP: {self.echo_vip} is at", f"{mac} (edge-1)")
        for vip in (self.web_vip4, self.web_vip6):
            url = f"http://[{vip}]/" if ":" in vip else f"http://{vip}/"
            figure(f"curl {url} (who answers, whom it sees)", self.client.run("curl", "-sS", "-m", "5", url).stdout.strip())
        self.client.run("ping", "-c", "1", "-W", "2", self.web_vip6)

    def measure(self):
        step("speed (of this machine, clients and servers included)")
        out = self.client.run("wrk", "-t1", "-c32", "-d3s", "--latency", f"http://{self.web_vip4}/").stdout
        need("Socket errors" not in out and "Non-2xx" not in out, f"wrk saw errors:\n{out}")
        figure("HTTP through the virtual IP (wrk, 32 connections)",
               f"{float(re.search('Requests/sec: *([0-9.]+)', out).group(1)):.0f} requests/s")
        for name, address in (("UDP echo through the virtual IP, NAT both ways", self.echo_vip),
                              ("UDP echo of a server without a node in front", self.direct.address4)):
            # the first round warms the path up
            for _ in range(2):
                out = self.client.run(edge_site.PYTHON, edge_site.PEER, "udp-ping", "--to", address, "--port", 7000,
                                      "--count", 5000).stdout
            report = json.loads(out)
            need(report["lost"] == 0, f"{report['lost']} of {report['count']} UDP packets to {address} were lost")
            figure(name, microseconds(report["latency_us"]))

    def add_local_backend(self):
        step("a backend on the node itself (behind a veth) joins under load")
        with self.client.client("udp-flows", self.echo_vip, 7000, flows=100, interval_ms=1) as flows:
            flows.until(lambda report: all(flow["names"] for flow in report["flows"]), 10, "an answer for every flow")
            self.node.selvage("apply", "-f", LOCAL)
            self.node.wait_backends("echo", up=3)
            sent = flows.report()["sent"]
            flows.until(lambda report: report["sent"] > sent + 500, 10, "500 packets more")
            report = flows.stop()
        moved = sum(len(flow["names"]) > 1 for flow in report["flows"])
        figure("UDP flows under way, of them moved to another backend", f"{len(report['flows'])}, {moved}")
        figure("packets sent, lost", f"{report['sent']}, {report['sent'] - report['received']}")
        need(moved == 0 and report["sent"] == report["received"], "a new backend disturbed flows under way")

    def kill_backend(self):
        step("a backend is killed under load (kill -9 of echo-22)")
        detect_ms = max(each.get("detectMs", 0) for each in self.node.backends("echo"))
        with self.client.client("udp-flows", self.echo_vip, 7000, flows=100, interval_ms=1) as flows:
            before = flows.until(lambda report: all(flow["names"] for flow in report["flows"]), 10, "an answer for every flow")
            hit = [number for number, flow in enumerate(before["flows"]) if flow["names"][-1][1] == "echo-22"]
            died = time.monotonic()
            self.servers["echo-22"].kill()
            flows.until(lambda report: all(flow["names"][-1][1] != "echo-22" for flow in report["flows"]), 20,
                        "every flow of echo-22 to move")
            report = flows.stop()
        moved = [report["flows"][number]["names"][-1][0] - died for number in hit]
        others = sum(bool(flow["lost"]) for number, flow in enumerate(report["flows"]) if number not in hit)
        figure("flows that echo-22 had, and when the last one moved", f"{len(hit)}, {max(moved) * 1000:.0f} ms")
        figure("health checks promise to notice within", f"{detect_ms} ms")
        figure("flows of other backends that lost a packet", others)
        need(others == 0, "flows of living backends lost packets")
        need(max(moved) * 1000 <= detect_ms + 500, "the dead backend was noticed later than promised")

    def kill_daemon(self):
        step("selvaged is killed under load and calls (kill -9), and started again after a second")
        loads = [client.client("http-load", self.web_vip4, 80, workers=1) for client in self.clients]
        calls = self.media_check(20, 3)
        with self.client.client("udp-flows", self.echo_vip, 7000, flows=100, interval_ms=0.5) as flows:
            edge_site.wait_for(lambda: calls.poll() is not None or len(self.sessions()) >= 20, 10, "20 calls")
            flows.until(lambda report: all(flow["names"] for flow in report["flows"]), 10, "an answer for every flow")
            before = self.node.tables()
            self.node.kill_daemon()
            alone = flows.report()["sent"]
            time.sleep(1)
            alone = flows.report()["sent"] - alone
            self.node.start_daemon()
            self.node.wait_backends("web", up=8)
            report = flows.stop()
            tables = self.node.tables()
        http = [load.stop() for load in loads]
        said = calls.communicate(timeout=20)[0].rstrip()
        requests, failed = sum(each["requests"] for each in http), sum(each["failed"] for each in http)
        moved = sum(len(flow["names"]) > 1 for flow in report["flows"])
        figure("UDP packets sent, lost (while there was no daemon: sent)",
               f"{report['sent']}, {report['sent'] - report['received']} ({alone})")
        figure("UDP flows that moved", moved)
        figure("HTTP requests, failed", f"{requests}, {failed}")
        changed = [name for name in before if tables[name] != before[name]]
        # the daemon that takes over counts edge_config.calls up, which empties the packets' shortcuts of calls
        but = {(): "the same, byte for byte", ("edge_config",): "the same but for the number that renews calls' shortcuts"}
        figure("tables after the restart", but.get(tuple(changed), f"changed: {', '.join(changed)}"))
        figure("of 20 calls", re.search("[0-9]+ frames sent.*", said).group(0) if "frames sent" in said else said)
        need(calls.returncode == 0, f"calls lost media:\n{said}")
        need(report["sent"] == report["received"] and failed == 0 and moved == 0, "killing the daemon lost traffic")

    def drain(self):
        step("a backend is drained under load (web-31), and taken back")
        loads = [client.client("http-load", self.web_vip4, 80, workers=1) for client in self.clients]
        try:
            edge_site.wait_for(lambda: sum(load.report()["requests"] for load in loads) > 200, 10, "200 requests")
            self.node.selvage("backend", "drain", "web", self.web["web-31"].address4)
            drained = time.monotonic()
            total = sum(load.report()["requests"] for load in loads)
            edge_site.wait_for(lambda: sum(load.report()["requests"] for load in loads) > total + 1000, 20, "1000 more requests")
            reports = [load.stop() for load in loads]
        finally:
            for load in loads:
                edge_site.end(load.process)
        failed = sum(each["failed"] for each in reports)
        late = sum(1 for each in reports if each["names"].get("web-31", {}).get("last", 0) > drained + 0.05)
        figure("HTTP requests, failed", f"{sum(each['requests'] for each in reports)}, {failed}")
        figure("clients that web-31 still served 50 ms later", late)
        need(failed == 0 and late == 0, "the drain lost requests, or had no effect")
        self.node.selvage("backend", "undrain", "web", self.web["web-31"].address4)

    def media_check(self, calls, seconds):
        """Calls from the client to the agent, through the virtual IP only."""
        return self.client.start(edge_site.BUILD / "rtc/selvage-media-check", "--calls", calls, "--ramp", 10, "--seconds", seconds,
                                 "--max-loss", 0, f"http://{self.calls_vip}/whip", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                 text=True)

    def call(self):
        step("a WebRTC call to an agent on the node, through one UDP port (selvage-media-check, selvage-echo)")
        say(self.node.selvage("apply", "-f", CALLS).stdout.rstrip())
        services = {each["name"]: each["addresses"] for each in self.node.get("/selvage/v1/services")["items"]}
        self.calls_vip = services["calls"][0]
        log = open(self.agent.directory / "log", "w")
        self.agent.start(edge_site.BUILD / "rtc/selvage-echo", "--http", f"{self.agent.address4}:8080", "--media",
                         f"{self.agent.address4}:7000", "--announce", f"{self.calls_vip}:3478", "--ufrag-encoded", "--service", "calls",
                         "--selvaged", self.node.socket_path, stdout=log, stderr=log)
        self.node.wait_backends("calls", up=2)
        check = self.media_check(1, 2)
        edge_site.wait_for(lambda: check.poll() is not None or any(each["up"]["packets"] > 60 for each in self.sessions()), 10, "the call")
        sessions = self.node.selvage("session", "list").stdout.rstrip()
        said = check.communicate(timeout=20)[0].rstrip()
        need(check.returncode == 0, f"selvage-media-check: {said}")
        say(said)
        say("selvage session list, while they talked:")
        say(sessions)

    def resolve(self):
        step(f"DNS at the node's own address {DNS} (selvage-dns, and the packet program's cache)")
        self.node.ip(f"address add {DNS}/32 dev lo")
        self.client.ip(f"route add {DNS}/32 via {self.node.address4}")
        self.start_nsd(self.direct)
        log = open(self.node.directory / "selvage-dns.log", "w")
        process = self.node.start(edge_site.BUILD / "ctrl/resolver/selvage-dns", "--config", self.node.config_path, stdout=log, stderr=log)
        edge_site.wait_for(lambda: process.poll() is not None or self.node.status()["dns"]["connected"], 10, "selvage-dns")
        for name in ("www.example", "web.default.svc.cluster.local"):
            times = []
            for _ in range(6):
                said = self.client.run("dig", "-u", "+nocookie", "+tries=1", "+time=3", "+noall", "+answer", "+stats", f"@{DNS}", name).stdout
                times.append(int(re.search("Query time: ([0-9]+) usec", said).group(1)))
            figure(f"dig {name}", re.search(r"\sIN\s+A\s+(\S+)", said).group(1))
            figure("   the first answer, and the median of the next five", f"{times[0]} µs, {sorted(times[1:])[2]} µs")
        need(self.node.status()["dns"]["fastPath"] >= 5, "the packet program answered too few queries")
        say("selvage dns stats:")
        say(self.node.selvage("dns", "stats").stdout.split("\n\n")[0])

    def start_nsd(self, namespace):
        """A server of the zone, for selvage-dns to ask."""
        place = namespace.directory
        (place / "zone").write_text(ZONE)
        (place / "nsd.conf").write_text(f"""server:
  ip-address: {namespace.address4}
  username: ""
  chroot: ""
  zonesdir: "{place}"
  pidfile: "{place}/nsd.pid"
  xfrdfile: "{place}/xfrd.state"
  zonelistfile: "{place}/zone.list"
  database: ""
  server-count: 1
remote-control:
  control-enable: no
zone:
  name: "example"
  zonefile: "zone"
""")
        log = open(place / "nsd.log", "w")
        process = namespace.start("nsd", "-c", place / "nsd.conf", "-d", stdout=log, stderr=log)

        def answers():
            need(process.poll() is None, f"nsd ended: {(place / 'nsd.log').read_text()[-500:]}")
            return namespace.run("dig", "+tries=1", "+time=1", "+short", f"@{namespace.address4}", "www.example", check=False).stdout
        edge_site.wait_for(answers, 10, "nsd to answer")

    def sessions(self):
        return json.loads(self.node.selvage("session", "list", "-o", "json").stdout)["items"]

    def show(self):
        step("selvage status")
        say(self.node.selvage("status").stdout.rstrip())
        step("selvage service backends")
        say(self.node.selvage("service", "backends").stdout.rstrip())

    def how_to_look(self):
        cli = f"{edge_site.BUILD}/ctrl/cli/selvage --socket {self.node.socket_path}"
        client = f"nsenter --net=/run/netns/{self.client.name}"
        say(f"""
The site is still running. As root:
  {cli} status
  {cli} trace --filter 'port 7000' -c 10
  {client} curl http://{self.web_vip4}/
  {client} curl 'http://[{self.web_vip6}]/'
  {client} {edge_site.BUILD}/rtc/selvage-media-check -c 10 http://{self.calls_vip}/whip
  {client} dig +nocookie @{DNS} www.example
  echo 0 0 | {client} nc -u -w1 {self.echo_vip} 7000
  nsenter --net=/run/netns/{self.node.name} curl http://127.0.0.1:9480/metrics
The daemon's log is {self.node.log_path}. To remove everything: sudo tools/demo --remove""")


def main():
    if "--remove" in sys.argv:
        edge_site.sweep(PREFIX)
        return 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    keep = "--keep" in sys.argv
    start = time.monotonic()
    dpdk = "--engine" in sys.argv and sys.argv[sys.argv.index("--engine") + 1] == "dpdk"
    site = edge_site.Site(PREFIX, engine="dpdk" if dpdk else "xdp-native")
    try:
        demo = Demo(site)
        for part in (demo.start, demo.look, demo.measure, demo.call, demo.resolve, demo.add_local_backend, demo.kill_backend,
                     demo.kill_daemon, demo.drain, demo.show):
            part()
        if keep:
            site.keep = True
            demo.how_to_look()
        else:
            need(demo.node.stop_daemon() == 0, f"selvaged did not end well:\n{demo.node.log()[-2000:]}")
            need(not dpdk or demo.node.stop_dataplane() == 0, f"selvage-dpdk did not end well:\n{demo.node.log()[-2000:]}")
    except (edge_site.Failure, subprocess.SubprocessError, OSError, ValueError) as failure:
        print(f"tools/demo: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("tools/demo: interrupted", file=sys.stderr)
        return 130
    finally:
        site.close()
    say(f"== done in {time.monotonic() - start:.0f} s" + ("" if keep else "; everything is removed"))
    return 0


sys.exit(main())
