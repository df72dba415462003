/* SPDX-License-Identifier: Apache-2.0 */
#include "rtc/sdp.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/lib/address_text.h"

/* --- words -------------------------------------------------------------------------------------------------------------- */

/* A part of the text that is read: never ends in a zero. */
struct span {
	const char *at;
	size_t length;
};

struct reader {
	struct sdp *sdp;
	struct sdp_media *media; /* the section; NULL: before the first, or beyond the last that is kept */
	unsigned int line;
	struct error *error;
};

static int refuse(const struct reader *reader, const char *what)
{
	return error_set(reader->error, EINVAL, "SDP line %u: %s", reader->line, what);
}

static bool span_is(struct span span, const char *text)
{
	return span.length == strlen(text) && strncasecmp(span.at, text, span.length) == 0;
}

static bool span_begins(struct span *span, const char *text)
{
	size_t length = strlen(text);

	if (span->length < length || memcmp(span->at, text, length) != 0)
		return false;
	*span = (struct span){span->at + length, span->length - length};
	return true;
}

/* The next word up to `separator` (0: a space), which is passed over. Empty at the end. */
static struct span word_next(struct span *rest, char separator)
{
	struct span word;
	const char *end;

	while (!separator && rest->length && *rest->at == ' ')
		*rest = (struct span){rest->at + 1, rest->length - 1};
	end = memchr(rest->at, separator ? separator : ' ', rest->length);
	word = (struct span){rest->at, end ? (size_t)(end - rest->at) : rest->length};
	*rest = end ? (struct span){end + 1, rest->length - word.length - 1} : (struct span){rest->at + rest->length, 0};
	return word;
}

/* Visible ASCII only: what is kept may stand in an answer, and in a log. */
static bool word_copy(struct span word, char *field, size_t size)
{
	if (word.length == 0 || word.length >= size)
		return false;
	for (size_t i = 0; i < word.length; i++)
		if (word.at[i] <= ' ' || word.at[i] > '~')
			return false;
	memcpy(field, word.at, word.length);
	field[word.length] = '\0';
	return true;
}

static bool number_read(struct span word, uint32_t maximum, uint32_t *ret_number)
{
	uint64_t number = 0;

	if (word.length == 0 || word.length > 10)
		return false;
	for (size_t i = 0; i < word.length; i++) {
		if (word.at[i] < '0' || word.at[i] > '9')
			return false;
		number = number * 10 + (uint64_t)(word.at[i] - '0');
	}
	if (number > maximum)
		return false;
	*ret_number = (uint32_t)number;
	return true;
}

/* RFC 8839 section 5.4: ice-char = ALPHA / DIGIT / "+" / "/". */
static bool ice_text_copy(struct span word, size_t minimum, char *field, size_t size)
{
	if (word.length < minimum || !word_copy(word, field, size))
		return false;
	for (const char *at = field; *at; at++) {
		bool letter = (*at | 32) >= 'a' && (*at | 32) <= 'z';

		if (!letter && !(*at >= '0' && *at <= '9') && *at != '+' && *at != '/') {
			field[0] = '\0';
			return false;
		}
	}
	return true;
}

/* --- attributes --------------------------------------------------------------------------------------------------------- */

static const struct {
	const char *sdp, *openssl;
	uint8_t length;
} hashes[] = {{"sha-256", "SHA256", 32}, {"sha-384", "SHA384", 48}, {"sha-512", "SHA512", 64}};

