/* SPDX-License-Identifier: Apache-2.0 */
/* The `selvage` program: finds the verb, reads its options, runs it. */
#include <getopt.h>
#include <inttypes.h>
#include <string.h>

#include "base/lib/word_distance.h"
#include "ctrl/api/api.h"
#include "ctrl/cli/cli.h"

#define LISTS "no"

static const struct cli_verb verbs[] = {
	{"status", "", "The node on one screen: interfaces, virtual IPs, services, drops, alarms", "selvage status", "o",
	 verb_status},
	{"apply", "-f FILE|DIRECTORY|-", "Store what manifests describe, all of it or nothing", "selvage apply -f site.yaml", "fRnDo",
	 verb_apply},
	{"diff", "-f FILE|DIRECTORY|-", "What apply would change; exit status 1 if anything", "selvage diff -f site.yaml", "fRn",
	 verb_diff},
	{"get", "KIND [NAME…]", "List objects, or show some by name", "selvage get services -A -o wide", LISTS "Al", verb_get},
	{"describe", "KIND [NAME…]", "Objects in full, with what became of them", "selvage describe service web", "nAl",
	 verb_describe},
	{"delete", "KIND NAME… | -f FILE", "Remove objects", "selvage delete service web", "fRnI", verb_delete},
	{"service list", "", "Services with their addresses and healthy backends", "selvage service list", LISTS "A",
	 verb_service_list},
	{"service backends", "[NAME]", "Backends with their health, share and flows", "selvage service backends web", LISTS "A",
	 verb_service_backends},
	{"vip list", "", "Virtual IPs and the nodes that own them", "selvage vip list", "o", verb_vip_list},
	{"vip move", "ADDRESS [--node NAME]", "Hand a virtual IP to another node", "selvage vip move 192.0.2.10 --node edge2", "N",
	 verb_vip_move},
	{"backend drain", "SERVICE ADDRESS[:PORT]", "Give a backend no new flows; those that it has go on",
	 "selvage backend drain web 10.0.0.21:7000", "n", verb_backend_drain},
	{"backend undrain", "SERVICE ADDRESS[:PORT]", "Take a drained backend back", "selvage backend undrain web 10.0.0.21:7000", "n",
	 verb_backend_undrain},
	{"session list", "[SERVICE]", "Calls: where they go, how they are, who is silent", "selvage session list media", LISTS "A",
	 verb_session_list},
	{"session show", "UFRAG|@ID", "A call in full, by its user fragment or its number in the list", "selvage session show @17", "noY",
	 verb_session_show},
	{"session add", "--service NAME --ufrag UFRAG --backend IP:PORT",
	 "Tell where calls with a server's user fragment go", "selvage session add --service media --ufrag aBcD --backend 10.0.0.21:7000 --expiry 1h",
	 "nYUBxKqz", verb_session_add},
	{"session remove", "UFRAG|@ID", "End a call, and forget its user fragment", "selvage session remove --service media aBcD", "nYUI",
	 verb_session_remove},
	{"session ufrag", "--backend IP:PORT", "Make user fragments that say where their calls go, so that nothing has to be told",
	 "selvage session ufrag --service media --backend 10.0.0.21:7000 -c 5", "nYBco", verb_session_ufrag},
	{"session rotate", "", "A new key for user fragments; those of the one before go on until the next time", "selvage session rotate", "",
	 verb_session_rotate},
	{"session watch", "", "Calls as they begin, fall silent and end, a line each", "selvage session watch", "oc", verb_session_watch},
	{"top", "", "Live rates: packets, bits and new flows by service and backend, drops by reason", "selvage top -n 10 --interval 2",
	 "otV", verb_top},
	{"drops", "", "Why packets were dropped: reason, count, what is new, what to do", "selvage drops --watch", "oaWtV", verb_drops},
	{"trace", "", "Packets as they are decided, a line each",
	 "selvage trace --filter 'udp port 7000 and drops' -c 10 -w drops.pcapng\n"
	 "  selvage trace --interesting -w - | wireshark -k -i -", "oFcwSEr", verb_trace},
	{"explain", "PROTOCOL SOURCE DESTINATION | --packet HEX | --in PCAP", "What happens to a packet on the live tables, and why",
	 "selvage explain udp 10.0.0.5:4000 192.0.2.10:7000\n  selvage explain --in one.pcap --interface eth0", "opiXH", verb_explain},
	{"dns stats", "", "Queries by where their answers came from, upstream servers, caches", "selvage dns stats", "o", verb_dns_stats},
	{"dns lookup", "NAME [TYPE]", "Ask as a client would, and tell the answer", "selvage dns lookup www.example.com AAAA", "oM", verb_dns_lookup},
	{"dns dump", "[NAME]", "The answers that are kept, at and below a name", "selvage dns dump example.com", "oc", verb_dns_dump},
	{"dns flush", "NAME", "Forget answers at and below a name; \".\" is everything", "selvage dns flush example.com", "o", verb_dns_flush},
	{"dns explain", "NAME", "Which site of a steered name a client is sent to, and why", "selvage dns explain www.example.com --from 192.0.2.1",
	 "oM", verb_dns_explain},
	{"dns tap", "PATH | off", "Write a query log (dnstap) to a socket or file", "selvage dns tap /run/dnstap.sock", "o", verb_dns_tap},
	{"metrics", "", "The metrics as Prometheus reads them", "selvage metrics", "", verb_metrics},
	{"version", "", "Versions of this program and of the daemon", "selvage version", "o", verb_version},
};

