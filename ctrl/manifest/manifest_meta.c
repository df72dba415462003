/* SPDX-License-Identifier: Apache-2.0 */
/* What every object has: names, labels, annotations. */
#include <string.h>

#include "ctrl/manifest/manifest_kinds.h"

#define ANNOTATIONS_SIZE_MAX (256 * 1024) /* Kubernetes' TotalAnnotationSizeLimitB */

static void labels_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct key_values *labels = target;
	const char *wrong;

	field_text_map(decoder, node, labels);
	for (size_t i = 0; i < labels->count; i++) {
		wrong = label_check_key(labels->items[i].key);
		if (wrong)
			decoder_error(decoder, node->keys[i], "the label's key \"%.80s\" %s", labels->items[i].key, wrong);
		wrong = label_check_value(labels->items[i].value);
		if (wrong)
			decoder_error(decoder, node->items[i], "the value of the label \"%.80s\" %s", labels->items[i].key,
				      wrong);
	}
}

static void annotations_text_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	struct key_values *annotations = target;
	const char *wrong;
	size_t total = 0;

	field_text_map(decoder, node, annotations);
	for (size_t i = 0; i < annotations->count; i++)
		total += strlen(annotations->items[i].key) + strlen(annotations->items[i].value);
	if (total > ANNOTATIONS_SIZE_MAX) {
		decoder_error(decoder, node, "hold %zu bytes together, and may hold %d", total, ANNOTATIONS_SIZE_MAX);
		return;
	}
	for (size_t i = 0; i < annotations->count; i++) {
		wrong = label_check_key(annotations->items[i].key);
		if (wrong)
			decoder_error(decoder, node->keys[i], "the annotation's key \"%.80s\" %s", annotations->items[i].key,
				      wrong);
	}
}

static void resource_version_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	const char *text;

	if (!node_text(decoder, node, &text) || !*text)
		return;
	if (!decimal_parse(text, node->length, UINT64_MAX, target))
		decoder_error(decoder, node, "must be decimal digits in quotes, as the API gave them; or leave it out");
}

static void generation_read(struct decoder *decoder, const struct yaml_node *node, void *target)
{
	node_integer(decoder, node, 0, INT64_MAX, target);
}

static const struct field metadata_fields[] = {
	{.name = "name", .read = field_text, .offset = offsetof(struct object_meta, name), .required = true},
	FIELD("namespace", field_text, struct object_meta, namespace_name),
	FIELD("labels", labels_read, struct object_meta, labels),
	FIELD("annotations", annotations_text_read, struct object_meta, annotations),
	FIELD("uid", field_text, struct object_meta, uid),
	FIELD("resourceVersion", resource_version_read, struct object_meta, resource_version),
	FIELD("generation", generation_read, struct object_meta, generation),
	FIELD("creationTimestamp", field_text, struct object_meta, creation_timestamp),
	FIELD_WHOLE("managedFields", field_keep),
	FIELD_WHOLE("selfLink", field_keep),
	FIELD_NOT_HONOURED("deletionGracePeriodSeconds"),
	FIELD_NOT_HONOURED("deletionTimestamp"),
	FIELD_NOT_HONOURED("finalizers"),
	FIELD_NOT_HONOURED("generateName"),
	FIELD_NOT_HONOURED("ownerReferences"),
};


static void name_check(struct decoder *decoder, const struct yaml_node *metadata, const char *key, const char *text,
		       const char *wrong)
{
	const struct yaml_node *node = yaml_lookup(metadata, key);
	size_t path;

	if (!wrong || !node || node->kind != YAML_SCALAR || scalar_type(node) != SCALAR_TEXT)
		return;
	path = decoder_enter_key(decoder, key);
	decoder_error(decoder, node, "\"%.80s\" %s", text, wrong);
	decoder_leave(decoder, path);
}

static void namespace_default(struct decoder *decoder, const struct yaml_node *metadata, struct object *object)
{
	struct object_meta *meta = &object->meta;
	const struct object_kind_info *info = object_kind_info(object->kind);

	if (info->namespaced) {
		if (!*meta->namespace_name)
			meta->namespace_name = "default";
		name_check(decoder, metadata, "namespace", meta->namespace_name, name_check_label(meta->namespace_name));
		return;
	}
	if (*meta->namespace_name)
		decoder_warning(decoder, yaml_lookup(metadata, "namespace"),
				"namespace: is ignored: a %s belongs to no namespace", info->name);
	meta->namespace_name = "";
}

