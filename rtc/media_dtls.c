/* SPDX-License-Identifier: Apache-2.0 */
#include "rtc/media_dtls.h"

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/srtp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>

/* Handshake messages are cut to this, so that they pass any path that carries calls (and tunnels on it). */
#define DATAGRAM_SIZE 1200
/*
 * RFC 6347 section 4.2.4.1 says 1 s, for paths about which nothing is known. Here ICE has just seen the path to be shorter, and a lost first
 * message should not cost a call a second.
 */
#define RETRY_FIRST_US 150000u
#define RETRY_LONGEST_US 2000000u
#define CERTIFICATE_DAYS 30

struct media_identity {
	EVP_PKEY *key;
	X509 *certificate;
	SSL_CTX *context;
	BIO_METHOD *method;
	struct sdp_fingerprint fingerprint;
};

struct media_dtls {
	struct media_dtls_config config;
	struct sdp_fingerprint fingerprints[SDP_FINGERPRINTS_MAX];
	SSL *ssl;
	const uint8_t *received; /* the datagram that is being taken; NULL: none */
	size_t received_length;
	enum media_dtls_state state;
	char reason[160];
};

static const char *last_error(void)
{
	unsigned long code = ERR_peek_last_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;

	return reason ? reason : "no reason given";
}

/* --- datagrams as a BIO ------------------------------------------------------------------------------------------------- */

static int bio_write(BIO *bio, const char *bytes, int length)
{
	struct media_dtls *dtls = BIO_get_data(bio);

	dtls->config.send(dtls->config.context, (const uint8_t *)bytes, (size_t)length);
	return length;
}

static int bio_read(BIO *bio, char *buffer, int size)
{
	struct media_dtls *dtls = BIO_get_data(bio);
	size_t length = dtls->received_length < (size_t)size ? dtls->received_length : (size_t)size;

	BIO_clear_retry_flags(bio);
	if (!dtls->received) {
		BIO_set_retry_read(bio);
		return -1;
	}
	memcpy(buffer, dtls->received, length);
	dtls->received = NULL;
	return (int)length;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
	switch (command) {
	case BIO_CTRL_FLUSH:
		return 1;
	case BIO_CTRL_DGRAM_QUERY_MTU:
	case BIO_CTRL_DGRAM_GET_FALLBACK_MTU:
		return DATAGRAM_SIZE;
	default:
		return 0;
	}
}

static BIO_METHOD *method_new(void)
{
	BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "datagrams");

	if (method) {
		BIO_meth_set_write(method, bio_write);
		BIO_meth_set_read(method, bio_read);
		BIO_meth_set_ctrl(method, bio_control);
	}
	return method;
}

/* --- who we are --------------------------------------------------------------------------------------------------------- */

static X509 *certificate_new(EVP_PKEY *key)
{
	X509 *certificate = X509_new();
	X509_NAME *name;
	uint64_t serial;

	if (!certificate)
		return NULL;
	name = X509_get_subject_name(certificate);
	if (RAND_bytes((unsigned char *)&serial, sizeof(serial)) != 1 || !X509_set_version(certificate, X509_VERSION_3) ||
	    !ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial >> 1) ||
	    !X509_gmtime_adj(X509_getm_notBefore(certificate), -86400) ||
	    !X509_gmtime_adj(X509_getm_notAfter(certificate), CERTIFICATE_DAYS * 86400L) ||
	    !X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"selvage", -1, -1, 0) ||
	    !X509_set_issuer_name(certificate, name) || !X509_set_pubkey(certificate, key) ||
	    !X509_sign(certificate, key, EVP_sha256())) {
		X509_free(certificate);
		return NULL;
	}
	return certificate;
}

/* Any certificate passes here: it is judged by its fingerprint, when the handshake is over. */
static int certificate_accept(int verified, X509_STORE_CTX *store)
{
	return 1;
}

static SSL_CTX *context_new(X509 *certificate, EVP_PKEY *key)
{
	SSL_CTX *context = SSL_CTX_new(DTLS_method());

	if (!context)
		return NULL;
	SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_QUERY_MTU | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, certificate_accept);
	if (!SSL_CTX_set_min_proto_version(context, DTLS1_2_VERSION) ||
	    !SSL_CTX_set_cipher_list(context, "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES") ||
	    SSL_CTX_use_certificate(context, certificate) != 1 || SSL_CTX_use_PrivateKey(context, key) != 1) {
		SSL_CTX_free(context);
		return NULL;
	}
	return context;
}

