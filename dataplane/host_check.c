/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/host_check.h"

#include <dirent.h>
#include <limits.h>
#include <string.h>

static uint64_t number_read(const char *path)
{
	_cleanup_(fclosep) FILE *file = fopen(path, "re");
	unsigned long long value = 0;

	if (file && fscanf(file, "%llu", &value) != 1)
		value = 0;
	return value;
}

int host_check_huge_pages(const char *root, uint32_t memory_mb, struct error *error)
{
	char path[PATH_MAX];
	uint64_t free_kb = 0;
	struct dirent *entry;
	DIR *directory;

	snprintf(path, sizeof(path), "%s/sys/kernel/mm/hugepages", root);
	directory = opendir(path);
	while (directory && (entry = readdir(directory))) {
		unsigned int page_kb;

		if (sscanf(entry->d_name, "hugepages-%ukB", &page_kb) != 1)
			continue;
		snprintf(path, sizeof(path), "%s/sys/kernel/mm/hugepages/%.64s/free_hugepages", root, entry->d_name);
		free_kb += number_read(path) * page_kb;
	}
	if (directory)
		closedir(directory);
	if (free_kb >= 1024ull * memory_mb)
		return 0;
	return error_set(error, ENOMEM,
			 "%llu MB are free in huge pages and %u are needed: reserve them with `sysctl -w vm.nr_hugepages=%u` (and in "
			 "/etc/sysctl.d for the next start), or run with --no-huge, which is slower",
			 (unsigned long long)(free_kb / 1024), memory_mb, (memory_mb + 1) / 2);
}

/* The last part of what a link points to; empty when there is no link. */
static void link_name(const char *path, char *ret_name, size_t size)
{
	char target[PATH_MAX];
	ssize_t length = readlink(path, target, sizeof(target) - 1);
	const char *slash;

	ret_name[0] = '\0';
	if (length < 0)
		return;
	target[length] = '\0';
	slash = strrchr(target, '/');
	snprintf(ret_name, size, "%.*s", (int)size - 1, slash ? slash + 1 : target);
}

static bool driver_shares(const char *driver)
{
	/* They work beside the kernel's driver. */
	return strcmp(driver, "mlx5_core") == 0 || strcmp(driver, "mlx4_core") == 0;
}

static int vfio_check(const char *root, const char *address, struct error *error)
{
	char path[PATH_MAX], group[64], text[8] = "";
	_cleanup_(fclosep) FILE *file = NULL;

	snprintf(path, sizeof(path), "%s/sys/bus/pci/devices/%.64s/iommu_group", root, address);
	link_name(path, group, sizeof(group));
	snprintf(path, sizeof(path), "%s/sys/module/vfio/parameters/enable_unsafe_noiommu_mode", root);
	file = fopen(path, "re");
	if (file && !fgets(text, sizeof(text), file))
		text[0] = '\0';
	if (!group[0] && text[0] != 'Y')
		return error_set(error, ENOTSUP,
				 "%s: this machine's IOMMU is off, which vfio-pci needs: switch it on in the firmware and boot with "
				 "intel_iommu=on or amd_iommu=on; in a virtual machine without one, `echo Y > "
				 "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode`",
				 address);
	if (!group[0])
		return 0;
	snprintf(path, sizeof(path), "%s/dev/vfio/%.32s", root, group);
	if (access(path, R_OK | W_OK) < 0)
		return error_set(error, EACCES, "%s: /dev/vfio/%s cannot be opened: %s; run as root, or give this user the file",
				 address, group, strerror(errno));
	return 0;
}

int host_check_pci(const char *root, const char *address, struct error *error)
{
	char path[PATH_MAX], driver[64];

	snprintf(path, sizeof(path), "%s/sys/bus/pci/devices/%.64s", root, address);
	if (access(path, F_OK) < 0)
		return error_set(error, ENODEV, "there is no PCI device %s; `dpdk-devbind.py --status-dev net` lists the NICs", address);
	strncat(path, "/driver", sizeof(path) - strlen(path) - 1);
	link_name(path, driver, sizeof(driver));
	if (driver_shares(driver))
		return 0;
	if (strcmp(driver, "uio_pci_generic") == 0 || strcmp(driver, "igb_uio") == 0)
		return 0;
	if (strcmp(driver, "vfio-pci") != 0)
		return error_set(error, EBUSY,
				 "%s %s%s: give it to a userspace driver with `modprobe vfio-pci && dpdk-devbind.py --bind=vfio-pci "
				 "%s` (its interface disappears from the kernel; the port's takes its place)",
				 address, driver[0] ? "is bound to the kernel's driver " : "has no driver", driver, address);
	return vfio_check(root, address, error);
}
