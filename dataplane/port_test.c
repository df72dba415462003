/* SPDX-License-Identifier: Apache-2.0 */
/* What a user writes as a port, and what the machine lacks, in words. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "dataplane/dpdk.h"
#include "dataplane/host_check.h"

#define PCI "0000:01:00.0"

static void ports_are_names_and_devices(void **state)
{
	static const char *const bad[] = {"", "eth0", "eth0=", "=net_tap", "a/b=net_tap", "interface-too-long=net_tap",
					  "eth0=eth1", "eth0=virtio0", "et h=net_tap"};
	struct error error;
	struct port port;

	assert_int_equal(port_parse("eth0=" PCI, &port, &error), 0);
	assert_string_equal(port.name, "eth0");
	assert_string_equal(port.device, PCI);
	assert_true(port_is_pci(port.device));
	assert_int_equal(port_parse("lan=net_af_packet,iface=nic0,qpairs=2", &port, &error), 0);
	assert_string_equal(port.device, "net_af_packet,iface=nic0,qpairs=2");
	assert_false(port_is_pci(port.device));
	assert_int_equal(port.tap, -1);
	for (size_t i = 0; i < array_length(bad); i++) {
		error.text[0] = '\0';
		assert_int_equal(port_parse(bad[i], &port, &error), -EINVAL);
		assert_true(error.text[0] != '\0');
	}
}

/* --- a machine of files -------------------------------------------------------------------------------------------------- */

static char machine[] = "/tmp/selvage-port-test-XXXXXX";

static void file_write(const char *name, const char *text)
{
	char path[PATH_MAX], *slash;
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", machine, name);
	for (slash = path + strlen(machine) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		mkdir(path, 0755);
		*slash = '/';
	}
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void link_make(const char *name, const char *target)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", machine, name);
	unlink(path);
	assert_int_equal(symlink(target, path), 0);
}

static void huge_pages_that_are_missing_are_counted(void **state)
{
	struct error error;

	file_write("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "10\n");
	assert_int_equal(host_check_huge_pages(machine, 20, &error), 0);
	assert_int_equal(host_check_huge_pages(machine, 128, &error), -ENOMEM);
	assert_non_null(strstr(error.text, "20 MB are free"));
	assert_non_null(strstr(error.text, "vm.nr_hugepages=64"));
	assert_non_null(strstr(error.text, "--no-huge"));
	file_write("sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages", "1\n");
	assert_int_equal(host_check_huge_pages(machine, 1024, &error), 0);
}

static void a_device_says_what_it_lacks(void **state)
{
	struct error error;

	assert_int_equal(host_check_pci(machine, PCI, &error), -ENODEV);
	assert_non_null(strstr(error.text, "no PCI device"));
	file_write("sys/bus/pci/devices/" PCI "/vendor", "0x8086\n");
	assert_int_equal(host_check_pci(machine, PCI, &error), -EBUSY);
	assert_non_null(strstr(error.text, "has no driver"));
	link_make("sys/bus/pci/devices/" PCI "/driver", "../../drivers/ixgbe");
	assert_int_equal(host_check_pci(machine, PCI, &error), -EBUSY);
	assert_non_null(strstr(error.text, "kernel's driver ixgbe"));
	assert_non_null(strstr(error.text, "--bind=vfio-pci " PCI));
	link_make("sys/bus/pci/devices/" PCI "/driver", "../../drivers/mlx5_core");
	assert_int_equal(host_check_pci(machine, PCI, &error), 0);
	link_make("sys/bus/pci/devices/" PCI "/driver", "../../drivers/vfio-pci");
	assert_int_equal(host_check_pci(machine, PCI, &error), -ENOTSUP);
	assert_non_null(strstr(error.text, "IOMMU"));
	file_write("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "N\n");
	assert_int_equal(host_check_pci(machine, PCI, &error), -ENOTSUP);
	file_write("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y\n");
	assert_int_equal(host_check_pci(machine, PCI, &error), 0);
	link_make("sys/bus/pci/devices/" PCI "/iommu_group", "../../kernel/iommu_groups/7");
	assert_int_equal(host_check_pci(machine, PCI, &error), -EACCES);
	assert_non_null(strstr(error.text, "/dev/vfio/7"));
	file_write("dev/vfio/7", "");
	assert_int_equal(host_check_pci(machine, PCI, &error), 0);
}

static int machine_make(void **state)
{
	return mkdtemp(machine) ? 0 : -1;
}

static int machine_remove(void **state)
{
	char command[PATH_MAX];

	snprintf(command, sizeof(command), "rm -r '%s'", machine);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ports_are_names_and_devices),
		cmocka_unit_test(huge_pages_that_are_missing_are_counted),
		cmocka_unit_test(a_device_says_what_it_lacks),
	};

	return cmocka_run_group_tests(tests, machine_make, machine_remove);
}
