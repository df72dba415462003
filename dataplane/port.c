/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <dirent.h>
#include <linux/if.h>
#include <rte_bus_vdev.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/lib/log.h"
#include "dataplane/dpdk.h"

#define DESCRIPTORS 1024u

bool port_is_pci(const char *device)
{
	return isxdigit((unsigned char)device[0]) && strchr(device, ':') && !strchr(device, '=');
}

bool port_is_shared(const char *device)
{
	return strncmp(device, "net_af_packet", strlen("net_af_packet")) == 0;
}

int port_parse(const char *text, struct port *ret_port, struct error *error)
{
	const char *equals = strchr(text, '=');
	size_t length = equals ? (size_t)(equals - text) : 0;

	if (!equals || length == 0 || length >= sizeof(ret_port->name) || memchr(text, '/', length) || memchr(text, ' ', length))
		return error_set(error, EINVAL, "'%s' is no port: write NAME=DEVICE, as in eth0=0000:01:00.0 or eth0=net_af_xdp,iface=nic0",
				 text);
	if (strlen(equals + 1) == 0 || strlen(equals + 1) >= sizeof(ret_port->device))
		return error_set(error, EINVAL, "'%s': the device of a port has 1 to %zu characters", text, sizeof(ret_port->device) - 1);
	if (!port_is_pci(equals + 1) && strncmp(equals + 1, "net_", 4) != 0)
		return error_set(error, EINVAL, "'%s' is no device: write a PCI address (0000:01:00.0) or a virtual device "
				 "(net_af_xdp,iface=nic0; net_af_packet,iface=nic0; net_tap; net_pcap,...)", equals + 1);
	*ret_port = (struct port){.tap = -1};
	memcpy(ret_port->name, text, length);
	strcpy(ret_port->device, equals + 1);
	return 0;
}

/* Virtual devices need names of their own: net_af_xdp becomes net_af_xdp0. */
static void device_split(const struct port *port, uint32_t number, char *ret_name, size_t size, const char **ret_arguments)
{
	size_t length = strcspn(port->device, ",");

	*ret_arguments = port->device[length] ? port->device + length + 1 : "";
	if (port_is_pci(port->device) || isdigit((unsigned char)port->device[length - 1]))
		snprintf(ret_name, size, "%.*s", (int)length, port->device);
	else
		snprintf(ret_name, size, "%.*s%u", (int)length, port->device, number);
}

static int device_probe(struct port *port, uint32_t number, struct error *error)
{
	const char *arguments;
	char name[sizeof(port->device) + 16];
	int code;

	device_split(port, number, name, sizeof(name), &arguments);
	code = rte_eal_hotplug_add(port_is_pci(port->device) ? "pci" : "vdev", name, arguments);
	if (code < 0)
		return error_set(error, -code, "opening the device %s failed: %s; DPDK's lines above say more", port->device,
				 rte_strerror(-code));
	code = rte_eth_dev_get_port_by_name(name, &port->id);
	if (code < 0)
		return error_set(error, ENODEV, "the device %s is no network device that DPDK has a driver for", port->device);
	return 0;
}

static int device_configure(struct runtime *runtime, struct port *port, const struct rte_eth_dev_info *info)
{
	struct rte_eth_conf configuration = {0};
	int code;

	port->rx_queues = (uint16_t)RTE_MIN(runtime->workers, (uint32_t)info->max_rx_queues);
	port->tx_queues = (uint16_t)RTE_MIN(runtime->workers + 1, (uint32_t)info->max_tx_queues);
	if (port->rx_queues > 1) {
		configuration.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		configuration.rx_adv_conf.rss_conf.rss_hf =
			info->flow_type_rss_offloads & (RTE_ETH_RSS_IP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_TCP);
		if (!configuration.rx_adv_conf.rss_conf.rss_hf)
			configuration.rxmode.mq_mode = RTE_ETH_MQ_RX_NONE; /* the kernel's NIC below spreads them */
	}
	configuration.rxmode.offloads = info->rx_offload_capa & RTE_ETH_RX_OFFLOAD_SCATTER;
	configuration.txmode.offloads = info->tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
	code = rte_eth_dev_configure(port->id, port->rx_queues, port->tx_queues, &configuration);
	if (code < 0 && port->tx_queues != port->rx_queues) { /* af_xdp wants them in pairs */
		port->tx_queues = port->rx_queues;
		code = rte_eth_dev_configure(port->id, port->rx_queues, port->tx_queues, &configuration);
	}
	return code;
}