static int hex_of(char digit)
{
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	digit |= 32;
	return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

static bool digest_read(struct span text, struct sdp_fingerprint *fingerprint)
{
	if (text.length != 3u * fingerprint->length - 1)
		return false;
	for (size_t i = 0; i < fingerprint->length; i++) {
		int high = hex_of(text.at[3 * i]), low = hex_of(text.at[3 * i + 1]);

		if (high < 0 || low < 0 || (i + 1 < fingerprint->length && text.at[3 * i + 2] != ':'))
			return false;
		fingerprint->digest[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

/* RFC 8122. Hashes that are not known (or known to be weak) are passed over: one of the others must fit. */
static int fingerprint_read(struct reader *reader, struct span value)
{
	struct sdp *sdp = reader->sdp;
	struct span hash = word_next(&value, 0);
	struct sdp_fingerprint fingerprint = {0};

	for (size_t i = 0; i < array_length(hashes); i++) {
		if (!span_is(hash, hashes[i].sdp))
			continue;
		strcpy(fingerprint.hash, hashes[i].openssl);
		fingerprint.length = hashes[i].length;
	}
	if (!fingerprint.length)
		return 0;
	if (!digest_read(word_next(&value, 0), &fingerprint))
		return refuse(reader, "the fingerprint is not what its hash makes");
	for (size_t i = 0; i < sdp->fingerprint_count; i++)
		if (memcmp(&sdp->fingerprints[i], &fingerprint, sizeof(fingerprint)) == 0)
			return 0;
	if (sdp->fingerprint_count < SDP_FINGERPRINTS_MAX)
		sdp->fingerprints[sdp->fingerprint_count++] = fingerprint;
	return 0;
}

static int setup_read(struct reader *reader, struct span value)
{
	enum sdp_setup setup = span_is(value, "actpass") ? SDP_SETUP_ACTPASS
			       : span_is(value, "active") ? SDP_SETUP_ACTIVE
			       : span_is(value, "passive") ? SDP_SETUP_PASSIVE
							     : SDP_SETUP_NONE;

	if (setup == SDP_SETUP_NONE)
		return refuse(reader, "a=setup must be actpass, active or passive");
	if (reader->sdp->setup == SDP_SETUP_NONE)
		reader->sdp->setup = setup;
	return 0;
}

/*
 * RFC 8839 section 5.1: foundation component transport priority address port "typ" type. Other transports, the second component,
 * and addresses that are names (multicast DNS) are passed over: another pair must do.
 */
static int candidate_read(struct reader *reader, struct span value)
{
	struct sdp *sdp = reader->sdp;
	struct sdp_candidate candidate = {0};
	char address[SDP_TOKEN_SIZE + 32];
	struct span transport;
	uint32_t component, port;

	if (!word_copy(word_next(&value, 0), candidate.foundation, sizeof(candidate.foundation)) ||
	    !number_read(word_next(&value, 0), 256, &component))
		return refuse(reader, "the candidate is malformed");
	transport = word_next(&value, 0);
	if (!number_read(word_next(&value, 0), UINT32_MAX, &candidate.priority))
		return refuse(reader, "the candidate's priority is no number");
	if (!word_copy(word_next(&value, 0), address, sizeof(address)))
		address[0] = '\0';
	if (!number_read(word_next(&value, 0), UINT16_MAX, &port))
		return refuse(reader, "the candidate's port is no port");
	if (!span_is(word_next(&value, 0), "typ") ||
	    !word_copy(word_next(&value, 0), candidate.type, sizeof(candidate.type)))
		return refuse(reader, "the candidate has no type");
	if (component != 1 || !span_is(transport, "udp") || port == 0 ||
	    address_parse(address, &candidate.endpoint.address) < 0)
		return 0;
	candidate.endpoint.port = (uint16_t)port;
	if (sdp->candidate_count < SDP_CANDIDATES_MAX)
		sdp->candidates[sdp->candidate_count++] = candidate;
	return 0;
}

/* "111 opus/48000/2". */
static int rtpmap_read(struct reader *reader, struct span value)
{
	struct sdp_media *media = reader->media;
	struct sdp_codec codec = {.channels = 1};
	uint32_t payload_type, channels;
	struct span encoding;

	if (!media || media->codec_count == SDP_CODECS_MAX)
		return 0;
	if (!number_read(word_next(&value, 0), 127, &payload_type))
		return refuse(reader, "the payload type of a=rtpmap is not 0 to 127");
	encoding = word_next(&value, 0);
	if (!word_copy(word_next(&encoding, '/'), codec.name, sizeof(codec.name)) ||
	    !number_read(word_next(&encoding, '/'), UINT32_MAX, &codec.clock_rate) || codec.clock_rate == 0)
		return refuse(reader, "a=rtpmap wants NAME/RATE");
	if (encoding.length && number_read(encoding, UINT8_MAX, &channels))
		codec.channels = (uint8_t)channels;
	codec.payload_type = (uint8_t)payload_type;
	media->codecs[media->codec_count++] = codec;
	return 0;
}

static int ssrc_read(struct reader *reader, struct span value)
{
	uint32_t ssrc;

	if (reader->media && reader->media->ssrc == 0 && number_read(word_next(&value, 0), UINT32_MAX, &ssrc))
		reader->media->ssrc = ssrc;
	return 0;
}

/* The first that there is counts. */
static int credential_read(const struct reader *reader, struct span value, size_t minimum, char *field, size_t size,
			   const char *complaint)
{
	return field[0] || ice_text_copy(value, minimum, field, size) ? 0 : refuse(reader, complaint);
}

static int ufrag_read(struct reader *reader, struct span value)
{
	return credential_read(reader, value, 4, reader->sdp->ufrag, sizeof(reader->sdp->ufrag),
			       "a=ice-ufrag wants 4 to 256 letters, digits, + or /");
}

static int password_read(struct reader *reader, struct span value)
{
	return credential_read(reader, value, 22, reader->sdp->password, sizeof(reader->sdp->password),
			       "a=ice-pwd wants 22 to 256 letters, digits, + or /");
}

static int mid_read(struct reader *reader, struct span value)
{
	if (reader->media && !word_copy(value, reader->media->mid, sizeof(reader->media->mid)))
		return refuse(reader, "a=mid wants a token of at most 32 characters");
	return 0;
}

static void flag_read(struct reader *reader, struct span name)
{
	static const char *const directions[] = {
		[SDP_SENDRECV] = "sendrecv", [SDP_SENDONLY] = "sendonly", [SDP_RECVONLY] = "recvonly", [SDP_INACTIVE] = "inactive"};

	if (span_is(name, "ice-lite"))
		reader->sdp->ice_lite = true;
	else if (span_is(name, "end-of-candidates"))
		reader->sdp->end_of_candidates = true;
	else if (span_is(name, "rtcp-mux") && reader->media)
		reader->media->rtcp_mux = true;
	for (size_t i = 0; reader->media && i < array_length(directions); i++)
		if (span_is(name, directions[i]))
			reader->media->direction = (enum sdp_direction)i;
}

static int attribute_read(struct reader *reader, struct span value)
{
	static const struct {
		const char *name;
		int (*read)(struct reader *reader, struct span value);
	} attributes[] = {
		{"candidate", candidate_read}, {"fingerprint", fingerprint_read}, {"ice-pwd", password_read},
		{"ice-ufrag", ufrag_read},     {"mid", mid_read},		  {"rtpmap", rtpmap_read},
		{"setup", setup_read},	       {"ssrc", ssrc_read},
	};
	struct span name = word_next(&value, ':');

	for (size_t i = 0; i < array_length(attributes); i++)
		if (span_is(name, attributes[i].name))
			return attributes[i].read(reader, value);
	flag_read(reader, name);
	return 0;
}

/* --- lines -------------------------------------------------------------------------------------------------------------- */

/* Cut at a word, so that a long list stays a list. */
static void formats_copy(struct span value, struct sdp_media *media)
{
	size_t length = 0;

	while (value.length) {
		struct span word = word_next(&value, 0);
		char token[SDP_TOKEN_SIZE];

		if (!word_copy(word, token, sizeof(token)) || length + word.length + 2 > sizeof(media->formats))
			break;
		length += (size_t)sprintf(media->formats + length, "%s%s", length ? " " : "", token);
	}
}

/* m=audio 9 UDP/TLS/RTP/SAVPF 111 0 */
static int media_read(struct reader *reader, struct span value)
{
	struct sdp *sdp = reader->sdp;
	struct sdp_media media = {.direction = SDP_SENDRECV};
	struct span port;
	uint32_t number;

	if (!word_copy(word_next(&value, 0), media.kind, sizeof(media.kind)))
		return refuse(reader, "m= wants a kind of media");
	port = word_next(&value, 0);
	if (!number_read(word_next(&port, '/'), UINT16_MAX, &number))
		return refuse(reader, "the port of m= is no port");
	if (!word_copy(word_next(&value, 0), media.protocol, sizeof(media.protocol)))
		return refuse(reader, "m= wants a protocol");
	media.port = (uint16_t)number;
	formats_copy(value, &media);
	if (sdp->media_count == SDP_MEDIA_MAX)
		return refuse(reader, "there are more than 16 sections of media");
	reader->media = &sdp->media[sdp->media_count++];
	*reader->media = media;
	return 0;
}

static int line_read(struct reader *reader, struct span line)
{
	char type;

	if (line.length == 0)
		return 0;
	if (line.length < 2 || line.at[1] != '=' || line.at[0] < 'a' || line.at[0] > 'z')
		return refuse(reader, "a line of SDP begins with a letter and =");
	type = line.at[0];
	line = (struct span){line.at + 2, line.length - 2};
	if (type == 'm')
		return media_read(reader, line);
	return type == 'a' ? attribute_read(reader, line) : 0;
}

static int lines_read(struct reader *reader, struct span text)
{
	int result = 0;

	if (text.length > SDP_SIZE_MAX)
		return error_set(reader->error, EINVAL, "SDP is longer than %d bytes", SDP_SIZE_MAX);
	while (result == 0 && text.length) {
		struct span line = word_next(&text, '\n');

		reader->line++;
		if (line.length && line.at[line.length - 1] == '\r')
			line.length--;
		result = line_read(reader, line);
	}
	return result;
}

int sdp_parse(const char *text, size_t length, struct sdp *ret_sdp, struct error *error)
{
	struct reader reader = {.sdp = ret_sdp, .error = error};
	struct span rest = {text, length};

	if (!span_begins(&rest, "v=0") || (rest.length && *rest.at != '\r' && *rest.at != '\n'))
		return error_set(error, EINVAL, "this is not SDP: it does not begin with v=0");
	memset(ret_sdp, 0, sizeof(*ret_sdp));
	return lines_read(&reader, (struct span){text, length});
}

int sdp_fragment_parse(const char *text, size_t length, struct sdp *ret_sdp, struct error *error)
{
	struct reader reader = {.sdp = ret_sdp, .error = error};

	memset(ret_sdp, 0, sizeof(*ret_sdp));
	return lines_read(&reader, (struct span){text, length});
}

const struct sdp_media *sdp_audio(const struct sdp *sdp)
{
	for (size_t i = 0; i < sdp->media_count; i++)
		if (strcmp(sdp->media[i].kind, "audio") == 0 && sdp->media[i].codec_count && sdp->media[i].port)
			return &sdp->media[i];
	return NULL;
}

const struct sdp_codec *sdp_codec_find(const struct sdp_media *media, const char *name)
{
	for (size_t i = 0; i < media->codec_count; i++)
		if (strcasecmp(media->codecs[i].name, name) == 0)
			return &media->codecs[i];
	return NULL;
}

/* --- writing ------------------------------------------------------------------------------------------------------------ */

static const char *const setup_names[] = {
	[SDP_SETUP_NONE] = "actpass", [SDP_SETUP_ACTPASS] = "actpass", [SDP_SETUP_ACTIVE] = "active", [SDP_SETUP_PASSIVE] = "passive"};
static const char *const direction_names[] = {
	[SDP_SENDRECV] = "sendrecv", [SDP_SENDONLY] = "sendonly", [SDP_RECVONLY] = "recvonly", [SDP_INACTIVE] = "inactive"};

static void header_write(FILE *out, const struct sdp_local *local)
{
	fprintf(out, "v=0\r\no=- %" PRIu64 " %" PRIu64 " IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n", local->session_id, local->version);
	if (local->ice_lite)
		fputs("a=ice-lite\r\n", out);
}

static void credentials_write(FILE *out, const struct sdp_local *local)
{
	fprintf(out, "a=ice-ufrag:%s\r\na=ice-pwd:%s\r\n", local->ufrag, local->password);
}

static void candidates_write(FILE *out, const struct sdp_local *local)
{
	char address[ADDRESS_TEXT_SIZE];

	for (size_t i = 0; i < local->candidate_count; i++) {
		const struct sdp_candidate *candidate = &local->candidates[i];

		fprintf(out, "a=candidate:%s 1 udp %u %s %u typ %s\r\n", candidate->foundation, candidate->priority,
			address_format(&candidate->endpoint.address, address), candidate->endpoint.port, candidate->type);
	}
	fputs("a=end-of-candidates\r\n", out);
}

static void fingerprint_write(FILE *out, const struct sdp_fingerprint *fingerprint)
{
	fputs("a=fingerprint:sha-256", out);
	for (size_t i = 0; i < fingerprint->length; i++)
		fprintf(out, "%c%02X", i ? ':' : ' ', fingerprint->digest[i]);
	fputs("\r\n", out);
}

static void transport_write(FILE *out, const struct sdp_local *local)
{
	credentials_write(out, local);
	fingerprint_write(out, local->fingerprint);
	fprintf(out, "a=setup:%s\r\n", setup_names[local->setup]);
}

static void stream_write(FILE *out, const struct sdp_local *local)
{
	fprintf(out, "a=%s\r\na=rtcp-mux\r\n", direction_names[local->direction]);
	if (local->direction == SDP_SENDRECV || local->direction == SDP_SENDONLY)
		fprintf(out, "a=msid:selvage audio\r\na=ssrc:%u cname:selvage\r\n", local->ssrc);
}

/* What the stream says, or NULL: `file` is closed. */
static char *stream_close(FILE *file, char **text)
{
	if (fclose(file) == 0)
		return *text;
	free(*text);
	return NULL;
}

char *sdp_offer_write(const struct sdp_local *local)
{
	char *text = NULL;
	size_t length;
	FILE *out = open_memstream(&text, &length);

	if (!out)
		return NULL;
	header_write(out, local);
	fputs("a=group:BUNDLE 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111 0\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\n", out);
	transport_write(out, local);
	stream_write(out, local);
	fputs("a=rtpmap:111 opus/48000/2\r\na=rtpmap:0 PCMU/8000\r\na=ptime:20\r\n", out);
	candidates_write(out, local);
	return stream_close(out, &text);
}

static void audio_answer_write(FILE *out, const struct sdp_local *local, const struct sdp_media *audio,
			       const struct sdp_codec *codec)
{
	fprintf(out, "m=audio 9 %s %u\r\nc=IN IP4 0.0.0.0\r\n", audio->protocol, codec->payload_type);
	if (audio->mid[0])
		fprintf(out, "a=mid:%s\r\n", audio->mid);
	transport_write(out, local);
	stream_write(out, local);
	fprintf(out, "a=rtpmap:%u %s/%u", codec->payload_type, codec->name, codec->clock_rate);
	if (codec->channels > 1)
		fprintf(out, "/%u", codec->channels);
	fputs("\r\n", out);
	candidates_write(out, local);
}

/* RFC 8843 section 7.3.3, RFC 9429 section 5.3.1: a section that is refused has port 0 and is in no bundle. */
static void refusal_write(FILE *out, const struct sdp_media *media)
{
	fprintf(out, "m=%s 0 %s %s\r\nc=IN IP4 0.0.0.0\r\n", media->kind, media->protocol,
		media->formats[0] ? media->formats : "0");
	if (media->mid[0])
		fprintf(out, "a=mid:%s\r\n", media->mid);
	fputs("a=inactive\r\n", out);
}

char *sdp_answer_write(const struct sdp_local *local, const struct sdp *offer, const struct sdp_media *audio,
		       const struct sdp_codec *codec)
{
	char *text = NULL;
	size_t length;
	FILE *out = open_memstream(&text, &length);

	if (!out)
		return NULL;
	header_write(out, local);
	if (audio->mid[0])
		fprintf(out, "a=group:BUNDLE %s\r\n", audio->mid);
	for (size_t i = 0; i < offer->media_count; i++) {
		if (&offer->media[i] == audio)
			audio_answer_write(out, local, audio, codec);
		else
			refusal_write(out, &offer->media[i]);
	}
	return stream_close(out, &text);
}

char *sdp_fragment_write(const struct sdp_local *local, const char *mid)
{
	char *text = NULL;
	size_t length;
	FILE *out = open_memstream(&text, &length);

	if (!out)
		return NULL;
	if (local->ice_lite)
		fputs("a=ice-lite\r\n", out);
	credentials_write(out, local);
	fputs("m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n", out);
	if (mid[0])
		fprintf(out, "a=mid:%s\r\n", mid);
	candidates_write(out, local);
	return stream_close(out, &text);
}
