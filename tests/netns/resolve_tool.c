/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks the C library's resolver: resolve_tool KIND NAME...; the tests build it with glibc and with musl. A line for each name:
 *
 *     addresses   getaddrinfo(), both families: numeric addresses, or "error" and its code's name
 *     name        getnameinfo() of an IPv4 address
 *     services    res_search(), SRV records: "priority weight port target" each
 *     text        res_query(), TXT: how many records, and the answer's length
 */
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define ANSWER_MAX 65535

static const char *error_name(int code)
{
	return code == EAI_NONAME ? "NONAME" :
	       code == EAI_AGAIN  ? "AGAIN" :
	       code == EAI_FAIL   ? "FAIL" :
				    gai_strerror(code);
}

static void addresses_print(const char *name)
{
	struct addrinfo hints = {.ai_socktype = SOCK_DGRAM}, *found;
	char text[INET6_ADDRSTRLEN];
	int code = getaddrinfo(name, NULL, &hints, &found);

	if (code) {
		printf("error %s\n", error_name(code));
		return;
	}
	for (const struct addrinfo *each = found; each; each = each->ai_next) {
		const void *bytes = each->ai_family == AF_INET ?
					    (void *)&((struct sockaddr_in *)each->ai_addr)->sin_addr :
					    (void *)&((struct sockaddr_in6 *)each->ai_addr)->sin6_addr;

		printf("%s%s", inet_ntop(each->ai_family, bytes, text, sizeof(text)), each->ai_next ? " " : "\n");
	}
	freeaddrinfo(found);
}

static void name_print(const char *address)
{
	struct sockaddr_in to = {.sin_family = AF_INET};
	char name[256];
	int code;

	inet_pton(AF_INET, address, &to.sin_addr);
	code = getnameinfo((struct sockaddr *)&to, sizeof(to), name, sizeof(name), NULL, 0, NI_NAMEREQD);
	printf("%s%s\n", code ? "error " : "", code ? error_name(code) : name);
}

static void services_print(const char *name)
{
	static unsigned char answer[ANSWER_MAX];
	int length = res_search(name, C_IN, T_SRV, answer, sizeof(answer));
	char target[256];
	ns_msg message;
	ns_rr record;

	if (length < 0 || ns_initparse(answer, length, &message) < 0) {
		printf("error\n");
		return;
	}
	for (int i = 0; i < ns_msg_count(message, ns_s_an); i++) {
		const unsigned char *data;

		if (ns_parserr(&message, ns_s_an, i, &record) < 0 || ns_rr_type(record) != T_SRV)
			continue;
		data = ns_rr_rdata(record);
		if (ns_name_uncompress(answer, answer + length, data + 6, target, sizeof(target)) >= 0)
			printf("%s%d %d %d %s", i ? " " : "", ns_get16(data), ns_get16(data + 2), ns_get16(data + 4),
			       target);
	}
	printf("\n");
}

static void text_print(const char *name)
{
	static unsigned char answer[ANSWER_MAX];
	int length = res_query(name, C_IN, T_TXT, answer, sizeof(answer));

	printf("%d %d\n", length < 0 ? 0 : answer[6] << 8 | answer[7], length);
}

int main(int argument_count, char **arguments)
{
	const char *kind = argument_count > 1 ? arguments[1] : "";

	for (int i = 2; i < argument_count; i++) {
		if (strcmp(kind, "addresses") == 0)
			addresses_print(arguments[i]);
		else if (strcmp(kind, "name") == 0)
			name_print(arguments[i]);
		else if (strcmp(kind, "services") == 0)
			services_print(arguments[i]);
		else
			text_print(arguments[i]);
	}
	return 0;
}
