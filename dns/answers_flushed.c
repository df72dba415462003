/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names that were flushed since the file of answers was written last: noted in PATH.flushed, so that a process that is killed does not
 * find their answers there again. A record is a name in wire form with its length before it and a sum behind it; what a crash left
 * half written was never acknowledged.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/lib/bytes.h"
#include "base/lib/memory.h"
#include "dns/answers_internal.h"
#include "dns/zone.h"

#define SUM_SEED 0x5e1f1054ed
#define NOTE_BYTES_MAX (16 << 20)

static char *flushed_path(const char *path)
{
	char *flushed;

	if (asprintf(&flushed, "%s.flushed", path) < 0)
		abort();
	return flushed;
}

bool flushed_is_there(const char *path)
{
	_cleanup_(freep) char *flushed = flushed_path(path);

	return access(flushed, F_OK) == 0;
}

void flushed_forget(const char *path)
{
	_cleanup_(freep) char *flushed = flushed_path(path);

	(void)unlink(flushed);
}

int directory_sync(const char *path)
{
	_cleanup_(freep) char *directory = memory_or_end(strdup(path));
	_cleanup_(closep) int fd = -1;
	char *slash = strrchr(directory, '/');

	if (slash)
		slash[1] = '\0';
	fd = open(slash ? directory : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

static uint32_t name_sum(const struct dns_name *name)
{
	return (uint32_t)dns_name_hash(name, SUM_SEED);
}

int answers_flush_note(const char *path, const struct dns_name *below, struct error *error)
{
	_cleanup_(freep) char *flushed = flushed_path(path);
	_cleanup_(closep) int fd = open(flushed, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	uint8_t bytes[1 + DNS_NAME_MAX + 4];
	size_t length = 1u + below->length + 4;
	struct stat before;
	ssize_t written;

	if (fd < 0 || fstat(fd, &before) < 0)
		return error_set(error, errno, "opening %s: %s", flushed, strerror(errno));
	if (before.st_size > NOTE_BYTES_MAX)
		return error_set(error, EFBIG, "%s is too large", flushed);
	bytes[0] = below->length;
	memcpy(bytes + 1, below->bytes, below->length);
	bytes_put32(bytes + 1 + below->length, name_sum(below));
	written = write(fd, bytes, length);
	if (written != (ssize_t)length || fsync(fd) < 0 || (before.st_size == 0 && directory_sync(path) < 0)) {
		int code = written >= 0 && written != (ssize_t)length ? ENOSPC : errno;

		/* what comes after half a record would not be found */
		(void)!ftruncate(fd, before.st_size);
		return error_set(error, code, "writing %s: %s", flushed, strerror(code));
	}
	return 0;
}

/* The names of the whole records as a set; how many bytes those are. */
static size_t names_read(const uint8_t *bytes, size_t length, struct zone_set *names)
{
	size_t at = 0;

	while (at < length && at + 1u + bytes[at] + 4 <= length) {
		struct zone_record record = {.data = bytes};
		size_t offset = 0;
		bool fresh;

		if (dns_name_read(bytes + at + 1, bytes[at], &offset, &record.owner) < 0 || offset != bytes[at] ||
		    bytes_get32(bytes + at + 1 + bytes[at]) != name_sum(&record.owner))
			break;
		zone_set_add(names, &record, &fresh);
		at += 1u + bytes[at] + 4;
	}
	return at;
}

static bool name_was_flushed(const struct dns_name *name, void *context)
{
	const struct zone_set *names = context;
	unsigned int labels = dns_name_labels(name);

	for (unsigned int i = 0; i <= labels; i++) {
		struct dns_name above = dns_name_parent(name, i);

		if (zone_set_has_name(names, &above))
			return true;
	}
	return false;
}

int flushed_apply(struct answers *answers, const char *path, struct error *error)
{
	_cleanup_(freep) char *flushed = flushed_path(path);
	_cleanup_(closep) int fd = open(flushed, O_RDWR | O_CLOEXEC);
	_cleanup_(freep) uint8_t *bytes = NULL;
	struct zone_set *names;
	struct stat status;
	size_t whole;

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0 || fstat(fd, &status) < 0)
		return error_set(error, errno, "reading %s: %s", flushed, strerror(errno));
	bytes = memory_or_end(malloc((size_t)status.st_size + 1));
	if (read(fd, bytes, (size_t)status.st_size) != status.st_size)
		return error_set(error, EIO, "reading %s", flushed);
	names = zone_set_new();
	whole = names_read(bytes, (size_t)status.st_size, names);
	answers_remove_where(answers, name_was_flushed, names);
	zone_set_free(names);
	/* what comes next stands behind a whole one */
	if (whole < (size_t)status.st_size && ftruncate(fd, (off_t)whole) < 0)
		return error_set(error, errno, "writing %s: %s", flushed, strerror(errno));
	return 0;
}
