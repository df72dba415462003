/* SPDX-License-Identifier: Apache-2.0 */
#include "rtc/media_srtp.h"

#include <srtp2/srtp.h>
#include <string.h>

struct media_srtp {
	srtp_t out, in;
};

size_t media_profile_salt_size(enum media_profile profile)
{
	return profile == MEDIA_PROFILE_AEAD_AES_128_GCM ? 12 : 14;
}

const char *media_profile_name(enum media_profile profile)
{
	switch (profile) {
	case MEDIA_PROFILE_AEAD_AES_128_GCM:
		return "AEAD_AES_128_GCM";
	case MEDIA_PROFILE_AES128_CM_SHA1_80:
		return "AES128_CM_HMAC_SHA1_80";
	default:
		return "none";
	}
}

/* Client key, server key, client salt, server salt. */
struct media_srtp_keys media_srtp_keys_split(enum media_profile profile, const uint8_t material[static 2 * MEDIA_SRTP_KEY_MAX],
					     bool client)
{
	struct media_srtp_keys keys = {.profile = profile};
	size_t salt = media_profile_salt_size(profile);
	uint8_t *of_client = client ? keys.ours : keys.theirs, *of_server = client ? keys.theirs : keys.ours;

	memcpy(of_client, material, 16);
	memcpy(of_server, material + 16, 16);
	memcpy(of_client + 16, material + 32, salt);
	memcpy(of_server + 16, material + 32 + salt, salt);
	return keys;
}

/* libsrtp wants to be told once that it is used. */
static int library_start(struct error *error)
{
	static bool started;

	if (!started && srtp_init() != srtp_err_status_ok)
		return error_set(error, EIO, "libsrtp does not start");
	started = true;
	return 0;
}

static int session_new(enum media_profile profile, const uint8_t *key, srtp_ssrc_type_t direction, srtp_t *ret_session,
		       struct error *error)
{
	srtp_policy_t policy = {.ssrc.type = direction, .window_size = 1024};
	uint8_t copy[SRTP_MAX_KEY_LEN] = {0};
	srtp_err_status_t status;

	/* libsrtp reads as many bytes as the profile has. */
	memcpy(copy, key, MEDIA_SRTP_KEY_MAX);
	policy.key = copy;
	if (profile == MEDIA_PROFILE_AEAD_AES_128_GCM) {
		srtp_crypto_policy_set_aes_gcm_128_16_auth(&policy.rtp);
		srtp_crypto_policy_set_aes_gcm_128_16_auth(&policy.rtcp);
	} else {
		srtp_crypto_policy_set_aes_cm_128_hmac_sha1_80(&policy.rtp);
		srtp_crypto_policy_set_aes_cm_128_hmac_sha1_80(&policy.rtcp);
	}
	status = srtp_create(ret_session, &policy);
	return status == srtp_err_status_ok ? 0 : error_set(error, EIO, "libsrtp takes no session: status %d", (int)status);
}

int media_srtp_new(const struct media_srtp_keys *keys, struct media_srtp **ret_srtp, struct error *error)
{
	struct media_srtp *srtp;
	int result = library_start(error);

	if (result < 0)
		return result;
	srtp = calloc(1, sizeof(*srtp));
	if (!srtp)
		return error_set(error, ENOMEM, "no memory");
	result = session_new(keys->profile, keys->ours, ssrc_any_outbound, &srtp->out, error);
	if (result == 0)
		result = session_new(keys->profile, keys->theirs, ssrc_any_inbound, &srtp->in, error);
	if (result < 0) {
		media_srtp_free(srtp);
		return result;
	}
	*ret_srtp = srtp;
	return 0;
}

void media_srtp_free(struct media_srtp *srtp)
{
	if (!srtp)
		return;
	if (srtp->out)
		srtp_dealloc(srtp->out);
	if (srtp->in)
		srtp_dealloc(srtp->in);
	free(srtp);
}

static int packet_run(srtp_err_status_t (*step)(srtp_t, void *, int *), srtp_t session, uint8_t *packet, size_t *length)
{
	int size = (int)*length;

	switch (step(session, packet, &size)) {
	case srtp_err_status_ok:
		*length = (size_t)size;
		return 0;
	case srtp_err_status_auth_fail:
	case srtp_err_status_replay_fail:
	case srtp_err_status_replay_old:
	case srtp_err_status_parse_err:
	case srtp_err_status_bad_param:
		return -EBADMSG;
	default:
		return -EIO;
	}
}

int media_srtp_protect(struct media_srtp *srtp, uint8_t *packet, size_t *length)
{
	return packet_run(srtp_protect, srtp->out, packet, length);
}

int media_srtp_unprotect(struct media_srtp *srtp, uint8_t *packet, size_t *length)
{
	return packet_run(srtp_unprotect, srtp->in, packet, length);
}

int media_srtcp_protect(struct media_srtp *srtp, uint8_t *packet, size_t *length)
{
	return packet_run(srtp_protect_rtcp, srtp->out, packet, length);
}

int media_srtcp_unprotect(struct media_srtp *srtp, uint8_t *packet, size_t *length)
{
	return packet_run(srtp_unprotect_rtcp, srtp->in, packet, length);
}
