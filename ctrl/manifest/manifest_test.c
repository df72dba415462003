/* SPDX-License-Identifier: Apache-2.0 */
/* Streams, places, limits; what each kind holds is in kinds_test.c. */
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "ctrl/manifest/test_support.h"

#define HEAD "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n"
#define GOOD HEAD "spec:\n  ports:\n  - port: 80\n"

static void a_stream_of_several_documents(void **state)
{
	_cleanup_(loaded_done) struct loaded loaded = load_clean(
		"# a comment\n---\n" GOOD "---\n---\n# nothing\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: media}\n...\n");

	assert_int_equal(loaded.objects.count, 2);
	assert_int_equal(loaded.objects.items[0]->kind, OBJECT_SERVICE);
	assert_string_equal(loaded.objects.items[0]->meta.namespace_name, "default");
	assert_string_equal(loaded.objects.items[0]->file, "t.yaml");
	assert_int_equal(loaded.objects.items[0]->line, 3);
	assert_int_equal(loaded.objects.items[1]->kind, OBJECT_NAMESPACE);
	assert_string_equal(loaded.objects.items[1]->meta.namespace_name, "");
	assert_int_equal(loaded.objects.items[1]->line, 14);
}

static void nothing_at_all(void **state)
{
	static const char *const texts[] = {"", "\n", "---\n", "# only a comment\n", "---\n---\nnull\n"};

	for (size_t i = 0; i < array_length(texts); i++) {
		_cleanup_(loaded_done) struct loaded loaded = load_clean(texts[i]);

		assert_int_equal(loaded.objects.count, 0);
	}
}

static void json_with_tabs_and_lists(void **state)
{
	_cleanup_(loaded_done) struct loaded loaded = load_clean(
		"{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"List\",\n\t\"metadata\": {},\n\t\"items\": [\n"
		"\t\t{\"apiVersion\": \"v1\", \"kind\": \"Namespace\", \"metadata\": {\"name\": \"a\"}},\n"
		"\t\t{\"apiVersion\": \"v1\", \"kind\": \"Namespace\", \"metadata\": {\"name\": \"b\"}}\n\t]\n}\n");

	assert_int_equal(loaded.objects.count, 2);
	assert_int_equal(loaded.objects.items[1]->line, 7);
	assert_refused("apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Namespace\n  metadata: {name: A}\n",
		       "t.yaml:6:20: metadata.name: \"A\" must be 1 to 63 of a-z, 0-9 and \"-\", and begin and end with a letter "
		       "or digit");
}

/* `before`, enough spaces for a line that is too long for the parser, `after`. */
static char *text_with_long_line(const char *before, const char *after)
{
	enum { SPACES = 1 << 20 };
	char *text = NULL;

	assert_true(asprintf(&text, "%s%*s%s", before, SPACES, "", after) > 0);
	return text;
}

/* JSON on a long line is cut into lines for the parser; places are still those of the text as it came. */
static void places_in_long_lines_of_json(void **state)
{
	_cleanup_(freep) char *unknown = text_with_long_line("{\n\"apiVersion\": \"v1\", \"kind\": \"Namespace\",",
							     "\n \"metadata\": {\"name\": \"\u00e9, [\", \"x\": 1}}");
	_cleanup_(freep) char *broken = text_with_long_line("[{", "\n\"a\": [1, 2, }]");
	_cleanup_(freep) char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_refused(unknown, "t.yaml:3:31: metadata: there is no field \"x\" here; remove it");
	assert_refused(broken, "t.yaml:2:13: not valid YAML: mismatched flow mapping end");
	fputs("{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"a\"},\"spec\":{\"ports\":[", out);
	for (int i = 0; i < 100000; i++)
		fputs("{\"port\":80},", out);
	fputs("{\"port\":81}]},\"status\":3}", out);
	fclose(out);
	assert_refused(text, "t.yaml:1:1200101: status: must be a mapping (field: value), not a number");
}

/* A quote behind a backslash does not end a string, and a comma in a string stays where it is. */
static void strings_in_long_lines_of_json(void **state)
{
	_cleanup_(freep) char *text =
		text_with_long_line("{\"apiVersion\": \"v1\", \"kind\": \"Namespace\", \"metadata\": {\"name\": \"a\",",
				    "\"annotations\": {\"x\": \"q\\\", 'z'\\\\\"}}}");
	_cleanup_(loaded_done) struct loaded loaded = load_clean(text);

	assert_string_equal(key_values_get(&loaded.objects.items[0]->meta.annotations, "x"), "q\", 'z'\\");
}

