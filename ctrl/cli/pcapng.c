/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/cli/pcapng.h"

#include <assert.h>
#include <string.h>

#define BLOCK_SECTION 0x0a0d0d0au
#define BLOCK_INTERFACE 1u
#define BLOCK_PACKET 6u
#define BYTE_ORDER_MAGIC 0x1a2b3c4du
#define LINKTYPE_ETHERNET 1u
#define OPTION_END 0u
#define OPTION_COMMENT 1u
#define OPTION_NAME 2u
#define OPTION_USER_APPLICATION 4u
#define OPTION_TIME_RESOLUTION 9u
#define COMMENT_LENGTH_MAX 1000u

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are written as they lie in memory");

struct pcapng {
	FILE *file;
	char *names[PCAPNG_INTERFACES_MAX];
	uint32_t count;
};

/* A block under construction. */
struct block {
	uint8_t bytes[70000];
	size_t length;
};

static void bytes_add(struct block *block, const void *bytes, size_t length)
{
	assert(block->length + length + 16 < sizeof(block->bytes));
	memcpy(block->bytes + block->length, bytes, length);
	block->length += length;
	while (block->length % 4)
		block->bytes[block->length++] = 0;
}

static void number_add(struct block *block, uint32_t number)
{
	bytes_add(block, &number, sizeof(number));
}

/*
 *  0                   1                   2                   3
 *  |         option code           |         option length         |
 *  |                  value, padded to 32 bits                     |
 */
static void option_add(struct block *block, uint32_t code, const void *value, size_t length)
{
	number_add(block, code | (uint32_t)length << 16);
	bytes_add(block, value, length);
}

/* The length stands in front and behind, and counts itself twice and the type. */
static int block_write(struct pcapng *pcapng, struct block *block, uint32_t type, struct error *error)
{
	uint32_t length = (uint32_t)block->length + 12;

	if (fwrite(&type, 4, 1, pcapng->file) != 1 || fwrite(&length, 4, 1, pcapng->file) != 1 ||
	    fwrite(block->bytes, block->length, 1, pcapng->file) != 1 || fwrite(&length, 4, 1, pcapng->file) != 1)
		return error_set(error, EIO, "write the capture: %s", strerror(errno));
	/* a reader at the other end of a pipe shall see each packet at once, and one of the file whole blocks */
	if (fflush(pcapng->file) != 0)
		return error_set(error, EIO, "write the capture: %s", strerror(errno));
	return 0;
}

int pcapng_new(FILE *file, struct pcapng **ret_pcapng, struct error *error)
{
	static const char application[] = "selvage " SELVAGE_VERSION;
	struct pcapng *pcapng = calloc(1, sizeof(*pcapng));
	struct block block = {.length = 0};
	int status;

	if (!pcapng)
		abort();
	pcapng->file = file;
	number_add(&block, BYTE_ORDER_MAGIC);
	number_add(&block, 1); /* version 1.0 */
	number_add(&block, UINT32_MAX);
	number_add(&block, UINT32_MAX); /* the section's length is not known */
	option_add(&block, OPTION_USER_APPLICATION, application, sizeof(application) - 1);
	number_add(&block, OPTION_END);
	status = block_write(pcapng, &block, BLOCK_SECTION, error);
	if (status < 0)
		pcapng_free(pcapng);
	else
		*ret_pcapng = pcapng;
	return status;
}

void pcapng_free(struct pcapng *pcapng)
{
	if (!pcapng)
		return;
	for (uint32_t i = 0; i < pcapng->count; i++)
		free(pcapng->names[i]);
	free(pcapng);
}

/* The interface's number, after writing its block when it is new. */
static int interface_number(struct pcapng *pcapng, const char *name, uint32_t *ret_number, struct error *error)
{
	static const uint8_t nanoseconds = 9;
	struct block block = {.length = 0};

	for (*ret_number = 0; *ret_number < pcapng->count; ++*ret_number)
		if (strcmp(pcapng->names[*ret_number], name) == 0)
			return 0;
	if (pcapng->count == PCAPNG_INTERFACES_MAX) {
		*ret_number = 0; /* the comment still says which */
		return 0;
	}
	if (!(pcapng->names[pcapng->count++] = strdup(name)))
		abort();
	number_add(&block, LINKTYPE_ETHERNET);
	number_add(&block, 0); /* no limit on the captured length */
	option_add(&block, OPTION_NAME, name, strlen(name));
	option_add(&block, OPTION_TIME_RESOLUTION, &nanoseconds, 1);
	number_add(&block, OPTION_END);
	return block_write(pcapng, &block, BLOCK_INTERFACE, error);
}

int pcapng_write(struct pcapng *pcapng, const struct pcapng_packet *packet, struct error *error)
{
	size_t captured = packet->captured < 65535 ? packet->captured : 65535;
	size_t comment_length = strnlen(packet->comment, COMMENT_LENGTH_MAX);
	struct block block = {.length = 0};
	uint32_t number;
	int status = interface_number(pcapng, packet->interface, &number, error);

	if (status < 0)
		return status;
	number_add(&block, number);
	number_add(&block, (uint32_t)(packet->time_ns >> 32));
	number_add(&block, (uint32_t)packet->time_ns);
	number_add(&block, (uint32_t)captured);
	number_add(&block, (uint32_t)(packet->length > captured ? packet->length : captured));
	bytes_add(&block, packet->bytes, captured);
	if (comment_length) {
		option_add(&block, OPTION_COMMENT, packet->comment, comment_length);
		number_add(&block, OPTION_END);
	}
	return block_write(pcapng, &block, BLOCK_PACKET, error);
}
