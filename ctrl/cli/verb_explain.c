/* SPDX-License-Identifier: Apache-2.0 */
/* explain */
#include <pcap/pcap.h>
#include <string.h>

#include "base/lib/address_text.h"
#include "ctrl/api/trace_packet.h"
#include "ctrl/cli/cli.h"

#define FRAME_BYTES_MAX 65535
#define BATCH 100 /* packets in one request */

/* Takes over `packet`. */
static json_t *interface_add(const struct cli *cli, json_t *packet)
{
	if (cli->interface)
		json_object_set_new(packet, "interface", json_string(cli->interface));
	return packet;
}

/* `wire_length`: of the whole frame, of which `length` bytes were kept. */
static json_t *packet_json(const struct cli *cli, const uint8_t *bytes, size_t length, size_t wire_length)
{
	_cleanup_(freep) char *hex = hex_format(bytes, length);
	json_t *packet = json_pack("{s:s}", "bytes", hex);

	if (wire_length > length)
		json_object_set_new(packet, "length", json_integer((json_int_t)wire_length));
	return interface_add(cli, packet);
}

static void result_print(const json_t *result, size_t number)
{
	const char *reason = json_text(result, "reason"), *sentence = json_text(result, "sentence");
	json_t *step;
	size_t i;

	if (number)
		printf("%spacket %zu\n", number > 1 ? "\n" : "", number);
	json_array_foreach(json_object_get(result, "steps"), i, step)
		printf("%2zu. %s\n", i + 1, json_is_string(step) ? json_string_value(step) : "");
	printf("=> %s by %s", json_text(result, "verdict"), json_text(result, "function"));
	if (*json_text(result, "service"))
		printf(", service %s", json_text(result, "service"));
	if (*json_text(result, "backend"))
		printf(", backend %s", json_text(result, "backend"));
	if (*json_text(result, "outInterface"))
		printf(", out of %s", json_text(result, "outInterface"));
	if (*reason)
		printf(": %s. %s", reason, sentence);
	putchar('\n');
}

/* Sends a batch and adds to `results`; takes over `packets`. */
static int batch_explain(const struct cli *cli, json_t *packets, json_t *results)
{
	json_t *body = json_pack("{s:o}", "packets", packets);
	json_t *answer = cli_request(cli, "explain", "POST", "/selvage/v1/explain", body);

	json_decref(body);
	if (!answer)
		return EXIT_FAILURE;
	json_array_extend(results, json_object_get(answer, "results"));
	json_decref(answer);
	return EXIT_SUCCESS;
}

static int capture_explain(const struct cli *cli, pcap_t *capture, json_t *results)
{
	struct pcap_pkthdr *header;
	const u_char *bytes;
	json_t *packets = json_array();
	int status, exit_status = EXIT_SUCCESS;

	while (exit_status == EXIT_SUCCESS && (status = pcap_next_ex(capture, &header, &bytes)) == 1) {
		json_array_append_new(packets, packet_json(cli, bytes, header->caplen, header->len));
		if (json_array_size(packets) == BATCH) {
			exit_status = batch_explain(cli, packets, results);
			packets = json_array();
		}
	}
	if (exit_status == EXIT_SUCCESS && status == PCAP_ERROR)
		exit_status = cli_fail("explain: read %s: %s", cli->in_file, pcap_geterr(capture));
	if (exit_status == EXIT_SUCCESS && json_array_size(packets))
		return batch_explain(cli, packets, results);
	json_decref(packets);
	return exit_status;
}

static int file_explain(const struct cli *cli, json_t *results)
{
	char message[PCAP_ERRBUF_SIZE] = "";
	pcap_t *capture = pcap_open_offline(cli->in_file, message);
	int exit_status;

	if (!capture)
		return cli_fail("explain: open the capture: %s", message);
	if (pcap_datalink(capture) != DLT_EN10MB)
		exit_status = cli_fail("explain: %s holds no Ethernet frames", cli->in_file);
	else
		exit_status = capture_explain(cli, capture, results);
	pcap_close(capture);
	return exit_status;
}

static int hex_explain(const struct cli *cli, json_t *results)
{
	uint8_t bytes[FRAME_BYTES_MAX];
	size_t length;

	if (hex_parse(cli->packet, bytes, sizeof(bytes), &length) < 0 || !length)
		return cli_misuse("explain: --packet takes pairs of hexadecimal digits, at most %d bytes", FRAME_BYTES_MAX);
	return batch_explain(cli, json_pack("[o]", packet_json(cli, bytes, length, length)), results);
}

/* udp 10.0.0.5:4000 192.0.2.10:7000 */
static int flow_explain(const struct cli *cli, char **words, json_t *results)
{
	return batch_explain(cli,
			     json_pack("[o]", interface_add(cli, json_pack("{s:s, s:s, s:s, s:b}", "protocol", words[0], "source", words[1],
									   "destination", words[2], "established", cli->established))),
			     results);
}

/* What is wrong with a flow's words, said before anybody is asked; 0 when nothing is. */
static int flow_check(char **words)
{
	bool ports = strcmp(words[0], "icmp") != 0;
	struct address address;
	uint16_t port;

	if (ports && strcmp(words[0], "tcp") != 0 && strcmp(words[0], "udp") != 0)
		return cli_misuse("explain: \"%s\" is not tcp, udp or icmp", words[0]);
	for (int i = 1; i <= 2; i++) {
		if (ports && endpoint_parse(words[i], &address, &port) < 0)
			return cli_misuse("explain: \"%s\" is not ADDRESS:PORT or [IPV6]:PORT", words[i]);
		if (!ports && address_parse(words[i], &address) < 0)
			return cli_misuse("explain: \"%s\" is not an address; icmp has no ports", words[i]);
	}
	return 0;
}

int verb_explain(const struct cli *cli, int argument_count, char **arguments)
{
	json_t *results, *answer, *result;
	int exit_status;
	size_t i;

	if ((argument_count != 0) + (cli->packet != NULL) + (cli->in_file != NULL) != 1 || (argument_count && argument_count != 3))
		return cli_misuse("explain: give one of --packet HEX, --in PCAP, or a flow: udp 10.0.0.5:4000 192.0.2.10:7000");
	if (argument_count && (exit_status = flow_check(arguments)) != 0)
		return exit_status;
	results = json_array();
	exit_status = argument_count ? flow_explain(cli, arguments, results) :
		      cli->packet    ? hex_explain(cli, results) :
				       file_explain(cli, results);
	answer = json_pack("{s:O}", "results", results);
	if (exit_status == EXIT_SUCCESS && !print_raw(cli, answer))
		json_array_foreach(results, i, result)
			result_print(result, json_array_size(results) > 1 ? i + 1 : 0);
	json_decref(answer);
	json_decref(results);
	return exit_status;
}