static void long_lines(void **state)
{
	enum { LENGTH = (1 << 20) + 1 };
	_cleanup_(freep) char *text = malloc(LENGTH + 2);

	memset(text, 'a', LENGTH);
	text[0] = '\n';
	strcpy(text + LENGTH, "a");
	assert_refused(text, "t.yaml:2:1: the line is longer than 1048576 bytes; break it up");
}

static void one_error_and_nothing_is_loaded(void **state)
{
	assert_refused(GOOD "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: a, nmae: b}\n",
		       "t.yaml:11:21: metadata: there is no field \"nmae\" here; did you mean \"name\"?");
}

static void several_errors_are_reported(void **state)
{
	_cleanup_(loaded_done) struct loaded loaded =
		load("apiVersion: v1\nkind: Service\nmetadata:\n  name: Web\nspec:\n  type: Balancer\n  ports:\n  - port: 0\n");
	struct error error;

	assert_int_equal(loaded.diagnostics.error_count, 3);
	assert_true(loaded_says(&loaded, "t.yaml:6:9: spec.type: must be ClusterIP, LoadBalancer, NodePort or ExternalName, not "
					 "\"Balancer\""));
	assert_true(loaded_says(&loaded, "t.yaml:8:11: spec.ports[0].port: 0 is out of range; write a number from 1 to 65535"));
	assert_int_equal(diagnostics_error(&loaded.diagnostics, &error), -EINVAL);
	assert_non_null(strstr(error.text, "t.yaml:4:9: metadata.name: \"Web\" must be"));
	assert_non_null(strstr(error.text, "(and 2 more errors)"));
}

static void errors_are_counted_beyond_the_list(void **state)
{
	_cleanup_(freep) char *text = NULL;
	_cleanup_(loaded_done) struct loaded loaded = {0};
	size_t size;
	FILE *out = open_memstream(&text, &size);

	fputs(GOOD, out);
	for (int i = 0; i < 1000; i++)
		fprintf(out, "x%d: 1\n", i);
	fclose(out);
	loaded = load(text);
	assert_int_equal(loaded.diagnostics.count, DIAGNOSTIC_ERRORS_MAX);
	assert_int_equal(loaded.diagnostics.error_count, 1000);
}

static void what_is_not_honoured_is_kept_and_said(void **state)
{
	_cleanup_(loaded_done) struct loaded loaded = load(GOOD "  externalIPs: [192.0.2.1]\n");
	_cleanup_(freep) char *kept = NULL;

	assert_int_equal(loaded.status, 0);
	assert_int_equal(loaded.diagnostics.warning_count, 1);
	assert_true(loaded_says(&loaded, "t.yaml:8:3: warning: spec.externalIPs: is kept but has no effect: Selvage does not "
					 "honour this field"));
	kept = json_dumps(loaded.objects.items[0]->raw, JSON_COMPACT | JSON_SORT_KEYS);
	assert_string_equal(kept, "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"web\"},\"spec\":"
				  "{\"externalIPs\":[\"192.0.2.1\"],\"ports\":[{\"port\":80}]}}");
}

static void unknown_kinds(void **state)
{
	assert_refused("apiVersion: v1\nkind: service\nmetadata: {name: a}\n",
		       "t.yaml:2:7: service of v1 is not known; write apiVersion: v1 and kind: Service");
	assert_refused("apiVersion: v1\nkind: EndpointSlice\nmetadata: {name: a}\n",
		       "t.yaml:1:13: EndpointSlice of v1 is not known; write apiVersion: discovery.k8s.io/v1 and kind: "
		       "EndpointSlice");
	assert_refused("apiVersion: apps/v1\nkind: Deployment\n",
		       "t.yaml:2:7: the kind Deployment of apps/v1 is not known; known are Namespace of v1, Node of v1, Service of "
		       "v1, Endpoints of v1, EndpointSlice of discovery.k8s.io/v1, IPAddressPool of metallb.io/v1beta1, "
		       "L2Advertisement of metallb.io/v1beta1, Node of selvage.io/v1alpha1, "
		       "SteeringPolicy of selvage.io/v1alpha1");
	assert_refused("kind: Service\n", "t.yaml:1:1: the field \"apiVersion\" is missing");
	assert_refused("apiVersion: 1\nkind: Service\n",
		       "t.yaml:1:13: apiVersion: must be text, and 1 without quotes is a number; write \"1\"");
	assert_refused("- a\n", "t.yaml:1:1: an object must be a mapping with apiVersion, kind and metadata, not a list");
	assert_refused("hello\n", "t.yaml:1:1: an object must be a mapping with apiVersion, kind and metadata, not a text");
}

