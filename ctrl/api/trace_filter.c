/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/api/trace_filter.h"

#include <ctype.h>
#include <fnmatch.h>
#include <stdarg.h>
#include <string.h>

#include "base/lib/address_text.h"
#include "base/lib/verdict_text.h"
#include "base/lib/word_distance.h"
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
	TERM_INTERESTING,
};

enum side { SIDE_BOTH, SIDE_SOURCE, SIDE_DESTINATION };

struct term {
	enum term_kind kind;
	enum side side;
	struct term *left, *right;
	uint32_t first, last; /* a number, or a range */
	struct prefix prefix; /* a backend's address too */
	char text[WORD_MAX];
};

struct trace_filter {
	struct term terms[TERMS_MAX];
	size_t count;
	struct term *root; /* NULL: everything */
};

struct parser {
	struct trace_filter *filter;
	const char *text;
	const char *rest;
	const char *start; /* of the word, for messages */
	char word[WORD_MAX]; /* the next one; empty at the end */
	unsigned int depth;
	struct error *error;
};

static struct term *parse_or(struct parser *parser);

/* Always NULL, after a message with the place. */
static struct term *fail(struct parser *parser, const char *format, ...) __attribute__((format(printf, 2, 3)));
static struct term *fail(struct parser *parser, const char *format, ...)
{
	va_list arguments;
	char what[300];

	va_start(arguments, format);
	vsnprintf(what, sizeof(what), format, arguments);
	va_end(arguments);
	if (*parser->word)
		error_set(parser->error, EINVAL, "filter: column %zu, at \"%.40s\": %s",
			  (size_t)(parser->start - parser->text) + 1, parser->start, what);
	else
		error_set(parser->error, EINVAL, "filter: at the end: %s", what);
	return NULL;
}

static void advance(struct parser *parser)
{
	size_t length;

	parser->rest += strspn(parser->rest, " \t\n");
	parser->start = parser->rest;
	length = strcspn(parser->rest, " \t\n()!&|");
	if (!length)
		length = strspn(parser->rest, "&|");
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
		return fail(parser, "the expression is too long: it may have %d parts", TERMS_MAX);
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
		return fail(parser, "%s", what);
	term->last = term->first;
	if (kind == TERM_PORT && *text == '-') {
		text++;
		if (!number_read(&text, maximum, &term->last) || term->last < term->first)
			return fail(parser, "%s", what);
	}
	if (*text)
		return fail(parser, "%s", what);
	advance(parser);
	return term;
}

static struct term *prefix_word_parse(struct parser *parser, bool host)
{
	struct term *term = term_new(parser, TERM_PREFIX);

	if (!term)
		return NULL;
	if (host && strchr(parser->word, '/'))
		return fail(parser, "an address is expected; a prefix goes with \"net\"");
	if (prefix_parse(parser->word, &term->prefix) < 0)
		return fail(parser, host ? "an address is expected, such as 10.0.0.5 or 2001:db8::5" :
					   "a prefix is expected, such as 10.0.0.0/8 or 2001:db8::/32");
	advance(parser);
	return term;
}

static struct term *text_parse(struct parser *parser, enum term_kind kind, const char *what)
{
	struct term *term = term_new(parser, kind);

	if (!term)
		return NULL;
	if (!*parser->word || strspn(parser->word, "()!&|"))
		return fail(parser, "%s", what);
	strcpy(term->text, parser->word);
	advance(parser);
	return term;
}

static struct term *backend_parse(struct parser *parser)
{
	struct term *term = term_new(parser, TERM_BACKEND);
	uint16_t port = 0;

	if (!term)
		return NULL;
	if (endpoint_parse(parser->word, &term->prefix.address, &port) < 0 &&
	    address_parse(parser->word, &term->prefix.address) < 0)
		return fail(parser, "a backend is expected: ADDRESS:PORT, [IPV6]:PORT or ADDRESS");
	term->first = port;
	advance(parser);
	return term;
}

/* One of the words, whose place in the list becomes the term's number; `first` of them is the first that may be named. */
static struct term *named_parse(struct parser *parser, enum term_kind kind, const char *const *names, uint32_t first,
				const char *what)
{
	struct term *term = term_new(parser, kind);
	const char *nearest;

	if (!term)
		return NULL;
	for (uint32_t i = first; names[i]; i++) {
		if (strcmp(names[i], parser->word) == 0) {
			term->first = term->last = i;
			advance(parser);
			return term;
		}
	}
	nearest = word_nearest(parser->word, names + first);
	if (nearest)
		return fail(parser, "%s; did you mean \"%s\"?", what, nearest);
	return fail(parser, "%s", what);
}

