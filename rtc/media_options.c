/* SPDX-License-Identifier: Apache-2.0 */
#include "rtc/media_options.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/lib/address_text.h"

int option_failed(const char *what, const char *value)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, value);
	return 1;
}

int option_wrong(const char *what, const char *value)
{
	option_failed(what, value);
	return 2;
}

int option_unknown(void)
{
	fprintf(stderr, "%s: reading the command line: see `%s --help`\n", program_invocation_short_name, program_invocation_short_name);
	return 2;
}

int option_endpoint(const char *value, struct media_endpoint *ret_endpoint)
{
	if (endpoint_parse(value, &ret_endpoint->address, &ret_endpoint->port) < 0)
		return option_wrong("not ADDRESS:PORT", value);
	return 0;
}

int option_profile(const char *value, enum media_profile *ret_profile)
{
	if (strcmp(value, "gcm") == 0)
		*ret_profile = MEDIA_PROFILE_AEAD_AES_128_GCM;
	else if (strcmp(value, "sha1") == 0)
		*ret_profile = MEDIA_PROFILE_AES128_CM_SHA1_80;
	else
		return option_wrong("profiles are gcm and sha1, not", value);
	return 0;
}
