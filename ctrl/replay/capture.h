/* SPDX-License-Identifier: Apache-2.0 */
/* Captures of Ethernet frames: pcap and pcapng in, pcap out. One thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/lib/cleanup.h"
#include "base/lib/error.h"

struct capture_reader;

struct capture_frame {
	const uint8_t *bytes; /* borrowed until the next read */
	uint32_t length;
	uint64_t time_ns; /* since 1970 */
};

/* "-" is standard input. */
must_check int capture_open(const char *path, struct capture_reader **ret_reader, struct error *error);
void capture_close(struct capture_reader *reader);
void capture_closep(struct capture_reader **reader);

/* 1: a frame; 0: the end; negative: the file is broken, or holds a frame in part. */
must_check int capture_read(struct capture_reader *reader, struct capture_frame *ret_frame, struct error *error);

/* Whether the file's timestamps may be finer than a microsecond. */
bool capture_is_fine(const struct capture_reader *reader);

struct capture_writer;

/*
 * The file appears under its name only with capture_commit(); until then it is PATH.partial. Something that is no regular
 * file (a pipe, "/dev/stdout") is written directly. `fine`: with nanoseconds.
 */
must_check int capture_create(const char *path, bool fine, struct capture_writer **ret_writer, struct error *error);
void capture_write(struct capture_writer *writer, const struct capture_frame *frame);
/* Frees the writer in every case. */
must_check int capture_commit(struct capture_writer *writer, struct error *error);
void capture_discard(struct capture_writer *writer);
