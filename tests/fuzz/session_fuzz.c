/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target: what a media server sends to register a session, "UFRAG BODY"; and the same bytes as a record and as secrets from a
 * damaged store. What is understood is kept and read back as the same; what is not is refused with a sentence.
 */
#include <assert.h>
#include <string.h>

#include "ctrl/session/record.h"
#include "ctrl/session/secrets.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void kept_and_read_back(const struct session_record *record)
{
	_cleanup_(freep) char *key = session_record_key(record->service, record->ufrag), *value = session_record_value(record), *again = NULL;
	struct session_record back;
	struct error error;

	assert(session_record_read(key, value, &back, &error) == 0);
	assert(strcmp(back.ufrag, record->ufrag) == 0 && strcmp(back.service, record->service) == 0);
	assert(back.agent_count == record->agent_count && back.expires_ms == record->expires_ms);
	again = session_record_value(&back);
	assert(strcmp(again, value) == 0);
	session_record_done(&back);
}

static void secrets_from(const char *text)
{
	struct session_secrets secrets;
	struct error error = {0};

	if (session_secrets_parse(text, &secrets, &error) == 0) {
		_cleanup_(freep) char *again = session_secrets_format(&secrets);
		struct session_secrets back;

		assert(session_secrets_parse(again, &back, &error) == 0);
		assert(back.count == secrets.count && back.made_ms == secrets.made_ms);
	} else {
		assert(*error.text);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(freep) char *text = strndup((const char *)data, size);
	char *space = strchr(text, ' '), *body = space ? space + 1 : text + strlen(text);
	struct session_record record;
	struct error error = {0};
	json_t *json;

	secrets_from(text);
	if (space)
		*space = '\0';
	if (session_record_read(text, body, &record, &error) == 0)
		session_record_done(&record);
	json = json_loads(body, JSON_REJECT_DUPLICATES, NULL);
	session_ufrag_from_path(text);
	if (json && session_record_parse("default/media", text, json, 1000, &record, &error) == 0) {
		kept_and_read_back(&record);
		session_record_done(&record);
	} else if (json) {
		assert(*error.text);
	}
	json_decref(json);
	return 0;
}