static struct term *reason_parse(struct parser *parser)
{
	const char *names[DROP_COUNT + 1] = {"none"};

	for (int reason = 1; reason < DROP_COUNT; reason++)
		names[reason] = drop_name((enum drop_reason)reason);
	return named_parse(parser, TERM_REASON, names, 1, "the name of a drop reason is expected; `selvage drops --all` lists them");
}

static struct term *function_parse(struct parser *parser)
{
	const char *names[FUNCTION_COUNT + 1] = {NULL};
	char what[200] = "a function is expected:";

	for (int function = 0; function < FUNCTION_COUNT; function++) {
		size_t used = strlen(what);

		names[function] = function_name((enum function)function);
		snprintf(what + used, sizeof(what) - used, " %s", names[function]);
	}
	return named_parse(parser, TERM_FUNCTION, names, 0, what);
}

static struct term *verdict_parse(struct parser *parser)
{
	const char *names[VERDICT_COUNT + 1] = {NULL};

	for (int verdict = 0; verdict < VERDICT_COUNT; verdict++)
		names[verdict] = verdict_name((enum verdict)verdict);
	return named_parse(parser, TERM_VERDICT, names, 0, "a verdict is expected: pass, tx, redirect or drop");
}

static struct term *protocol_parse(struct parser *parser)
{
	static const struct {
		const char *name;
		uint32_t number;
	} names[] = {{"tcp", PROTOCOL_TCP}, {"udp", PROTOCOL_UDP}, {"icmp", PROTOCOL_ICMP}, {"icmp6", PROTOCOL_ICMPV6}};

	for (size_t i = 0; i < array_length(names); i++) {
		if (accept_word(parser, names[i].name, names[i].name)) {
			struct term *term = term_new(parser, TERM_PROTOCOL);

			if (term)
				term->first = term->last = names[i].number;
			return term;
		}
	}
	return numbers_parse(parser, TERM_PROTOCOL, 255, "a protocol is expected: tcp, udp, icmp, icmp6, or IP's number from 0 to 255");
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
	{"interesting", TERM_INTERESTING, 0},
};

/* The other words that an expression may have, for those who nearly wrote one. */
static const char *const words[] = {"src", "dst", "host", "net", "port", "portrange", "proto", "vlan", "interface", "service",
				    "backend", "verdict", "reason", "function", "and", "or", "not"};

static struct term *unknown_word(struct parser *parser)
{
	const char *known[array_length(words) + array_length(constants) + 1] = {NULL}, *nearest;
	struct prefix prefix;

	if (!*parser->word)
		return fail(parser, "something is missing, such as \"tcp\", \"port 80\" or \"drops\"");
	if (strchr("()!&|", *parser->word))
		return fail(parser, "a condition is expected here, such as \"tcp\", \"port 80\" or \"drops\"");
	if (prefix_parse(parser->word, &prefix) == 0)
		return fail(parser, "write \"%s %s\"", strchr(parser->word, '/') ? "net" : "host", parser->word);
	if (isdigit((unsigned char)*parser->word))
		return fail(parser, "this is not known; a port is written \"port 80\"");
	for (size_t i = 0; i < array_length(words); i++)
		known[i] = words[i];
	for (size_t i = 0; i < array_length(constants); i++)
		known[array_length(words) + i] = constants[i].word;
	nearest = word_nearest(parser->word, known);
	if (nearest)
		return fail(parser, "this word is not known; did you mean \"%s\"?", nearest);
	return fail(parser, "this word is not known; `selvage trace --help` lists those that are");
}

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
	else if (accept_word(parser, "port", "portrange"))
		term = numbers_parse(parser, TERM_PORT, 65535, "a port from 0 to 65535 is expected, or a range such as 6000-6010");
	else if (side != SIDE_BOTH)
		term = prefix_word_parse(parser, true);
	else
		return unknown_word(parser);
	if (term)
		term->side = side;
	return term;
}

/* As in tcpdump's language "udp port 53" is one condition. */
static bool protocol_goes_on(const struct parser *parser, enum term_kind kind)
{
	static const char *const following[] = {"src", "dst", "host", "net", "port", "portrange"};

	if (kind != TERM_PROTOCOL && kind != TERM_NETWORK)
		return false;
	for (size_t i = 0; i < array_length(following); i++) {
		if (strcmp(parser->word, following[i]) == 0)
			return true;
	}
	return false;
}

/* NULL when either is. */
static struct term *both(struct parser *parser, struct term *left, struct term *right)
{
	struct term *term = left && right ? term_new(parser, TERM_AND) : NULL;

	if (term) {
		term->left = left;
		term->right = right;
	}
	return term;
}

