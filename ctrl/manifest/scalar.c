/* SPDX-License-Identifier: Apache-2.0 */
/* What text means: scalars of YAML, and the names that Kubernetes allows. */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <string.h>

#include "ctrl/manifest/decoder.h"

static bool text_is_one_of(const char *text, const char *const *words, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(text, words[i]) == 0)
			return true;
	return false;
}

static const char *const words_true[] = {"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"};
static const char *const words_false[] = {"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"};

/* -?(0|[1-9][0-9]*): what JSON knows, so that nobody has to guess whether 010 is eight. */
static const char *integer_end(const char *text)
{
	if (*text == '-')
		text++;
	if (*text == '0')
		return text + 1;
	if (!isdigit((unsigned char)*text))
		return NULL;
	while (isdigit((unsigned char)*text))
		text++;
	return text;
}

static bool text_is_real(const char *text)
{
	const char *end = integer_end(text);

	if (!end || !*end)
		return false;
	if (*end == '.') {
		if (!isdigit((unsigned char)*++end))
			return false;
		while (isdigit((unsigned char)*end))
			end++;
	}
	if (*end == 'e' || *end == 'E') {
		end++;
		if (*end == '+' || *end == '-')
			end++;
		if (!isdigit((unsigned char)*end))
			return false;
		while (isdigit((unsigned char)*end))
			end++;
	}
	return !*end && isfinite(strtod(text, NULL));
}

enum scalar_type scalar_type(const struct yaml_node *node)
{
	const char *end;

	if (!node->plain)
		return SCALAR_TEXT;
	if (text_is_one_of(node->text, words_true, array_length(words_true)) ||
	    text_is_one_of(node->text, words_false, array_length(words_false)))
		return SCALAR_BOOL;
	end = integer_end(node->text);
	if (end && !*end)
		return SCALAR_INTEGER;
	return text_is_real(node->text) ? SCALAR_REAL : SCALAR_TEXT;
}

bool scalar_bool(const struct yaml_node *node)
{
	return text_is_one_of(node->text, words_true, array_length(words_true));
}

bool scalar_integer(const struct yaml_node *node, int64_t *ret_value)
{
	long long value;

	errno = 0;
	value = strtoll(node->text, NULL, 10);
	if (errno)
		return false;
	*ret_value = value;
	return true;
}

/* --- names (RFC 1123 section 2.1, as Kubernetes has them) ------------------------------------------------------------- */

static bool is_lower_alphanumeric(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_alphanumeric(char c)
{
	return is_lower_alphanumeric(c) || (c >= 'A' && c <= 'Z');
}

static bool label_is_good(const char *text, size_t length)
{
	if (length == 0 || length > 63 || !is_lower_alphanumeric(text[0]) || !is_lower_alphanumeric(text[length - 1]))
		return false;
	for (size_t i = 0; i < length; i++)
		if (!is_lower_alphanumeric(text[i]) && text[i] != '-')
			return false;
	return true;
}

static bool subdomain_is_good(const char *text, size_t length)
{
	size_t label = 0;

	if (length == 0 || length > 253)
		return false;
	/* unlike DNS, Kubernetes bounds the whole name only */
	for (size_t i = 0; i <= length; i++) {
		if (i < length && text[i] != '.')
			continue;
		if (i == label || !is_lower_alphanumeric(text[label]) || !is_lower_alphanumeric(text[i - 1]))
			return false;
		label = i + 1;
	}
	for (size_t i = 0; i < length; i++)
		if (!is_lower_alphanumeric(text[i]) && text[i] != '-' && text[i] != '.')
			return false;
	return true;
}

const char *name_check_label(const char *text)
{
	if (label_is_good(text, strlen(text)))
		return NULL;
	return "must be 1 to 63 of a-z, 0-9 and \"-\", and begin and end with a letter or digit";
}

const char *name_check_subdomain(const char *text)
{
	if (subdomain_is_good(text, strlen(text)))
		return NULL;
	return "must be 1 to 253 of a-z, 0-9, \"-\" and \".\", and begin and end with a letter or digit";
}

const char *name_check_host(const char *text)
{
	const char *wrong = name_check_subdomain(text);

	for (const char *label = text; !wrong && *label; label += strspn(label, "."))
		if (strcspn(label, ".") > 63)
			wrong = "has a part of more than 63 characters, which DNS does not know";
		else
			label += strcspn(label, ".");
	return wrong;
}

/* The name part of a label's key, and a label's value. */
static bool label_text_is_good(const char *text, size_t length)
{
	if (length == 0 || length > 63 || !is_alphanumeric(text[0]) || !is_alphanumeric(text[length - 1]))
		return false;
	for (size_t i = 0; i < length; i++)
		if (!is_alphanumeric(text[i]) && !strchr("-_.", text[i]))
			return false;
	return true;
}

const char *label_check_key(const char *key)
{
	const char *slash = strchr(key, '/');
	const char *name = slash ? slash + 1 : key;

	if (slash && !subdomain_is_good(key, (size_t)(slash - key)))
		return "must have a domain name (such as example.com) before its \"/\"";
	if (!label_text_is_good(name, strlen(name)))
		return "must be 1 to 63 letters, digits, \"-\", \"_\" or \".\", with an optional \"domain/\" before them";
	return NULL;
}

const char *label_check_value(const char *value)
{
	if (!*value || label_text_is_good(value, strlen(value)))
		return NULL;
	return "must be empty or up to 63 letters, digits, \"-\", \"_\" or \".\", and begin and end with a letter or digit";
}
