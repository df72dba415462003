# SPDX-License-Identifier: Apache-2.0
"""Calls under control: registered and encoded fragments, what is shown and told of them, limits, expiry, a daemon that is killed."""
import contextlib
import json
import socket
import threading
import time

import pytest

import edge_site
import manifests
from call_peer import Agent, Caller, Srtp
from edge_site import wait_for

VIP4, VIP6 = manifests.vips(220)
LIMITED4, _ = manifests.vips(221)
PORT, AGENT_PORT = 3478, 7000


def calls(name, number, **annotations):
    service = manifests.service(name, number, [f"{PORT}/UDP:{AGENT_PORT}"], {"health-check": "none"} | annotations)
    service["spec"]["ports"][0]["appProtocol"] = "selvage.io/webrtc"
    return service


@pytest.fixture(scope="module")
def node(machine):
    with edge_site.Site() as site:
        node = site.add_node()
        node.guest = site.add_client()
        node.hosts = [site.add_backend("b1", 21, node), node.workload("w1", 1)]
        node.start_daemon()
        media = calls("media", 220, **{"dscp": "ef"})
        limited = calls("limited", 221, **{"limit-sessions": 3})
        node.apply(manifests.stream(manifests.POOL, manifests.advertisement(), media, manifests.slices(media, node.hosts),
                                    limited, manifests.slices(limited, node.hosts)))
        node.wait_backends("media", up=4)
        with contextlib.ExitStack() as stack:
            node.agents = [stack.enter_context(Agent(backend, getattr(backend, attribute), AGENT_PORT))
                           for attribute in ("address4", "address6") for backend in node.hosts]
            yield node
            assert node.stop_daemon() == 0, node.log()[-3000:]


def endpoint(backend, family=4):
    return f"{backend.address4}:{AGENT_PORT}" if family == 4 else f"[{backend.address6}]:{AGENT_PORT}"


def caller(node, ufrag, vip=VIP4):
    if ":" in vip:
        return Caller(node.guest, node.guest.address6, (vip, PORT), ufrag, socket.AF_INET6)
    return Caller(node.guest, node.guest.address4, (vip, PORT), ufrag)


def talking(call, packets=25):
    before = call.received
    wait_for(lambda: call.received > before + packets, 5, lambda: f"media both ways; {call.answered} answers, {call.received} packets back")


def one(node, name, service="media"):
    items = node.get(f"/selvage/v1/services/{service}/sessions/{name}")["items"]
    assert len(items) == 1, items
    return items[0]


def add(node, ufrag, backend, *more, service="media", **options):
    return node.selvage("session", "add", "--service", service, "--ufrag", ufrag, "--backend", backend, *more, **options)


def test_checks_that_the_password_did_not_sign_are_refused(node, tmp_path):
    """The caller here signs nothing: while a password is registered for its fragment it gets nowhere."""
    path = tmp_path / "password"
    path.write_text("short\n")
    assert "22 to 256" in add(node, "signed", endpoint(node.hosts[0]), "--password-file", path, check=False).stderr
    path.write_text("passwordPASSWORD012345\n")
    add(node, "signed", endpoint(node.hosts[0]), "--password-file", path)
    assert "passwordPASSWORD" not in json.dumps(node.get("/selvage/v1/services/media/sessions/signed"))
    with caller(node, "signed") as call:
        wait_for(lambda: node.drops().get("rtc_integrity", 0) > 2, 5, "unsigned checks to be refused")
        assert call.answered == 0 and all(each["state"] == "waiting" and each["passwordKnown"]
                                          for each in node.get("/selvage/v1/services/media/sessions/signed")["items"])
        node.kill_daemon()
        node.start_daemon()
        refused = node.drops()["rtc_integrity"]
        wait_for(lambda: node.drops()["rtc_integrity"] > refused, 5, "unsigned checks to be refused by what was registered before the kill")
        add(node, "signed", endpoint(node.hosts[0]))  # forgotten: they are taken
        talking(call)
    node.selvage("session", "remove", "--service", "media", "signed")