static int queues_setup(struct runtime *runtime, struct port *port)
{
	uint16_t rx = DESCRIPTORS, tx = DESCRIPTORS;
	int socket = rte_eth_dev_socket_id(port->id);
	int code = rte_eth_dev_adjust_nb_rx_tx_desc(port->id, &rx, &tx);

	for (uint16_t queue = 0; code == 0 && queue < port->rx_queues; queue++)
		code = rte_eth_rx_queue_setup(port->id, queue, rx, (unsigned int)socket, NULL, runtime->pool);
	for (uint16_t queue = 0; code == 0 && queue < port->tx_queues; queue++)
		code = rte_eth_tx_queue_setup(port->id, queue, tx, (unsigned int)socket, NULL);
	return code;
}

/* --- what to wait on ----------------------------------------------------------------------------------------------------- */

/* The process' sockets of one domain, in the order in which they were opened. Returns how many there are. */
static size_t sockets_list(int domain, int *ret_fds, size_t most)
{
	DIR *directory = opendir("/proc/self/fd");
	const struct dirent *entry;
	size_t count = 0;

	while (directory && (entry = readdir(directory))) {
		int fd = atoi(entry->d_name), its = 0;
		socklen_t length = sizeof(its);
		size_t place;

		if (*entry->d_name == '.' || getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &its, &length) < 0 || its != domain)
			continue;
		for (place = count; place > 0 && place <= most && ret_fds[place - 1] > fd; place--) {
			if (place < most)
				ret_fds[place] = ret_fds[place - 1];
		}
		if (place < most)
			ret_fds[place] = fd;
		count += count < most;
	}
	if (directory)
		closedir(directory);
	return count;
}

/* Drivers over a socket of the kernel do not say which it is, but it was not there before the driver was. */
static int sockets_domain(const char *device)
{
	if (strncmp(device, "net_af_packet", strlen("net_af_packet")) == 0)
		return AF_PACKET;
	return strncmp(device, "net_af_xdp", strlen("net_af_xdp")) == 0 ? AF_XDP : -1;
}

#define SOCKETS_MAX 256u

struct sockets {
	int fds[SOCKETS_MAX];
	size_t count;
};

static void wait_fds_find(struct port *port, const struct sockets *before)
{
	struct sockets now;
	size_t added = 0;

	now.count = sockets_list(sockets_domain(port->device), now.fds, SOCKETS_MAX);
	for (size_t i = 0; i < now.count; i++) {
		bool old = false;

		for (size_t j = 0; j < before->count; j++)
			old |= before->fds[j] == now.fds[i];
		if (!old && added < DPDK_WORKERS_MAX)
			port->wait_fds[added] = now.fds[i];
		added += !old;
	}
	for (size_t i = 0; added != port->rx_queues && i < DPDK_WORKERS_MAX; i++)
		port->wait_fds[i] = -1; /* one for each queue, or none is known */
}

