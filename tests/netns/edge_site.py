# SPDX-License-Identifier: Apache-2.0
"""A site in network namespaces: a LAN, a node with selvaged, backends and clients. Used by the tests and by tools/demo.

                                     lan: bridge br0 (no addresses)
             ┌──────────┬──────────┬────────┴─┬───────────┬───────────┐
           n1 eth0    n2 eth0   b1 eth0    b2 eth0     c1 eth0     r1 eth0
         192.0.2.1  192.0.2.2   .21         .22        .101        .254, 198.51.100.1 eth1
             │ vethw1                                                 │
           w1 eth0  10.77.1.2                                       far eth0 198.51.100.2

Everything has a name that begins with the site's prefix and is gone after Site.close(); what a killed run left behind is removed
by sweep(). Nothing is added to the namespace that this runs in.

IPv6 addresses carry the same last number: 2001:db8:0:1::21, fd00:77:1::2, 2001:db8:0:2::2.
"""
import contextlib
import ctypes
import glob
import http.client
import json
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("SELVAGE_BUILD", ROOT / "build"))
PEER = pathlib.Path(__file__).with_name("peer.py")
PYTHON = "/usr/bin/python3"
CLONE_NEWNET = 0x40000000
LAN4, LAN6 = "192.0.2.", "2001:db8:0:1::"
# Programs of Debian that lie where an ordinary user's PATH does not look.
os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/bin:/bin"
_libc = ctypes.CDLL(None, use_errno=True)


class Failure(Exception):
    """Something that should have worked did not; the message says what."""


def wait_for(condition, timeout_s, what, interval_s=0.02):
    """The first result that is true. `what` completes: "waited 5 s for …"; it may be a function."""
    end = time.monotonic() + timeout_s
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise Failure(f"waited {timeout_s:g} s for {what() if callable(what) else what}")
        time.sleep(interval_s)


def run(*words, check=True, stdin=None, timeout_s=60, **more):
    done = subprocess.run([str(word) for word in words], input=stdin, capture_output=True, text=True, timeout=timeout_s, **more)
    if check and done.returncode != 0:
        raise Failure(f"{' '.join(map(str, words))}: exit status {done.returncode}: {done.stderr.strip()} {done.stdout.strip()[-2000:]}")
    return done