def moved(node, call, times):
    """The caller's socket becomes another; returns how long nothing came."""
    call.longest_gap = 0
    call.move(node.guest.socket(socket.AF_INET, socket.SOCK_DGRAM))
    talking(call)
    assert one(node, "keyed")["moves"] == times
    return 1000 * call.longest_gap


def test_media_from_elsewhere_are_verified_by_the_key(node, tmp_path):
    """A client whose key is known: who forges what fits gets nowhere and costs the call nothing; the way down follows the client itself
    after two of its packets. Before and after the daemon is killed."""
    path, client, backend = tmp_path / "key", Srtp(), endpoint(node.hosts[0])
    for wrong, why in (("AES_CM_128_HMAC_SHA1_80 AAAA\n", "it is SRTP_AES128_CM_HMAC_SHA1_80 or"), (client.line()[:-5], "40 of base64: a master key of 16"), ("x\n", "PROFILE BASE64")):
        path.write_text(wrong)
        assert why in add(node, "keyed", backend, "--srtp-key-file", path, check=False).stderr
    add(node, "keyed", backend)
    path.write_text(client.line())
    with caller(node, "keyed") as call:
        call.srtp = client
        talking(call)
        assert not one(node, "keyed")["srtpKnown"]
        without_ms = moved(node, call, 1)
        add(node, "keyed", backend, "--srtp-key-file", path)
        shown = node.get("/selvage/v1/services/media/sessions/keyed")
        assert shown["items"][0]["srtpKnown"] and client.line().split()[1] not in json.dumps(shown) + node.log()
        paths = len(shown["items"][0]["paths"])
        dropped, call.longest_gap, sent, received = node.drops()["rtc_srtp_tag"], 0, call.sent, call.received
        with contextlib.closing(node.guest.socket(socket.AF_INET, socket.SOCK_DGRAM)) as thief:
            for _ in range(200):
                for ahead in range(20):
                    right = call.packet(call.sequence + ahead)
                    thief.sendto(right[:-1] + bytes([right[-1] ^ 1]), (VIP4, PORT))
                time.sleep(0.002)
            thief.settimeout(0)
            with pytest.raises(BlockingIOError):
                thief.recv(2048)
        told, lost = one(node, "keyed"), call.sent - sent - (call.received - received)
        print(f"beside 4000 forged packets: lost {lost}, longest gap {1000 * call.longest_gap:.0f} ms")
        assert node.drops()["rtc_srtp_tag"] - dropped > 3500
        assert told["moves"] == 1 and len(told["paths"]) == paths and lost <= 2 and call.longest_gap < 0.1
        talking(call)  # tags are looked at again
        with_ms = [moved(node, call, 2), moved(node, call, 3)]
        node.kill_daemon()
        node.start_daemon()
        with_ms.append(moved(node, call, 4))
        print(f"address changed: {without_ms:.0f} ms down without a key, " + ", ".join(f"{each:.0f}" for each in with_ms) + " ms with")
        assert min(with_ms) < without_ms - 10 and max(with_ms) < 100
        add(node, "keyed", backend)
        assert not one(node, "keyed")["srtpKnown"]
    node.selvage("session", "remove", "--service", "media", "keyed")


