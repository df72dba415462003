/* SPDX-License-Identifier: Apache-2.0 */
/* The key `dns` of selvage.yaml. Inside ctrl/config alone. */
#pragma once

#include "ctrl/yaml.h"
#include "dns/dns_config.h"

/* A reader of struct yaml_field; the target is the struct dns_config. */
void config_dns_read(struct yaml_reader *reader, const struct yaml_node *value, const char *key, struct dns_config *config);
/* What holds without the key, too. */
void config_dns_init(struct dns_config *config);
void config_dns_done(struct dns_config *config);
