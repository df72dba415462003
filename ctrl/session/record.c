/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/session/record.h"

#include <string.h>

#include "base/lib/memory.h"
#include "rtc/ufrag.h"

void session_record_done(struct session_record *record)
{
	free(record->service);
	free(record->ufrag);
	free(record->restarts);
	free(record->password);
	*record = (struct session_record){0};
}

static void characters_replace(char *text, char from, char to)
{
	for (; (text = strchr(text, from)); text++)
		*text = to;
}

void session_ufrag_from_path(char *text)
{
	characters_replace(text, '_', '/');
	characters_replace(text, '-', '+');
}

void session_ufrag_to_path(char *text)
{
	characters_replace(text, '/', '_');
	characters_replace(text, '+', '-');
}

/* --- what is sent ------------------------------------------------------------------------------------------------------ */

static int agent_add(const char *text, struct session_agent *agents, size_t *count, struct error *error)
{
	struct session_agent agent;

	if (endpoint_parse(text, &agent.address, &agent.port) < 0 || !agent.port)
		return error_set(error, EINVAL, "\"%.80s\" is not an agent: write ADDRESS:PORT or [IPV6]:PORT", text);
	for (size_t i = 0; i < *count; i++)
		if (address_is_ipv4(&agents[i].address) == address_is_ipv4(&agent.address))
			return error_set(error, EINVAL, "a session has one agent of each family, IPv4 and IPv6; \"%.80s\" is a second one",
					 text);
	agents[(*count)++] = agent;
	return 0;
}

int session_agents_parse(const char *text, struct session_agent ret_agents[static SESSION_AGENTS_MAX], size_t *ret_count,
			 struct error *error)
{
	_cleanup_(freep) char *copy = memory_or_end(strdup(text));
	char *rest = copy, *part;
	size_t count = 0;
	int status;

	while ((part = strsep(&rest, ","))) {
		status = agent_add(part + strspn(part, " "), ret_agents, &count, error);
		if (status < 0)
			return status;
	}
	*ret_count = count;
	return 0;
}

static int agents_read(const json_t *body, struct session_record *record, struct error *error)
{
	const json_t *one = json_object_get(body, "backend"), *several = json_object_get(body, "backends"), *item;
	size_t i;

	if (!one == !several)
		return error_set(error, EINVAL, "the body must say \"backend\": \"ADDRESS:PORT\", or \"backends\" with one of each family");
	if (one)
		return json_is_string(one) ? agent_add(json_string_value(one), record->agents, &record->agent_count, error)
					   : error_set(error, EINVAL, "\"backend\" must be text");
	if (!json_is_array(several) || json_array_size(several) == 0)
		return error_set(error, EINVAL, "\"backends\" must be a list of \"ADDRESS:PORT\"");
	json_array_foreach(several, i, item) {
		int status = json_is_string(item) ? agent_add(json_string_value(item), record->agents, &record->agent_count, error)
						  : error_set(error, EINVAL, "\"backends\" must be a list of \"ADDRESS:PORT\"");

		if (status < 0)
			return status;
	}
	return 0;
}

static int expiry_read(const json_t *body, uint64_t now_unix_ms, struct session_record *record, struct error *error)
{
	const json_t *expiry = json_object_get(body, "expiresInSeconds");
	json_int_t seconds = expiry ? json_integer_value(expiry) : SESSION_EXPIRY_DEFAULT_S;

	if (expiry && (!json_is_integer(expiry) || seconds < 0 || seconds > SESSION_EXPIRY_MAX_S))
		return error_set(error, EINVAL, "\"expiresInSeconds\" must be a number from 1 to %u, or 0 for never", SESSION_EXPIRY_MAX_S);
	record->expires_ms = seconds ? now_unix_ms + 1000 * (uint64_t)seconds : 0;
	return 0;
}

static int restarts_read(const json_t *body, struct session_record *record, struct error *error)
{
	const json_t *restarts = json_object_get(body, "restarts");

	if (!restarts)
		return 0;
	if (!json_is_string(restarts))
		return error_set(error, EINVAL, "\"restarts\" must be the user fragment that the session had before");
	if (rtc_ufrag_validate(json_string_value(restarts), json_string_length(restarts), error) < 0)
		return error_prefix(error, EINVAL, "\"restarts\"");
	if (strcmp(json_string_value(restarts), record->ufrag) == 0)
		return error_set(error, EINVAL, "\"restarts\" must be another user fragment than the new one");
	record->restarts = memory_or_end(strdup(json_string_value(restarts)));
	return 0;
}

static int password_read(const json_t *body, struct session_record *record, struct error *error)
{
	const json_t *password = json_object_get(body, "password");

	if (!password)
		return 0;
	if (!json_is_string(password))
		return error_set(error, EINVAL, "\"password\" must be the agent's ICE password (ice-pwd) for this fragment");
	if (rtc_password_validate(json_string_value(password), json_string_length(password), error) < 0)
		return error_prefix(error, EINVAL, "\"password\"");
	record->password = memory_or_end(strdup(json_string_value(password)));
	return 0;
}

