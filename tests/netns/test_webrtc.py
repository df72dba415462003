# SPDX-License-Identifier: Apache-2.0
"""WebRTC calls of real peers through the one UDP port of a virtual IP: Chromium calls, Janus and node-datachannel answer.

What was lost is told by taps on both ends of a call: all media that one sent, and all that the other received, packet by packet. A gap is
the time from the first packet that was sent and lost until the next that was not.
"""
import os
import time

import pytest

import rtc_peers
from edge_site import BUILD, run
from rtc_scene import GAP_MS, PORT, VIP4, VIP6, Crowd, Scene, Watch, watched

# How long a call is watched. Longer by hand: SELVAGE_CALL_SECONDS=60.
CALL_S = float(os.environ.get("SELVAGE_CALL_SECONDS", 10))
MOVED_UP_MS, MOVED_DOWN_MS = 40, 100  # the longest gaps when a client's address changes


def audio_flows(browser, name, seconds):
    """The browser's report after this time; it heard something, and nothing was lost."""
    before = browser.wait_connected(name)
    time.sleep(seconds)
    report = browser.report(name)
    heard, said = report["inbound-rtp"], report["outbound-rtp"]
    packets = heard["packetsReceived"] - before.get("inbound-rtp", {}).get("packetsReceived", 0)
    assert packets >= 0.9 * seconds / rtc_peers.PERIOD_S, heard
    assert said["packetsSent"] >= packets and heard["totalAudioEnergy"] > 0, (said, heard)
    assert heard["packetsLost"] == 0, heard
    return report


def test_peers_alone(site, measured, npm):
    """Without a node between them, the peers do what the other tests take for granted; the figures are those tests' floor."""
    client, agent = site.add_client(), site.add_client("a1", 21)
    janus, data_channel = rtc_peers.Janus(agent), rtc_peers.DataChannelAgent(agent, agent.address4)
    with rtc_peers.Chromium(client) as browser:
        answers = {"janus": lambda offer: janus.answer("janus", offer),
                   "node-datachannel": lambda offer: data_channel.answer("node-datachannel", offer, "Chosen+by/agent", 7000)}
        for name, answer in answers.items():
            with rtc_peers.Tap(client) as near, rtc_peers.Tap(agent) as far:
                browser.call("answer", name, answer(rtc_peers.without_candidates(browser.call("offer", name))))
                audio_flows(browser, name, 1.2)
            browser.call("hang_up", name)
            for way in watched(measured, name, near, far):
                assert way.lost == 0


def test_calls_at_once(site, measured, npm):
    """One browser, one port. Janus, over IPv4 and IPv6, whose fragments are registered: it learns the client's address from the
    client's checks, or is told it, and then checks by itself. node-datachannel, whose fragments say where it is. And beside
    them two hundred calls of the media check with selvage-echo."""
    scene, client, crowd = Scene(site, ("w1", "w2", "w3")), site.add_client(), site.add_client("c2", 102)
    w1, w2, w3 = scene.agents.values()
    janus, data_channel = scene.start_janus(), rtc_peers.DataChannelAgent(w2, w2.address4)
    with rtc_peers.Chromium(client) as browser, rtc_peers.Tap(client) as near, rtc_peers.Tap(w1) as far1, rtc_peers.Tap(w2) as far2, \
            Crowd(scene, w3, crowd, CALL_S) as many:
        agents = {"Janus, IPv4": far1, "Janus, IPv4, told": far1, "Janus, IPv6": far1, "Janus, IPv6, told": far1, "node-datachannel": far2}
        for name, far in agents.items():
            if far is far1:
                scene.janus_call(browser, janus, name, 6 if "IPv6" in name else 4, "told" in name)
            else:
                scene.data_channel_call(browser, data_channel, name, w2, 7000)
            browser.wait_connected(name)
        reports = {name: audio_flows(browser, name, CALL_S / len(agents)) for name in agents}
        assert len(scene.sessions()) == len(agents) + many.calls
        beside = many.end()
    assert near.others() == {(VIP4, PORT), (VIP6, PORT)}
    for name, far in agents.items():
        streams = {reports[name][kind]["ssrc"] for kind in ("inbound-rtp", "outbound-rtp")}
        for way in watched(measured, name, near, far, streams=streams):
            assert way.lost == 0
    measured(f"{many.calls} calls beside them", f"{beside['sent']} sent, {beside['returned']} returned, connected in "
             f"{beside['connect']['p50Ms']:.0f} ms, round trip p50/p99 {beside['roundTrip']['p50Ms']:g}/{beside['roundTrip']['p99Ms']:g} ms")
    assert beside["connected"] == many.calls and beside["failed"] == beside["silent"] == 0
    # All that a machine with other work had time to send came back.
    assert beside["returned"] == beside["sent"] >= 0.25 * many.calls * CALL_S / rtc_peers.PERIOD_S


