# SPDX-License-Identifier: Apache-2.0
"""selvage-echo with a browser that nobody wrote for it: its own page, in Chromium without a screen; and beside it the media check."""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

import pytest

import edge_site
import manifests

BUILD = pathlib.Path(os.environ.get("SELVAGE_BUILD", "build")).resolve()
NAMESPACE = f"media{os.getpid()}"
HTTP, PAGE = "127.0.0.1:8080", "http://127.0.0.1:8080/"
ADDRESS = "192.0.2.1"
TALK_S = 4


def wait_for(what, condition, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        result = condition()
        if result:
            return result
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s for {what}")


@pytest.fixture(scope="module")
def inside():
    """The words that run a program in a namespace with one address of its own."""
    if os.geteuid() != 0:
        pytest.skip("namespaces need root")
    subprocess.run(["ip", "netns", "add", NAMESPACE], check=True)
    try:
        # Browsers take no candidates from a loopback.
        for words in (["link", "set", "lo", "up"], ["link", "add", "media0", "type", "veth", "peer", "name", "media1"],
                      ["address", "add", f"{ADDRESS}/24", "dev", "media0"], ["link", "set", "media0", "up"], ["link", "set", "media1", "up"]):
            subprocess.run(["ip", "-n", NAMESPACE, *words], check=True)
        yield ["ip", "netns", "exec", NAMESPACE]
    finally:
        subprocess.run(["ip", "netns", "delete", NAMESPACE], check=True)


@contextlib.contextmanager
def running(words, **more):
    process = subprocess.Popen(words, **more)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def sessions(inside):
    answer = subprocess.run([*inside, "curl", "-s", "--max-time", "2", PAGE + "sessions"], capture_output=True, text=True)
    return json.loads(answer.stdout) if answer.stdout else None


@pytest.fixture(params=["lite", "full"])
def echo(inside, request):
    words = [*inside, BUILD / "rtc/selvage-echo", "--http", HTTP, "--media", f"{ADDRESS}:7000"] + (["--full-ice", "--dtls-active"] if request.param == "full" else [])
    with running(words):
        wait_for("selvage-echo", lambda: sessions(inside))
        yield request.param


class Browser:
    """Chromium, driven over DevTools on a pipe (descriptors 3 and 4, messages end with a zero)."""

    def __init__(self, inside, home, page):
        orders, self.orders = os.pipe()
        self.answers, answers = os.pipe()
        self.number, self.rest = 0, b""

        def place():  # in the child
            os.dup2(os.dup(orders), 3, inheritable=True)
            os.dup2(os.dup(answers), 4, inheritable=True)

        words = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                 "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", "--mute-audio",
                 "--autoplay-policy=no-user-gesture-required", "--disable-background-networking", "--disable-extensions",
                 f"--user-data-dir={home}", "--remote-debugging-pipe", "about:blank"]
        # The descriptors are duplicated above everything that the child could overwrite.
        high = [os.dup(each) for each in (orders, answers)]
        self.process = subprocess.Popen([*inside, *words], preexec_fn=place, close_fds=False, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        for each in [orders, answers, *high]:
            os.close(each)
        target = self.order("Target.createTarget", {"url": page})["targetId"]
        self.session = self.order("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]

    def order(self, method, parameters, session=None):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters, **({"sessionId": session} if session else {})}
        os.write(self.orders, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self.rest:
                more = os.read(self.answers, 65536)
                assert more, "Chromium is gone"
                self.rest += more
            first, self.rest = self.rest.split(b"\0", 1)
            answer = json.loads(first)
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]

    def run(self, script):
        result = self.order("Runtime.evaluate", {"expression": script, "awaitPromise": True, "returnByValue": True}, self.session)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.orders)
        os.close(self.answers)


COUNTS = """(async () => {
    const found = {};
    for (const one of (await pc.getStats()).values()) {
        if (one.type === 'inbound-rtp') Object.assign(found, {received: one.packetsReceived, lost: one.packetsLost});
        if (one.type === 'outbound-rtp') found.sent = one.packetsSent;
        if (one.type === 'transport') Object.assign(found, {dtls: one.dtlsState, srtp: one.srtpCipher, ice: one.iceState});
        if (one.type === 'media-playout') found.samples = one.totalSamplesCount;
    }
    return found;
})()"""


def test_a_browser_hears_itself(inside, echo, tmp_path):
    if not shutil.which("chromium"):
        pytest.skip("chromium is not installed")
    browser = Browser(inside, tmp_path, PAGE)
    try:
        wait_for("the page", lambda: browser.run("document.readyState") == "complete" and browser.run("!!document.getElementById('call')"))
        browser.run("call.click()")
        wait_for("the call", lambda: browser.run("typeof pc !== 'undefined' && pc && pc.connectionState === 'connected'"), 30)
        before = browser.run(COUNTS)
        wait_for("frames", lambda: browser.run(COUNTS).get("received", 0) > before.get("received", 0) + TALK_S * 50 - 10, TALK_S + 20)
        counts, seen = browser.run(COUNTS), sessions(inside)
        print("browser:", counts, "agent:", seen)
        assert counts["lost"] == 0 and counts["dtls"] == "connected" and counts["sent"] - counts["received"] < 20
        assert seen["connected"] == 1 and seen["list"][0]["lost"] == 0 and seen["list"][0]["received"] > TALK_S * 50 - 30
        assert seen["list"][0]["refused"] == 0 and seen["straysTotal"] == 0
        browser.run("hang.click()")
        wait_for("the end", lambda: sessions(inside)["sessions"] == 0)
        assert sessions(inside)["failedTotal"] == 0
    finally:
        browser.close()


