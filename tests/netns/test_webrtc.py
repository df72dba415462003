# SPDX-License-Identifier: Apache-2.0
"""WebRTC calls of real peers: Chromium, Janus, node-datachannel."""
import os
import time

import pytest

import rtc_peers
from edge_site import run

# How long a call is watched. Longer by hand: SELVAGE_CALL_SECONDS=60.
CALL_S = float(os.environ.get("SELVAGE_CALL_SECONDS", 10))


@pytest.fixture(scope="module")
def npm():
    """Packages of npm's; without its registry there are none."""
    try:
        rtc_peers.node_packages()
    except rtc_peers.Failure as failure:
        registry = run("npm", "ping", check=False, timeout_s=60)
        if registry.returncode != 0:
            pytest.skip("npm's registry is not reachable")
        raise failure


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
                audio_flows(browser, name, 2)
            browser.call("hang_up", name)
            for direction, way in zip(("up", "down"), rtc_peers.ways(near, far)):
                measured(f"{name}, {direction}", way)
                assert way.sent >= 50 and way.lost == 0