static int srtp_read(const json_t *body, struct session_record *record, struct error *error)
{
	const json_t *srtp = json_object_get(body, "srtp"), *profile = json_object_get(srtp, "profile"), *key = json_object_get(srtp, "key");

	if (!srtp)
		return 0;
	if (!json_is_string(profile) || !json_is_string(key) || json_object_size(srtp) != 2)
		return error_set(error, EINVAL, "\"srtp\" must be {\"profile\": NAME, \"key\": BASE64}, of what the client sends");
	if (srtp_key_parse(json_string_value(profile), json_string_value(key), &record->srtp, error) < 0)
		return error_prefix(error, EINVAL, "\"srtp\"");
	return 0;
}

static int keys_check(const json_t *body, struct error *error)
{
	static const char *const known[] = {"backend", "backends", "expiresInSeconds", "restarts", "password", "srtp"};
	const char *key;
	json_t *value;

	if (!json_is_object(body))
		return error_set(error, EINVAL, "the body must be {\"backend\": \"ADDRESS:PORT\"}");
	json_object_foreach((json_t *)body, key, value) {
		bool found = false;

		for (size_t i = 0; i < array_length(known); i++)
			found |= strcmp(key, known[i]) == 0;
		if (!found)
			return error_set(error, EINVAL, "\"%.60s\" is not known; a session has backend, backends, expiresInSeconds, restarts, password and srtp", key);
	}
	return 0;
}

int session_record_parse(const char *service, const char *ufrag, const json_t *body, uint64_t now_unix_ms,
			 struct session_record *ret_record, struct error *error)
{
	_cleanup_(session_record_done) struct session_record record = {0};
	int status = rtc_ufrag_validate(ufrag, strlen(ufrag), error);

	if (status < 0 || (status = keys_check(body, error)) < 0)
		return status;
	record.service = memory_or_end(strdup(service));
	record.ufrag = memory_or_end(strdup(ufrag));
	if ((status = agents_read(body, &record, error)) < 0 || (status = expiry_read(body, now_unix_ms, &record, error)) < 0 ||
	    (status = restarts_read(body, &record, error)) < 0 || (status = password_read(body, &record, error)) < 0 ||
	    (status = srtp_read(body, &record, error)) < 0)
		return status;
	*ret_record = record;
	record = (struct session_record){0};
	return 0;
}

/* --- what is kept ------------------------------------------------------------------------------------------------------ */

char *session_record_key(const char *service, const char *ufrag)
{
	char *key;

	if (asprintf(&key, SESSION_RECORDS "%s/%s", service, ufrag) < 0)
		abort();
	characters_replace(key + strlen(SESSION_RECORDS) + strlen(service) + 1, '/', '_');
	return key;
}

char *session_record_value(const struct session_record *record)
{
	json_t *agents = json_array(), *json = json_object();
	char *text, endpoint[ENDPOINT_TEXT_SIZE], key[SRTP_KEY_TEXT_SIZE];

	for (size_t i = 0; i < record->agent_count; i++)
		json_array_append_new(agents, json_string(endpoint_format(&record->agents[i].address, record->agents[i].port, endpoint)));
	json_object_set_new(json, "backends", agents);
	if (record->expires_ms)
		json_object_set_new(json, "expiresUnixMs", json_integer((json_int_t)record->expires_ms));
	if (record->restarts)
		json_object_set_new(json, "restarts", json_string(record->restarts));
	if (record->password)
		json_object_set_new(json, "password", json_string(record->password));
	if (record->srtp.profile)
		json_object_set_new(json, "srtp", json_pack("{s:s, s:s}", "profile", srtp_profile_name(record->srtp.profile), "key",
							    srtp_key_format(&record->srtp, key)));
	text = memory_or_end(json_dumps(json, JSON_COMPACT));
	json_decref(json);
	return text;
}

/* NAMESPACE/SERVICE/UFRAG */
static int key_read(const char *key, struct session_record *record, struct error *error)
{
	bool ours = strncmp(key, SESSION_RECORDS, strlen(SESSION_RECORDS)) == 0;
	const char *name = ours ? key + strlen(SESSION_RECORDS) : "", *end = strchr(name, '/');

	end = end ? strchr(end + 1, '/') : NULL;
	if (!end)
		return error_set(error, EINVAL, "the key %s is no session's", key);
	record->service = memory_or_end(strndup(name, (size_t)(end - name)));
	record->ufrag = memory_or_end(strdup(end + 1));
	characters_replace(record->ufrag, '_', '/');
	return rtc_ufrag_validate(record->ufrag, strlen(record->ufrag), error);
}

int session_record_read(const char *key, const char *value, struct session_record *ret_record, struct error *error)
{
	_cleanup_(session_record_done) struct session_record record = {0};
	json_t *json = json_loads(value, JSON_REJECT_DUPLICATES, NULL);
	int status = key_read(key, &record, error);

	if (status == 0)
		status = agents_read(json, &record, error);
	if (status == 0)
		status = restarts_read(json, &record, error);
	if (status == 0)
		status = password_read(json, &record, error);
	if (status == 0)
		status = srtp_read(json, &record, error);
	if (status == 0) {
		record.expires_ms = (uint64_t)json_integer_value(json_object_get(json, "expiresUnixMs"));
		*ret_record = record;
		record = (struct session_record){0};
	}
	json_decref(json);
	return status;
}
