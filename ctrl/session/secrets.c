/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/session/secrets.h"

#include <stdio.h>
#include <string.h>

char *session_secrets_format(const struct session_secrets *secrets)
{
	char *text = NULL;
	size_t size = 0;
	FILE *file = open_memstream(&text, &size);

	if (!file)
		abort();
	for (size_t i = 0; i < secrets->count; i++) {
		uint8_t bytes[sizeof(struct siphash_key)];

		memcpy(bytes, &secrets->items[i].key, sizeof(bytes));
		fprintf(file, "%s%u ", i ? "," : "", secrets->items[i].number);
		for (size_t k = 0; k < sizeof(bytes); k++)
			fprintf(file, "%02x", bytes[k]);
	}
	fprintf(file, " %llu", (unsigned long long)secrets->made_ms);
	if (fclose(file) != 0)
		abort();
	return text;
}

static bool secret_parse(const char *text, struct rtc_ufrag_secret *ret_secret, int *ret_length)
{
	uint8_t bytes[sizeof(struct siphash_key)];
	int at = 0;

	if (sscanf(text, "%1u %n", &ret_secret->number, &at) != 1 || !at || ret_secret->number >= RTC_UFRAG_KEY_NUMBERS)
		return false;
	for (size_t i = 0; i < sizeof(bytes); i++, at += 2)
		if (strspn(text + at, "0123456789abcdef") < 2 || sscanf(text + at, "%2hhx", &bytes[i]) != 1)
			return false;
	memcpy(&ret_secret->key, bytes, sizeof(bytes));
	*ret_length = at;
	return true;
}

int session_secrets_parse(const char *text, struct session_secrets *ret_secrets, struct error *error)
{
	struct session_secrets secrets = {0};
	unsigned long long made_ms;
	int length, end = 0;

	do {
		if (secrets.count == SESSION_SECRETS_MAX || !secret_parse(text, &secrets.items[secrets.count], &length))
			return error_set(error, EINVAL, "the secrets of user fragments in the store are damaged");
		secrets.count++;
		text += length;
	} while (*text == ',' && text++);
	if (sscanf(text, " %llu%n", &made_ms, &end) != 1 || text[end])
		return error_set(error, EINVAL, "the secrets of user fragments in the store are damaged");
	secrets.made_ms = made_ms;
	*ret_secrets = secrets;
	return 0;
}

bool session_secrets_due(const struct session_secrets *secrets, uint32_t life_hours, uint64_t now_unix_ms)
{
	return secrets->count && life_hours && now_unix_ms >= secrets->made_ms + life_hours * 3600000ull;
}

struct session_secrets session_secrets_rotate(const struct session_secrets *secrets, const struct siphash_key *fresh,
					      uint64_t now_unix_ms)
{
	struct session_secrets next = {.count = 1, .made_ms = now_unix_ms};

	next.items[0].key = *fresh;
	if (!secrets->count)
		return next;
	next.items[0].number = (secrets->items[0].number + 1) % RTC_UFRAG_KEY_NUMBERS;
	next.items[1] = secrets->items[0];
	next.count = 2;
	return next;
}
