# SPDX-License-Identifier: Apache-2.0
"""What people and other programs do to a running node: the daemon mends it or says it, and traffic goes on."""
import json
import os
import re
import subprocess

import pytest

import edge_site
import manifests
from edge_site import run, wait_for

VIP4 = manifests.vips(200)[0]


@pytest.fixture
def node(site):
    """A node with a UDP service of one backend on the machine."""
    node = site.add_node()
    site.add_client()
    backend = node.workload("w1", 1)
    backend.serve("w1", udp=["7000"])
    echo = manifests.service("echo", 200, ["7000/UDP"], {"health-check": "none"})
    node.start_daemon()
    node.apply(manifests.stream(manifests.POOL, manifests.advertisement(), echo, manifests.slices(echo, [backend])))
    node.wait_backends("echo", up=2)
    return node


def alarms(node):
    return " ".join(each["text"] for each in node.status()["alarms"])


def has_tc(node, interface):
    return "edge_tc" in node.run("tc", "filter", "show", "dev", interface, "ingress").stdout


def test_a_program_taken_from_a_veth_comes_back(node):
    assert has_tc(node, "vethw1")
    node.run("tc", "qdisc", "del", "dev", "vethw1", "clsact")
    assert not has_tc(node, "vethw1")
    wait_for(lambda: has_tc(node, "vethw1"), 12, "the packet program on vethw1")
    wait_for(lambda: "vethw1: the packet program had been taken away" in node.log(), 5, "a line in the log")


def test_a_foreign_xdp_program_in_the_way_is_said_and_its_end_is_noticed(site):
    node = site.add_node()
    node.run("ip", "link", "set", "eth0", "xdp", "obj", site.xdp_pass(), "sec", "xdp")
    node.start_daemon()
    wait_for(lambda: "another program" in alarms(node), 12, lambda: f"an alarm; there are: {alarms(node)}")
    node.run("ip", "link", "set", "eth0", "xdp", "off")
    wait_for(lambda: node.status()["interfaces"][0]["engine"] == "xdp-native", 12, lambda: node.status()["interfaces"])
    wait_for(lambda: "another program" not in alarms(node), 5, "the alarm to end")


def test_a_link_that_holds_another_instances_program_is_told_how_to_be_freed(site):
    """`ip link set … xdp off` fails for those."""
    node = site.add_node()
    node.start_daemon()
    node.stop_daemon()
    old = node.run_directory
    pins = old / "bpf"
    node.run_directory = node.directory / "run2"
    node.config_path.write_text(node.config_path.read_text().replace(str(old), str(node.run_directory)))
    node.socket_path = node.run_directory / "selvage.sock"
    node.start_daemon()
    wait_for(lambda: "another program" in alarms(node), 12, lambda: f"an alarm; there are: {alarms(node)}")
    link = re.search(r"`bpftool link detach id (\d+)`", alarms(node))
    assert link and "remove its pin" in alarms(node) and "xdp off" not in alarms(node), alarms(node)
    assert node.run("ip", "link", "set", "dev", "eth0", "xdp", "off", check=False).returncode != 0
    for pin in pins.glob("link_xdp_*"):
        pin.unlink()
    wait_for(lambda: node.status()["interfaces"][0]["engine"] == "xdp-native", 12, lambda: node.status()["interfaces"])
    wait_for(lambda: "another program" not in alarms(node), 5, "the alarm to end")


def test_a_nic_without_a_link_is_an_alarm(node):
    assert "down" not in alarms(node)
    node.run("ip", "link", "set", "dev", "eth0", "down")
    wait_for(lambda: "eth0: The interface is down; `ip link set dev eth0 up`" in alarms(node), 5, lambda: f"an alarm: {alarms(node)}")
    node.run("ip", "link", "set", "dev", "eth0", "up")
    wait_for(lambda: "down" not in alarms(node), 5, "the alarm to end")
    node.site.port(node, "down")
    wait_for(lambda: "eth0: The link is down: no cable" in alarms(node), 5, lambda: f"an alarm: {alarms(node)}")
    node.site.port(node, "up")
    wait_for(lambda: "down" not in alarms(node), 5, "the alarm to end")


def test_a_second_daemon_on_the_run_directory_touches_nothing(node):
    """It has a store of its own, so that nothing but the run directory is common."""
    other = node.directory / "other.yaml"
    other.write_text(node.config_path.read_text().replace(str(node.state_directory), str(node.directory / "other"))
                     .replace("127.0.0.1:9480", "none"))
    before = node.tables()
    ended = node.run(node.program, "--config", other, check=False)
    assert ended.returncode == 1
    assert "another selvaged uses the run directory" in ended.stderr, ended.stderr
    assert "adopted" not in ended.stderr
    assert node.tables() == before
    assert node.status()["ready"]