enum { OPTION_FILTER = 256, OPTION_PACKET, OPTION_IN, OPTION_INTERFACE, OPTION_NODE, OPTION_ALL, OPTION_DRY_RUN,
       OPTION_IGNORE_NOT_FOUND, OPTION_VERSION, OPTION_SNAPLEN, OPTION_INTERESTING, OPTION_RATE, OPTION_TIMES,
       OPTION_INTERVAL, OPTION_WATCH, OPTION_ESTABLISHED, OPTION_SERVICE, OPTION_UFRAG, OPTION_BACKEND, OPTION_EXPIRY,
       OPTION_RESTARTS, OPTION_PASSWORD_FILE, OPTION_SRTP_KEY_FILE, OPTION_FROM };

static const struct {
	struct option option;
	char letter; /* in cli_verb.options; 0: every verb takes it */
	const char *help;
} options[] = {
	{{"filename", required_argument, NULL, 'f'}, 'f', "-f, --filename FILE       a manifest, a directory of them, or - for standard input"},
	{{"recursive", no_argument, NULL, 'R'}, 'R', "-R, --recursive           directories below too"},
	{{"namespace", required_argument, NULL, 'n'}, 'n', "-n, --namespace NAME      instead of \"default\""},
	{{"all-namespaces", no_argument, NULL, 'A'}, 'A', "-A, --all-namespaces"},
	{{"selector", required_argument, NULL, 'l'}, 'l', "-l, --selector SELECTOR   only objects with these labels: app=web,tier!=test"},
	{{"output", required_argument, NULL, 'o'}, 'o', "-o, --output FORMAT       json, yaml, wide or name"},
	{{"dry-run", no_argument, NULL, OPTION_DRY_RUN}, 'D', "--dry-run                 check everything, store nothing"},
	{{"ignore-not-found", no_argument, NULL, OPTION_IGNORE_NOT_FOUND}, 'I', "--ignore-not-found        it is fine if it is not there"},
	{{"all", no_argument, NULL, OPTION_ALL}, 'a', "--all                     reasons that never happened too"},
	{{"filter", required_argument, NULL, OPTION_FILTER}, 'F',
	 "--filter EXPRESSION       which packets: [src|dst] host ADDRESS, net PREFIX, port NUMBER[-NUMBER];\n"
	 "                            tcp, udp, icmp, icmp6, arp, ip, ip6, proto NUMBER, vlan NUMBER;\n"
	 "                            drops, decisions, pass, tx, redirect, reason NAME, function NAME;\n"
	 "                            interface NAME, service [NS/]NAME[:PORT], backend ADDRESS[:PORT],\n"
	 "                            new, interesting; and, or, not, parentheses"},
	{{"interesting", no_argument, NULL, OPTION_INTERESTING}, 'E',
	 "--interesting             only drops, beginnings of flows, ICMP errors and resets; with --rate 100"},
	{{"rate", required_argument, NULL, OPTION_RATE}, 'r',
	 "--rate NUMBER             show at most so many packets a second and processor, and count the rest"},
	{{"snaplen", required_argument, NULL, OPTION_SNAPLEN}, 'S',
	 "--snaplen BYTES           keep so many bytes of each packet; with -w all, else 256"},
	{{"count", required_argument, NULL, 'c'}, 'c', "-c, --count NUMBER        so many, and then no more"},
	{{"write", required_argument, NULL, 'w'}, 'w', "-w, --write FILE          write a pcapng file, verdicts in the packets' comments; - for standard output"},
	{{"watch", no_argument, NULL, OPTION_WATCH}, 'W', "--watch                   again and again, until interrupted"},
	{{"times", required_argument, NULL, OPTION_TIMES}, 't', "-n, --times NUMBER        so often, in plain lines"},
	{{"interval", required_argument, NULL, OPTION_INTERVAL}, 'V', "--interval SECONDS        between two times"},
	{{"packet", required_argument, NULL, OPTION_PACKET}, 'p', "--packet HEX              the frame, from its Ethernet header on"},
	{{"in", required_argument, NULL, OPTION_IN}, 'i', "--in PCAP                 every packet of a capture"},
	{{"interface", required_argument, NULL, OPTION_INTERFACE}, 'X', "--interface NAME          where the packet comes in"},
	{{"established", no_argument, NULL, OPTION_ESTABLISHED}, 'H', "--established             tcp: a packet of an open connection, not its first"},
	{{"node", required_argument, NULL, OPTION_NODE}, 'N', "--node NAME               the new owner"},
	{{"service", required_argument, NULL, OPTION_SERVICE}, 'Y', "--service NAME            the service, or NAMESPACE/NAME"},
	{{"ufrag", required_argument, NULL, OPTION_UFRAG}, 'U', "--ufrag UFRAG             the server's half of the user name: 4 to 256 of A-Z a-z 0-9 + /"},
	{{"backend", required_argument, NULL, OPTION_BACKEND}, 'B',
	 "--backend IP:PORT         the agent; for a registration also two with a comma, one of IPv4 and one of IPv6"},
	{{"expiry", required_argument, NULL, OPTION_EXPIRY}, 'x',
	 "--expiry TIME             how long it waits for its client: 90s, 30m, 12h, 7d, or never (1h)"},
	{{"restarts", required_argument, NULL, OPTION_RESTARTS}, 'K', "--restarts UFRAG          an ICE restart: the fragment that the call had before"},
	{{"password-file", required_argument, NULL, OPTION_PASSWORD_FILE}, 'q',
	 "--password-file FILE      the agent's ICE password, that checks are to be signed with (-: standard input)"},
	{{"srtp-key-file", required_argument, NULL, OPTION_SRTP_KEY_FILE}, 'z',
	 "--srtp-key-file FILE      the client's SRTP key: \"PROFILE BASE64\", master key and salt (-: standard input)"},
	{{"from", required_argument, NULL, OPTION_FROM}, 'M', "--from ADDRESS            the client's"},
	{{"socket", required_argument, NULL, 's'}, 0, "-s, --socket PATH         of the daemon (" API_SOCKET_DEFAULT ")"},
	{{"help", no_argument, NULL, 'h'}, 0, "-h, --help"},
};

