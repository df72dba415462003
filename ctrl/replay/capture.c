/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/replay/capture.h"

#include <pcap/pcap.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#define CAPTURE_SNAPSHOT 262144 /* as tcpdump writes */

struct capture_reader {
	pcap_t *pcap;
	char *path;
	uint64_t frames;
	bool fine;
};

void capture_close(struct capture_reader *reader)
{
	if (!reader)
		return;
	if (reader->pcap)
		pcap_close(reader->pcap);
	free(reader->path);
	free(reader);
}

void capture_closep(struct capture_reader **reader)
{
	capture_close(*reader);
}

/* Only a classic pcap file of microseconds is known, by its first four bytes, to hold nothing finer. */
static bool is_fine(FILE *file)
{
	uint32_t magic = 0;
	size_t read;

	if (fseek(file, 0, SEEK_CUR) != 0)
		return true; /* a pipe: what was read could not be put back */
	read = fread(&magic, sizeof(magic), 1, file);
	rewind(file);
	return read != 1 || (magic != 0xa1b2c3d4 && magic != 0xd4c3b2a1);
}

int capture_open(const char *path, struct capture_reader **ret_reader, struct error *error)
{
	_cleanup_(capture_closep) struct capture_reader *reader = calloc(1, sizeof(*reader));
	char reason[PCAP_ERRBUF_SIZE] = "";
	FILE *file;

	if (!reader || !(reader->path = strdup(path)))
		return error_set(error, ENOMEM, "no memory");
	file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	if (!file)
		return error_set(error, errno, "%s: %s", path, strerror(errno));
	reader->fine = is_fine(file);
	reader->pcap = pcap_fopen_offline_with_tstamp_precision(file, PCAP_TSTAMP_PRECISION_NANO, reason);
	if (!reader->pcap) {
		if (file != stdin)
			fclose(file);
		return error_set(error, EINVAL, "%s: not a capture file: %s", path, reason);
	}
	if (pcap_datalink(reader->pcap) != DLT_EN10MB) {
		const char *name = pcap_datalink_val_to_name(pcap_datalink(reader->pcap));

		return error_set(error, EINVAL, "%s: holds packets of link type %s; only Ethernet (EN10MB) can be replayed", path,
				 name ? name : "unknown");
	}
	*ret_reader = steal(reader);
	return 0;
}

int capture_read(struct capture_reader *reader, struct capture_frame *ret_frame, struct error *error)
{
	struct pcap_pkthdr *header;
	const u_char *bytes;
	int result = pcap_next_ex(reader->pcap, &header, &bytes);

	if (result == PCAP_ERROR_BREAK)
		return 0;
	if (result != 1)
		return error_set(error, EINVAL, "%s: packet %llu: %s", reader->path, (unsigned long long)reader->frames + 1,
				 pcap_geterr(reader->pcap));
	reader->frames++;
	if (header->caplen < header->len)
		return error_set(error, EINVAL,
				 "%s: packet %llu was captured in part (%u of %u bytes); capture whole packets (tcpdump -s 0)",
				 reader->path, (unsigned long long)reader->frames, header->caplen, header->len);
	*ret_frame = (struct capture_frame){
		.bytes = bytes,
		.length = header->caplen,
		.time_ns = (uint64_t)header->ts.tv_sec * 1000000000u + (uint64_t)header->ts.tv_usec,
	};
	return 1;
}

bool capture_is_fine(const struct capture_reader *reader)
{
	return reader->fine;
}

struct capture_writer {
	pcap_t *pcap;
	pcap_dumper_t *dumper;
	char *path;
	char *partial; /* NULL: written directly */
	bool fine;
};

static void writer_free(struct capture_writer *writer)
{
	if (writer->dumper)
		pcap_dump_close(writer->dumper);
	if (writer->pcap)
		pcap_close(writer->pcap);
	free(writer->path);
	free(writer->partial);
	free(writer);
}

void capture_discard(struct capture_writer *writer)
{
	if (!writer)
		return;
	if (writer->partial && writer->dumper)
		unlink(writer->partial);
	writer_free(writer);
}

int capture_create(const char *path, bool fine, struct capture_writer **ret_writer, struct error *error)
{
	struct capture_writer *writer = calloc(1, sizeof(*writer));
	struct stat status;

	if (!writer || !(writer->path = strdup(path)))
		goto no_memory;
	if ((stat(path, &status) < 0 || S_ISREG(status.st_mode)) && asprintf(&writer->partial, "%s.partial", path) < 0) {
		writer->partial = NULL;
		goto no_memory;
	}
	writer->fine = fine;
	writer->pcap = pcap_open_dead_with_tstamp_precision(
		DLT_EN10MB, CAPTURE_SNAPSHOT, fine ? PCAP_TSTAMP_PRECISION_NANO : PCAP_TSTAMP_PRECISION_MICRO);
	if (!writer->pcap)
		goto no_memory;
	writer->dumper = pcap_dump_open(writer->pcap, writer->partial ? writer->partial : path);
	if (!writer->dumper) {
		error_set(error, EIO, "%s", pcap_geterr(writer->pcap));
		writer_free(writer);
		return -EIO;
	}
	*ret_writer = writer;
	return 0;
no_memory:
	if (writer)
		writer_free(writer);
	return error_set(error, ENOMEM, "no memory");
}

void capture_write(struct capture_writer *writer, const struct capture_frame *frame)
{
	uint64_t below_second = frame->time_ns % 1000000000u;
	struct pcap_pkthdr header = {
		.ts = {(time_t)(frame->time_ns / 1000000000u), (suseconds_t)(writer->fine ? below_second : below_second / 1000)},
		.caplen = frame->length,
		.len = frame->length,
	};

	pcap_dump((u_char *)writer->dumper, &header, frame->bytes);
}

int capture_commit(struct capture_writer *writer, struct error *error)
{
	int result = 0;

	if (pcap_dump_flush(writer->dumper) < 0 || ferror(pcap_dump_file(writer->dumper)))
		result = error_set(error, EIO, "%s: could not be written: %s", writer->path, strerror(errno));
	else if (writer->partial && rename(writer->partial, writer->path) < 0)
		result = error_set(error, errno, "%s: %s", writer->path, strerror(errno));
	if (result < 0) {
		capture_discard(writer);
		return result;
	}
	writer_free(writer);
	return 0;
}