def test_a_registered_call_is_carried_and_told_of(node):
    backend = node.hosts[0]
    add(node, "reg1", f"{endpoint(backend)},{endpoint(backend, 6)}")
    states = [each["state"] for each in node.get("/selvage/v1/services/media/sessions/reg1")["items"]]
    assert states == ["waiting", "waiting"]  # at both virtual IPs
    with caller(node, "reg1") as call:
        talking(call)
        call.skip = 10  # packets that are lost on their way
        talking(call, 60)
        assert "reg1:clnt" in node.agents[0].users
        session = next(each for each in node.get("/selvage/v1/services/media/sessions/reg1")["items"] if each["state"] == "live")
        client = f"{node.guest.address4}:{call.socket.getsockname()[1]}"
        assert session["client"] == session["upstream"] == client and session["agent"] == endpoint(backend)
        assert session["vip"] == f"{VIP4}:{PORT}" and session["backendState"] == "up" and session["registered"]
        up, down = session["up"], session["down"]
        # the agent sends back what it gets, so both directions miss the ten
        assert up["lost"] == 10 and up["gaps"] == 1 and down["lost"] == 10
        assert up["packets"] >= up["expected"] - 10 >= 60 and up["payloadType"] == 111
        assert up["clockHz"] == 48000 and up["jitterMs"] < 20, up
        assert session["roundTripClientMs"] <= 1000 and session["roundTripMs"] >= 0
        assert 1 < up["mos"] < 4.5
        assert [path["address"] for path in session["paths"] if path["current"]] == [client]

        lines = node.selvage("session", "list", "media").stdout.splitlines()
        heading, line = lines[0], next(each for each in lines if "live" in each)
        assert heading.split()[:6] == ["ID", "SERVICE", "UFRAG", "STATE", "CLIENT", "AGENT"]
        assert line.split()[:6] == [session["id"], "default/media", "reg1", "live", client, endpoint(backend)]
        wide = node.selvage("session", "list", "-o", "wide").stdout
        assert "JITTER UP" in wide and "MOVES" in wide and f"{VIP4}:{PORT}" in wide
        assert json.loads(node.selvage("session", "list", "-o", "json").stdout)["items"]
        assert session["id"] in node.selvage("session", "list", "-o", "name").stdout
        shown = node.selvage("session", "show", session["id"]).stdout
        assert f"session {session['id']}\n" in shown and "from the client\n" in shown and "lost" in shown and client in shown
        assert node.selvage("session", "show", "reg1").stdout.count("session @") == 2
        # pages: one at a time gives the same as all at once
        ids, after = [], ""
        while True:
            page = node.get(f"/selvage/v1/sessions?limit=1{after}")
            ids += [each.get("id") for each in page["items"]]
            if "next" not in page:
                break
            after = f"&after={page['next']}"
        assert ids == [each.get("id") for each in node.get("/selvage/v1/sessions")["items"]]

        status = node.status()["sessions"]
        assert status["live"] == 1 and status["waiting"] >= 1 and status["limit"] == 131071
        assert "Sessions: 1 live" in node.selvage("status").stdout
        node.selvage("session", "remove", "--service", "media", "reg1")
        received = call.received
        time.sleep(0.1)
        wait_for(lambda: node.drops().get("rtc_fragment_unknown"), 5, "checks of a call that was removed to be refused")
        assert call.received <= received + 10
    assert node.selvage("session", "show", "reg1", check=False).returncode == 1


def test_ipv6_and_a_fragment_of_all_characters(node):
    ufrag = "a/b+c0Z9"
    add(node, ufrag, endpoint(node.hosts[1], 6))
    with caller(node, ufrag, VIP6) as call:
        talking(call)
        session = one(node, "a_b-c0Z9")
        assert session["ufrag"] == ufrag and session["agent"] == endpoint(node.hosts[1], 6) and session["state"] == "live"
    node.selvage("session", "remove", ufrag)
    assert node.api("GET", "/selvage/v1/sessions/a_b-c0Z9")[0] == 404