static void duplicates(void **state)
{
	assert_refused(GOOD "---\n" GOOD,
		       "t.yaml:9:1: Service default/web is given twice: it is at t.yaml:1 already; remove one or rename it");
	assert_refused(GOOD "---\napiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: default}\n"
			    "spec: {ports: [{port: 1}]}\n",
		       "t.yaml:9:1: Service default/web is given twice: it is at t.yaml:1 already; remove one or rename it");
	assert_refused(HEAD "spec:\n  ports:\n  - port: 80\n    port: 81\n",
		       "t.yaml:8:5: the key \"port\" is given twice; it is at line 7 already");
}

static void names_and_labels(void **state)
{
	assert_refused("apiVersion: v1\nkind: Namespace\nmetadata: {}\n",
		       "t.yaml:3:11: metadata: the field \"name\" is missing");
	assert_refused("apiVersion: v1\nkind: Namespace\n",
		       "t.yaml:1:1: the field \"metadata\" is missing; write metadata: with a name: in it");
	assert_refused("apiVersion: v1\nkind: Node\nmetadata:\n  name: a..b\n",
		       "t.yaml:4:9: metadata.name: \"a..b\" must be 1 to 253 of a-z, 0-9, \"-\" and \".\", and begin and end with "
		       "a letter or digit");
	assert_refused("apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n  namespace: no_good\n"
		       "spec: {ports: [{port: 1}]}\n",
		       "t.yaml:5:14: metadata.namespace: \"no_good\" must be 1 to 63 of a-z, 0-9 and \"-\", and begin and end with "
		       "a letter or digit");
	assert_refused("apiVersion: v1\nkind: Node\nmetadata:\n  name: a\n  labels:\n    zone: yes\n",
		       "t.yaml:6:11: metadata.labels.zone: must be text, and yes without quotes is true or false in YAML; write "
		       "\"yes\"");
	assert_refused("apiVersion: v1\nkind: Node\nmetadata:\n  name: a\n  labels:\n    zone: a b\n",
		       "t.yaml:6:11: metadata.labels: the value of the label \"zone\" must be empty or up to 63 letters, digits, "
		       "\"-\", \"_\" or \".\", and begin and end with a letter or digit");
	assert_refused("apiVersion: v1\nkind: Node\nmetadata:\n  name: a\n  labels:\n    a/b/c: d\n",
		       "t.yaml:6:5: metadata.labels: the label's key \"a/b/c\" must be 1 to 63 letters, digits, \"-\", \"_\" or "
		       "\".\", with an optional \"domain/\" before them");
	assert_refused("apiVersion: v1\nkind: Node\nmetadata:\n  name: a\n  annotations: {selvage.io/typo: x}\n",
		       "t.yaml:5:17: metadata.annotations: there is no annotation \"selvage.io/typo\" here; remove it");
	assert_refused("apiVersion: v1\nkind: Node\nmetadata:\n  name: 17\n",
		       "t.yaml:4:9: metadata.name: must be text, and 17 without quotes is a number; write \"17\"");
}

static void bookkeeping_of_the_api_is_read(void **state)
{
	_cleanup_(loaded_done) struct loaded loaded = load_clean(
		"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: a\n  uid: 7f\n  resourceVersion: \"42\"\n  generation: 3\n"
		"  creationTimestamp: \"2026-01-01T00:00:00Z\"\n  managedFields: [{manager: kubectl}]\n  labels: {a: b, x/y: \"\"}\n"
		"status: {phase: Active}\n");
	const struct object_meta *meta = &loaded.objects.items[0]->meta;

	assert_int_equal(meta->resource_version, 42);
	assert_int_equal(meta->generation, 3);
	assert_string_equal(meta->uid, "7f");
	assert_string_equal(meta->creation_timestamp, "2026-01-01T00:00:00Z");
	assert_string_equal(key_values_get(&meta->labels, "a"), "b");
	assert_string_equal(key_values_get(&meta->labels, "x/y"), "");
	assert_null(key_values_get(&meta->labels, "b"));
}

