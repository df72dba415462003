/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration file of selvaged: selvage.yaml(5) is its manual page, packaging/selvage.yaml its commented default.
 *
 * Read once, whole and strictly: an unknown key, a wrong type, a duplicate or a bad value is a problem with file, line and
 * column, and then nothing is returned. Strings belong to the configuration. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/lib/cleanup.h"
#include "base/lib/log.h"
#include "base/packet/address.h"
#include "ctrl/yaml.h"
#include "dns/dns_config.h"

#define CONFIG_PATH_DEFAULT "/etc/selvage/selvage.yaml"
#define CONFIG_RUN_DIRECTORY_DEFAULT "/run/selvage"
#define CONFIG_STATE_DIRECTORY_DEFAULT "/var/lib/selvage"

enum config_engine { CONFIG_ENGINE_XDP_NATIVE, CONFIG_ENGINE_XDP_GENERIC, CONFIG_ENGINE_DPDK };

struct config_label {
	char *key;
	char *value;
};

/* A NIC: the packet program runs on what it receives, and VIPs are announced on it. */
struct config_interface {
	char *name;
	/*
	 * XDP_NATIVE: generic is the fallback if the driver has none; XDP_GENERIC: generic from the start; DPDK: the interface is
	 * a port of selvage-dpdk in the same run directory.
	 */
	enum config_engine engine;
};

enum config_store_type { CONFIG_STORE_SQLITE };

struct config_health {
	uint32_t interval_ms;
	uint32_t timeout_ms; /* at most the interval */
	uint32_t rise;	     /* good checks in a row until healthy */
	uint32_t fall;	     /* bad checks in a row until unhealthy */
	uint32_t jitter_percent; /* of the interval, so that checks do not march in step */
};

struct config {
	char *path;

	char *node_name; /* a DNS label or subdomain, lower case */
	struct config_label *labels;
	size_t label_count;

	struct config_interface *interfaces;
	size_t interface_count;
	char **workload_interfaces; /* glob patterns of the veths of local backends ("veth*"); engine: tc ingress */
	size_t workload_interface_count;

	char *run_directory;   /* absolute; all paths are */
	char *state_directory; /* of the store */
	char *bpffs_directory; /* default RUN/bpf */

	enum config_store_type store_type;

	char *api_socket; /* default RUN/selvage.sock */
	mode_t api_socket_mode;
	uid_t *api_allowed_uids; /* of peers of the socket; 0 is always among them */
	size_t api_allowed_uid_count;
	gid_t *api_allowed_gids; /* the first one owns the socket; may be empty */
	size_t api_allowed_gid_count;

	bool metrics_enabled;
	struct address metrics_address;
	uint16_t metrics_port;

	struct config_health health; /* for checks that do not say otherwise */

	struct dns_config dns;
	uint32_t ufrag_key_hours; /* how long fragments are made with one key; 0: until somebody makes a new one */

	enum log_level log_level;
};

/* 0, or -errno with at least one problem added. `path` is copied; problems->name is set to it by the caller. */
must_check int config_load(const char *path, struct config *ret_config, struct yaml_problems *problems);
/* The same from memory; `name` is the file's name for messages. An empty text gives the defaults. */
must_check int config_parse(const char *name, const char *text, size_t length, struct config *ret_config,
			    struct yaml_problems *problems);
void config_done(struct config *config);

/* Whether a link of this name is a workload interface: it matches a pattern and is not one of the NICs. */
bool config_is_workload_interface(const struct config *config, const char *name);
/* Whether some interface has the engine DPDK. */
bool config_wants_dpdk(const struct config *config);
const char *config_engine_name(enum config_engine engine);
