/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/api/trace_filter.h"

#include <ctype.h>
#include <string.h>

#include "base/lib/address_text.h"
#include "base/lib/verdict_text.h"
#include "edge/edge_state.h"

/* After objects.h, see trace_packet.c. */
#include "base/packet/flow.h"

#define TERMS_MAX 64
#define DEPTH_MAX 32
#define WORD_MAX 300

enum term_kind {
	TERM_AND,
	TERM_OR,
	TERM_NOT,
	TERM_NETWORK,
	TERM_PROTOCOL,
	TERM_PREFIX,
	TERM_PORT,
	TERM_VLAN,
	TERM_INTERFACE,
	TERM_SERVICE,
	TERM_BACKEND,
	TERM_VERDICT,
	TERM_DECISIONS,
	TERM_REASON,
	TERM_FUNCTION,
	TERM_NEW,
};

enum side { SIDE_BOTH, SIDE_SOURCE, SIDE_DESTINATION };

struct term {
	enum term_kind kind;
	enum side side;
	struct term *left, *right;
	uint32_t first, last; /* a number, or a range */
	struct prefix prefix;
	char text[WORD_MAX];
};

struct trace_filter {
	struct term terms[TERMS_MAX];
	size_t count;
	struct term *root; /* NULL: everything */
};

struct parser {
	struct trace_filter *filter;
	const char *rest;
	const char *start; /* of the word, for messages */
	char word[WORD_MAX]; /* the next one; empty at the end */
	unsigned int depth;
	struct error *error;
};

static struct term *parse_or(struct parser *parser);

static struct term *fail(struct parser *parser, const char *what)
{
	if (*parser->word)
		error_set(parser->error, EINVAL, "filter: at \"%.60s\": %s", parser->start, what);
	else
		error_set(parser->error, EINVAL, "filter: at the end: %s", what);
	return NULL;
}

static void advance(struct parser *parser)
{
	size_t length;

	parser->rest += strspn(parser->rest, " \t\n");
	parser->start = parser->rest;
	length = strcspn(parser->rest, " \t\n()!");
	if (!length && *parser->rest)
		length = 1;
	snprintf(parser->word, sizeof(parser->word), "%.*s", (int)(length < WORD_MAX ? length : WORD_MAX - 1), parser->rest);
	parser->rest += length;
}

static bool accept_word(struct parser *parser, const char *word, const char *sign)
{
	if (strcmp(parser->word, word) != 0 && strcmp(parser->word, sign) != 0)
		return false;
	advance(parser);
	return true;
}

static struct term *term_new(struct parser *parser, enum term_kind kind)
{
	struct trace_filter *filter = parser->filter;

	if (filter->count == TERMS_MAX)
		return fail(parser, "the expression is too long");
	filter->terms[filter->count].kind = kind;
	return &filter->terms[filter->count++];
}

/* --- primitives -------------------------------------------------------------------------------------------------------- */

static bool number_read(const char **text, uint32_t maximum, uint32_t *ret_number)
{
	char *end;
	unsigned long value;

	if (!isdigit((unsigned char)**text))
		return false;
	value = strtoul(*text, &end, 10);
	*text = end;
	*ret_number = (uint32_t)value;
	return value <= maximum;
}

/* NUMBER or NUMBER-NUMBER */
static struct term *numbers_parse(struct parser *parser, enum term_kind kind, uint32_t maximum, const char *what)
{
	struct term *term = term_new(parser, kind);
	const char *text = parser->word;

	if (!term)
		return NULL;
	if (!number_read(&text, maximum, &term->first))
		return fail(parser, what);
	term->last = term->first;
	if (kind == TERM_PORT && *text == '-') {
		text++;
		if (!number_read(&text, maximum, &term->last) || term->last < term->first)
			return fail(parser, what);
	}
	if (*text)
		return fail(parser, what);
	advance(parser);
	return term;
}

static struct term *prefix_word_parse(struct parser *parser, bool host)
{
	struct term *term = term_new(parser, TERM_PREFIX);

	if (!term)
		return NULL;
	if (prefix_parse(parser->word, &term->prefix) < 0 || (host && strchr(parser->word, '/')))
		return fail(parser, host ? "an address is expected" : "a prefix is expected, such as 10.0.0.0/8");
	advance(parser);
	return term;
}

static struct term *text_parse(struct parser *parser, enum term_kind kind, const char *what)
{
	struct term *term = term_new(parser, kind);

	if (!term)
		return NULL;
	if (!*parser->word)
		return fail(parser, what);
	strcpy(term->text, parser->word);
	advance(parser);
	return term;
}

static struct term *reason_parse(struct parser *parser)
{
	struct term *term = term_new(parser, TERM_REASON);

	if (!term)
		return NULL;
	for (term->first = 1; term->first < DROP_COUNT; term->first++) {
		if (strcmp(drop_name((enum drop_reason)term->first), parser->word) == 0) {
			advance(parser);
			return term;
		}
	}
	return fail(parser, "this is not the name of a drop reason; `selvage drops --all` lists them");
}