/* --- hostile text ------------------------------------------------------------------------------------------------------ */

static void broken_text(void **state)
{
	assert_refused(HEAD "\tspec: 1\n", "t.yaml:5:2: not valid YAML: invalid tab used as indentation");
	assert_refused(HEAD "spec: *nowhere\n", "t.yaml:5:7: there is no anchor \"&nowhere\" before this alias");
	assert_refused(HEAD "spec: &a [*a]\n", "t.yaml:5:11: the alias \"*a\" contains itself");
	assert_refused(HEAD "spec: \xff\n", "t.yaml:5:7: the byte 0xff is not text; a manifest is YAML in UTF-8");
	assert_refused(HEAD "x: \xed\xa0\x80\n", "t.yaml:5:4: the byte 0xed is not text; a manifest is YAML in UTF-8");
	assert_refused(HEAD "spec: \"a\\0b\"\n", "t.yaml:5:7: a zero byte is not allowed in a text");
	assert_refused(HEAD "spec: {ports: [{port: 80}]\n", "t.yaml:6:1: not valid YAML: missing comma in flow mapping");
}

static void a_zero_byte_in_the_text(void **state)
{
	struct object_list objects = {0};
	struct diagnostics diagnostics;

	diagnostics_init(&diagnostics);
	assert_int_equal(manifest_load("a: \0b", 5, "t.yaml", &objects, &diagnostics), -EINVAL);
	assert_string_equal(diagnostics.items[0].text, "the byte 0x00 is not text; a manifest is YAML in UTF-8");
	diagnostics_done(&diagnostics);
}

/* Nine of the level below, twelve levels high: 282 billion values from half a kilobyte. */
static void anchors_that_explode(void **state)
{
	_cleanup_(freep) char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	fputs(HEAD "a0: &a0 x\n", out);
	for (int i = 1; i <= 12; i++) {
		fprintf(out, "a%d: &a%d [", i, i);
		for (int j = 0; j < 9; j++)
			fprintf(out, "*a%d, ", i - 1);
		fputs("]\n", out);
	}
	fclose(out);
	{
		_cleanup_(loaded_done) struct loaded loaded = load(text);

		assert_int_equal(loaded.status, -EINVAL);
		assert_int_equal(loaded.diagnostics.error_count, 1);
		assert_non_null(strstr(loaded.diagnostics.items[0].text, "too much: more than "));
	}
}

static void aliases_work(void **state)
{
	_cleanup_(loaded_done) struct loaded loaded =
		load_clean("apiVersion: v1\nkind: Service\nmetadata:\n  name: &name web\n  labels: {app: *name}\n"
			   "spec: {ports: [{port: 80}]}\n");

	assert_string_equal(key_values_get(&loaded.objects.items[0]->meta.labels, "app"), "web");
}

static void deep_nesting(void **state)
{
	enum { LEVELS = 200000 };
	_cleanup_(freep) char *text = malloc(LEVELS + 1);

	memset(text, '[', LEVELS);
	text[LEVELS] = '\0';
	assert_refused(text, "t.yaml:1:49: nested too deeply: more than 48 levels");
}

/* The limit is Kubernetes' own: what is within it is taken by both, what is beyond it by neither. */
static void annotations_are_limited(void **state)
{
	enum { LIMIT = 256 * 1024 };
	_cleanup_(freep) char *text = malloc(LIMIT + 200);
	int head = sprintf(text, "apiVersion: v1\nkind: Service\nmetadata:\n  name: a\n  annotations:\n    k: ");
	_cleanup_(loaded_done) struct loaded within = {0};

	memset(text + head, 'x', LIMIT);
	strcpy(text + head + LIMIT, "\nspec: {ports: [{port: 1}]}\n");
	assert_refused(text, "t.yaml:6:5: metadata.annotations: hold 262145 bytes together, and may hold 262144");
	strcpy(text + head + LIMIT - 1, "\nspec: {ports: [{port: 1}]}\n");
	within = load_clean(text);
	assert_int_equal(within.objects.count, 1);
}

