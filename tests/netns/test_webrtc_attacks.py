# SPDX-License-Identifier: Apache-2.0
"""Somebody on the link who wants a call to end, to hear it, or to make the virtual IP send things elsewhere; beside a live call."""
import contextlib
import os
import struct
import threading
import time

import pytest

import edge_site
import rtc_peers
from rtc_scene import GAP_MS, PORT, VIP4, Scene, Watch, watched
from test_tunnels import udp_packet

FLOOD = 30000   # packets a second
FLOOD_S = 1.0


class Attacker:
    """A machine on the LAN that sends what it likes, and hears whatever the node says to anybody beyond the LAN."""

    def __init__(self, site, node):
        self.here, self.node = site.add_client("x1", 150), node
        node.ip(f"route add default via {self.here.address4}")
        self.sniffer = self.here.sniffer()

    def send(self, payload, source, port):
        frame = bytes.fromhex(self.node.mac.replace(":", "")) + bytes.fromhex(self.here.mac.replace(":", "")) + b"\x08\x00"
        self.sniffer.send(frame + udp_packet(source, VIP4, port, PORT, payload))

    def flood(self, kind):
        """Returns how many were sent."""
        return int(self.here.run(edge_site.BUILD / "tests/flood_tool", "eth0", self.here.mac, self.node.mac, VIP4, PORT, kind, FLOOD,
                                 FLOOD_S).stdout)


class Ear:
    """Counts what the virtual IP sends out at an interface, by what it is. Context manager."""

    def __init__(self, namespace):
        self.sniffer, self.heard, self.stopping = namespace.sniffer(), {}, False
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    def listen(self):
        vip = bytes(int(part) for part in VIP4.split("."))
        while not self.stopping:
            with contextlib.suppress(edge_site.Failure):
                frame = self.sniffer.until(lambda frame: frame[12:14] == b"\x08\x00" and frame[26:30] == vip, 0.1, "a packet")
                first = frame[42] if frame[23] == 17 and len(frame) > 42 else -1
                kind = "stun" if 0 <= first < 4 else "media" if 128 <= first < 192 else "other"
                self.heard[kind] = self.heard.get(kind, 0) + 1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stopping = True
        self.thread.join()
        self.sniffer.__exit__()


class Requests(rtc_peers.Tap):
    """Keeps the Binding requests that an interface sent."""

    def __init__(self, namespace):
        self.seen = []
        super().__init__(namespace)

    def note(self, frame, at_s, outgoing):
        super().note(frame, at_s, outgoing)
        if outgoing and frame[12:14] == b"\x08\x00" and frame[23] == 17 and frame[42:44] == b"\0\1":
            self.seen.append(frame[42:])


@pytest.fixture
def attacked(site, measured):
    """(scene, a watched call, an attacker)"""
    scene, client = Scene(site), site.add_client()
    attacker = Attacker(site, scene.node)
    with Watch(scene, client, measured) as watch:
        yield scene, watch, attacker


def increase(node, before):
    """Of the drops since then, those that grew."""
    return {reason: count - before.get(reason, 0) for reason, count in node.drops().items() if count > before.get(reason, 0)}


def test_floods(attacked, measured):
    """New 5-tuples with media, DTLS, guessed fragments and answers: all dropped and counted, nothing reflected. Requests to the
    STUN server from everywhere: answered once at most, and no more of them than all clients together may ask."""
    scene, watch, attacker = attacked
    since_s = time.time()
    for kind in ("rtp", "dtls", "check", "answer", "stun"):
        before, began_s = scene.node.drops(), time.monotonic()
        with Ear(attacker.here) as ear:
            sent = attacker.flood(kind)
            took_s = time.monotonic() - began_s
            time.sleep(0.3)
        dropped = increase(scene.node, before)
        measured(f"{sent} packets of kind {kind}", f"dropped {dropped}, came back {ear.heard}")
        if kind != "stun":
            # a few may be lost before they come to the node; a few others are dropped, too
            assert 0.9 * sent <= sum(dropped.values()) <= sent + 100
            assert ear.heard == {}
        else:
            assert set(ear.heard) <= {"stun"} and ear.heard.get("stun", 0) + sum(dropped.values()) <= sent + 100
            assert ear.heard["stun"] <= 10000 + 5000 * took_s and dropped["rtc_stun_limit_total"] > 0
    watch.end("beside all floods", since_s, GAP_MS, GAP_MS)
    assert len(scene.sessions()) == 1


