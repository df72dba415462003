# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests in namespaces; edge_site.py makes the namespaces and selvaged's place in them."""
import contextlib
import os
import shutil
import signal
import tempfile
import time

import pytest

import edge_site
import manifests
import rtc_peers


def pytest_configure(config):
    # Ended from outside, a run tidies up as it does after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # `selvage drops` remembers what its user has seen; this user is not us.
    config.selvage_cache = os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="svt-cache-")


def pytest_unconfigure(config):
    shutil.rmtree(config.selvage_cache, ignore_errors=True)


def why_not_here():
    """Why functional tests cannot run on this machine; None if they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not (edge_site.BUILD / "ctrl/daemon/selvaged").exists():
        return f"{edge_site.BUILD}/ctrl/daemon/selvaged is not built (SELVAGE_BUILD names the build directory)"
    with edge_site.Site() as site:
        node = site.add_node()
        node.start_daemon(wait=False)
        try:
            node.wait_ready()
            interface = next((each for each in node.status()["interfaces"] if each["name"] == "eth0"), {})
        except edge_site.Failure as failure:
            # A daemon that does not start is no reason to skip, only a kernel that has no XDP.
            return "this kernel has no XDP" if "xdp" in str(failure).lower() and "not supported" in str(failure) else None
        return None if interface.get("engine") else f"this kernel has no XDP: {interface.get('message')}"


@pytest.fixture(scope="session")
def machine():
    reason = why_not_here()
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def npm():
    """The directory with packages of npm's; without its registry there are none."""
    try:
        return rtc_peers.node_packages() / "node_modules"
    except edge_site.Failure as failure:
        registry = edge_site.run("npm", "ping", check=False, timeout_s=60)
        if registry.returncode != 0:
            pytest.skip("npm's registry is not reachable")
        raise failure


@pytest.fixture
def nic_engine():
    """Of the nodes' NICs. A module with ENGINES has each of its tests run on all of them."""
    return "xdp-native"


def pytest_generate_tests(metafunc):
    if "site" in metafunc.fixturenames and hasattr(metafunc.module, "ENGINES"):
        metafunc.parametrize("nic_engine", metafunc.module.ENGINES)


@pytest.fixture
def site(machine, nic_engine):
    if nic_engine == "dpdk" and not (edge_site.BUILD / "dataplane/selvage-dpdk").exists():
        pytest.skip(f"{edge_site.BUILD}/dataplane/selvage-dpdk is not built")
    with checked_site(engine=nic_engine) as site:
        yield site


@contextlib.contextmanager
def checked_site(**more):
    """A site whose daemons must end well."""
    with edge_site.Site(**more) as site:
        yield site
        nodes = [each for each in site.namespaces.values() if isinstance(each, edge_site.Node)]
        for node in nodes:
            print(f"--- log of selvaged on {node.short}\n{node.log()[-4000:]}")
        for node in nodes:
            # a sanitizer's complaint, a leak: the status tells
            if node.daemon and node.daemon.returncode != -signal.SIGKILL:
                assert node.stop_daemon() == 0, node.log()[-4000:]
            if node.dataplane and node.dataplane.returncode != -signal.SIGKILL:
                assert node.stop_dataplane() == 0, node.log()[-4000:]


@pytest.fixture
def echo_node(site):
    return echo_node_of(site)


@pytest.fixture(scope="module")
def standing_echo_node(machine):
    """For all tests of a module that leave it as it was."""
    with checked_site(prefix=f"svt{os.getpid()}m") as site:
        yield echo_node_of(site)


def echo_node_of(site):
    """One node with a UDP service of two backends, on the LAN and on the machine, and a client."""
    node = site.add_node()
    node.start_daemon(wait=False)  # it loads its programs while the others start
    node.client = site.add_client()
    backends = [site.add_backend("b1", 21, node), node.workload("w1", 1)]
    for backend in backends:
        backend.serve(backend.short, udp=["7000"])
    echo = manifests.service("echo", 200, ["7000/UDP"], {"health-check": "udp", "health-expect": "pong",
                                                         "health-interval-ms": 200, "health-timeout-ms": 200})
    node.manifest = manifests.stream(manifests.POOL, manifests.advertisement(), echo, manifests.slices(echo, backends))
    node.wait_ready()
    node.apply(node.manifest)
    node.wait_backends("echo", up=4)
    return node


@pytest.fixture
def measured(record_property, capsys):
    """measured("name", value): a figure of this test, shown at once and kept in the results."""
    def note(name, value):
        record_property(name, value)
        with capsys.disabled():
            print(f"\n    {name}: {value}", end="", flush=True)
    return note


@pytest.fixture(autouse=True)
def took(record_property):
    start = time.monotonic()
    yield
    record_property("seconds", round(time.monotonic() - start, 1))