static struct term *function_parse(struct parser *parser)
{
	struct term *term = term_new(parser, TERM_FUNCTION);

	if (!term)
		return NULL;
	for (term->first = 0; term->first < FUNCTION_COUNT; term->first++) {
		if (strcmp(function_name((enum function)term->first), parser->word) == 0) {
			advance(parser);
			return term;
		}
	}
	return fail(parser, "a function is expected: parse, vip or lb");
}

static const struct {
	const char *word;
	enum term_kind kind;
	uint32_t number;
} constants[] = {
	{"tcp", TERM_PROTOCOL, PROTOCOL_TCP},
	{"udp", TERM_PROTOCOL, PROTOCOL_UDP},
	{"icmp", TERM_PROTOCOL, PROTOCOL_ICMP},
	{"icmp6", TERM_PROTOCOL, PROTOCOL_ICMPV6},
	{"arp", TERM_NETWORK, FLOW_ARP},
	{"ip", TERM_NETWORK, FLOW_IPV4},
	{"ip6", TERM_NETWORK, FLOW_IPV6},
	{"drops", TERM_VERDICT, VERDICT_DROP},
	{"drop", TERM_VERDICT, VERDICT_DROP},
	{"pass", TERM_VERDICT, VERDICT_PASS},
	{"tx", TERM_VERDICT, VERDICT_TX},
	{"redirect", TERM_VERDICT, VERDICT_REDIRECT},
	{"decisions", TERM_DECISIONS, 0},
	{"new", TERM_NEW, 0},
};

/* What may follow "src" and "dst". */
static struct term *sided_parse(struct parser *parser)
{
	enum side side = accept_word(parser, "src", "src")   ? SIDE_SOURCE
			 : accept_word(parser, "dst", "dst") ? SIDE_DESTINATION
							     : SIDE_BOTH;
	struct term *term;

	if (accept_word(parser, "host", "host"))
		term = prefix_word_parse(parser, true);
	else if (accept_word(parser, "net", "net"))
		term = prefix_word_parse(parser, false);
	else if (accept_word(parser, "port", "port"))
		term = numbers_parse(parser, TERM_PORT, 65535, "a port is expected, or a range of them");
	else if (side != SIDE_BOTH)
		term = prefix_word_parse(parser, true);
	else
		return fail(parser, *parser->word ? "this word is not known" : "something is missing");
	if (term)
		term->side = side;
	return term;
}

static struct term *parse_primitive(struct parser *parser)
{
	for (size_t i = 0; i < array_length(constants); i++) {
		if (accept_word(parser, constants[i].word, constants[i].word)) {
			struct term *term = term_new(parser, constants[i].kind);

			if (term)
				term->first = term->last = constants[i].number;
			return term;
		}
	}
	if (accept_word(parser, "proto", "proto"))
		return numbers_parse(parser, TERM_PROTOCOL, 255, "an IP protocol's number is expected");
	if (accept_word(parser, "vlan", "vlan"))
		return numbers_parse(parser, TERM_VLAN, 4095, "a VLAN's number is expected");
	if (accept_word(parser, "interface", "interface"))
		return text_parse(parser, TERM_INTERFACE, "an interface's name is expected");
	if (accept_word(parser, "service", "service"))
		return text_parse(parser, TERM_SERVICE, "a service is expected: NAMESPACE/NAME");
	if (accept_word(parser, "backend", "backend"))
		return text_parse(parser, TERM_BACKEND, "a backend is expected: ADDRESS:PORT");
	if (accept_word(parser, "reason", "reason"))
		return reason_parse(parser);
	if (accept_word(parser, "function", "function"))
		return function_parse(parser);
	return sided_parse(parser);
}

/* --- operators --------------------------------------------------------------------------------------------------------- */

static struct term *parse_not(struct parser *parser)
{
	struct term *term;

	if (++parser->depth > DEPTH_MAX)
		return fail(parser, "the expression is nested too deeply");
	if (accept_word(parser, "not", "!")) {
		term = term_new(parser, TERM_NOT);
		if (term && !(term->left = parse_not(parser)))
			term = NULL;
	} else if (accept_word(parser, "(", "(")) {
		term = parse_or(parser);
		if (term && !accept_word(parser, ")", ")"))
			term = fail(parser, "a closing parenthesis is missing");
	} else {
		term = parse_primitive(parser);
	}
	parser->depth--;
	return term;
}

static struct term *parse_and(struct parser *parser)
{
	struct term *left = parse_not(parser);

	while (left && accept_word(parser, "and", "&&")) {
		struct term *both = term_new(parser, TERM_AND);

		if (!both)
			return NULL;
		both->left = left;
		both->right = parse_not(parser);
		left = both->right ? both : NULL;
	}
	return left;
}