@pytest.mark.parametrize("family", [4, 6])
def test_a_client_whose_address_changes(site, measured, family):
    """Behind an address translator that forgets, again and again, faster than the client checks: another port, another address, and twice more."""
    scene = Scene(site)
    far_client = site.add_far_client(scene.node)
    router = site.namespaces["r1"]
    router.ip("address add 192.0.2.250/24 dev eth0", "address add 2001:db8:0:1::250/64 dev eth0 nodad")
    home = rtc_peers.Translator(router)
    with Watch(scene, far_client, measured, family) as watch:
        home_again, elsewhere = (None, None), ("192.0.2.250", "2001:db8:0:1::250")
        for what, addresses in (("another port", home_again), ("another address", elsewhere), ("a third", home_again), ("a fourth", elsewhere)):
            watch.end(f"IPv{family}, {what}", home.rebind(*addresses), MOVED_UP_MS, MOVED_DOWN_MS, True)


def test_a_call_goes_on(site, measured):
    """An ICE restart; other agents that come and go; kill -9 of the daemon, a while without one, and the next; an ICE restart with that."""
    scene, client = Scene(site, ("w1", "w2", "w3")), site.add_client()
    with Watch(scene, client, measured) as watch:
        def restart():
            fragment = watch.janus.fragments["call"]
            assert scene.janus_call(watch.browser, watch.janus, "call") != fragment

        def kill():
            scene.node.kill_daemon()

        def start():
            scene.node.start_daemon()
        for what, happens in (("ICE restart", restart), ("w1 alone", lambda: scene.use("w1")), ("w3, w2 and w1", lambda: scene.use("w3", "w2", "w1")),
                              ("selvaged killed", kill), ("selvaged started again", start), ("ICE restart after it", restart)):
            since_s = time.time()
            happens()
            watch.end(what, since_s, GAP_MS, GAP_MS)
        assert [each["state"] for each in scene.sessions()] == ["live"]


def test_agent_in_drain(site, measured):
    """Its call goes on, also through an ICE restart. No new one begins: its fragments are refused, and one that was made before leads
    nowhere."""
    scene, client = Scene(site, ("w1", "w2")), site.add_client()
    early = client.directory / "fragment"
    early.write_text(scene.node.selvage("session", "ufrag", "--service", "calls", "--backend", f"{scene.agents['w1'].address4}:20000").stdout)
    with Watch(scene, client, measured) as watch:
        since_s = time.time()
        for address in (scene.agents["w1"].address4, scene.agents["w1"].address6):
            scene.node.selvage("backend", "drain", "calls", address)
        watch.end("drain", since_s, GAP_MS, GAP_MS)
        since_s = time.time()
        scene.janus_call(watch.browser, watch.janus, "call")
        watch.end("ICE restart in drain", since_s, GAP_MS, GAP_MS)
        agent = f"{scene.agents['w1'].address4}:20000"
        refused = scene.node.selvage("session", "add", "--service", "calls", "--ufrag", "aNew", "--backend", agent, check=False)
        assert refused.returncode == 1 and "drain" in refused.stderr, refused.stderr
        assert client.run(BUILD / "tests/perf/rtc_load", "send", 0, "stun", VIP4, PORT, 1, early, stdin="setup\n", check=False).returncode == 1
        assert scene.node.drops()["rtc_agent_draining"] > 0 and len(scene.sessions()) == 1


# --- a STUN server -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vip", [VIP4, VIP6], ids=["IPv4", "IPv6"])
def test_coturns_stun_client(site, vip):
    """RFC 8489: a Binding request without a user is answered with the address that it came from."""
    Scene(site)
    client = site.add_client()
    own = client.address6 if ":" in vip else client.address4
    said = client.run("turnutils_stunclient", "-p", PORT, vip, timeout_s=20).stdout
    found = [line for line in said.splitlines() if "reflexive addr" in line]
    assert found and all(f"reflexive addr: {own}:" in line for line in found), said


def test_browsers_stun_gathering(site):
    """Behind an address translator Chromium learns what it looks like from outside, over IPv4 and IPv6."""
    scene = Scene(site)
    far_client = site.add_far_client(scene.node)
    rtc_peers.Translator(site.namespaces["r1"])
    servers = [{"urls": [f"stun:{VIP4}:{PORT}", f"stun:[{VIP6}]:{PORT}"]}]
    with rtc_peers.Chromium(far_client) as browser, rtc_peers.Tap(far_client) as near:
        offer = browser.call("offer", "call", servers)
    seen = [line.split() for line in offer.splitlines() if line.startswith("a=candidate:") and " typ srflx " in line]
    assert {words[4] for words in seen} == {"192.0.2.254", "2001:db8:0:1::254"}, offer
    assert all(40000 <= int(words[5]) <= 40999 for words in seen), offer
    assert near.others() <= {(VIP4, PORT), (VIP6, PORT)}
