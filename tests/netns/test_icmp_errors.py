# SPDX-License-Identifier: Apache-2.0
"""ICMP errors about flows of a virtual IP, made by the kernels of clients, routers and backends, reach whom they are about."""
import errno
import socket
import threading

import pytest

import manifests
from edge_site import wait_for

SILENT = {"health-check": "none"}
IP_MTU_DISCOVER, IP_MTU, IPV6_MTU_DISCOVER, IPV6_MTU, PMTUDISC_DO = 10, 14, 23, 24, 2


class Scene:
    def __init__(self, site):
        self.node = site.add_node()
        self.client, self.far = site.add_client(), site.add_far_client(self.node)
        self.router = site.namespaces["r1"]
        self.backends = [site.add_backend("b1", 21, self.node), self.node.workload("w1", 1)]
        self.node.start_daemon()
        services = [manifests.service(f"echo-{backend.short}", 200 + number, ["7000/UDP", "7001/UDP:7009"], SILENT)
                    for number, backend in enumerate(self.backends)]
        self.node.apply(manifests.stream(manifests.POOL, manifests.advertisement(), services, *[
            manifests.slices(service, [backend]) for service, backend in zip(services, self.backends)]))
        for service in services:
            self.node.wait_backends(service["metadata"]["name"], up=4)

    def pairs(self):
        """Each backend with each of its virtual IPs."""
        return [(backend, vip) for number, backend in enumerate(self.backends) for vip in manifests.vips(200 + number)]


@pytest.fixture
def scene(site):
    return Scene(site)


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def own(namespace, vip):
    return namespace.address6 if ":" in vip else namespace.address4


def udp(namespace, vip, bind=None, connect=None):
    made = namespace.socket(family(vip), socket.SOCK_DGRAM)
    made.settimeout(2)
    if bind is not None:
        made.bind((own(namespace, vip), bind))
    if connect:
        made.connect(connect)
    return made


def flow(scene, client, backend, vip):
    """A flow whose request has arrived: (client's socket, backend's socket, connected to the client as it sees it)."""
    server, asking = udp(backend, vip, bind=7000), udp(client, vip, connect=(vip, 7000))
    for attempt in range(5):  # hardware addresses may have to be asked for
        asking.send(b"question")
        try:
            _, seen = server.recvfrom(100)
            break
        except TimeoutError:
            if attempt == 4:
                raise
    server.connect(seen)
    return asking, server


def refused(sock):
    """Whether the kernel tells this socket that its packet was refused."""
    sock.setblocking(False)
    try:
        sock.recv(2000)
    except ConnectionRefusedError:
        return True
    except BlockingIOError:
        pass
    return False


def test_a_closed_port_of_a_backend_is_told_to_the_client(scene):
    for client in (scene.client, scene.far):
        for backend, vip in scene.pairs():
            with udp(client, vip, connect=(vip, 7001)) as asking:
                def told():
                    try:
                        asking.send(b"anybody there?")
                    except ConnectionRefusedError:
                        return True
                    return refused(asking)
                wait_for(told, 5, f"{client.short} to hear that {backend.short} has nothing on {vip} port 7001", 0.1)


def test_a_closed_port_of_a_client_is_told_to_the_backend(scene):
    for client in (scene.client, scene.far):
        for backend, vip in scene.pairs():
            asking, server = flow(scene, client, backend, vip)
            with server:
                server.send(b"answer")
                assert asking.recv(100) == b"answer"
                asking.close()

                def told():
                    try:
                        server.send(b"and another thing")
                    except ConnectionRefusedError:
                        return True
                    return refused(server)
                wait_for(told, 5, f"{backend.short} to hear that {client.short} has gone, by way of {vip}", 0.1)
    assert not scene.node.drops().get("icmp_error_flow_unknown")


