/* SPDX-License-Identifier: Apache-2.0 */
#include "ctrl/store/power_cut_vfs.h"

#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/lib/arena.h"
#include "base/lib/memory.h"

#define SECTOR_BYTES 512
#define DISK_FILES_MAX 8

/* A write or, without data, a new size; not synced yet. */
struct pending {
	struct pending *next;
	size_t offset, length;
	char *data;
};

struct disk_file {
	char name[64];
	bool present;
	char *synced; /* bytes as of the last sync */
	size_t size, capacity;
	struct pending *pending, **pending_end;
};

/* What SQLite holds; the default VFS's own file follows. */
struct cut_file {
	sqlite3_file base;
	struct disk_file *disk;
};

static struct power_cut_options options;
static struct disk_file disk[DISK_FILES_MAX];
static unsigned long operations, bytes_written;
static int writes_until_full; /* 0: plenty; negative: full */
static sqlite3_vfs vfs, *real_vfs;

static sqlite3_file *real_file(sqlite3_file *file)
{
	return (sqlite3_file *)((struct cut_file *)file + 1);
}

static struct disk_file *disk_of(sqlite3_file *file)
{
	return ((struct cut_file *)file)->disk;
}

/* ---- The disk ---- */

static struct disk_file *disk_lookup(const char *path)
{
	const char *name = strrchr(path, '/') + 1;

	for (size_t i = 0; i < DISK_FILES_MAX; i++) {
		if (!disk[i].name[0])
			snprintf(disk[i].name, sizeof(disk[i].name), "%s", name);
		if (!strcmp(disk[i].name, name))
			return &disk[i];
	}
	abort();
}

static void image_resize(struct disk_file *file, size_t size)
{
	if (size > file->capacity) {
		file->capacity = 2 * size;
		file->synced = memory_or_end(realloc(file->synced, file->capacity));
	}
	if (size > file->size)
		memset(file->synced + file->size, 0, size - file->size);
	file->size = size;
}

static void image_write(struct disk_file *file, size_t offset, const char *data, size_t length)
{
	if (offset + length > file->size)
		image_resize(file, offset + length);
	memcpy(file->synced + offset, data, length);
}

static void pending_add(struct disk_file *file, size_t offset, const void *data, size_t length)
{
	struct pending *pending = memory_or_end(calloc(1, sizeof(*pending)));

	pending->offset = offset;
	pending->length = length;
	if (data)
		pending->data = memcpy(memory_or_end(malloc(length)), data, length);
	if (!file->pending)
		file->pending_end = &file->pending;
	*file->pending_end = pending;
	file->pending_end = &pending->next;
}

/* All of it (a sync), or of each sector what chance leaves (a cut). */
static void pending_apply(struct disk_file *file, bool by_chance)
{
	while (file->pending) {
		struct pending *pending = file->pending;

		file->pending = pending->next;
		for (size_t at = 0; pending->data && at < pending->length;) {
			size_t length = SECTOR_BYTES - (pending->offset + at) % SECTOR_BYTES;

			if (length > pending->length - at)
				length = pending->length - at;
			if (!by_chance || rand() % 2)
				image_write(file, pending->offset + at, pending->data + at, length);
			at += length;
		}
		if (!pending->data && (!by_chance || rand() % 2))
			image_resize(file, pending->offset);
		free(pending->data);
		free(pending);
	}
}

static void image_save(const struct disk_file *file)
{
	char path[512];
	FILE *out;

	snprintf(path, sizeof(path), "%s/%s", options.target_directory, file->name);
	out = memory_or_end(fopen(path, "w"));
	if (file->size && fwrite(file->synced, 1, file->size, out) != file->size)
		abort();
	fclose(out);
}

/* Before an operation: is it the one that never happens? */
static void operation_count(void)
{
	if (operations++ != options.cut_after)
		return;
	options.cut(options.context);
	for (size_t i = 0; i < DISK_FILES_MAX; i++) {
		if (!disk[i].present)
			continue;
		pending_apply(&disk[i], true);
		image_save(&disk[i]);
	}
}

static void disk_clear(void)
{
	for (size_t i = 0; i < DISK_FILES_MAX; i++) {
		pending_apply(&disk[i], false);
		free(disk[i].synced);
	}
	memset(disk, 0, sizeof(disk));
}

/* ---- The file's methods ---- */

static int cut_close(sqlite3_file *file)
{
	return real_file(file)->pMethods->xClose(real_file(file));
}

static int cut_read(sqlite3_file *file, void *buffer, int length, sqlite3_int64 offset)
{
	return real_file(file)->pMethods->xRead(real_file(file), buffer, length, offset);
}

