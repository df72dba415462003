/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ICE user fragments, in user space: what may be one, and making those that say where their session goes
 * (docs/wire/ufrag.md; packets read them by rtc/ufrag_wire.h). Pure: randomness comes in. Any thread.
 */
#pragma once

#include "base/lib/cleanup.h"
#include "base/lib/error.h"
#include "rtc/ufrag_wire.h"

/* RFC 8445 section 5.3, RFC 8839 section 5.4: ice-ufrag = 4*256ice-char */
#define RTC_UFRAG_CHARS_MIN 4u
#define RTC_UFRAG_CHARS_MAX 256u

/* 0, or -EINVAL: `length` characters of `text` are no user fragment. */
must_check int rtc_ufrag_validate(const char *text, size_t length, struct error *error);

/* RFC 8839 section 5.4: password = 22*256ice-char */
#define RTC_PASSWORD_CHARS_MIN 22u
#define RTC_PASSWORD_CHARS_MAX 256u

/* Likewise of an ICE password. The error does not repeat it. */
must_check int rtc_password_validate(const char *text, size_t length, struct error *error);

/* A cluster's secret, of which every service's keys are made. */
struct rtc_ufrag_secret {
	struct siphash_key key;
	uint32_t number; /* below RTC_UFRAG_KEY_NUMBERS */
};

/* The key of the service called `service` ("namespace/name"), from a secret of all services. */
struct siphash_key rtc_ufrag_service_key(const struct siphash_key *secret, const char *service);

/*
 * A service's keys as packets see them, from the `count` newest secrets, the newest first. Of secrets that share a place, the
 * first is taken.
 */
struct rtc_ufrag_keys rtc_ufrag_service_keys(const struct rtc_ufrag_secret *secrets, size_t count, const char *service);

/* Writes the fragment that leads to `target`, with RTC_UFRAG_RANDOM_BITS of `random`. */
void rtc_ufrag_encode(const struct siphash_key *service_key, uint32_t number, const struct rtc_ufrag_target *target,
		      uint64_t random, char ret_text[RTC_UFRAG_IPV6_CHARS + 1]);

/* Of text of any length: rtc_ufrag_decode() with what it asks of its caller. */
bool rtc_ufrag_read(const char *text, const struct rtc_ufrag_keys *keys, struct rtc_ufrag_target *ret_target);