/* A million lines; the bound is generous for sanitizers and slow machines, and far from what a quadratic loop would take. */
static void a_million_lines(void **state)
{
	enum { ENDPOINTS = 333333 };
	_cleanup_(freep) char *text = NULL;
	struct timespec start, end;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	fputs("apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: web-1\n"
	      "  labels: {kubernetes.io/service-name: web}\naddressType: IPv4\nendpoints:\n",
	      out);
	for (int i = 0; i < ENDPOINTS; i++)
		fprintf(out, "- addresses:\n  - 10.%d.%d.%d\n  zone: a\n", i >> 16, i >> 8 & 255, i & 255);
	fclose(out);
	clock_gettime(CLOCK_MONOTONIC, &start);
	{
		_cleanup_(loaded_done) struct loaded loaded = load_clean(text);

		assert_int_equal(loaded.objects.items[0]->endpoint_slice.endpoint_count, ENDPOINTS);
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	assert_true(end.tv_sec - start.tv_sec < 60);
}

static void too_large(void **state)
{
	size_t length = ((size_t)64 << 20) + 1;
	_cleanup_(freep) char *text = malloc(length + 1);

	memset(text, '\n', length);
	text[length] = '\0';
	assert_refused(text, "t.yaml: too large: more than 67108864 bytes");
}

/* --- JSON from the API ------------------------------------------------------------------------------------------------- */

static int from_json(const char *text, struct object **ret_object, struct diagnostics *diagnostics)
{
	json_t *json = json_loads(text, JSON_ALLOW_NUL, NULL);
	int status;

	assert_non_null(json);
	diagnostics_init(diagnostics);
	*ret_object = NULL;
	status = object_from_json(json, ret_object, diagnostics);
	json_decref(json);
	return status;
}

static void objects_from_json(void **state)
{
	struct diagnostics diagnostics;
	struct object *object;
	json_t *raw;

	assert_int_equal(from_json("{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"web\"},\"spec\":"
				   "{\"ports\":[{\"port\":80}],\"publishNotReadyAddresses\":true,\"type\":null}}",
				   &object, &diagnostics),
			 0);
	assert_int_equal(object->service.ports[0].port, 80);
	assert_true(object->service.publish_not_ready_addresses);
	assert_int_equal(object->line, 0);
	raw = object_to_json(object);
	assert_string_equal(json_string_value(json_object_get(json_object_get(raw, "metadata"), "name")), "web");
	json_decref(raw);
	object_free(object);
	diagnostics_done(&diagnostics);
}

static void bad_json_is_refused_with_its_path(void **state)
{
	static const struct {
		const char *json, *text;
	} cases[] = {
		{"{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"web\"},\"spec\":{\"ports\":[{\"port\":"
		 "80.5}]}}",
		 "spec.ports[0].port: must be a whole number from 1 to 65535, not \"80.5\""},
		{"{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"web\"},\"spec\":{\"ports\":[{\"port\":"
		 "\"80\"}]}}",
		 "spec.ports[0].port: must be a number; write 80 without quotes"},
		{"{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"a\\u0000b\"}}",
		 "metadata.name: text must not hold a zero byte"},
		{"[]", "an object must be a mapping with apiVersion, kind and metadata, not a list"},
		{"{}", "the field \"apiVersion\" is missing"},
	};

	for (size_t i = 0; i < array_length(cases); i++) {
		struct diagnostics diagnostics;
		struct object *object;

		assert_int_equal(from_json(cases[i].json, &object, &diagnostics), -EINVAL);
		assert_null(object);
		assert_string_equal(diagnostics.items[0].text, cases[i].text);
		diagnostics_done(&diagnostics);
	}
}

static void deep_json_is_refused(void **state)
{
	json_t *json = json_array();
	struct object *object = NULL;
	struct diagnostics diagnostics;

	for (int i = 0; i < 500; i++)
		json = json_pack("[o]", json);
	diagnostics_init(&diagnostics);
	assert_int_equal(object_from_json(json, &object, &diagnostics), -EINVAL);
	assert_non_null(strstr(diagnostics.items[0].text, "is nested too deeply: more than 64 levels"));
	diagnostics_done(&diagnostics);
	json_decref(json);
}

/* What is stored is what was read: YAML to JSON and back gives the same object. */
static void scalars_survive_json(void **state)
{
	_cleanup_(loaded_done) struct loaded loaded =
		load_clean("apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\nspec: {a: 010, b: 12, c: -0.5, d: yes, e: ~, f: '1',"
			   " g: 1e400, h: 99999999999999999999, i: null, j: !!str 7, k: .inf, l: \"é\"}\n");
	_cleanup_(freep) char *text = json_dumps(json_object_get(loaded.objects.items[0]->raw, "spec"), JSON_COMPACT);

	assert_string_equal(text, "{\"a\":\"010\",\"b\":12,\"c\":-0.5,\"d\":true,\"e\":null,\"f\":\"1\",\"g\":\"1e400\",\"h\":"
				  "1e20,\"i\":null,\"j\":\"7\",\"k\":\".inf\",\"l\":\"é\"}");
}

/* --- files ------------------------------------------------------------------------------------------------------------- */

static void file_write(const char *directory, const char *name, const char *text)
{
	char path[256];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void files_and_directories(void **state)
{
	char directory[] = "/tmp/manifest-test-XXXXXX", path[256], missing[256];
	const char *paths[] = {directory, missing};
	_cleanup_(loaded_done) struct loaded loaded = {0}, failed = {0};

	assert_non_null(mkdtemp(directory));
	snprintf(missing, sizeof(missing), "%s/missing.yaml", directory);
	file_write(directory, "b.yaml", GOOD);
	file_write(directory, "a.json", "{\"apiVersion\": \"v1\", \"kind\": \"Namespace\", \"metadata\": {\"name\": \"x\"}}");
	file_write(directory, "c.txt", "not: read");
	diagnostics_init(&loaded.diagnostics);
	diagnostics_init(&failed.diagnostics);
	assert_int_equal(manifest_load_paths(paths, 1, &loaded.objects, &loaded.diagnostics), 0);
	assert_int_equal(loaded.objects.count, 2);
	assert_int_equal(loaded.objects.items[0]->kind, OBJECT_NAMESPACE);
	snprintf(path, sizeof(path), "%s/b.yaml", directory);
	assert_string_equal(loaded.objects.items[1]->file, path);
	assert_int_equal(manifest_load_paths(paths, 2, &failed.objects, &failed.diagnostics), -EINVAL);
	assert_int_equal(failed.objects.count, 0);
	assert_string_equal(failed.diagnostics.items[0].file, missing);
	assert_string_equal(failed.diagnostics.items[0].text, "cannot be read: No such file or directory");
	for (size_t i = 0; i < 3; i++) {
		static const char *const names[] = {"a.json", "b.yaml", "c.txt"};

		snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
		unlink(path);
	}
	rmdir(directory);
}

static void diagnostics_as_json(void **state)
{
	_cleanup_(loaded_done) struct loaded loaded = load("\xc3\xa9\n");
	json_t *json = diagnostics_to_json(&loaded.diagnostics);
	_cleanup_(freep) char *text = json_dumps(json, JSON_COMPACT);

	assert_string_equal(text, "[{\"severity\":\"error\",\"file\":\"t.yaml\",\"line\":1,\"column\":1,\"text\":\"an object must be a "
				  "mapping with apiVersion, kind and metadata, not a text\"}]");
	json_decref(json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stream_of_several_documents),
		cmocka_unit_test(nothing_at_all),
		cmocka_unit_test(json_with_tabs_and_lists),
		cmocka_unit_test(places_in_long_lines_of_json),
		cmocka_unit_test(strings_in_long_lines_of_json),
		cmocka_unit_test(long_lines),
		cmocka_unit_test(one_error_and_nothing_is_loaded),
		cmocka_unit_test(several_errors_are_reported),
		cmocka_unit_test(errors_are_counted_beyond_the_list),
		cmocka_unit_test(what_is_not_honoured_is_kept_and_said),
		cmocka_unit_test(unknown_kinds),
		cmocka_unit_test(duplicates),
		cmocka_unit_test(names_and_labels),
		cmocka_unit_test(bookkeeping_of_the_api_is_read),
		cmocka_unit_test(broken_text),
		cmocka_unit_test(a_zero_byte_in_the_text),
		cmocka_unit_test(anchors_that_explode),
		cmocka_unit_test(aliases_work),
		cmocka_unit_test(deep_nesting),
		cmocka_unit_test(annotations_are_limited),
		cmocka_unit_test(a_million_lines),
		cmocka_unit_test(too_large),
		cmocka_unit_test(objects_from_json),
		cmocka_unit_test(bad_json_is_refused_with_its_path),
		cmocka_unit_test(deep_json_is_refused),
		cmocka_unit_test(scalars_survive_json),
		cmocka_unit_test(files_and_directories),
		cmocka_unit_test(diagnostics_as_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