static struct term *parse_or(struct parser *parser)
{
	struct term *left = parse_and(parser);

	while (left && accept_word(parser, "or", "||")) {
		struct term *either = term_new(parser, TERM_OR);

		if (!either)
			return NULL;
		either->left = left;
		either->right = parse_and(parser);
		left = either->right ? either : NULL;
	}
	return left;
}

int trace_filter_parse(const char *text, struct trace_filter **ret_filter, struct error *error)
{
	struct trace_filter *filter = calloc(1, sizeof(*filter));
	struct parser parser = {.filter = filter, .rest = text ? text : "", .error = error};

	if (!filter)
		abort();
	advance(&parser);
	if (*parser.word) {
		filter->root = parse_or(&parser);
		if (filter->root && *parser.word)
			filter->root = fail(&parser, "\"and\" or \"or\" is missing before this");
		if (!filter->root) {
			free(filter);
			return -EINVAL;
		}
	}
	*ret_filter = filter;
	return 0;
}

void trace_filter_free(struct trace_filter *filter)
{
	free(filter);
}

/* --- asking ------------------------------------------------------------------------------------------------------------ */

static bool prefix_matches(const struct term *term, const struct trace_packet *packet)
{
	return packet->has_addresses &&
	       ((term->side != SIDE_DESTINATION && prefix_contains(&term->prefix, &packet->source)) ||
		(term->side != SIDE_SOURCE && prefix_contains(&term->prefix, &packet->destination)));
}

static bool within(uint32_t number, const struct term *term)
{
	return number >= term->first && number <= term->last;
}

static bool port_matches(const struct term *term, const struct trace_packet *packet)
{
	return packet->has_ports && ((term->side != SIDE_DESTINATION && within(packet->source_port, term)) ||
				     (term->side != SIDE_SOURCE && within(packet->destination_port, term)));
}

static bool text_matches(const struct term *term, const char *text)
{
	return text && strcmp(term->text, text) == 0;
}

static bool term_matches(const struct term *term, const struct trace_packet *packet)
{
	const struct decision *decision = &packet->reported->event->decision;

	switch (term->kind) {
	case TERM_AND:
		return term_matches(term->left, packet) && term_matches(term->right, packet);
	case TERM_OR:
		return term_matches(term->left, packet) || term_matches(term->right, packet);
	case TERM_NOT:
		return !term_matches(term->left, packet);
	case TERM_NETWORK:
		return packet->network == term->first;
	case TERM_PROTOCOL:
		return packet->has_addresses && packet->protocol == term->first;
	case TERM_PREFIX:
		return prefix_matches(term, packet);
	case TERM_PORT:
		return port_matches(term, packet);
	case TERM_VLAN:
		return packet->vlan == term->first;
	case TERM_INTERFACE:
		return text_matches(term, packet->reported->interface);
	case TERM_SERVICE:
		return text_matches(term, packet->reported->service);
	case TERM_BACKEND:
		return text_matches(term, packet->reported->backend);
	case TERM_VERDICT:
		return decision->verdict == term->first;
	case TERM_DECISIONS:
		return decision->verdict != VERDICT_PASS;
	case TERM_REASON:
		return decision->verdict == VERDICT_DROP && decision->reason == term->first;
	case TERM_FUNCTION:
		return decision->function == term->first;
	case TERM_NEW:
		return decision->flags & DECISION_NEW_FLOW;
	}
	return false;
}

bool trace_filter_matches(const struct trace_filter *filter, const struct trace_packet *packet)
{
	return !filter->root || term_matches(filter->root, packet);
}

/* Only what stands in a chain of "and" holds for every packet that matches. */
static void coarse_add(const struct term *term, struct api_trace_filter *coarse)
{
	bool drop = term->kind == TERM_REASON || (term->kind == TERM_VERDICT && term->first == VERDICT_DROP);
	bool decided = term->kind == TERM_DECISIONS ||
		       (term->kind == TERM_VERDICT && (term->first == VERDICT_TX || term->first == VERDICT_REDIRECT));

	if (term->kind == TERM_AND) {
		coarse_add(term->left, coarse);
		coarse_add(term->right, coarse);
	}
	if (drop)
		coarse->flags |= EDGE_TRACE_DROPS;
	if (decided)
		coarse->flags |= EDGE_TRACE_DECISIONS;
	if (term->kind == TERM_PROTOCOL)
		coarse->protocol = term->first;
	if (term->kind == TERM_PORT && term->first == term->last)
		coarse->port = term->first;
	if (term->kind == TERM_PREFIX && term->prefix.length == (prefix_family_ipv4(&term->prefix) ? 32 : 128))
		coarse->address = term->prefix.address;
}

struct api_trace_filter trace_filter_coarse(const struct trace_filter *filter)
{
	struct api_trace_filter coarse = {.flags = EDGE_TRACE_ON};

	if (filter->root)
		coarse_add(filter->root, &coarse);
	return coarse;
}