static int cut_write(sqlite3_file *file, const void *buffer, int length, sqlite3_int64 offset)
{
	operation_count();
	if (writes_until_full == 1)
		writes_until_full = -1;
	else if (writes_until_full > 1)
		writes_until_full--;
	if (writes_until_full < 0)
		return SQLITE_FULL;
	bytes_written += (unsigned long)length;
	pending_add(disk_of(file), (size_t)offset, buffer, (size_t)length);
	return real_file(file)->pMethods->xWrite(real_file(file), buffer, length, offset);
}

static int cut_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	operation_count();
	pending_add(disk_of(file), (size_t)size, NULL, 0);
	return real_file(file)->pMethods->xTruncate(real_file(file), size);
}

/* Nothing goes to the real disk: this one is what counts. */
static int cut_sync(sqlite3_file *file, int flags)
{
	operation_count();
	if (!options.ignore_sync)
		pending_apply(disk_of(file), false);
	return SQLITE_OK;
}

static int cut_file_size(sqlite3_file *file, sqlite3_int64 *ret_size)
{
	return real_file(file)->pMethods->xFileSize(real_file(file), ret_size);
}

static int cut_lock(sqlite3_file *file, int level)
{
	return real_file(file)->pMethods->xLock(real_file(file), level);
}

static int cut_unlock(sqlite3_file *file, int level)
{
	return real_file(file)->pMethods->xUnlock(real_file(file), level);
}

static int cut_check_reserved(sqlite3_file *file, int *ret_reserved)
{
	return real_file(file)->pMethods->xCheckReservedLock(real_file(file), ret_reserved);
}

/* Hints about sizes would write past the VFS; nothing else is asked for. */
static int cut_file_control(sqlite3_file *file, int operation, void *argument)
{
	return SQLITE_NOTFOUND;
}

/* No promises about order or wholeness of writes, whatever the real file system would say. */
static int cut_sector_size(sqlite3_file *file)
{
	return SECTOR_BYTES;
}

static int cut_characteristics(sqlite3_file *file)
{
	return 0;
}

static const sqlite3_io_methods cut_methods = {
	.iVersion = 1, /* no shared memory: the store must do without */
	.xClose = cut_close,
	.xRead = cut_read,
	.xWrite = cut_write,
	.xTruncate = cut_truncate,
	.xSync = cut_sync,
	.xFileSize = cut_file_size,
	.xLock = cut_lock,
	.xUnlock = cut_unlock,
	.xCheckReservedLock = cut_check_reserved,
	.xFileControl = cut_file_control,
	.xSectorSize = cut_sector_size,
	.xDeviceCharacteristics = cut_characteristics,
};

static int cut_open(sqlite3_vfs *self, const char *path, sqlite3_file *file, int flags, int *ret_flags)
{
	int status;

	file->pMethods = NULL;
	if (!path)
		return SQLITE_CANTOPEN; /* temporary files: the store needs none */
	status = real_vfs->xOpen(real_vfs, path, real_file(file), flags, ret_flags);
	if (status != SQLITE_OK)
		return status;
	((struct cut_file *)file)->disk = disk_lookup(path);
	disk_of(file)->present = true;
	file->pMethods = &cut_methods;
	return SQLITE_OK;
}

static int cut_delete(sqlite3_vfs *self, const char *path, int sync_directory)
{
	struct disk_file *file = disk_lookup(path);

	operation_count();
	pending_apply(file, false);
	file->present = false;
	file->size = 0;
	return real_vfs->xDelete(real_vfs, path, sync_directory);
}

void power_cut_begin(const struct power_cut_options *new_options)
{
	options = *new_options;
	operations = 0;
	bytes_written = 0;
	writes_until_full = 0;
	memset(disk, 0, sizeof(disk));
	real_vfs = sqlite3_vfs_find(NULL);
	vfs = *real_vfs;
	vfs.zName = POWER_CUT_VFS;
	vfs.pNext = NULL;
	vfs.szOsFile = (int)sizeof(struct cut_file) + real_vfs->szOsFile;
	vfs.xOpen = cut_open;
	vfs.xDelete = cut_delete;
	sqlite3_vfs_register(&vfs, 0);
}

void power_cut_end(void)
{
	sqlite3_vfs_unregister(&vfs);
	disk_clear();
}

unsigned long power_cut_operations(void)
{
	return operations;
}

unsigned long power_cut_bytes_written(void)
{
	return bytes_written;
}

void power_cut_disk_full(int nth_write)
{
	writes_until_full = nth_write;
}
