# SPDX-License-Identifier: Apache-2.0
"""Peers for WebRTC tests in namespaces: a browser (Chromium without a screen) that calls, agents that answer (Janus, node-datachannel),
and taps that tell what media was sent and what arrived.

Nobody signals by network: the test carries descriptions from the browser's page to the agent and back, and writes the address that
clients shall use into them (announce()).
"""
import contextlib
import http.client
import json
import os
import pathlib
import re
import select
import shutil
import socket
import struct
import subprocess
import threading
import time
import zlib

import edge_site
from edge_site import Failure, wait_for

PLACE = pathlib.Path(__file__).with_name("webrtc")
PERIOD_S = 0.02  # of Opus packets
SETTLE_S = 0.5   # what was sent later than that before a tap's end may still be on its way
SO_TIMESTAMPNS = 35


# --- descriptions --------------------------------------------------------------------------------------------------------


def fragment_of(sdp):
    """(user fragment, password)"""
    return tuple(re.search(rf"^a=ice-{what}:(\S+)", sdp, re.M).group(1) for what in ("ufrag", "pwd"))


def candidates_of(sdp):
    """[(address, port)] of all UDP candidates."""
    found = re.findall(r"^a=candidate:\S+ \d+ udp \d+ (\S+) (\d+) typ", sdp, re.M | re.I)
    return [(address, int(port)) for address, port in found]


def announce(sdp, address, port):
    """The description with this as its only candidate."""
    lines, candidate = [], f"a=candidate:1 1 udp 2130706431 {address} {port} typ host"
    for line in sdp.splitlines():
        if line.startswith("a=ice-ufrag:"):
            lines += [line, candidate]
        elif not line.startswith(("a=candidate:", "a=end-of-candidates")):
            lines.append(line)
    return "\r\n".join(lines) + "\r\n"


def without_candidates(sdp):
    """As a client says it that an agent must not look for by itself: it learns the address from the client's checks."""
    return "\r\n".join(line for line in sdp.splitlines() if not line.startswith(("a=candidate:", "a=end-of-candidates"))) + "\r\n"


# --- the browser ---------------------------------------------------------------------------------------------------------