def test_many_backends_that_do_not_answer_delay_no_check(site):
    """More of them than 256, which is as many as were once asked at a time."""
    node = site.add_node()
    backend = node.workload("w1", 1)
    backend.serve("w1", tcp=["7000"])
    node.start_daemon()
    live = manifests.service("live", 200, ["7000/TCP"], {"health-interval-ms": 200, "health-timeout-ms": 200})
    objects = [manifests.POOL, manifests.advertisement(), live, manifests.slices(live, [backend])]
    dead = []
    for number in range(20):
        name = f"dead{number}"
        dead += [{"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "annotations": {
                    "selvage.io/health-interval-ms": "1000", "selvage.io/health-timeout-ms": "1000"}},
                  "spec": {"type": "LoadBalancer", "ports": [{"port": 1000 + number}]}},
                 {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": name},
                  "subsets": [{"addresses": [{"ip": f"198.18.{number}.{host}"} for host in range(1, 41)],
                               "ports": [{"port": 1000 + number}]}]}]
    # the dead ones are reached by a way on which nobody answers
    hole = edge_site.Namespace(site, "hole")
    node.ip(f"link add hole type veth peer name eth0 netns {hole.name}", "address add 198.18.255.254/15 dev hole",
            "link set hole arp off", "link set hole up")
    hole.ip("link set eth0 up")
    node.apply(manifests.stream(*objects))
    node.selvage("apply", "-f", "-", stdin="---\n".join(json.dumps(each) + "\n" for each in dead))
    node.wait_backends("live", up=2)
    wait_for(lambda: all(each["state"] == "down" for each in node.backends("dead19")), 30, "the dead to be known as such")

    def metric(name):
        text = node.run("curl", "-s", "http://127.0.0.1:9480/metrics").stdout
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(name))
    assert metric("selvage_health_probes_delayed_total") == 0
    assert "Health checks" not in alarms(node)


def test_undrain_of_a_port_says_that_the_address_was_drained(node):
    node.selvage("backend", "drain", "echo", "10.77.1.2")
    wait_for(lambda: any(each["state"] == "draining" for each in node.backends("echo")), 5, "the drain")
    refused = node.selvage("backend", "undrain", "echo", "10.77.1.2:7000", check=False)
    assert refused.returncode == 1
    assert "undrain it without a port" in refused.stderr
    node.selvage("backend", "undrain", "echo", "10.77.1.2")


def test_words_of_the_command_line_as_people_write_them(node):
    for group in ("service", "vip", "backend"):
        help_ = node.selvage(group, "--help")
        assert help_.stdout.count("Usage: selvage ") == 2
    command = [edge_site.BUILD / "ctrl/cli/selvage", "-n", "default", "-s", node.socket_path, "get", "svc", "-o", "name"]
    assert run(*command).stdout.split() == ["service/echo"]
    # getopt's own words begin with the program's name, however it was called
    wrong = subprocess.run([node.program, "--bogus"], capture_output=True, text=True,
                           env={**os.environ, "PATH": "/usr/sbin:/usr/bin"})
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("selvaged: ")
    for name in ("ctrl/resolver/selvage-dns", "rtc/selvage-echo", "rtc/selvage-media-check", "dataplane/selvage-dpdk"):
        wrong = run(edge_site.BUILD / name, "--bogus", check=False)
        program = name.split("/")[-1]
        assert wrong.returncode == 2 and wrong.stderr.startswith(f"{program}: ") and f"see `{program} --help`" in wrong.stderr, wrong
    for words, why in ((["rtc/selvage-echo", "--announce", "127.0.0.1:9", "--ufrag-file", "/nowhere/file"], "/nowhere/file: No such file"),
                       (["rtc/selvage-media-check", "http://nowhere.invalid/"], "no such host"),
                       (["rtc/selvage-media-check", "--token-file", "/nowhere/file", "http://127.0.0.1/"], "/nowhere/file")):
        failed = run(edge_site.BUILD / words[0], *words[1:], check=False)
        assert failed.returncode == 1 and why in failed.stderr, failed


def test_a_drain_goes_with_its_service(node):
    node.selvage("backend", "drain", "echo", "10.77.1.2")
    wait_for(lambda: any(each["state"] == "draining" for each in node.backends("echo")), 5, "the drain")
    node.selvage("delete", "service", "echo")
    wait_for(lambda: not node.status()["services"], 5, "the service to go")
    echo = manifests.service("echo", 200, ["7000/UDP"], {"health-check": "none"})
    node.apply(manifests.stream(echo))
    node.wait_backends("echo", up=2)


def test_virtual_ips_tell_since_when_they_have_their_owner(node):
    vips = json.loads(node.selvage("vip", "list", "-o", "json").stdout)["items"]
    assert vips and all(0 <= vip["sinceSeconds"] < 120 for vip in vips)
