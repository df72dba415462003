# SPDX-License-Identifier: Apache-2.0
"""A whole machine with Debian's own kernel, in QEMU: what the namespaces of this kernel cannot show."""
import socket

import pytest

import edge_site
import guest
import manifests

CONFIG = """node: {name: n1, labels: {edge: "true"}}
interfaces:
- {name: eth0, engine: ENGINE}
runDirectory: /run/selvage
stateDirectory: /var/lib/selvage
metrics: {address: "127.0.0.1:9480"}
"""
# XDP takes whole packets with finished checksums: what the host would leave to the guest is switched off, as on any such machine.
VIRTIO = "virtio-net-pci,csum=off,gso=off,guest_csum=off,guest_tso4=off,guest_tso6=off,guest_ufo=off,guest_ecn=off"


@pytest.fixture
def machine_on(machine):
    """machine_on(device, modules…): a node n1 that is a machine of its own, on the LAN of a site."""
    started = []
    with edge_site.Site() as site:
        def start(device, *modules, processors=2, dpdk=()):
            image = guest.Image(site.lan.directory)
            image.modules(*modules)
            image.put(edge_site.BUILD / "ctrl/daemon/selvaged", "/usr/sbin/selvaged")
            image.put(edge_site.BUILD / "ctrl/cli/selvage", "/usr/bin/selvage")
            image.text("/etc/selvage/selvage.yaml", CONFIG.replace("ENGINE", "dpdk" if dpdk else "xdp-native"))
            if dpdk:
                image.put(edge_site.BUILD / "dataplane/selvage-dpdk", "/usr/sbin/selvage-dpdk")
                image.drivers("bus_pci", "bus_vdev", "mempool_ring", *dpdk)
            image.text("/www/index.html", "the machine itself\n")
            node = guest.Guest(site.lan, image, device, "02:00:00:00:00:01", processors=processors)
            started.append(node)
            site.lan.ip("link set tap0 master br0")
            node.address4, node.address6 = f"{edge_site.LAN4}1", f"{edge_site.LAN6}1"
            node.run(" && ".join(f"modprobe {name}" for name in modules))
            if dpdk:
                nic_take(node)
            # by its path: the shell is busybox, and takes its own where there is one
            for words in ("link set eth0 up", f"address add {node.address4}/24 dev eth0", f"address add {node.address6}/64 dev eth0 nodad"):
                node.run(f"/usr/bin/ip {words}")
            node.run("echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding; "
                     "echo 0 >/proc/sys/net/ipv4/conf/eth0/send_redirects; echo 0 >/proc/sys/net/ipv4/conf/all/send_redirects")
            node.run("httpd -p [::]:8080 -h /www")
            return site, node
        yield start
        for node in started:
            node.close()


def daemon_start(node):
    node.run("mkdir -p /run/selvage /var/lib/selvage; selvaged --config /etc/selvage/selvage.yaml >/run/log 2>&1 &")
    # the verifier's half a million instructions, each translated
    node.run("for i in $(seq 230); do selvage status >/dev/null 2>&1 && exit 0; pidof selvaged >/dev/null || break; sleep 1; done; "
             "cat /run/log; exit 1", timeout_s=240)


def apply(node, text):
    node.put("/tmp/manifest", text)
    return node.run("selvage apply -f /tmp/manifest")


def ping(client, to, port, count=50):
    """Names of the servers that answered so many datagrams, each of a flow of its own."""
    names = []
    for _ in range(count):
        with client.socket(socket.AF_INET6 if ":" in to else socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.settimeout(5)
            udp.sendto(b"ping", (to, port))
            names.append(udp.recv(2000).split()[1].decode())
    return names


def nic_take(node):
    """Takes the NIC out of the kernel's hands, as an operator does, and gives it to selvage-dpdk."""
    node.run("echo 160 >/proc/sys/vm/nr_hugepages; mkdir -p /dev/hugepages && mount -t hugetlbfs huge /dev/hugepages")
    # the one network controller (PCI class 02) of the machine
    place = node.run("for d in /sys/bus/pci/devices/*; do case $(cat $d/class) in 0x02*) basename $d;; esac; done").split()[0]
    node.run(f"echo uio_pci_generic >/sys/bus/pci/devices/{place}/driver_override; "
             f"[ ! -e /sys/bus/pci/devices/{place}/driver ] || echo {place} >/sys/bus/pci/devices/{place}/driver/unbind; "
             f"echo {place} >/sys/bus/pci/drivers_probe")
    node.run(f"mkdir -p /run/selvage; selvage-dpdk --run-directory /run/selvage --port eth0={place} --idle-sleep 200 >/run/dpdk-log 2>&1 &")
    node.run("for i in $(seq 600); do [ -d /sys/class/net/eth0 ] && grep -q 'running with' /run/dpdk-log && exit 0; sleep 0.1; done; "
             "cat /run/dpdk-log; exit 1", timeout_s=90)


def balances(site, node, measured, engine):
    """What comes from outside is balanced, and the machine itself is reached by the same NIC."""
    backends = [site.add_backend(f"b{i}", 20 + i, node) for i in (1, 2)]
    client = site.add_client()
    for backend in backends:
        backend.nginx(backend.short)
        backend.serve(backend.short, udp=["7000"])
    daemon_start(node)
    measured("kernel of the guest", node.run("uname -r").strip())
    web = manifests.service("web", 200, ["80/TCP:8080", "7000/UDP"])
    apply(node, manifests.stream(manifests.POOL, manifests.advertisement(), web, *manifests.slices(web, backends)))
    assert f'"{engine}"' in node.run("selvage status -o json"), node.run("selvage status; cat /run/log")
    for vip, own in zip(manifests.vips(200), (node.address4, node.address6)):
        bracketed = f"[{vip}]" if ":" in vip else vip
        names = set()
        for _ in range(20):
            names.add(client.run("curl", "-s", "-g", "--max-time", 10, f"http://{bracketed}/").stdout.split()[0])
        assert names == {"b1", "b2"}, names
        assert set(ping(client, vip, 7000)) == {"b1", "b2"}
        bracketed = f"[{own}]" if ":" in own else own
        assert client.run("curl", "-s", "-g", "--max-time", 10, f"http://{bracketed}:8080/").stdout == "the machine itself\n"


def test_xdp_on_a_nic(machine_on, measured):
    balances(*machine_on(VIRTIO, "virtio_pci", "virtio_net", "cls_bpf", "sch_ingress", processors=1), measured, "xdp-native")


@pytest.mark.parametrize("device, driver", [
    ("e1000e", "net_e1000"), ("vmxnet3", "net_vmxnet3"),
], ids=["e1000e", "vmxnet3"])
def test_dpdk_on_a_nic(machine_on, measured, device, driver):
    """A NIC taken from the kernel: DPDK's driver in user space, the host behind its TAP."""
    balances(*machine_on(device, "uio_pci_generic", "tun", "cls_bpf", "sch_ingress", dpdk=(driver,)), measured, "dpdk")
