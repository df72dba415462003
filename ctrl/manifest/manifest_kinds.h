/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One reader for each kind, and what they share. Each gets the whole object's node with its metadata read already and fills
 * the object's union. Inside ctrl/manifest only.
 */
#pragma once

#include "ctrl/manifest/decoder.h"

void namespace_read(struct decoder *decoder, const struct yaml_node *node, struct object *object);
void node_read(struct decoder *decoder, const struct yaml_node *node, struct object *object);
void service_read(struct decoder *decoder, const struct yaml_node *node, struct object *object);
void endpoints_read(struct decoder *decoder, const struct yaml_node *node, struct object *object);
void endpoint_slice_read(struct decoder *decoder, const struct yaml_node *node, struct object *object);
void address_pool_read(struct decoder *decoder, const struct yaml_node *node, struct object *object);
void l2_advertisement_read(struct decoder *decoder, const struct yaml_node *node, struct object *object);
void replay_node_read(struct decoder *decoder, const struct yaml_node *node, struct object *object);
void steering_policy_read(struct decoder *decoder, const struct yaml_node *node, struct object *object);

/* apiVersion, kind and metadata: rows that every kind's table begins with. */
#define FIELDS_OF_EVERY_KIND                                                                                        \
	{.name = "apiVersion", .read = field_keep}, {.name = "kind", .read = field_keep},                            \
		{.name = "metadata", .read = field_keep}

/* `metadata`: names and labels are checked; the namespace is defaulted by the kind. */
void metadata_read(struct decoder *decoder, const struct yaml_node *node, struct object *object);

/*
 * Annotations that we give a meaning, read by table like fields: values are text, names are whole ("selvage.io/forwarding").
 * Anything else that begins with "selvage.io/" is an error.
 */
void annotations_read(struct decoder *decoder, const struct yaml_node *node, const struct field *fields, size_t count,
		      void *target);
/* The node of one annotation, for messages; NULL when it is not given. */
const struct yaml_node *annotation_lookup(const struct yaml_node *node, const char *name);

#define SOURCE_RANGES_MAX 4096 /* networks in one list of a service */

/* Service annotations (manifest_annotations.c); called when the rest of the service is read. */
void service_annotations_read(struct decoder *decoder, const struct yaml_node *node, struct object *object);
/* What an annotation and a field ask for must agree; one address per family. */
void service_requested_add(struct decoder *decoder, const struct yaml_node *node, struct service *service,
			   const struct address_list *addresses);

/* metav1.LabelSelector; struct label_selector, and struct label_selectors for lists of them. */
field_reader label_selector_read;
field_reader label_selectors_read;