/* --- help -------------------------------------------------------------------------------------------------------------- */

static void help_print(void)
{
	printf("selvage: asks and tells the Selvage daemon of this machine.\n\nUsage: selvage VERB [OPTION…] [ARGUMENT…]\n\n");
	for (size_t i = 0; i < array_length(verbs); i++)
		printf("  %-18s%s\n", verbs[i].name, verbs[i].summary);
	printf("\n`selvage VERB --help` tells a verb's options and an example; `selvage --version` the version.\n"
	       "The daemon is asked on %s; --socket PATH names another.\n",
	       API_SOCKET_DEFAULT);
}

static void verb_help_print(const struct cli_verb *verb)
{
	printf("%s.\n\nUsage: selvage %s%s%s [OPTION…]\n\n", verb->summary, verb->name, *verb->arguments ? " " : "",
	       verb->arguments);
	for (size_t i = 0; i < array_length(options); i++)
		if (!options[i].letter || strchr(verb->options, options[i].letter))
			printf("  %s\n", options[i].help);
	printf("\nExample:\n  %s\n", verb->example);
}

/* --- the verb ---------------------------------------------------------------------------------------------------------- */

static const char *suggestion(const char *word)
{
	unsigned int best = 4; /* further away is no likely slip */
	const char *name = NULL;

	for (size_t i = 0; i < array_length(verbs); i++) {
		char first[32];
		unsigned int distance;

		snprintf(first, sizeof(first), "%.*s", (int)strcspn(verbs[i].name, " "), verbs[i].name);
		distance = word_distance(word, strchr(word, ' ') ? verbs[i].name : first);
		if (distance < best) {
			best = distance;
			name = verbs[i].name;
		}
	}
	return name;
}