void metadata_read(struct decoder *decoder, const struct yaml_node *node, struct object *object)
{
	const struct yaml_node *metadata = yaml_lookup(node, "metadata");
	struct object_meta *meta = &object->meta;
	bool label = object->kind == OBJECT_SERVICE || object->kind == OBJECT_NAMESPACE;
	size_t path;

	*meta = (struct object_meta){.name = "", .namespace_name = "", .uid = "", .creation_timestamp = ""};
	if (!metadata || metadata->kind == YAML_NULL) {
		decoder_error(decoder, node, "the field \"metadata\" is missing; write metadata: with a name: in it");
		return;
	}
	path = decoder_enter_key(decoder, "metadata");
	fields_read(decoder, metadata, metadata_fields, array_length(metadata_fields), meta);
	if (metadata->kind == YAML_MAPPING) {
		name_check(decoder, metadata, "name", meta->name,
			   label ? name_check_label(meta->name) : name_check_subdomain(meta->name));
		namespace_default(decoder, metadata, object);
	}
	decoder_leave(decoder, path);
}

static const struct yaml_node *annotations_node(const struct yaml_node *node)
{
	const struct yaml_node *metadata = yaml_lookup(node, "metadata");

	return metadata ? yaml_lookup(metadata, "annotations") : NULL;
}

const struct yaml_node *annotation_lookup(const struct yaml_node *node, const char *name)
{
	const struct yaml_node *annotations = annotations_node(node);

	return annotations ? yaml_lookup(annotations, name) : NULL;
}

static const struct field *annotation_field(const struct field *fields, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(fields[i].name, name) == 0)
			return &fields[i];
	return NULL;
}

/* MetalLB has more annotations than we honour; without a word a misspelt one would be a riddle. */
static bool annotation_is_metallb(const char *name)
{
	return strncmp(name, "metallb.io/", 11) == 0 || strncmp(name, "metallb.universe.tf/", 20) == 0;
}

static void annotation_unknown(struct decoder *decoder, const struct yaml_node *key, const struct field *fields, size_t count)
{
	char known[320] = "";
	size_t used = 0;

	for (size_t i = 0; i < count && used < sizeof(known); i++)
		if (strncmp(fields[i].name, "selvage.io/", 11) == 0)
			used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s", used ? ", " : "",
						 fields[i].name + 11);
	if (used)
		decoder_error(decoder, key, "there is no annotation \"%.80s\" here; selvage.io/ has %s", key->text, known);
	else
		decoder_error(decoder, key, "there is no annotation \"%.80s\" here; remove it", key->text);
}

void annotations_read(struct decoder *decoder, const struct yaml_node *node, const struct field *fields, size_t count,
		      void *target)
{
	const struct yaml_node *annotations = annotations_node(node);
	size_t path;

	if (!annotations || annotations->kind != YAML_MAPPING)
		return;
	path = decoder_enter_key(decoder, "metadata");
	decoder_enter_key(decoder, "annotations");
	for (size_t i = 0; i < annotations->count; i++) {
		const struct yaml_node *key = annotations->keys[i], *value = annotations->items[i];
		const struct field *field = annotation_field(fields, count, key->text);
		size_t inner = decoder_enter_key(decoder, key->text);

		/* a value that is not text was an error when the metadata was read */
		if (field && value->kind == YAML_SCALAR && scalar_type(value) == SCALAR_TEXT)
			field->read(decoder, value, (char *)target + field->offset);
		decoder_leave(decoder, inner);
		if (!field && strncmp(key->text, "selvage.io/", 11) == 0)
			annotation_unknown(decoder, key, fields, count);
		else if (!field && annotation_is_metallb(key->text))
			decoder_warning(decoder, key, "the annotation \"%.80s\" is kept but has no effect", key->text);
	}
	decoder_leave(decoder, path);
}