static bool digest_of(X509 *certificate, const char *hash, uint8_t ret_digest[static SDP_DIGEST_MAX], unsigned int *ret_length)
{
	const EVP_MD *digest = EVP_get_digestbyname(hash);

	return digest && X509_digest(certificate, digest, ret_digest, ret_length) == 1;
}

int media_identity_new(struct media_identity **ret_identity, struct error *error)
{
	struct media_identity *identity = calloc(1, sizeof(*identity));
	unsigned int length = 0;

	if (!identity)
		return error_set(error, ENOMEM, "no memory");
	ERR_clear_error();
	identity->key = EVP_EC_gen("P-256");
	identity->certificate = identity->key ? certificate_new(identity->key) : NULL;
	identity->context = identity->certificate ? context_new(identity->certificate, identity->key) : NULL;
	identity->method = identity->context ? method_new() : NULL;
	strcpy(identity->fingerprint.hash, "SHA256");
	if (!identity->method ||
	    !digest_of(identity->certificate, identity->fingerprint.hash, identity->fingerprint.digest, &length)) {
		media_identity_free(identity);
		return error_set(error, EIO, "a certificate for DTLS cannot be made: %s", last_error());
	}
	identity->fingerprint.length = (uint8_t)length;
	*ret_identity = identity;
	return 0;
}

void media_identity_free(struct media_identity *identity)
{
	if (!identity)
		return;
	SSL_CTX_free(identity->context);
	X509_free(identity->certificate);
	EVP_PKEY_free(identity->key);
	BIO_meth_free(identity->method);
	free(identity);
}

const struct sdp_fingerprint *media_identity_fingerprint(const struct media_identity *identity)
{
	return &identity->fingerprint;
}

/* --- one handshake ------------------------------------------------------------------------------------------------------ */

static const char *profiles_of(enum media_profile only)
{
	switch (only) {
	case MEDIA_PROFILE_AEAD_AES_128_GCM:
		return "SRTP_AEAD_AES_128_GCM";
	case MEDIA_PROFILE_AES128_CM_SHA1_80:
		return "SRTP_AES128_CM_SHA1_80";
	default:
		return "SRTP_AEAD_AES_128_GCM:SRTP_AES128_CM_SHA1_80";
	}
}

static unsigned int retry_after(SSL *ssl, unsigned int previous_us)
{
	unsigned int next_us = previous_us ? previous_us * 2 : RETRY_FIRST_US;

	return next_us < RETRY_LONGEST_US ? next_us : RETRY_LONGEST_US;
}

int media_dtls_new(const struct media_dtls_config *config, struct media_dtls **ret_dtls, struct error *error)
{
	struct media_dtls *dtls = calloc(1, sizeof(*dtls));
	BIO *bio;

	if (!dtls)
		return error_set(error, ENOMEM, "no memory");
	dtls->config = *config;
	memcpy(dtls->fingerprints, config->fingerprints, config->fingerprint_count * sizeof(*config->fingerprints));
	dtls->config.fingerprints = dtls->fingerprints;
	ERR_clear_error();
	dtls->ssl = SSL_new(config->identity->context);
	bio = dtls->ssl ? BIO_new(config->identity->method) : NULL;
	/* SSL_set_tlsext_use_srtp() returns 0 when all is well. */
	if (!bio || SSL_set_tlsext_use_srtp(dtls->ssl, profiles_of(config->only)) != 0) {
		BIO_free(bio);
		media_dtls_free(dtls);
		return error_set(error, EIO, "DTLS does not start: %s", last_error());
	}
	BIO_set_data(bio, dtls);
	BIO_set_init(bio, 1);
	SSL_set_bio(dtls->ssl, bio, bio);
	SSL_set_mtu(dtls->ssl, DATAGRAM_SIZE);
	DTLS_set_timer_cb(dtls->ssl, retry_after);
	if (config->active)
		SSL_set_connect_state(dtls->ssl);
	else
		SSL_set_accept_state(dtls->ssl);
	*ret_dtls = dtls;
	return 0;
}

void media_dtls_free(struct media_dtls *dtls)
{
	if (!dtls)
		return;
	SSL_free(dtls->ssl);
	free(dtls);
}

bool media_dtls_is(const uint8_t *bytes, size_t length)
{
	return length >= 13 && bytes[0] >= 20 && bytes[0] <= 63;
}

static void dtls_fail(struct media_dtls *dtls, const char *why)
{
	dtls->state = MEDIA_DTLS_FAILED;
	snprintf(dtls->reason, sizeof(dtls->reason), "DTLS: %s", why);
}

