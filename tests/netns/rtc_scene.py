# SPDX-License-Identifier: Apache-2.0
"""A node with a service of calls, and a call that is watched from both ends while things happen."""
import json
import subprocess
import time

import edge_site
import manifests
import rtc_peers

VIP4, VIP6 = manifests.vips(210)
PORT = 3478
GAP_MS = 20  # what nothing that happens to agents or to the daemon may make longer


class Scene:
    """A node with a service of calls; Janus on w1, node-datachannel on w2; a browser somewhere."""

    def __init__(self, site, agents=("w1",), **annotations):
        self.site, self.node = site, site.add_node()
        self.agents = {name: self.node.workload(name, number) for number, name in enumerate(agents, 1)}
        self.calls = manifests.service("calls", 210, [f"{PORT}/UDP"], {"health-check": "none", **annotations})
        self.calls["spec"]["ports"][0]["appProtocol"] = "selvage.io/webrtc"
        self.node.start_daemon()
        self.node.apply(manifests.stream(manifests.POOL, manifests.advertisement(), self.calls))
        self.use(*agents)

    def use(self, *names):
        """These agents, at any port: Janus has one for each call."""
        slices = manifests.slices(self.calls, [self.agents[name] for name in names])
        for each in slices:
            each["ports"] = [{key: value for key, value in port.items() if key != "port"} for port in each["ports"]]
        self.node.apply(manifests.stream(slices))
        self.node.wait_backends("calls", up=2 * len(names))

    def start_janus(self, name="w1"):
        """It announces the virtual IPs, as its configuration can say; not their port, for each of its calls has a port of its own."""
        return rtc_peers.Janus(self.agents[name], announced=f"{VIP4},{VIP6}")

    def register(self, agent, answer, family=4, restarts=None):
        """The agent's fragment leads to it from now on; returns the answer as the client shall have it. `restarts`: what it had before."""
        vip, address = (VIP6, f"[{agent.address6}]") if family == 6 else (VIP4, agent.address4)
        port = next(port for announced, port in rtc_peers.candidates_of(answer) if announced == vip)
        self.node.selvage("session", "add", "--service", "calls", "--ufrag", rtc_peers.fragment_of(answer)[0],
                          "--backend", f"{address}:{port}", *(["--restarts", restarts] if restarts else []))
        return self.announce(answer, family)

    @staticmethod
    def announce(answer, family=4):
        return rtc_peers.announce(answer, VIP6 if family == 6 else VIP4, PORT)

    def janus_call(self, browser, janus, name, family=4, candidates=False):
        """Begins a call with Janus, or restarts it. `candidates`: whether Janus is told the browser's own addresses; only of the
        family that is registered, and not before it is, for what else it asks them does not come from the virtual IP."""
        offer = browser.call("restart" if name in janus.calls else "offer", name)
        before = janus.fragments.get(name)
        answer = janus.answer(name, rtc_peers.without_candidates(offer))
        answered = self.register(janus.namespace, answer, family, before)
        if candidates:
            janus.trickle(name, offer, family)
        browser.call("answer", name, answered)
        janus.fragments[name] = rtc_peers.fragment_of(answer)[0]
        return janus.fragments[name]

    def data_channel_call(self, browser, agent, name, workload, port):
        """Begins a call with node-datachannel, which nobody registers."""
        said = self.node.selvage("session", "ufrag", "--service", "calls", "--backend", f"{workload.address4}:{port}").stdout
        answer = agent.answer(name, rtc_peers.without_candidates(browser.call("offer", name)), said.strip(), port)
        browser.call("answer", name, self.announce(answer))

    def sessions(self):
        return json.loads(self.node.selvage("session", "list", "-o", "json").stdout)["items"]


def watched(measured, what, near, far, since_s=0, streams=None):
    """What became of the media since then, both ways; of these SSRCs or of all."""
    up, down = rtc_peers.ways(near, far, since_s, streams)
    for direction, way in (("up", up), ("down", down)):
        measured(f"{what}, {direction}", way)
        assert way.sent >= 25
    return up, down


class Crowd:
    """Calls of selvage-media-check with selvage-echo, whose fragments are encoded, through the virtual IP. Context manager: from its
    begin on all of them are connected."""

    def __init__(self, scene, agent, client, seconds, calls=200):
        self.scene, self.agent, self.client, self.seconds, self.calls = scene, agent, client, seconds, calls
        # WHIP is spoken with the agent itself.
        client.ip(f"route add {agent.address4}/32 via {scene.node.address4}")

    def __enter__(self):
        build, media, before = edge_site.BUILD / "rtc", f"{self.agent.address4}:7000", len(self.scene.sessions())
        self.log_path = self.agent.directory / "echo-log"
        with open(self.log_path, "w") as log:
            self.echo = self.agent.start(build / "selvage-echo", "--http", f"{self.agent.address4}:8080", "--media", media,
                                         "--announce", f"{VIP4}:{PORT}", "--ufrag-encoded", "--selvaged", self.scene.node.socket_path,
                                         "--service", "calls", "--backend", media, stdout=log, stderr=log)
        edge_site.wait_for(lambda: "calls at" in self.log_path.read_text() or self.echo.poll() is not None, 10, "selvage-echo to listen")
        self.check = self.client.start(build / "selvage-media-check", "-c", self.calls, "-t", round(self.seconds), "--ramp", 5, "-o", "json",
                                       f"http://{self.agent.address4}:8080/whip", stdout=subprocess.PIPE)
        edge_site.wait_for(lambda: len(self.scene.sessions()) - before == self.calls, 20,
                           lambda: f"{self.calls} calls; there are {len(self.scene.sessions())}; {self.log_path.read_text()[-500:]}")
        return self

    def end(self):
        """What selvage-media-check says of all of them."""
        return json.loads(self.check.communicate(timeout=self.seconds + 30)[0])

    def __exit__(self, *_):
        edge_site.end(self.check)
        edge_site.end(self.echo)


class Watch:
    """A call of the browser with Janus that goes on while things happen; taps on both ends."""

    def __init__(self, scene, client, measured, family=4):
        self.scene, self.client, self.measured, self.family = scene, client, measured, family
        self.janus = scene.start_janus()
        self.browser = rtc_peers.Chromium(client)
        self.near, self.far = rtc_peers.Tap(client), rtc_peers.Tap(scene.agents["w1"])

    def __enter__(self):
        try:
            self.begin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def begin(self):
        self.fragment = self.scene.janus_call(self.browser, self.janus, "call", self.family)
        self.browser.wait_connected("call")
        self.media_flows()

    def __exit__(self, *_):
        self.browser.close()
        self.near.close()
        self.far.close()

    def media_flows(self, seconds=1.0):
        time.sleep(seconds)

    def end(self, what, since_s, up_ms, down_ms, by_client=False):
        """After a while, the gaps since then are not longer than these. `by_client`: the way down waits for packets of the client, which on
        a busy machine are late by themselves."""
        self.media_flows(1.2)
        up, down = watched(self.measured, what, self.near, self.far, since_s)
        assert up.gap_ms <= up_ms, f"{what}: up {up}"
        assert down.gap_ms <= down_ms + (max(0, up.silence_ms) if by_client else 0), f"{what}: down {down}"
        report = self.browser.report("call")
        assert report["state"] == "connected", report["states"]
        vip = VIP6 if self.family == 6 else VIP4
        round_it = self.near.others() - {(vip, PORT)}
        assert not round_it, f"packets went round the virtual IP: {round_it}"