def test_encoded_fragments_and_their_keys(node):
    backend = node.hosts[1]
    words = ["session", "ufrag", "--service", "media", "--backend", endpoint(backend)]
    ufrags = node.selvage(*words, "-c", "50").stdout.split()
    assert len(set(ufrags)) == 50 and all(len(each) == 24 for each in ufrags)
    assert len(node.selvage("session", "ufrag", "--service", "media", "--backend", endpoint(backend, 6)).stdout.strip()) == 40
    ambiguous = node.selvage("session", "ufrag", "--backend", endpoint(backend), check=False)
    assert ambiguous.returncode == 1 and "say for which service" in ambiguous.stderr
    stranger = node.selvage("session", "ufrag", "--service", "media", "--backend", "192.0.2.99:7000", check=False)
    assert stranger.returncode == 1 and "no backend of media" in stranger.stderr
    with caller(node, ufrags[0]) as call:
        talking(call)
        session = one(node, ufrags[0].replace("/", "_").replace("+", "-"))
        assert session["state"] == "live" and not session["registered"] and session["agent"] == endpoint(backend)
        # a new key: what was made before is still good, and after one more it is not
        node.selvage("session", "rotate")
        wait_for(lambda: node.selvage(*words).stdout[0] != ufrags[1][0], 5, "a fragment with the new key")
        with caller(node, ufrags[1]) as second:
            talking(second)
        node.selvage("session", "rotate")
        refused = node.drops().get("rtc_fragment_unknown", 0)
        wait_for(lambda: node.get("/selvage/v1/status")["revision"] and ord(node.selvage(*words).stdout[0]) == (ord(ufrags[1][0]) - ord("I") + 2) % 4 + ord("I"),
                 5, "a fragment with the newest key")
        with caller(node, ufrags[2]) as third:
            wait_for(lambda: node.drops().get("rtc_fragment_unknown", 0) > refused, 5, "a fragment of the key before the last to be refused")
            assert not third.answered
        # another service's is none of this one
        other = node.selvage("session", "ufrag", "--service", "limited", "--backend", endpoint(backend)).stdout.strip()
        refused = node.drops().get("rtc_fragment_unknown", 0)
        with caller(node, other) as stray:
            wait_for(lambda: node.drops().get("rtc_fragment_unknown", 0) > refused, 5, "a fragment of another service to be refused")
            assert not stray.answered
        talking(call)  # and a call that runs has not noticed


class Events(threading.Thread):
    """What /selvage/v1/sessions/events says, with the time it was heard."""

    def __init__(self, node):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(node.socket_path))
        self.socket.sendall(b"GET /selvage/v1/sessions/events HTTP/1.1\r\nHost: x\r\n\r\n")
        self.heard = []
        self.start()
        wait_for(lambda: self.heard, 5, "the events to begin")

    def run(self):
        text = b""
        with contextlib.suppress(OSError):
            while data := self.socket.recv(65536):
                now = time.monotonic()
                *lines, text = (text + data).split(b"\n")
                self.heard += [(now, json.loads(line)) for line in lines if line.startswith(b"{")]

    def of(self, kind):
        return [(when, event) for when, event in self.heard if event.get("type") == kind]


def test_silence_of_one_direction_is_told_at_once(node):
    events = Events(node)
    add(node, "hush", endpoint(node.hosts[0]))
    with caller(node, "hush") as call:
        talking(call, 50)
        wait_for(lambda: events.of("Begun"), 5, "the event of a beginning")
        node.agents[0].echo = False  # the agent hangs: its packets end, the client's go on
        wait_for(lambda: events.of("Silent"), 5, "the event of a silence")
        when, event = events.of("Silent")[0]
        took_ms = (when - call.last_received) * 1000
        print(f"silence was told {took_ms:.0f} ms after the last packet")
        assert event["direction"] == "down" and event["ufrag"] == "hush" and 120 <= event["silentMs"] <= 200
        assert took_ms <= 250, took_ms  # 200, and what this process' threads take
        assert one(node, "hush")["state"] == "one-way" and one(node, "hush")["silent"] == "down"
        assert "one-way (down silent)" in node.selvage("session", "list", "media").stdout
        assert "nothing from the agent for" in node.log()
        node.agents[0].echo = True
        wait_for(lambda: events.of("Resumed"), 5, "the event of the end of a silence")
        talking(call, 50)
        call.media = False
        time.sleep(0.4)
        # an echo ends with what it echoes: both are silent, which is nobody's fault
        assert len(events.of("Silent")) == 1, events.heard
    metrics = node.selvage("metrics").stdout
    assert 'selvage_rtc_session_silences_total{direction="down"} 1' in metrics
    node.selvage("session", "remove", "hush")
    wait_for(lambda: events.of("Ended"), 5, "the event of an end")
    assert events.of("Ended")[-1][1]["reason"] == "command"
    events.socket.shutdown(socket.SHUT_RDWR)