/* "service lst": which words may follow. */
static int second_word_missing(const char *first, const char *second)
{
	char known[200] = "";

	for (size_t i = 0; i < array_length(verbs); i++) {
		size_t length = strlen(first), used = strlen(known);

		if (strncmp(verbs[i].name, first, length) == 0 && verbs[i].name[length] == ' ')
			snprintf(known + used, sizeof(known) - used, "%s%s", used ? ", " : "", verbs[i].name + length + 1);
	}
	if (second)
		return cli_misuse("\"%s %s\" is not a verb; \"%s\" goes with: %s", first, second, first, known);
	return cli_misuse("\"%s\" goes with one of: %s", first, known);
}

/* "vip --help": the verbs that begin with the word; false when there are none. */
static bool group_help_print(const char *first)
{
	size_t length = strlen(first);
	bool any = false;

	for (size_t i = 0; i < array_length(verbs); i++) {
		if (strncmp(verbs[i].name, first, length) != 0 || verbs[i].name[length] != ' ')
			continue;
		if (any)
			putchar('\n');
		any = true;
		verb_help_print(&verbs[i]);
	}
	return any;
}

static bool is_help(const char *word)
{
	return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

/* NULL after a message. `ret_words` is how many arguments the verb's name takes. */
static const struct cli_verb *verb_find(int count, char **words, int *ret_words)
{
	bool begins = false;

	for (size_t i = 0; i < array_length(verbs); i++) {
		size_t length = strcspn(verbs[i].name, " ");
		const char *second = verbs[i].name[length] ? verbs[i].name + length + 1 : NULL;

		if (strlen(words[0]) != length || strncmp(words[0], verbs[i].name, length) != 0)
			continue;
		begins = true;
		if (second && (count < 2 || strcmp(second, words[1]) != 0))
			continue;
		*ret_words = second ? 2 : 1;
		return &verbs[i];
	}
	if (begins)
		second_word_missing(words[0], count > 1 && words[1][0] != '-' ? words[1] : NULL);
	else if (suggestion(words[0]))
		cli_misuse("\"%s\" is not a verb; did you mean \"%s\"?", words[0], suggestion(words[0]));
	else
		cli_misuse("\"%s\" is not a verb", words[0]);
	return NULL;
}

/* --- options ----------------------------------------------------------------------------------------------------------- */

static int output_parse(const char *text, enum cli_output *ret_output)
{
	static const char *const names[] = {[OUTPUT_WIDE] = "wide", [OUTPUT_JSON] = "json", [OUTPUT_YAML] = "yaml",
					    [OUTPUT_NAME] = "name"};

	for (size_t i = 1; i < array_length(names); i++) {
		if (strcmp(names[i], text) == 0) {
			*ret_output = (enum cli_output)i;
			return 0;
		}
	}
	return cli_misuse("-o %s: the formats are json, yaml, wide and name", text);
}

static int number_parse(const char *option, const char *text, uint64_t maximum, uint64_t *ret_number)
{
	char *end;

	*ret_number = strtoull(text, &end, 10);
	if (end == text || *end || !*ret_number || *text == '-' || *ret_number > maximum)
		return cli_misuse("%s %s: a number from 1 to %" PRIu64 " is expected", option, text, maximum);
	return 0;
}

static int interval_parse(const char *text, uint64_t *ret_interval_ms)
{
	char *end;
	double seconds = strtod(text, &end);

	if (end == text || *end || !(seconds >= 0.1 && seconds <= 3600))
		return cli_misuse("--interval %s: seconds from 0.1 to 3600 are expected", text);
	*ret_interval_ms = (uint64_t)(seconds * 1000 + 0.5);
	return 0;
}

static int option_set(struct cli *cli, int letter, const char *value)
{
	switch (letter) {
	case 'f':
		if (cli->file_count == CLI_FILES_MAX)
			return cli_misuse("more than %d -f", CLI_FILES_MAX);
		cli->files[cli->file_count++] = value;
		return 0;
	case 'n':
		cli->namespace_name = value;
		return *value && !strchr(value, '/') ? 0 : cli_misuse("-n \"%s\" is not a namespace", value);
	case 'o':
		return output_parse(value, &cli->output);
	case 'c':
		return number_parse("-c", value, 1000000000, &cli->count);
	case OPTION_SNAPLEN:
		return number_parse("--snaplen", value, 65535, &cli->snaplen);
	case OPTION_RATE:
		return number_parse("--rate", value, 1000000, &cli->rate);
	case OPTION_TIMES:
		return number_parse("-n", value, 1000000000, &cli->times);
	case OPTION_INTERVAL:
		return interval_parse(value, &cli->interval_ms);
	case OPTION_ESTABLISHED:
		cli->established = true;
		return 0;
	case OPTION_WATCH:
		cli->watch = true;
		return 0;
	case OPTION_INTERESTING:
		cli->interesting = true;
		return 0;
	case 'R':
		cli->recursive = true;
		return 0;
	case 'A':
		cli->all_namespaces = true;
		return 0;
	case 'l':
		cli->selector = value;
		return 0;
	case 'w':
		cli->write_file = value;
		return 0;
	case 's':
		cli->socket = value;
		return 0;
	case OPTION_FILTER:
		cli->filter = value;
		return 0;
	case OPTION_PACKET:
		cli->packet = value;
		return 0;
	case OPTION_IN:
		cli->in_file = value;
		return 0;
	case OPTION_INTERFACE:
		cli->interface = value;
		return 0;
	case OPTION_NODE:
		cli->node = value;
		return 0;
	case OPTION_FROM:
		cli->from = value;
		return 0;
	case OPTION_ALL:
		cli->all = true;
		return 0;
	case OPTION_DRY_RUN:
		cli->dry_run = true;
		return 0;
	case OPTION_IGNORE_NOT_FOUND:
		cli->ignore_not_found = true;
		return 0;
	case OPTION_SERVICE:
		cli->service = value;
		return 0;
	case OPTION_UFRAG:
		cli->ufrag = value;
		return 0;
	case OPTION_BACKEND:
		cli->backend = value;
		return 0;
	case OPTION_EXPIRY:
		cli->expiry = value;
		return 0;
	case OPTION_RESTARTS:
		cli->restarts = value;
		return 0;
	case OPTION_PASSWORD_FILE:
		cli->password_file = value;
		return 0;
	case OPTION_SRTP_KEY_FILE:
		cli->srtp_key_file = value;
		return 0;
	}
	return EXIT_USAGE;
}

static char letter_of(int letter, const char **ret_name)
{
	for (size_t i = 0; i < array_length(options); i++) {
		if (options[i].option.val == letter) {
			*ret_name = options[i].option.name;
			return options[i].letter;
		}
	}
	return 0;
}

/* 0, or an exit status plus one when the program ends here. */
static int options_read(struct cli *cli, const struct cli_verb *verb, int count, char **arguments)
{
	struct option known[array_length(options) + 1];
	int letter;

	for (size_t i = 0; i < array_length(options); i++)
		known[i] = options[i].option;
	known[array_length(options)] = (struct option){0};
	while ((letter = getopt_long(count, arguments, "f:n:o:c:RAl:w:s:h", known, NULL)) != -1) {
		const char *name = "";
		char taken;

		/* where no namespace is asked for, -n is how often */
		if (letter == 'n' && strchr(verb->options, 't'))
			letter = OPTION_TIMES;
		taken = letter == '?' ? 0 : letter_of(letter, &name);

		if (letter == '?') {
			fprintf(stderr, "(see `selvage %s --help`)\n", verb->name);
			return EXIT_USAGE + 1;
		}
		if (letter == 'h') {
			verb_help_print(verb);
			return EXIT_SUCCESS + 1;
		}
		if (taken && !strchr(verb->options, taken))
			return cli_misuse("%s: there is no --%s for it", verb->name, name) + 1;
		if (option_set(cli, letter, optarg) != 0)
			return EXIT_USAGE + 1;
	}
	return 0;
}

/* --socket and --namespace may stand before the verb too. Returns where it stands. */
static int leading_options_read(struct cli *cli, int count, char **arguments)
{
	int at = 1;

	while (at < count) {
		const char *word = arguments[at];
		bool is_socket = strcmp(word, "--socket") == 0 || strcmp(word, "-s") == 0;
		bool is_namespace = strcmp(word, "--namespace") == 0 || strcmp(word, "-n") == 0;

		if (strncmp(word, "--socket=", 9) == 0)
			cli->socket = word + 9;
		else if (strncmp(word, "--namespace=", 12) == 0)
			cli->namespace_name = word + 12;
		else if ((is_socket || is_namespace) && at + 1 < count)
			*(is_socket ? &cli->socket : &cli->namespace_name) = arguments[++at];
		else
			break;
		at++;
	}
	return at;
}

int main(int argument_count, char **arguments)
{
	struct cli cli = {.socket = API_SOCKET_DEFAULT};
	const struct cli_verb *verb;
	int words = 0, ended, at;

	at = leading_options_read(&cli, argument_count, arguments);
	if (at >= argument_count)
		return cli_misuse("a verb is missing");
	if (is_help(arguments[at]) || strcmp(arguments[at], "help") == 0) {
		help_print();
		return 0;
	}
	if (strcmp(arguments[at], "--version") == 0) {
		printf("selvage %s\n", SELVAGE_VERSION);
		return 0;
	}
	if (at + 1 < argument_count && is_help(arguments[at + 1]) && group_help_print(arguments[at]))
		return 0;
	verb = verb_find(argument_count - at, arguments + at, &words);
	if (!verb)
		return EXIT_USAGE;
	/* getopt says the program's name in its messages: the last word of the verb stands where it looks for it. */
	at += words - 1;
	arguments[at] = (char *)"selvage";
	ended = options_read(&cli, verb, argument_count - at, arguments + at);
	if (ended)
		return ended - 1;
	ended = verb->run(&cli, argument_count - at - optind, arguments + at + optind);
	if (fflush(stdout) != 0 || ferror(stdout))
		return cli_fail("write to standard output: %s", strerror(errno));
	return ended;
}