/* RFC 8122 section 5: any of the fingerprints that the SDP gave. */
static bool fingerprint_matches(const struct media_dtls *dtls, X509 *certificate)
{
	for (size_t i = 0; i < dtls->config.fingerprint_count; i++) {
		const struct sdp_fingerprint *wanted = &dtls->fingerprints[i];
		uint8_t digest[SDP_DIGEST_MAX];
		unsigned int length;

		if (digest_of(certificate, wanted->hash, digest, &length) && length == wanted->length &&
		    CRYPTO_memcmp(digest, wanted->digest, length) == 0)
			return true;
	}
	return false;
}

static void handshake_finish(struct media_dtls *dtls)
{
	X509 *certificate = SSL_get0_peer_certificate(dtls->ssl);

	if (!certificate || !fingerprint_matches(dtls, certificate))
		dtls_fail(dtls, "the certificate's fingerprint is not the one in the SDP");
	else if (!SSL_get_selected_srtp_profile(dtls->ssl))
		dtls_fail(dtls, "no SRTP profile in common");
	else
		dtls->state = MEDIA_DTLS_CONNECTED;
}

static void dtls_step(struct media_dtls *dtls)
{
	uint8_t unwanted[256];
	int result;

	ERR_clear_error();
	if (dtls->state == MEDIA_DTLS_HANDSHAKE) {
		result = SSL_do_handshake(dtls->ssl);
		if (result == 1)
			handshake_finish(dtls);
		else if (SSL_get_error(dtls->ssl, result) != SSL_ERROR_WANT_READ)
			dtls_fail(dtls, last_error());
		return;
	}
	/* Data are not for us; alerts are, and repeated handshake messages whose answer was lost. */
	while ((result = SSL_read(dtls->ssl, unwanted, sizeof(unwanted))) > 0)
		;
	switch (SSL_get_error(dtls->ssl, result)) {
	case SSL_ERROR_WANT_READ:
		return;
	case SSL_ERROR_ZERO_RETURN:
		dtls->state = MEDIA_DTLS_CLOSED;
		return;
	default:
		dtls_fail(dtls, last_error());
	}
}

static bool dtls_is_alive(const struct media_dtls *dtls)
{
	return dtls->state == MEDIA_DTLS_HANDSHAKE || dtls->state == MEDIA_DTLS_CONNECTED;
}

void media_dtls_start(struct media_dtls *dtls)
{
	if (dtls->state == MEDIA_DTLS_HANDSHAKE)
		dtls_step(dtls);
}

void media_dtls_receive(struct media_dtls *dtls, const uint8_t *bytes, size_t length)
{
	if (!dtls_is_alive(dtls))
		return;
	dtls->received = bytes;
	dtls->received_length = length;
	dtls_step(dtls);
	dtls->received = NULL;
}

uint64_t media_dtls_advance(struct media_dtls *dtls)
{
	struct timeval left;

	if (!dtls_is_alive(dtls))
		return UINT64_MAX;
	ERR_clear_error();
	if (DTLSv1_handle_timeout(dtls->ssl) < 0) {
		dtls_fail(dtls, "the peer does not answer");
		return UINT64_MAX;
	}
	if (!DTLSv1_get_timeout(dtls->ssl, &left))
		return UINT64_MAX;
	return (uint64_t)left.tv_sec * 1000000 + (uint64_t)left.tv_usec;
}

void media_dtls_close(struct media_dtls *dtls)
{
	if (dtls->state == MEDIA_DTLS_CONNECTED)
		(void)SSL_shutdown(dtls->ssl);
	if (dtls_is_alive(dtls))
		dtls->state = MEDIA_DTLS_CLOSED;
}

enum media_dtls_state media_dtls_state(const struct media_dtls *dtls)
{
	return dtls->state;
}

const char *media_dtls_reason(const struct media_dtls *dtls)
{
	return dtls->reason;
}

int media_dtls_keys(const struct media_dtls *dtls, struct media_srtp_keys *ret_keys, struct error *error)
{
	static const char label[] = "EXTRACTOR-dtls_srtp";
	const SRTP_PROTECTION_PROFILE *profile = SSL_get_selected_srtp_profile(dtls->ssl);
	enum media_profile selected = profile ? (enum media_profile)profile->id : MEDIA_PROFILE_NONE;
	uint8_t material[2 * MEDIA_SRTP_KEY_MAX];

	if (!profile || SSL_export_keying_material(dtls->ssl, material, 2 * (16 + media_profile_salt_size(selected)), label,
						   sizeof(label) - 1, NULL, 0, 0) != 1)
		return error_set(error, EIO, "DTLS gives no keys: %s", last_error());
	*ret_keys = media_srtp_keys_split(selected, material, dtls->config.active);
	OPENSSL_cleanse(material, sizeof(material));
	return 0;
}