int port_open(struct runtime *runtime, struct port *port, uint32_t number, struct error *error)
{
	struct rte_eth_dev_info info;
	struct sockets before;
	int code;

	for (size_t i = 0; i < DPDK_WORKERS_MAX; i++)
		port->wait_fds[i] = -1;
	before.count = sockets_list(sockets_domain(port->device), before.fds, SOCKETS_MAX);
	code = device_probe(port, number, error);
	if (code)
		return code;
	for (size_t i = 0; i < array_length(port->tx_locks); i++)
		rte_spinlock_init(&port->tx_locks[i]);
	code = rte_eth_dev_info_get(port->id, &info);
	if (code == 0)
		code = device_configure(runtime, port, &info);
	if (code == 0)
		code = queues_setup(runtime, port);
	if (code == 0)
		code = rte_eth_dev_start(port->id);
	if (code < 0) {
		rte_eth_dev_close(port->id);
		return error_set(error, -code, "starting the device %s with %u queues failed: %s; DPDK's lines above say more",
				 port->device, port->rx_queues, rte_strerror(-code));
	}
	port->tx_shared = port->tx_queues <= runtime->workers;
	if (before.count < SOCKETS_MAX && sockets_domain(port->device) >= 0)
		wait_fds_find(port, &before);
	/* Neighbour solicitations come to groups of many names. */
	if (rte_eth_allmulticast_enable(port->id) < 0)
		log_debug("%s: this driver does not choose among multicast", port->name);
	log_info("%s: %s, driver %s, %u receive and %u send queues", port->name, port->device, info.driver_name, port->rx_queues,
		 port->tx_queues);
	return 0;
}

/* Drivers over a NIC of the kernel (af_packet, af_xdp) do not follow its link. False: there is no such NIC. */
static bool kernel_link(const struct port *port, bool *ret_up)
{
	static const char word[] = "iface=";
	const char *place = strstr(port->device, word);
	struct ifreq request = {0};
	size_t length;
	int fd;

	if (!place)
		return false;
	place += sizeof(word) - 1;
	length = strcspn(place, ",");
	if (length >= sizeof(request.ifr_name))
		return false;
	memcpy(request.ifr_name, place, length);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	*ret_up = fd >= 0 && ioctl(fd, SIOCGIFFLAGS, &request) == 0 && request.ifr_flags & IFF_RUNNING;
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

bool port_has_link(const struct port *port)
{
	struct rte_eth_link link;
	bool up;

	if (kernel_link(port, &up))
		return up;
	return rte_eth_link_get_nowait(port->id, &link) < 0 || link.link_status == RTE_ETH_LINK_UP;
}

void port_close(struct port *port)
{
	if (rte_eth_dev_stop(port->id) < 0)
		log_warning("%s: the device does not stop", port->name);
	if (rte_eth_dev_close(port->id) < 0)
		log_warning("%s: the device does not close", port->name);
}

void port_send(struct port *port, uint32_t thread, struct rte_mbuf **packets, uint16_t count)
{
	uint16_t queue = (uint16_t)(thread % port->tx_queues), sent = 0;

	if (port->tx_shared)
		rte_spinlock_lock(&port->tx_locks[queue]);
	/* A second try: some drivers take back what was sent only when they are called. */
	for (int attempt = 0; attempt < 2 && sent < count; attempt++)
		sent = (uint16_t)(sent + rte_eth_tx_burst(port->id, queue, packets + sent, (uint16_t)(count - sent)));
	if (port->tx_shared)
		rte_spinlock_unlock(&port->tx_locks[queue]);
	port->counts[thread].sent += sent;
	port->counts[thread].send_failed += (uint64_t)(count - sent);
	if (unlikely(sent < count))
		rte_pktmbuf_free_bulk(packets + sent, (unsigned int)(count - sent));
}

void port_statistics(const struct runtime *runtime, const struct port *port, struct channel_statistics *ret_statistics)
{
	struct rte_eth_stats stats;

	*ret_statistics = (struct channel_statistics){0};
	if (rte_eth_stats_get(port->id, &stats) == 0) {
		ret_statistics->received = stats.ipackets;
		ret_statistics->received_bytes = stats.ibytes;
		ret_statistics->missed = stats.imissed + stats.rx_nombuf;
	}
	for (uint32_t thread = 0; thread <= runtime->workers; thread++) {
		const struct port_counts *counts = &port->counts[thread];

		ret_statistics->sent += counts->sent;
		ret_statistics->send_failed += counts->send_failed;
		ret_statistics->to_host += counts->to_host;
		ret_statistics->to_host_failed += counts->to_host_failed;
		ret_statistics->from_host += counts->from_host;
		ret_statistics->from_host_failed += counts->from_host_failed;
		ret_statistics->to_workloads += counts->to_workloads;
		ret_statistics->to_workloads_failed += counts->to_workloads_failed;
	}
}