def test_a_killed_daemon_takes_no_call_with_it(node):
    add(node, "kill", endpoint(node.hosts[1]))
    add(node, "late", endpoint(node.hosts[0]), "--expiry", "12h")
    encoded, unused = node.selvage("session", "ufrag", "--service", "media", "--backend", endpoint(node.hosts[1]), "-c", "2").stdout.split()
    with caller(node, "kill") as call, caller(node, encoded) as other:
        talking(call)
        talking(other)
        before = one(node, "kill")
        node.kill_daemon()
        talking(call)
        talking(other, 10)
        with caller(node, "late") as late:  # a call that begins while nobody is there
            talking(late)
            node.start_daemon()
            talking(call)
            wait_for(lambda: one(node, "kill")["registered"], 5, "the registration to be there again")
            after = one(node, "kill")
            assert after["id"] == before["id"] and after["client"] == before["client"] and after["ageSeconds"] >= before["ageSeconds"]
            assert after["up"]["packets"] > before["up"]["packets"] and after["up"]["lost"] == 0
            assert one(node, "late")["state"] == "live" and 42000 < one(node, "late")["expiresInSeconds"] <= 43200
            assert one(node, encoded.replace("/", "_").replace("+", "-"))["state"] == "live"
            with caller(node, unused) as again:  # its key is the one that it was made with
                talking(again)
    for name in ("kill", "late"):
        node.selvage("session", "remove", name)


def test_what_is_asked_wrongly_is_refused(node):
    place, good = "/selvage/v1/services/media/sessions/wrong", {"backend": endpoint(node.hosts[0])}
    for path, body, status, words in (
            (place, {"backend": "192.0.2.99:7000"}, 422, "has no backend 192.0.2.99:7000"),
            (place, {"backend": f"{node.hosts[0].address4}:7001"}, 422, "has no backend"),
            (place, {"backend": 1}, 422, "must be text"),
            (place, good | {"expiresInSeconds": -1}, 422, "expiresInSeconds"),
            (place[:-5] + "abc", good, 422, "it has 4 to 256"),
            (place[:-5] + "a:cd", good, 422, "character 2"),
            ("/selvage/v1/services/nothing/sessions/abcd", good, 404, "not found"),
            ("/selvage/v1/services/other/media/sessions/abcd", good, 404, "not found")):
        got, answer = node.api("PUT", path, body)
        assert got == status and words in answer["message"], (path, body, got, answer)
    assert node.api("DELETE", place)[0] == 404
    assert node.api("GET", place)[0] == 404
    plain = manifests.service("plain", 222, ["9/UDP"])
    node.apply(manifests.stream(plain))
    got, answer = node.api("PUT", "/selvage/v1/services/plain/sessions/abcd", good)
    assert got == 422 and "carries no calls" in answer["message"]
    node.selvage("delete", "service", "plain")
    assert node.api("PUT", "/v1/services/media/sessions/short", good)[0] == 200  # the short form of the path
    assert "short" in node.selvage("session", "list").stdout
    assert node.api("DELETE", "/v1/services/media/sessions/short")[0] == 200
    gone = node.selvage("session", "remove", "short", "--ignore-not-found")
    assert gone.stdout == gone.stderr == ""
    assert node.selvage("session", "remove", "@x!", "--ignore-not-found", check=False).returncode == 0
    node.selvage("apply", "--dry-run", "-f", edge_site.ROOT / "docs/examples/webrtc.yaml")
    for words, text in ((["session", "add"], "say --service"), (["session", "add", "--service", "media", "--ufrag", "abcd", "--backend",
                                                                 endpoint(node.hosts[0]), "--expiry", "soon"], "--expiry takes"),
                        (["session", "add", "--service", "media", "--ufrag", "", "--backend", "10.0.0.1:1"], "no user fragment"),
                        (["session", "add", "--service", "media", "--ufrag", "abcd", "--backend", "10.0.0.1:1", "--expiry", "31d"], "30d is the longest"),
                        (["session", "add", "--service", "", "--ufrag", "abcd", "--backend", "10.0.0.1:1"], "no service"),
                        (["session", "ufrag", "--backend", "10.0.0.1:1", "-c", "20001"], "20000 at a time"), (["session", "show", ""], "no user fragment"),
                        (["session", "show"], "say which"), (["session", "remove"], "say which"), (["session", "ufrag"], "--backend")):
        done = node.selvage(*words, check=False)
        assert done.returncode == 2 and text in done.stderr, done


