/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/replay/secret_file.h"

#include <stdio.h>
#include <string.h>

#define SECRET_DIGITS (2 * sizeof(struct siphash_key))

static bool secret_parse(const char *text, struct rtc_ufrag_secret *ret_secret, size_t *ret_length)
{
	uint8_t bytes[sizeof(struct siphash_key)];
	size_t at;

	if (*text < '0' || *text >= '0' + (int)RTC_UFRAG_KEY_NUMBERS || strspn(text + 1, " \t") == 0)
		return false;
	at = 1 + strspn(text + 1, " \t");
	if (strspn(text + at, "0123456789abcdefABCDEF") != SECRET_DIGITS)
		return false;
	for (size_t i = 0; i < sizeof(bytes); i++)
		sscanf(text + at + 2 * i, "%2hhx", &bytes[i]);
	*ret_secret = (struct rtc_ufrag_secret){.number = (uint32_t)(*text - '0')};
	memcpy(&ret_secret->key, bytes, sizeof(bytes));
	*ret_length = at + SECRET_DIGITS;
	return true;
}

int secrets_parse(const char *text, struct rtc_ufrag_secret *ret_secrets, size_t size, size_t *ret_count, struct error *error)
{
	static const char apart[] = ", \t\r\n";
	size_t count = 0, length;

	for (text += strspn(text, apart); *text; text += strspn(text, apart)) {
		if (count == size)
			break;
		if (!secret_parse(text, &ret_secrets[count], &length))
			break;
		text += length;
		count++;
	}
	length = strspn(text, "0123456789"); /* when the newest was made */
	if (count == 0 || text[length + strspn(text + length, apart)])
		return error_set(error, EINVAL, "wanted are one or %zu of NUMBER SECRET: 0 to %u, and %zu hexadecimal digits", size,
				 RTC_UFRAG_KEY_NUMBERS - 1, SECRET_DIGITS);
	*ret_count = count;
	return 0;
}

int secret_file_read(const char *path, struct rtc_ufrag_secret *ret_secrets, size_t size, size_t *ret_count, struct error *error)
{
	FILE *file = fopen(path, "re");
	char text[512];
	size_t length;
	int result;

	if (!file)
		return error_set(error, errno, "%s: %s", path, strerror(errno));
	length = fread(text, 1, sizeof(text) - 1, file);
	result = ferror(file) ? error_set(error, EIO, "%s: cannot be read", path) : 0;
	fclose(file);
	if (result < 0)
		return result;
	text[length] = 0;
	result = secrets_parse(text, ret_secrets, size, ret_count, error);
	return result < 0 ? error_prefix(error, -result, "%s", path) : 0;
}