def end(process):
    """Ends a process of ours, the hard way if it must be."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream:
            with contextlib.suppress(OSError):
                stream.close()


# --- namespaces ----------------------------------------------------------------------------------------------------------


class Namespace:
    def __init__(self, site, short):
        self.site, self.short, self.name = site, short, f"{site.prefix}-{short}"
        self.directory = site.directory / short
        self.directory.mkdir()
        run("ip", "netns", "add", self.name)
        self.ip("link set lo up")

    def ip(self, *commands):
        """One or more ip(8) commands, as one batch."""
        run("ip", "-n", self.name, "-batch", "-", stdin="\n".join(commands) + "\n")

    # nsenter and not "ip netns exec": the latter hides what the daemon mounts from everybody else.
    def words(self, words):
        return ["nsenter", f"--net=/run/netns/{self.name}", "--", *map(str, words)]

    def run(self, *words, **more):
        return run(*self.words(words), **more)

    def sysctl(self, **values):
        def path(key):
            return "/proc/sys/net/" + key.replace("__", "/").replace("_DEV_", "/eth0/")
        self.run("sh", "-ec", "; ".join(f"echo {value} > {path(key)}" for key, value in values.items()))

    def start(self, *words, **more):
        """A process that ends with the site, if not before."""
        process = subprocess.Popen(self.words(words), **more)
        self.site.processes.append(process)
        return process

    @contextlib.contextmanager
    def entered(self):
        """This thread's sockets are made in the namespace; they stay there."""
        with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{self.name}") as here:
            if _libc.setns(here.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            try:
                yield
            finally:
                if _libc.setns(home.fileno(), CLONE_NEWNET) != 0:
                    os._exit(70)  # nothing may go on in the wrong namespace

    def socket(self, *arguments):
        with self.entered():
            return socket.socket(*arguments)

    def client(self, kind, to, port, **options):
        return Client(self, kind, to, port, **options)

    def serve(self, name, udp=(), tcp=()):
        """A server of peer.py that tells its name; returns its process when it listens."""
        words = [PYTHON, PEER, "serve", "--name", name]
        for flag, texts in (("--udp", udp), ("--tcp", tcp)):
            for text in texts:
                words += [flag, text]
        process = self.start(*words, stdout=subprocess.PIPE)
        read_line(process, 10, f"the server {name}")
        return process

    def nginx(self, name, listen=("8080",), ready=None):
        """An HTTP server that answers with its name; returns its process (the master) when it listens."""
        place = self.directory / f"nginx-{name}"
        place.mkdir()
        # Workers run as nobody in a directory of root's; nothing is written there but the master's log.
        (place / "nginx.conf").write_text(f"""
daemon off; user nobody nogroup; worker_processes 1; pid {place}/pid; error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    access_log off; keepalive_requests 1000000; client_body_temp_path {place}/body; proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi; uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
    server {{
        {' '.join(f'listen {each} backlog=4096; listen [::]:{each} backlog=4096;' for each in listen)}
        location / {{ default_type text/plain; return 200 "{name} $remote_addr\\n"; }}
    }}
}}
""")
        log = open(place / "log", "w")
        process = self.start("nginx", "-p", place, "-c", place / "nginx.conf", "-e", "stderr", stdout=log, stderr=log)
        port = int(listen[0].split()[0])

        def listens():
            if process.poll() is not None:
                raise Failure(f"nginx {name} ended: {(place / 'log').read_text()[-500:]}")
            with self.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0
        wait_for(listens, 10, f"nginx {name} to listen")
        return process

    def sniffer(self, interface="eth0"):
        return Sniffer(self, interface)


def read_line(process, timeout_s, what):
    """Line by line and unbuffered, so that select tells the truth."""
    line = b""
    end_s = time.monotonic() + timeout_s
    while not line.endswith(b"\n"):
        if not select.select([process.stdout], [], [], max(0, end_s - time.monotonic()))[0]:
            raise Failure(f"{what} said nothing within {timeout_s:g} s")
        read = os.read(process.stdout.fileno(), 1 << 20)
        if not read:
            raise Failure(f"{what} ended (exit status {process.wait()})")
        line += read
    return line.decode()


class Client:
    """A client of peer.py at work. Context manager: it ends with the block."""

    def __init__(self, namespace, kind, to, port, **options):
        words = [PYTHON, PEER, kind, "--to", to, "--port", port]
        for key, value in options.items():
            words += ["--" + key.replace("_", "-")] + ([] if value is True else [value])
        self.kind = kind
        self.process = namespace.start(*words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        read_line(self.process, 30, f"the client {kind}")

    def say(self, line):
        os.write(self.process.stdin.fileno(), line.encode() + b"\n")

    def report(self):
        self.say("report")
        return json.loads(read_line(self.process, 30, f"the client {self.kind}"))

    def stop(self):
        self.say("stop")
        report = json.loads(read_line(self.process, 30, f"the client {self.kind}"))
        self.process.wait(10)
        return report

    def until(self, condition, timeout_s, what):
        last = {}

        def look():
            nonlocal last
            last = self.report()
            return condition(last) and last
        return wait_for(look, timeout_s, lambda: f"{what}; last seen: {str(last)[:1500]}", 0.05)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        end(self.process)


class Sniffer:
    """Frames of an interface, as bytes with the time they were seen. Context manager."""

    def __init__(self, namespace, interface):
        with namespace.entered():
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
            self.socket.bind((interface, 0))

    def until(self, wanted, timeout_s, what):
        """The first frame for which wanted(bytes) is true."""
        end_s = time.monotonic() + timeout_s
        while select.select([self.socket], [], [], max(0, end_s - time.monotonic()))[0]:
            frame = self.socket.recv(65536)
            if wanted(frame):
                return frame
        raise Failure(f"waited {timeout_s:g} s for {what}")

    def collect(self, seconds):
        """All frames of the next so many seconds, with their times."""
        frames, end_s = [], time.monotonic() + seconds
        while select.select([self.socket], [], [], max(0, end_s - time.monotonic()))[0]:
            frames.append((time.monotonic(), self.socket.recv(65536)))
        return frames

    def send(self, frame):
        self.socket.send(frame)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


# --- pinned tables -------------------------------------------------------------------------------------------------------

# Tables that packets change nothing in: not the neighbours they teach, the flows they begin, nor what they count.
DAEMON_TABLES = ("edge_config", "edge_links", "edge_routes", "edge_vips", "edge_lb", "edge_rings")
SYS_BPF = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
BPF_MAP_LOOKUP_ELEM, BPF_OBJ_GET, BPF_OBJ_GET_INFO_BY_FD = 1, 7, 15


def bpf(command, *words):
    """bpf(2) with an attribute of these 64-bit words."""
    attribute = ctypes.create_string_buffer(struct.pack(f"={len(words)}Q", *words), 128)
    result = _libc.syscall(SYS_BPF, command, attribute, 128)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"bpf command {command}: {os.strerror(ctypes.get_errno())}")
    return result


def map_bytes(pin):
    """The value 0 of a pinned array."""
    path = ctypes.create_string_buffer(os.fsencode(pin))
    fd = bpf(BPF_OBJ_GET, ctypes.addressof(path), 0)
    try:
        info = ctypes.create_string_buffer(80)
        bpf(BPF_OBJ_GET_INFO_BY_FD, fd | len(info) << 32, ctypes.addressof(info))
        value_size = struct.unpack_from("=5I", info.raw)[3]  # type, id, key size, value size
        key, value = ctypes.create_string_buffer(4), ctypes.create_string_buffer(value_size)
        bpf(BPF_MAP_LOOKUP_ELEM, fd, ctypes.addressof(key), ctypes.addressof(value), 0)
        return value.raw
    finally:
        os.close(fd)


# --- the daemon ----------------------------------------------------------------------------------------------------------


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout_s=10):
        super().__init__("localhost", timeout=timeout_s)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Node(Namespace):
    """A node: a NIC eth0 on the LAN, and a selvaged that runs while it is told to."""

    def __init__(self, site, short, number, labels, extra):
        super().__init__(site, short)
        self.number, self.address4, self.address6 = number, f"{LAN4}{number}", f"{LAN6}{number}"
        self.daemon, self.program, self.engine = None, BUILD / "ctrl/daemon/selvaged", site.engine
        self.dataplane, self.dataplane_program = None, BUILD / "dataplane/selvage-dpdk"
        self.run_directory, self.state_directory = self.directory / "run", self.directory / "state"
        self.socket_path = self.run_directory / "selvage.sock"
        self.log_path = self.directory / "log"
        self.config_path = self.directory / "selvage.yaml"
        addresses = [f"{self.address4}/24", f"{self.address6}/64"]
        site.wire(self, number, addresses if self.engine != "dpdk" else [])
        self.mac = f"02:00:00:00:00:{number:02x}"
        if self.engine == "dpdk":
            self.give_nic_away(addresses)
        self.sysctl(ipv4__ip_forward=1, ipv6__conf__all__forwarding=1, ipv4__conf__all__send_redirects=0,
                    ipv4__conf_DEV_send_redirects=0)
        self.configure(labels, **extra)

    # --- DPDK: the cable's end is selvage-dpdk's, and eth0 the TAP that stands for it

    def give_nic_away(self, addresses):
        self.ip("link set eth0 down", "link set eth0 name nic0", "link set nic0 addrgenmode none", "link set nic0 up")
        self.sysctl(ipv6__conf__nic0__disable_ipv6=1)
        # Packet sockets see copies: the stack must not take the originals for its own.
        self.run("nft", "-f", "-", stdin='table netdev guard { chain stack { '
                 'type filter hook ingress device "nic0" priority 0; policy drop; }; }\n')
        self.start_dataplane()
        self.ip(*(f"address add {address} dev eth0{' nodad' if ':' in address else ''}" for address in addresses))

    def start_dataplane(self, *more, device="net_af_packet,iface=nic0,framecnt=2048", wait=True):
        if not self.dataplane_program.exists():
            raise Failure(f"{self.dataplane_program} is not built")
        with open(self.log_path, "a") as log:
            self.dataplane = self.start(self.dataplane_program, "--no-huge", "--run-directory", self.run_directory,
                                        "--port", f"eth0={device}", *more, stdout=log, stderr=log)
        if wait:
            def running():
                if self.dataplane.poll() is not None:
                    raise Failure(f"selvage-dpdk ended with {self.dataplane.returncode}:\n{self.log()[-3000:]}")
                return f"selvage-dpdk: running with" in self.log()[seen:]
            seen = 0
            wait_for(running, 30, lambda: f"selvage-dpdk to run; the log ends:\n{self.log()[-3000:]}")
        return self.dataplane

    def stop_dataplane(self):
        self.dataplane.terminate()
        try:
            return self.dataplane.wait(20)
        except subprocess.TimeoutExpired:
            raise Failure("selvage-dpdk did not end within 20 s of SIGTERM") from None

    # --- selvaged

    def configure(self, labels, engine=None, interfaces=("eth0",), more=""):
        engine = engine or self.engine
        lines = [f"{key}: {json.dumps(value)}" for key, value in labels.items()]
        self.config_path.write_text(f"""node:
  name: {self.short}
  labels: {{{', '.join(lines)}}}
interfaces:
{''.join(f'- {{name: {name}, engine: {engine}}}{chr(10)}' for name in interfaces)}workloadInterfaces: ["veth*"]
runDirectory: {self.run_directory}
stateDirectory: {self.state_directory}
metrics: {{address: "127.0.0.1:9480"}}
{more}
""")

    def start_daemon(self, program=None, wait=True):
        if not self.program.exists():
            raise Failure(f"{self.program} is not built")
        with open(self.log_path, "a") as log:
            self.daemon = self.start(program or self.program, "--config", self.config_path, stdout=log, stderr=log)
        if wait:
            self.wait_ready()
        return self.daemon

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def wait_ready(self, timeout_s=30):
        def ready():
            if self.daemon.poll() is not None:
                raise Failure(f"selvaged of {self.short} ended with {self.daemon.returncode}:\n{self.log()[-3000:]}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                return self.api("GET", "/selvage/v1/status")[1].get("ready")
        wait_for(ready, timeout_s, lambda: f"selvaged of {self.short} to be ready; its log ends:\n{self.log()[-3000:]}")

    def kill_daemon(self):
        """kill -9"""
        self.daemon.kill()
        self.daemon.wait()

    def stop_daemon(self):
        """As an operator stops it; returns the exit status."""
        self.daemon.terminate()
        try:
            return self.daemon.wait(20)
        except subprocess.TimeoutExpired:
            raise Failure(f"selvaged of {self.short} did not end within 20 s of SIGTERM") from None

    def api(self, method, path, body=None, content="application/json"):
        """(status, answer) of the control socket; JSON is parsed."""
        connection = UnixConnection(self.socket_path)
        try:
            if body is not None and not isinstance(body, (str, bytes)):
                body = json.dumps(body)
            connection.request(method, path, body, {"Content-Type": content} if body is not None else {})
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        if "json" in (answer.getheader("Content-Type") or ""):
            return answer.status, json.loads(data)
        return answer.status, data.decode()

    def get(self, path):
        status, answer = self.api("GET", path)
        if status != 200:
            raise Failure(f"GET {path}: {status} {answer}")
        return answer

    def status(self):
        return self.get("/selvage/v1/status")

    def backends(self, service=None):
        path = f"/selvage/v1/services/default/{service}/backends" if service else "/selvage/v1/backends"
        return self.get(path)["items"]

    def drops(self):
        return {each["reason"]: each["count"] for each in self.get("/selvage/v1/drops")["items"]}

    def selvage(self, *words, **more):
        """The command line."""
        return run(BUILD / "ctrl/cli/selvage", "--socket", self.socket_path, *words, **more)

    def apply(self, text):
        return self.selvage("apply", "-f", "-", stdin=text)

    def wait_backends(self, service, timeout_s=20, **states):
        """Until the service's backends are in these states: wait_backends("web", up=2, down=1)."""
        last = []

        def there():
            nonlocal last
            with contextlib.suppress(Failure):
                last = self.backends(service)
            return all(sum(each["state"] == state for each in last) == count for state, count in states.items()) and last
        return wait_for(there, timeout_s, lambda: f"backends of {service} to be {states}; they are {last}")

    def wait_vip(self, address, owner, timeout_s=10):
        def owned():
            return any(each["address"] == address and each["owner"] == owner for each in self.get("/selvage/v1/vips")["items"])
        wait_for(owned, timeout_s, lambda: f"{owner} to own {address}; {self.get('/selvage/v1/vips')}")

    def tables(self):
        """The bytes of every pinned table that only the daemon writes, by name."""
        return {pin.name: map_bytes(pin) for pin in sorted((self.run_directory / "bpf").iterdir()) if pin.name in DAEMON_TABLES}

    def workload(self, short, number):
        """A backend in a namespace of this machine, behind a veth of the node."""
        workload = Namespace(self.site, short)
        workload.address4, workload.address6 = f"10.77.{number}.2", f"fd00:77:{number}::2"
        self.ip(f"link add veth{short} type veth peer name eth0 netns {workload.name}",
                f"address add 10.77.{number}.1/30 dev veth{short}",
                f"address add fd00:77:{number}::1/64 dev veth{short} nodad", f"link set veth{short} up")
        workload.ip("link set eth0 up", f"address add {workload.address4}/30 dev eth0",
                    f"address add {workload.address6}/64 dev eth0 nodad", f"route add default via 10.77.{number}.1",
                    f"route add ::/0 via fd00:77:{number}::1")
        return workload


# --- the site ------------------------------------------------------------------------------------------------------------


class Site:
    """Context manager. `keep`: leave everything running at the end of the block. `engine`: of the nodes' NICs."""

    pass_program = b""  # compiled once

    def __init__(self, prefix=None, keep=False, engine="xdp-native"):
        self.engine = engine
        self.prefix = prefix or f"svt{os.getpid()}"
        self.directory = pathlib.Path(tempfile.gettempdir()) / self.prefix
        self.keep, self.processes, self.namespaces = keep, [], {}
        sweep(self.prefix)
        self.directory.mkdir(mode=0o755)
        try:
            self.lan = self.add(Namespace(self, "lan"))
            # A bridge that learns and floods at once, and lets all multicast through.
            self.lan.ip("link add br0 type bridge forward_delay 0 mcast_snooping 0", "link set br0 up")
            self.lan.sysctl(ipv6__conf__br0__disable_ipv6=1)
        except BaseException:
            self.close()
            raise

    def add(self, namespace):
        self.namespaces[namespace.short] = namespace
        return namespace

    def wire(self, namespace, number, addresses):
        """A cable from the namespace's eth0 to the bridge."""
        port = f"p-{namespace.short}"
        self.lan.ip(f"link add {port} type veth peer name eth0 netns {namespace.name}", f"link set {port} master br0")
        if isinstance(namespace, Node) and self.engine != "dpdk":
            # What XDP sends out of a veth (XDP_TX, redirects) waits at the other end until something else wakes that end,
            # unless there is an XDP program there too (seen on kernel 6.18; GRO's NAPI alone is not enough).
            self.lan.run("ip", "link", "set", port, "xdp", "obj", self.xdp_pass(), "sec", "xdp")
        # Checksums on the wire are complete, as on a real one, and no segment is larger than its MTU.
        namespace.run("ethtool", "-K", "eth0", "tx", "off", "tso", "off", "gso", "off")
        namespace.ip(f"link set eth0 address 02:00:00:00:00:{number:02x} up",
                     *(f"address add {address} dev eth0{' nodad' if ':' in address else ''}" for address in addresses))
        self.lan.ip(f"link set {port} up")

    def xdp_pass(self):
        """An XDP program that lets everything through."""
        path = self.directory / "pass.o"
        if not path.exists():
            if not Site.pass_program:
                run("clang", "--target=bpf", "-O2", "-x", "c", "-c", "-", "-o", path,
                    stdin='__attribute__((section("xdp"), used)) int pass(void *packet) { return 2; /* XDP_PASS */ }\n')
                Site.pass_program = path.read_bytes()
            path.write_bytes(Site.pass_program)
        return path

    def port(self, namespace, state):
        """Plugs the cable of a namespace in ("up") or out ("down")."""
        self.lan.ip(f"link set p-{namespace.short} {state}")

    def add_node(self, short="n1", number=1, labels=None, **extra):
        return self.add(Node(self, short, number, {"edge": "true"} if labels is None else labels, extra))

    def add_client(self, short="c1", number=101):
        client = self.add(Namespace(self, short))
        client.address4, client.address6 = f"{LAN4}{number}", f"{LAN6}{number}"
        client.mac = f"02:00:00:00:00:{number:02x}"
        self.wire(client, number, [f"{client.address4}/24", f"{client.address6}/64"])
        return client

    def add_far_client(self, node):
        """A client behind a router of the LAN; the node's way back to it leads over that router."""
        router = self.add(Namespace(self, "r1"))
        self.wire(router, 254, [f"{LAN4}254/24", f"{LAN6}254/64"])
        router.sysctl(ipv4__ip_forward=1, ipv6__conf__all__forwarding=1)
        far = self.add(Namespace(self, "far"))
        router.ip(f"link add eth1 type veth peer name eth0 netns {far.name}", "address add 198.51.100.1/24 dev eth1",
                  "address add 2001:db8:0:2::1/64 dev eth1 nodad", "link set eth1 up")
        far.ip("link set eth0 up", "address add 198.51.100.2/24 dev eth0",
               "address add 2001:db8:0:2::2/64 dev eth0 nodad", "route add default via 198.51.100.1",
               "route add ::/0 via 2001:db8:0:2::1")
        far.address4, far.address6 = "198.51.100.2", "2001:db8:0:2::2"
        for name in (router, far):
            name.run("ethtool", "-K", "eth1" if name is router else "eth0", "tx", "off", "tso", "off", "gso", "off")
        node.ip(f"route add default via {LAN4}254", f"route add ::/0 via {LAN6}254")
        return far

    def add_backend(self, short, number, gateway):
        """A backend on the LAN for NAT: all that it says goes over the node."""
        backend = self.add(Namespace(self, short))
        backend.address4, backend.address6 = f"{LAN4}{number}", f"{LAN6}{number}"
        self.wire(backend, number, [f"{backend.address4}/32", f"{backend.address6}/128"])
        backend.ip(f"route add default via {gateway.address4} dev eth0 onlink",
                   f"route add {gateway.address6} dev eth0", f"route add ::/0 via {gateway.address6} dev eth0")
        backend.sysctl(ipv4__conf__all__accept_redirects=0, ipv6__conf_DEV_accept_redirects=0)
        return backend

    def add_direct_backend(self, short, number, vips):
        """A backend on the LAN for direct return: it holds the virtual IPs, answers for them, and keeps silent about them."""
        backend = self.add(Namespace(self, short))
        backend.address4, backend.address6 = f"{LAN4}{number}", f"{LAN6}{number}"
        self.wire(backend, number, [f"{backend.address4}/24", f"{backend.address6}/64"])
        backend.sysctl(ipv4__conf__all__arp_ignore=1, ipv4__conf__all__arp_announce=2)
        backend.ip(*(f"address add {vip}/{'128 dev lo nodad' if ':' in vip else '32 dev lo'}" for vip in vips))
        return backend

    def close(self):
        if self.keep:
            return
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
            for stream in filter(None, (process.stdin, process.stdout, process.stderr)):
                stream.close()
        sweep_one(self.prefix)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


# --- tidying up ----------------------------------------------------------------------------------------------------------


def mounts_below(directory):
    with open("/proc/1/mounts") as first, open("/proc/self/mounts") as own:
        lines = first.read().splitlines() + own.read().splitlines()
    return sorted({line.split()[1] for line in lines if line.split()[1].startswith(str(directory) + "/")}, reverse=True)


def unmount(path):
    """In the first process' mount namespace, where selvaged mounts, and in ours if that is another one."""
    run("nsenter", "--mount=/proc/1/ns/mnt", "--", "umount", "-l", path, check=False)
    run("umount", "-l", path, check=False)


def sweep_one(prefix):
    """Removes every process, mount, namespace and file of the site with this prefix."""
    for path in glob.glob(f"/run/netns/{prefix}-*"):
        for pid in run("ip", "netns", "pids", os.path.basename(path), check=False).stdout.split():
            with contextlib.suppress(OSError):
                os.kill(int(pid), signal.SIGKILL)
    directory = pathlib.Path(tempfile.gettempdir()) / prefix
    for mount in mounts_below(directory):
        unmount(mount)
    for path in glob.glob(f"/run/netns/{prefix}-*"):
        run("ip", "netns", "delete", os.path.basename(path), check=False)
    shutil.rmtree(directory, ignore_errors=True)


def sweep(prefix):
    """A site of this name, and those of test runs that were killed before they could tidy up."""
    stale = {prefix}
    for path in glob.glob("/run/netns/svt*-*") + glob.glob(f"{tempfile.gettempdir()}/svt*"):
        match = re.match(r"svt(\d+)m?(?![\w])", os.path.basename(path))
        if match and not os.path.exists(f"/proc/{match.group(1)}"):
            stale.add(match.group())
    for each in stale:
        sweep_one(each)


if __name__ == "__main__":
    sys.exit("edge_site.py is a module: run `python3 -m pytest tests/netns`, or tools/demo")