def test_registrations_expire_and_may_be_repeated(node):
    path = "/selvage/v1/services/media/sessions/once"
    for _ in range(2):
        assert node.api("PUT", path, {"backend": endpoint(node.hosts[0]), "expiresInSeconds": 600})[0] == 200
    first = one(node, "once")
    assert first["state"] == "waiting" and 590 <= first["expiresInSeconds"] <= 600
    assert node.api("PUT", path, {"backend": endpoint(node.hosts[0]), "expiresInSeconds": 1})[0] == 200
    assert one(node, "once")["id"] == first["id"]  # not a new one
    with caller(node, "once") as call:
        talking(call)
        wait_for(lambda: not one(node, "once")["registered"], 10, "the registration to be over")
        talking(call)  # the call itself goes on
        assert one(node, "once")["state"] == "live"
    assert node.api("PUT", "/selvage/v1/services/media/sessions/gone", {"backend": endpoint(node.hosts[0]), "expiresInSeconds": 1})[0] == 200
    wait_for(lambda: node.api("GET", "/selvage/v1/services/media/sessions/gone")[0] == 404, 10, "a session that nobody came to to end")
    node.selvage("session", "remove", "once")


def test_an_agent_that_is_drained_keeps_its_calls(node):
    backend, target = node.hosts[0], endpoint(node.hosts[0])
    add(node, "stay", target)
    encoded, running = node.selvage("session", "ufrag", "--service", "media", "--backend", target, "-c", "2").stdout.split()
    with caller(node, "stay") as call, caller(node, running) as other:
        talking(call)
        talking(other)
        node.selvage("backend", "drain", "media", target)
        wait_for(lambda: one(node, "stay")["backendState"] == "draining", 5, "the drain to be seen")
        talking(call)
        assert not any(each["drained"] for each in node.backends("media")), "it has calls"
        refused = add(node, "newc", target, check=False)
        assert refused.returncode == 1 and "is drained" in refused.stderr
        assert "is drained" in node.selvage("session", "ufrag", "--service", "media", "--backend", target, check=False).stderr
        with caller(node, encoded) as stray:
            wait_for(lambda: node.drops().get("rtc_agent_draining"), 5, "a new call to be refused")
            assert not stray.answered
        add(node, "stay", target)  # once more what is there
        add(node, "new2", target, "--restarts", "stay")  # an ICE restart
        add(node, "new3", target, "--restarts", running)  # of a call that nobody registered
        other.user = "new3:clnt"
        talking(other)
        before = one(node, "new2")
        call.user = "new2:clnt"
        talking(call)
        assert "new2:clnt" in node.agents[0].users
        assert one(node, "new2")["id"] == before["id"] and one(node, "new2")["restarts"] == "stay"
        node.selvage("backend", "undrain", "media", target)
        node.selvage("session", "remove", "--service", "media", "stay")  # the fragment before, not the call
        talking(call)
        for name in ("new2", "new3"):
            node.selvage("session", "remove", "--service", "media", name)
    assert backend