class Chromium:
    """One browser in a namespace, driven over DevTools on a pipe; its page is webrtc/call.html. Context manager."""

    def __init__(self, namespace):
        self.namespace, self.number, self.rest = namespace, 0, b""
        home = namespace.directory / "chromium"
        home.mkdir()
        for name in ("call.html",):
            shutil.copy(PLACE / name, home / name)
        orders, self.orders = os.pipe()
        self.answers, answers = os.pipe()
        words = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                 "--disable-background-networking", "--disable-component-update", "--disable-extensions", "--disable-sync",
                 "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", "--mute-audio",
                 "--autoplay-policy=no-user-gesture-required", "--disable-features=WebRtcHideLocalIpsWithMdns",
                 "--host-resolver-rules=MAP * ~NOTFOUND", "--disable-background-timer-throttling", "--disable-renderer-backgrounding",
                 f"--user-data-dir={home}/profile", "--remote-debugging-pipe", f"file://{home}/call.html"]
        with open(home / "log", "w") as log:
            # DevTools reads descriptor 3 and writes 4.
            self.process = namespace.start("bash", "-c", f'exec "$@" 3<&{orders} 4>&{answers}', "chromium", *words,
                                           pass_fds=(orders, answers), stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                           env={**os.environ, **{name: str(home) for name in ("HOME", "TMPDIR", "XDG_RUNTIME_DIR")}})
        self.log_path = home / "log"
        os.close(orders)
        os.close(answers)
        page = wait_for(self.page, 30, lambda: f"Chromium to open its page; its log ends: {self.log()[-1000:]}", 0.1)
        self.session = self.ask("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        wait_for(lambda: self.run("typeof offer === 'function'"), 20, "the page to be loaded", 0.1)

    def log(self):
        return self.log_path.read_text(errors="replace")

    def page(self):
        pages = self.ask("Target.getTargets")["targetInfos"]
        return next((each["targetId"] for each in pages if each["type"] == "page"), None)

    def ask(self, method, timeout_s=30, **parameters):
        self.number += 1
        order = {"id": self.number, "method": method, "params": parameters}
        if getattr(self, "session", None):
            order["sessionId"] = self.session
        os.write(self.orders, json.dumps(order).encode() + b"\0")
        end_s = time.monotonic() + timeout_s
        while True:
            while b"\0" in self.rest:
                line, self.rest = self.rest.split(b"\0", 1)
                answer = json.loads(line)
                if answer.get("id") != self.number:
                    continue
                if "error" in answer:
                    raise Failure(f"Chromium, {method}: {answer['error']}")
                return answer["result"]
            if not select.select([self.answers], [], [], max(0, end_s - time.monotonic()))[0]:
                raise Failure(f"Chromium did not answer {method} within {timeout_s} s; its log ends: {self.log()[-1000:]}")
            read = os.read(self.answers, 1 << 20)
            if not read:
                raise Failure(f"Chromium ended: {self.log()[-1000:]}")
            self.rest += read

    def run(self, expression):
        """The value of an expression of the page's, waited for."""
        result = self.ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            details = result["exceptionDetails"]
            raise Failure(f"Chromium, {expression[:80]}: {details.get('exception', {}).get('description', details['text'])}")
        return result["result"].get("value")

    def call(self, function, *arguments):
        return self.run(f"{function}({', '.join(json.dumps(each) for each in arguments)})")

    def report(self, name):
        return self.call("report", name)

    def wait_connected(self, name, timeout_s=15):
        last = {}

        def connected():
            nonlocal last
            last = self.report(name)
            return last["state"] == "connected" and last
        return wait_for(connected, timeout_s, lambda: f"the call {name} to be connected; {json.dumps(last)[:1500]}", 0.1)

    def close(self):
        with contextlib.suppress(Failure, OSError):
            self.session = None
            self.ask("Browser.close", timeout_s=5)
        edge_site.end(self.process)
        for descriptor in (self.orders, self.answers):
            os.close(descriptor)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


# --- agents --------------------------------------------------------------------------------------------------------------


class InsideConnection(http.client.HTTPConnection):
    """HTTP to a server of this namespace on 127.0.0.1."""

    def __init__(self, namespace, port, timeout_s=20):
        super().__init__("127.0.0.1", port, timeout=timeout_s)
        self.namespace = namespace

    def connect(self):
        self.sock = self.namespace.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect((self.host, self.port))


class Janus:
    """Debian's Janus with its echo test. `announced`: what it says its address is (nat_1_1_mapping)."""

    def __init__(self, namespace, ports="20000-20999", announced=None, lite=False):
        self.namespace, self.calls, self.fragments = namespace, {}, {}
        self.place = namespace.directory / "janus"
        self.place.mkdir()
        yes = {True: "true", False: "false"}
        mapping = f'nat_1_1_mapping = "{announced}"' if announced else ""
        (self.place / "janus.jcfg").write_text(f"""
general: {{ debug_level = 4; debug_colors = false; session_timeout = 0; server_name = "echo" }}
media: {{ ipv6 = true; rtp_port_range = "{ports}"; no_media_timer = 0 }}
nat: {{ ice_lite = {yes[lite]}; ice_enforce_list = "eth0"; ignore_mdns = true; {mapping} }}
plugins: {{ disable = "libjanus_audiobridge.so,libjanus_duktape.so,libjanus_lua.so,libjanus_nosip.so,libjanus_recordplay.so,libjanus_sip.so,"
    "libjanus_streaming.so,libjanus_textroom.so,libjanus_videocall.so,libjanus_videoroom.so,libjanus_voicemail.so" }}
transports: {{ disable = "libjanus_mqtt.so,libjanus_nanomsg.so,libjanus_pfunix.so,libjanus_rabbitmq.so,libjanus_websockets.so" }}
""".replace('so,"\n    "', "so,"))
        (self.place / "janus.transport.http.jcfg").write_text(
            'general: { json = "plain"; base_path = "/janus"; http = true; port = 8088; https = false }\n'
            'admin: { admin_http = false; admin_https = false }\n')
        (self.place / "janus.plugin.echotest.jcfg").write_text("general: { }\n")
        with open(self.place / "log", "w") as log:
            self.process = namespace.start("janus", "-F", self.place, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

        def listens():
            if self.process.poll() is not None:
                raise Failure(f"Janus ended: {self.log()[-1500:]}")
            with contextlib.suppress(OSError, http.client.HTTPException, Failure):
                return self.request("GET", "/info").get("janus") == "server_info"
        wait_for(listens, 20, lambda: f"Janus to answer; its log ends: {self.log()[-1500:]}", 0.1)

    def log(self):
        return (self.place / "log").read_text(errors="replace")

    def request(self, method, path, **body):
        connection = InsideConnection(self.namespace, 8088)
        try:
            text = json.dumps({**body, "transaction": os.urandom(6).hex()}) if method == "POST" else None
            connection.request(method, "/janus" + path, text, {"Content-Type": "application/json"} if text else {})
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        if answer.get("janus") == "error":
            raise Failure(f"Janus, {method} {path}: {answer['error']}")
        return answer

    def answer(self, name, offer):
        """Answers an offer, of a new call or of one that goes on (an ICE restart)."""
        if name not in self.calls:
            session = self.request("POST", "", janus="create")["data"]["id"]
            handle = self.request("POST", f"/{session}", janus="attach", plugin="janus.plugin.echotest")["data"]["id"]
            self.calls[name] = session, handle
        session, handle = self.calls[name]
        self.request("POST", f"/{session}/{handle}", janus="message", body={"audio": True, "video": False},
                     jsep={"type": "offer", "sdp": offer})
        end_s = time.monotonic() + 15
        while time.monotonic() < end_s:
            event = self.request("GET", f"/{session}?maxev=1&rid={time.monotonic_ns()}")
            if "jsep" in event:
                return event["jsep"]["sdp"]
        raise Failure(f"Janus did not answer the offer of {name}; its log ends: {self.log()[-1500:]}")


def node_packages():
    """The directory with npm's packages of webrtc/package-lock.json, installed once for each build directory and lock."""
    place = edge_site.BUILD / "tests/peers"
    lock = (PLACE / "package-lock.json").read_bytes()
    done = place / "installed"
    if not done.exists() or done.read_bytes() != lock:
        place.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(PLACE / name, place / name)
        edge_site.run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=place, timeout_s=120)
        done.write_bytes(lock)
    return place


class DataChannelAgent:
    """An agent of node-datachannel that sends audio back; it chooses the ICE user fragment that it is told."""

    def __init__(self, namespace, address):
        place = node_packages()
        shutil.copy(PLACE / "agent.mjs", place / "agent.mjs")
        self.log_path = namespace.directory / "agent-log"
        with open(self.log_path, "w") as log:
            self.process = namespace.start("node", place / "agent.mjs", address, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        self.said = []
        self.listen("ready")

    def listen(self, key, name=None):
        """The next message with this key about this call."""
        while True:
            message = next((each for each in self.said if key in each and each.get("name") == name), None)
            if message:
                self.said.remove(message)
                return message[key]
            lines = edge_site.read_line(self.process, 15, f"the agent ({self.log_path.read_text()[-500:]})")
            self.said += [json.loads(line) for line in lines.splitlines()]

    def answer(self, name, offer, fragment, port):
        order = {"name": name, "offer": offer, "fragment": fragment, "port": port}
        os.write(self.process.stdin.fileno(), json.dumps(order).encode() + b"\n")
        return self.listen("answer", name)


# --- taps ----------------------------------------------------------------------------------------------------------------


class Tap:
    """Notes all RTP packets of an interface from now on, with the kernel's times, and who UDP was spoken with. Context manager."""

    def __init__(self, namespace, interface="eth0"):
        with namespace.entered():
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
            self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            self.socket.bind((interface, 0))
        self.sent, self.received = {}, {}  # (SSRC, sequence number, checksum of all of it): seconds
        self.peers = {}                    # (own address and port, other address and port): packets
        self.again, self.stopping = 0, False
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        while not self.stopping:
            if not select.select([self.socket], [], [], 0.1)[0]:
                continue
            try:
                frame, control, _, sender = self.socket.recvmsg(2048, 64)
            except OSError:  # the interface is no more
                return
            at_s = next((part[0] + part[1] / 1e9 for level, kind, data in control if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS
                         for part in [struct.unpack("=qq", data[:16])]), 0)
            self.note(frame, at_s, sender[2] == socket.PACKET_OUTGOING)

    def note(self, frame, at_s, outgoing):
        kind = frame[12:14]
        if kind == b"\x08\x00" and frame[23] == 17:
            udp = 14 + (frame[14] & 15) * 4
            source, target = socket.inet_ntop(socket.AF_INET, frame[26:30]), socket.inet_ntop(socket.AF_INET, frame[30:34])
        elif kind == b"\x86\xdd" and frame[20] == 17:
            udp = 54
            source, target = socket.inet_ntop(socket.AF_INET6, frame[22:38]), socket.inet_ntop(socket.AF_INET6, frame[38:54])
        else:
            return
        from_port, to_port = struct.unpack_from(">HH", frame, udp)
        ends = ((source, from_port), (target, to_port))
        ends = ends if outgoing else ends[::-1]
        self.peers[ends] = self.peers.get(ends, 0) + 1
        media = udp + 8
        if len(frame) < media + 12 or frame[media] >> 6 != 2 or 64 <= frame[media + 1] & 0x7f < 96:
            return  # no RTP (RFC 5761 4)
        sequence, ssrc = struct.unpack_from(">H", frame, media + 2)[0], struct.unpack_from(">I", frame, media + 8)[0]
        side = self.sent if outgoing else self.received
        key = ssrc, sequence, zlib.crc32(frame[media:])
        if key in side:
            self.again += 1
        else:
            side[key] = at_s

    def others(self):
        """Who UDP was spoken with."""
        return {other for _, other in self.peers}

    def close(self):
        self.stopping = True
        self.thread.join()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Way:
    """What became of the media of one direction between two taps: `sent` at one, `received` at the other."""

    def __init__(self, sender, receiver, since_s=0, streams=None):
        sent = {key: at_s for key, at_s in dict(sender.sent).items() if streams is None or key[0] in streams}
        received = dict(receiver.received)
        last_s = max(sent.values(), default=0) - SETTLE_S
        order = sorted((at_s, key) for key, at_s in sent.items() if since_s <= at_s <= last_s)
        self.sent = len(order)
        self.lost = sum(key not in received for _, key in order)
        delays = sorted(received[key] - at_s for at_s, key in order if key in received)
        self.delay_ms = [round(delays[min(len(delays) - 1, int(len(delays) * share))] * 1e3, 3) for share in (.5, .99, 1)] if delays else []
        # The longest time in which nothing that was sent arrived: from the first lost packet until the next that was not.
        self.gap_ms, lost_s = 0.0, None
        for at_s, key in order:
            if key not in received:
                lost_s = at_s if lost_s is None else lost_s
            elif lost_s is not None:
                self.gap_ms, lost_s = max(self.gap_ms, (at_s - lost_s) * 1e3), None
        if lost_s is not None:
            self.gap_ms = max(self.gap_ms, (last_s - lost_s) * 1e3)
        # The longest silence at the receiver, beyond the period.
        arrivals = sorted(received[key] for _, key in order if key in received)
        self.silence_ms = max(((after - before) * 1e3 for before, after in zip(arrivals, arrivals[1:])), default=0) - PERIOD_S * 1e3

    def __str__(self):
        delay = "/".join(f"{each:g}" for each in self.delay_ms)
        return (f"{self.sent} sent, {self.lost} lost, gap {self.gap_ms:.0f} ms, silence beyond 20 ms: {self.silence_ms:.0f} ms, "
                f"delay p50/p99/max {delay} ms")


def ways(client, agent, since_s=0, streams=None):
    """(up, down) between a client's tap and its agent's."""
    return Way(client, agent, since_s, streams), Way(agent, client, since_s, streams)


# --- an address translator -----------------------------------------------------------------------------------------------


class Translator:
    """A router as people have at home: whoever is behind it is seen under one address and a port of its choice, and what comes
    unasked is dropped. rebind() forgets all that, as such boxes do: the next packet has another port, or another address."""

    def __init__(self, router, outside="eth0"):
        self.router, self.outside, self.turn = router, outside, 0
        self.bind(None, None)

    def bind(self, address4, address6):
        first = 40000 + 1000 * self.turn
        self.turn += 1

        def target(address, family):
            text = f"[{address}]" if family == "ip6" else address
            return f"snat {family} to {text}:{first}-{first + 999}" if address else f"masquerade to :{first}-{first + 999}"
        self.router.run("nft", "-f", "-", stdin=f"""
table inet home
delete table inet home
table inet home {{
    chain out {{
        type nat hook postrouting priority srcnat;
        oifname "{self.outside}" meta nfproto ipv4 meta l4proto udp {target(address4, "ip")}
        oifname "{self.outside}" meta nfproto ipv6 meta l4proto udp {target(address6, "ip6")}
    }}
    chain unasked {{
        type filter hook input priority filter;
        iifname "{self.outside}" meta l4proto udp drop
    }}
}}
""")

    def rebind(self, address4=None, address6=None):
        self.bind(address4, address6)
        # Connection tracking forgets everything: IPCTNL_MSG_CT_DELETE with nothing named (linux/netfilter/nfnetlink_conntrack.h).
        with contextlib.closing(self.router.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)) as netlink:
            netlink.send(struct.pack("=IHHII", 20, 1 << 8 | 2, 5, 1, 0) + bytes([socket.AF_UNSPEC, 0, 0, 0]))
            status, = struct.unpack_from("=i", netlink.recv(4096), 16)
            if status != 0:
                raise Failure(f"forgetting what was tracked: {os.strerror(-status)}")
        return time.time()