def test_many_calls_at_once(inside, echo):
    profile = "gcm" if echo == "lite" else "sha1"
    run = subprocess.run([*inside, BUILD / "rtc/selvage-media-check", "-c", "50", "-t", "2", "--profile", profile, "--restart-ice", "500",
                          "--max-loss", "0", "-o", "json", PAGE + "whip"], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stdout + run.stderr
    result = json.loads(run.stdout)
    print({name: result[name] for name in ("connected", "sent", "returned", "connect", "roundTrip", "there", "back", "longestGap")})
    assert result["connected"] == 50 and result["failed"] == 0 and result["gcm"] == (50 if profile == "gcm" else 0)
    assert result["sent"] == result["returned"] >= 50 * 95
    assert sessions(inside)["sessions"] == 0


def rebound_with_a_key(node, client, page):
    """Clients whose port changes, and whose SRTP key the agent told when their handshake was over."""
    run = client.start(BUILD / "rtc/selvage-media-check", "-c", "20", "-t", "2", "--ramp", "10", "--rebind", "1000", "--profile", "sha1", "-o", "json",
                       page + "whip", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for("twenty keys", lambda: sum(each.get("srtpKnown", False) for each in node.get("/selvage/v1/services/calls/sessions")["items"]) == 20)
    out, errors = run.communicate(timeout=60)
    assert run.returncode == 0, out + errors
    result = json.loads(out)
    print("--rebind with keys", {name: result[name] for name in ("connected", "sent", "returned", "longestGap")})
    assert result["connected"] == 20 and result["lossPercent"] < 4 and result["longestGap"]["p50Ms"] < 70
    assert node.drops()["rtc_srtp_tag"] == 0


def test_calls_through_a_virtual_ip(site):
    """Nobody tells the node of the calls but the agent itself, by fragments that it was given or that it registers. Clients that restart ICE lose
    nothing, clients whose port changes little. And the health check makes calls too: an agent that hangs still has its ports open."""
    node, client = site.add_node(), site.add_client()
    agent, vip = node.workload("w1", 1), manifests.vips(210)[0]
    calls = manifests.service("calls", 210, ["3478/UDP:7000"], {"health-check": "media", "health-port": 8080, "health-interval-ms": 1000,
                                                                "health-timeout-ms": 900, "health-fall": 1, "health-rise": 1})
    calls["spec"]["ports"][0]["appProtocol"] = "selvage.io/webrtc"
    node.start_daemon()
    slices = [each for each in manifests.slices(calls, [agent]) if each["addressType"] == "IPv4"]
    node.apply(manifests.stream(manifests.POOL, manifests.advertisement(), calls, slices))
    client.ip(f"route add {agent.address4}/32 via {node.address4}")  # WHIP is spoken with the agent itself
    page = f"http://{agent.address4}:8080/"
    for how, change in (("--ufrag-encoded", "--rebind"), ("--ufrag-registered", "--restart-ice")):
        echo = agent.start(BUILD / "rtc/selvage-echo", "--http", f"{agent.address4}:8080", "--media", f"{agent.address4}:7000", "--announce",
                           f"{vip}:3478", how, "--selvaged", node.socket_path, "--service", "calls")
        node.wait_backends("calls", up=1)
        assert "media: connected in" in node.selvage("service", "backends", "calls").stdout
        run = client.start(BUILD / "rtc/selvage-media-check", "-c", "20", "-t", "3", "--ramp", "10", change, "1000", "-o", "json", page + "whip",
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        out, errors = run.communicate(timeout=60)
        assert run.returncode == 0, out + errors
        result = json.loads(out)
        print(how, change, {name: result[name] for name in ("connected", "sent", "returned", "connect", "roundTrip", "longestGap")})
        assert result["connected"] == 20 and result["sent"] >= 20 * 140
        assert result["returned"] == result["sent"] if change == "--restart-ice" else result["lossPercent"] < 2
        assert result["longestGap"]["maxMs"] < 500  # a client whose address changed would wait for its check of every 5 s
        assert node.drops()["rtc_integrity"] == 0  # the registering agent says its password: real clients sign right
        if how == "--ufrag-registered":
            rebound_with_a_key(node, client, page)
        os.kill(echo.pid, signal.SIGSTOP)
        node.wait_backends("calls", up=0)
        assert "media: timeout after 900 ms: " in node.selvage("service", "backends", "calls", "-o", "json").stdout
        os.kill(echo.pid, signal.SIGCONT)
        edge_site.end(echo)