def test_a_narrow_link_before_the_client_is_told_to_the_backend(scene):
    """Path MTU discovery (RFC 1191, RFC 8201) through a virtual IP."""
    scene.router.ip("link set eth1 mtu 1300")
    scene.far.ip("link set eth0 mtu 1300")
    for backend, vip in scene.pairs():
        level, discover, mtu = ((socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_MTU) if ":" in vip else
                                (socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_MTU))
        asking, server = flow(scene, scene.far, backend, vip)
        with asking, server:
            server.setsockopt(level, discover, PMTUDISC_DO)
            assert server.getsockopt(level, mtu) == 1500

            def told():
                try:
                    server.send(bytes(1350))
                except OSError as error:
                    assert error.errno == errno.EMSGSIZE
                    return True
                return False
            wait_for(told, 5, f"{backend.short} to hear that 1350 bytes are too many, by way of {vip}", 0.1)
            assert server.getsockopt(level, mtu) == 1300
            server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # the kernel told it twice
            server.send(bytes(1200))
            assert len(asking.recv(2000)) == 1200


def test_a_narrow_link_to_the_backend_is_told_to_the_client(scene):
    """The packet program itself says that the packet does not fit."""
    scene.node.ip("link set vethw1 mtu 1400")
    scene.backends[1].ip("link set eth0 mtu 1400")
    for client in (scene.client, scene.far):
        for vip in manifests.vips(201):
            level, discover, mtu = ((socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_MTU) if ":" in vip else
                                    (socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_MTU))
            asking, server = flow(scene, client, scene.backends[1], vip)
            with asking, server:
                asking.setsockopt(level, discover, PMTUDISC_DO)
                assert asking.getsockopt(level, mtu) == 1500

                def told():
                    try:
                        asking.send(bytes(1430))
                    except OSError as error:
                        assert error.errno == errno.EMSGSIZE
                        return True
                    return False
                wait_for(told, 5, f"{client.short} to hear that 1430 bytes are too many for {vip}", 0.1)
                assert asking.getsockopt(level, mtu) == 1400
                asking.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                asking.send(bytes(1300))
                while len(server.recv(2000)) != 1300:
                    pass


def test_large_segments_of_a_workload_fit(scene):
    """What a workload leaves to be cut into packets is judged by the packets."""
    backend, workload = scene.backends
    service = manifests.service("sink", 202, ["9000/TCP"], SILENT)
    scene.node.apply(manifests.stream(service, manifests.slices(service, [backend])))
    scene.node.wait_backends("sink", up=2)
    for vip in manifests.vips(202):
        with backend.socket(family(vip), socket.SOCK_STREAM) as listener, workload.socket(family(vip), socket.SOCK_STREAM) as asking:
            listener.bind((own(backend, vip), 9000))
            listener.listen()
            listener.settimeout(5)
            asking.settimeout(5)
            asking.connect((vip, 9000))
            server, _ = listener.accept()
            server.settimeout(5)
            sender = threading.Thread(target=lambda: (asking.sendall(bytes(4 << 20)), asking.shutdown(socket.SHUT_WR)))
            sender.start()
            got = 0
            while data := server.recv(1 << 20):
                got += len(data)
            sender.join()
            assert got == 4 << 20
    assert not scene.node.drops().get("mtu_exceeded")


def test_errors_about_nothing_are_counted(scene):
    """Somebody invents an error: no backend hears of it, and the node says so."""
    vip = manifests.vips(200)[0]
    with scene.client.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        quoted = (bytes([0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0]) + socket.inet_aton(vip) + socket.inet_aton(scene.client.address4) +
                  (7000).to_bytes(2, "big") + (9).to_bytes(2, "big") + bytes([0, 8, 0, 0]))
        raw.sendto(bytes([3, 1, 0xfc, 0xfe, 0, 0, 0, 0]) + quoted, (vip, 0))
        raw.sendto(bytes([3, 1, 0xfc, 0xfe, 0, 0, 0, 0]) + quoted[:24], (vip, 0))
    wait_for(lambda: scene.node.drops().get("icmp_error_flow_unknown") == 1 and scene.node.drops().get("icmp_error_malformed") == 1, 5,
             lambda: f"one drop of each kind; there are {scene.node.drops()}")