static struct term *parse_primitive(struct parser *parser)
{
	for (size_t i = 0; i < array_length(constants); i++) {
		if (accept_word(parser, constants[i].word, constants[i].word)) {
			struct term *term = term_new(parser, constants[i].kind);

			if (term)
				term->first = term->last = constants[i].number;
			return term && protocol_goes_on(parser, constants[i].kind) ? both(parser, term, sided_parse(parser)) : term;
		}
	}
	if (accept_word(parser, "proto", "proto"))
		return protocol_parse(parser);
	if (accept_word(parser, "vlan", "vlan"))
		return numbers_parse(parser, TERM_VLAN, 4095, "a VLAN's number from 0 to 4095 is expected");
	if (accept_word(parser, "interface", "interface"))
		return text_parse(parser, TERM_INTERFACE, "an interface's name is expected, such as eth0 or veth*");
	if (accept_word(parser, "service", "service"))
		return text_parse(parser, TERM_SERVICE, "a service is expected: NAME, NAMESPACE/NAME or NAMESPACE/NAME:PORT");
	if (accept_word(parser, "backend", "backend"))
		return backend_parse(parser);
	if (accept_word(parser, "verdict", "verdict"))
		return verdict_parse(parser);
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
		return fail(parser, "the expression is nested too deeply: at most %d levels", DEPTH_MAX);
	if (accept_word(parser, "not", "!")) {
		term = term_new(parser, TERM_NOT);
		if (term && !(term->left = parse_not(parser)))
			term = NULL;
	} else if (accept_word(parser, "(", "(")) {
		term = parse_or(parser);
		if (term && !accept_word(parser, ")", ")"))
			term = fail(parser, *parser->word ? "\")\", \"and\" or \"or\" is expected here" : "a closing parenthesis is missing");
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
		left = both(parser, left, parse_not(parser));
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
	struct parser parser = {.filter = filter, .text = text ? text : "", .rest = text ? text : "", .error = error};

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

/* `key` is NAMESPACE/NAME:PORT; what the operator left out is any. */
static bool service_matches(const struct term *term, const char *key)
{
	size_t length = strlen(term->text);

	if (!key)
		return false;
	if (!strchr(term->text, '/') && strchr(key, '/'))
		key = strchr(key, '/') + 1;
	return strncmp(term->text, key, length) == 0 && (key[length] == '\0' || key[length] == ':');
}

static bool backend_matches(const struct term *term, const char *name)
{
	struct address address;
	uint16_t port = 0;

	return name && (endpoint_parse(name, &address, &port) == 0 || address_parse(name, &address) == 0) &&
	       address_equal(&address, &term->prefix.address) && (term->first == 0 || term->first == port);
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
		return packet->reported->interface && fnmatch(term->text, packet->reported->interface, 0) == 0;
	case TERM_SERVICE:
		return service_matches(term, packet->reported->service);
	case TERM_BACKEND:
		return backend_matches(term, packet->reported->backend);
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
	case TERM_INTERESTING:
		return trace_packet_interesting(packet);
	}
	return false;
}

bool trace_filter_matches(const struct trace_filter *filter, const struct trace_packet *packet)
{
	return !filter->root || term_matches(filter->root, packet);
}

/* The flags that hold of every packet that a term lets through; a narrower one brings the wider along. */
static uint32_t coarse_flags(const struct term *term)
{
	const uint32_t interesting = EDGE_TRACE_INTERESTING | EDGE_TRACE_DECISIONS;

	switch (term->kind) {
	case TERM_REASON:
		return EDGE_TRACE_DROPS | interesting;
	case TERM_VERDICT:
		if (term->first == VERDICT_DROP)
			return EDGE_TRACE_DROPS | interesting;
		return term->first == VERDICT_PASS ? 0 : EDGE_TRACE_DECISIONS;
	case TERM_INTERESTING:
	case TERM_NEW:
		return interesting;
	case TERM_DECISIONS:
		return EDGE_TRACE_DECISIONS;
	case TERM_OR:
		return coarse_flags(term->left) & coarse_flags(term->right);
	case TERM_AND:
		return coarse_flags(term->left) | coarse_flags(term->right);
	default:
		return 0;
	}
}

/* Only what stands in a chain of "and" holds for every packet that matches. */
static void coarse_add(const struct term *term, struct api_trace_filter *coarse)
{
	if (term->kind == TERM_AND) {
		coarse_add(term->left, coarse);
		coarse_add(term->right, coarse);
	}
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

	if (filter->root) {
		coarse.flags |= coarse_flags(filter->root);
		coarse_add(filter->root, &coarse);
	}
	return coarse;
}
