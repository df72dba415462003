/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/lib/log.h"
#include "dataplane/dpdk.h"

#define PUNT_SEGMENTS 64
#define PUNT_MTU_MAX (DPDK_DATA_ROOM - 22u) /* a header with two tags; and a whole frame is told from one that was cut */

static int tap_fail(struct error *error, const struct port *port, const char *what)
{
	int code = errno;

	if (code == EPERM || code == EACCES)
		return error_set(error, code, "%s %s: not permitted: this needs root, or the capability NET_ADMIN", what, port->name);
	if (code == EBUSY)
		return error_set(error, code, "%s %s: another process holds it (another selvage-dpdk? see --take-over)", what,
				 port->name);
	if (code == EINVAL)
		return error_set(error, code,
				 "%s %s: an interface of this name is there and is no TAP; give the port another name, or bind "
				 "the NIC to a userspace driver first",
				 what, port->name);
	return error_set(error, code, "%s %s: %s", what, port->name, strerror(code));
}

static int tap_make(struct port *port, struct error *error)
{
	struct ifreq request = {0};
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return error_set(error, errno, "opening /dev/net/tun: %s%s", strerror(errno),
				 errno == ENOENT ? "; load the kernel's module tun (modprobe tun)" : "");
	request.ifr_flags = IFF_TAP | IFF_NO_PI;
	memcpy(request.ifr_name, port->name, sizeof(port->name));
	/* It stays when this process goes: its addresses and routes are the operator's. */
	if (ioctl(fd, TUNSETIFF, &request) < 0 || ioctl(fd, TUNSETPERSIST, 1) < 0) {
		int code = tap_fail(error, port, "making the interface");

		close(fd);
		return code;
	}
	return fd;
}

static int tap_configure(struct port *port, struct error *error)
{
	_cleanup_(closep) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {0};
	struct rte_ether_addr mac;
	uint16_t mtu;

	memcpy(request.ifr_name, port->name, sizeof(port->name));
	if (fd < 0 || ioctl(fd, SIOCGIFINDEX, &request) < 0)
		return tap_fail(error, port, "asking for the number of");
	port->ifindex = (uint32_t)request.ifr_ifindex;
	if (rte_eth_macaddr_get(port->id, &mac) < 0 || rte_eth_dev_get_mtu(port->id, &mtu) < 0)
		return error_set(error, EIO, "%s: the device does not tell its address and MTU", port->name);
	if (ioctl(fd, SIOCGIFHWADDR, &request) < 0)
		return tap_fail(error, port, "asking for the address of");
	if (memcmp(request.ifr_hwaddr.sa_data, mac.addr_bytes, sizeof(mac.addr_bytes)) != 0) {
		request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
		memcpy(request.ifr_hwaddr.sa_data, mac.addr_bytes, sizeof(mac.addr_bytes));
		if (ioctl(fd, SIOCSIFHWADDR, &request) < 0)
			return tap_fail(error, port, "setting the address of");
	}
	request.ifr_mtu = RTE_MIN(mtu, (int)PUNT_MTU_MAX);
	if (ioctl(fd, SIOCSIFMTU, &request) < 0)
		return tap_fail(error, port, "setting the MTU of");
	if (ioctl(fd, SIOCGIFFLAGS, &request) < 0)
		return tap_fail(error, port, "looking at");
	request.ifr_flags |= IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		return tap_fail(error, port, "setting up");
	return 0;
}

int punt_open(struct port *port, int fd, struct error *error)
{
	int code;

	port->tap = fd >= 0 ? fd : tap_make(port, error);
	if (port->tap < 0)
		return port->tap;
	port->carrier = true;
	code = tap_configure(port, error);
	if (code) {
		close(port->tap);
		port->tap = -1;
	}
	return code;
}

void punt_carrier_set(struct port *port, bool up)
{
	int value = up;

	if (port->carrier == up)
		return;
	if (ioctl(port->tap, TUNSETCARRIER, &value) < 0)
		return; /* a kernel before 5.0: the interface always seems to have a link */
	port->carrier = up;
	log_info("%s: the link is %s", port->name, up ? "up" : "down");
}

void punt_send(struct port *port, uint32_t thread, struct rte_mbuf *packet)
{
	struct iovec parts[PUNT_SEGMENTS];
	ssize_t written = -1;
	int count = 0;

	for (const struct rte_mbuf *part = packet; part && count < PUNT_SEGMENTS; part = part->next)
		parts[count++] = (struct iovec){rte_pktmbuf_mtod(part, void *), part->data_len};
	if (packet->nb_segs <= PUNT_SEGMENTS)
		written = writev(port->tap, parts, count);
	if (written < 0)
		port->counts[thread].to_host_failed++;
	else
		port->counts[thread].to_host++;
	rte_pktmbuf_free(packet);
}

unsigned int punt_receive(struct runtime *runtime, struct port *port)
{
	struct rte_mbuf *packets[DPDK_BURST];
	unsigned int count = 0;

	while (count < DPDK_BURST) {
		struct rte_mbuf *packet = rte_pktmbuf_alloc(runtime->pool);
		ssize_t length;

		if (!packet)
			break;
		length = read(port->tap, rte_pktmbuf_mtod(packet, void *), rte_pktmbuf_tailroom(packet));
		if (length <= 0) {
			rte_pktmbuf_free(packet);
			break;
		}
		if (length == rte_pktmbuf_tailroom(packet)) { /* perhaps only its beginning: somebody raised the MTU */
			port->counts[runtime->workers].from_host_failed++;
			rte_pktmbuf_free(packet);
			continue;
		}
		packet->data_len = (uint16_t)length;
		packet->pkt_len = (uint32_t)length;
		packets[count++] = packet;
	}
	if (count) {
		port->counts[runtime->workers].from_host += count;
		port_send(port, runtime->workers, packets, (uint16_t)count);
	}
	return count;
}
