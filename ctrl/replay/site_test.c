/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/replay/site.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "ctrl/replay/engine_open.h"
#include "vip/vip_state.h"

#define VIPS 24u

static const char head[] =
	"apiVersion: selvage.io/v1alpha1\nkind: Node\nmetadata: {name: a}\n"
	"spec: {interfaces: [{mac: '02:00:00:00:00:0a', addresses: [192.0.2.1/24]}]}\n---\n"
	"apiVersion: selvage.io/v1alpha1\nkind: Node\nmetadata: {name: b}\n"
	"spec: {interfaces: [{mac: '02:00:00:00:00:0b', addresses: [192.0.2.2/24]}]}\n---\n"
	"apiVersion: selvage.io/v1alpha1\nkind: Node\nmetadata: {name: c}\n"
	"spec: {interfaces: [{mac: '02:00:00:00:00:0c', addresses: [192.0.2.3/24]}]}\n---\n"
	"apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: p, namespace: metallb-system}\n"
	"spec: {addresses: [192.0.2.100-192.0.2.150]}\n---\n"
	"apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata: {name: p, namespace: metallb-system}\n";

static void manifest_write(char path[static 32])
{
	FILE *file;
	int fd;

	strcpy(path, "/tmp/site_test_XXXXXX.yaml");
	fd = mkstemps(path, 5);
	assert_true(fd >= 0);
	file = fdopen(fd, "w");
	assert_non_null(file);
	fputs(head, file);
	for (uint32_t i = 0; i < VIPS; i++)
		fprintf(file, "---\napiVersion: v1\nkind: Service\nmetadata: {name: s%u}\n"
			      "spec: {type: LoadBalancer, loadBalancerIP: 192.0.2.%u, ports: [{port: 80}]}\n", i, 100 + i);
	assert_int_equal(fclose(file), 0);
}

/* Whether the node answers for 192.0.2.`last`. */
static bool answers(struct engine *engine, uint32_t ifindex, uint8_t last)
{
	uint8_t frame[42] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 0x50, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1,
			     2, 0, 0, 0, 0, 0x50, 192, 0, 2, 50, 0, 0, 0, 0, 0, 0, 192, 0, 2, last};
	struct engine_outcome outcome;
	struct error error;

	assert_int_equal(engine_run(engine, ifindex, frame, sizeof(frame), &outcome, &error), 0);
	return outcome.decision.verdict == VERDICT_TX;
}

static void virtual_ips_are_spread_over_the_nodes(void **state)
{
	uint32_t owners[VIPS] = {0};
	char path[32];
	const char *paths[] = {path};

	manifest_write(path);
	for (const char *name = "a\0b\0c\0"; *name; name += 2) {
		_cleanup_(engine_freep) struct engine *engine = NULL;
		_cleanup_(site_freep) struct site *site = NULL;
		struct diagnostics diagnostics;
		struct error error = {0};
		uint32_t owned = 0;

		diagnostics_init(&diagnostics);
		assert_int_equal(engine_open("native", &engine, &error), 0);
		assert_int_equal(site_load(paths, 1, name, &site, &diagnostics, &error), 0);
		diagnostics_done(&diagnostics);
		assert_int_equal(site_program(site, engine, &error), 0);
		for (uint32_t i = 0; i < VIPS; i++) {
			if (!answers(engine, site_ingress(site, NULL), (uint8_t)(100 + i)))
				continue;
			owners[i]++;
			owned++;
		}
		assert_in_range(owned, 1, VIPS - 2);
	}
	unlink(path);
	for (uint32_t i = 0; i < VIPS; i++)
		assert_int_equal(owners[i], 1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(virtual_ips_are_spread_over_the_nodes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