def test_limits_are_kept_and_an_alarm_comes_before(node):
    ufrags = node.selvage("session", "ufrag", "--service", "limited", "--backend", endpoint(node.hosts[1]), "-c", "6").stdout.split()
    with contextlib.ExitStack() as stack:
        inside = [stack.enter_context(caller(node, ufrag, LIMITED4)) for ufrag in ufrags[:3]]
        for call in inside:
            talking(call, 5)
        wait_for(lambda: any("limit of 3 sessions" in each["text"] for each in node.status()["alarms"]), 10, "the alarm")
        before = node.drops().get("limit_flows", 0)
        outside = stack.enter_context(caller(node, ufrags[3], LIMITED4))
        wait_for(lambda: node.drops().get("limit_flows", 0) > before, 5, "the fourth call to be refused")
        assert not outside.answered
        items = node.get("/selvage/v1/services/limited/sessions")["items"]
        assert len(items) == 3
        node.selvage("session", "remove", "--service", "limited", items[0]["id"])
        inside[0].ended = True
        wait_for(lambda: outside.answered, 10, "its turn")


def test_an_agent_that_leaves_takes_its_calls_with_it(node):
    leaving = calls("leaving", 223)
    node.apply(manifests.stream(leaving, manifests.slices(leaving, node.hosts)))
    node.wait_backends("leaving", up=4)
    vip, _ = manifests.vips(223)
    events = Events(node)
    for name, host in (("goes", node.hosts[0]), ("stay", node.hosts[1])):
        add(node, name, endpoint(host), service="leaving")
    with caller(node, "goes", vip) as goes, caller(node, "stay", vip) as stays:
        talking(goes)
        talking(stays)
        node.apply(manifests.stream(manifests.slices(leaving, node.hosts[1:])))
        wait_for(lambda: one(node, "goes", "leaving")["state"] == "no-agent", 30, "the call of the agent that left to end")
        assert any(event["reason"] == "backend" and event["ufrag"] == "goes" for _, event in events.of("Ended")), events.heard
        talking(stays)
        node.apply(manifests.stream(manifests.slices(leaving, node.hosts)))  # it is back, and so is its registration
        wait_for(lambda: one(node, "goes", "leaving")["state"] in ("waiting", "live"), 5, "the registration to be used again")
        talking(goes)
    node.selvage("delete", "service", "leaving")
    for name in ("goes", "stay"):
        node.selvage("session", "remove", name)
    events.socket.shutdown(socket.SHUT_RDWR)


def test_metrics_tell_of_calls(node):
    add(node, "numb", endpoint(node.hosts[0]))
    with caller(node, "numb") as call:
        talking(call)
    node.selvage("session", "remove", "--service", "media", "numb")

    def told():
        text = node.selvage("metrics").stdout
        return 'selvage_rtc_session_mos_count{service="default/media:p3478-udp",vip="192.0.2.220",direction="up"}' in text and text
    text = wait_for(told, 5, "the figures of a call that ended")
    for words in ('selvage_rtc_sessions{service="default/media:p3478-udp",vip="192.0.2.220",state="live"} ',
                  'selvage_rtc_session_loss_ratio_bucket{service="default/media:p3478-udp",vip="192.0.2.220",le="0.01",direction="up"} ',
                  'selvage_rtc_session_loss_ratio_bucket{service="default/media:p3478-udp",vip="192.0.2.220",le="+Inf",direction="down"} ',
                  "selvage_rtc_session_jitter_seconds_sum", "selvage_rtc_session_round_trip_seconds_bucket",
                  "selvage_rtc_sessions_limit 131071", "selvage_rtc_sessions_used ", "selvage_rtc_registrations 0",
                  'selvage_rtc_sessions_ended_total{reason="command"} '):
        assert words in text, words
    assert text.rstrip().endswith("# EOF")