def test_one_client_asks_the_stun_server_too_much(site, measured):
    scene = Scene(site, **{"limit-stun": "20/s burst 40"})
    attacker = Attacker(site, scene.node)
    before, since_s = scene.node.drops(), time.time()
    with Ear(attacker.here) as ear:
        for number in range(2000):
            attacker.send(struct.pack(">HHI", 1, 0, 0x2112a442) + os.urandom(12), attacker.here.address4, 1024 + number)
        took_s = time.time() - since_s
        time.sleep(0.2)
    dropped = increase(scene.node, before)
    measured("2000 requests of one client", f"{ear.heard} answered in {took_s:.2f} s, dropped {dropped}")
    assert 40 <= ear.heard["stun"] <= 41 + 20 * took_s
    assert dropped["rtc_stun_limit"] >= 0.95 * 2000 - ear.heard["stun"]


def test_replayed_checks_do_not_take_a_call_away(site, measured):
    """Who saw the client's checks sends them again from an address of its own. Their integrity is the client's."""
    scene, client = Scene(site), site.add_client()
    attacker = Attacker(site, scene.node)
    with Requests(client) as requests, Watch(scene, client, measured) as watch:
        assert requests.seen
        since_s = time.time()
        with Ear(attacker.here) as ear:
            for _ in range(100):
                for payload in requests.seen[-4:]:
                    attacker.send(payload, attacker.here.address4, 5000)
                time.sleep(0.02)
        measured("came to who replayed", ear.heard)
        watch.end("replayed checks", since_s, GAP_MS, GAP_MS)
        assert ear.heard.get("media", 0) == 0


def test_forged_media_does_not_take_a_call_away(attacked, measured):
    """Who sees SSRC and sequence numbers sends what fits. The agent refuses it (RFC 3711), and the way down stays."""
    scene, watch, attacker = attacked
    since_s = time.time()
    with Ear(attacker.here) as ear:
        for _ in range(100):
            ssrc, sequence, _ = next(reversed(watch.near.sent))
            attacker.send(struct.pack(">BBHII", 0x80, 111, (sequence + 1) & 0xffff, 0, ssrc) + os.urandom(60), attacker.here.address4, 5000)
            time.sleep(0.02)
    measured("came to who forged", ear.heard)
    assert ear.heard == {}
    watch.end("forged media", since_s, GAP_MS, GAP_MS)


def test_closed_paths_of_spoofed_first_packets(attacked, measured):
    """Binding requests with the call's own fragment but no valid integrity, from addresses that nobody has: more than a session keeps."""
    scene, watch, attacker = attacked
    client_half = rtc_peers.fragment_of(watch.browser.run("calls.call.peer.localDescription.sdp"))[0]
    username = f"{watch.fragment}:{client_half}".encode()
    body = struct.pack(">HH", 6, len(username)) + username + bytes(-len(username) % 4) + struct.pack(">HH", 0x25, 0)
    since_s = time.time()
    with Ear(attacker.here) as ear:
        for number in range(300):
            integrity = struct.pack(">HH", 8, 20) + os.urandom(20)
            attacker.send(struct.pack(">HHI", 1, len(body + integrity), 0x2112a442) + os.urandom(12) + body + integrity,
                          f"203.0.113.{number % 250 + 1}", 1024 + number)
            time.sleep(0.005)
    measured("came back to spoofed addresses", ear.heard)
    assert ear.heard.get("media", 0) == 0
    watch.end("spoofed checks", since_s, GAP_MS, GAP_MS)
    assert len(scene.sessions()) == 1
