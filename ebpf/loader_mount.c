/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include "ebpf/loader.h"

static bool is_bpf(const char *path)
{
	struct statfs status;

	return statfs(path, &status) == 0 && (unsigned long)status.f_type == BPF_FS_MAGIC;
}

/* 0 or errno. */
static int mount_here(const char *directory)
{
	if (is_bpf(directory))
		return 0;
	if (mkdir(directory, 0700) < 0 && errno != EEXIST)
		return errno;
	return mount("bpf", directory, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") < 0 ? errno : 0;
}

static pid_t parent_of(pid_t process)
{
	char path[64], text[512], *name_end;
	_cleanup_(fclosep) FILE *file = NULL;
	int parent = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", process);
	file = fopen(path, "r");
	if (!file || !fgets(text, sizeof(text), file))
		return 0;
	name_end = strrchr(text, ')');
	if (!name_end || sscanf(name_end, ") %*c %d", &parent) != 1)
		return 0;
	return parent;
}

/*
 * The oldest ancestor with another mount namespace than ours that we may look into, 0 for none: its namespace outlives us.
 * Usually that is the first process; a sandbox may keep that one from us.
 */
static pid_t outer_process(void)
{
	struct stat ours, theirs;
	pid_t found = 0;
	char path[64];

	if (stat("/proc/self/ns/mnt", &ours) < 0)
		return 0;
	for (pid_t process = getppid(); process > 0; process = parent_of(process)) {
		snprintf(path, sizeof(path), "/proc/%d/ns/mnt", process);
		if (stat(path, &theirs) == 0 && (ours.st_ino != theirs.st_ino || ours.st_dev != theirs.st_dev))
			found = process;
	}
	return found;
}

/* 0 or errno. A child enters the other namespace, because setns() would take this process there for good. */
static int mount_outside(pid_t outer, const char *directory)
{
	int status = 0;
	pid_t child = fork();

	if (child < 0)
		return errno;
	if (child == 0) {
		char path[64];
		int fd;

		snprintf(path, sizeof(path), "/proc/%d/ns/mnt", outer);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || setns(fd, CLONE_NEWNS) < 0)
			_exit(errno);
		_exit(mount_here(directory));
	}
	while (waitpid(child, &status, 0) < 0) {
		if (errno != EINTR)
			return errno;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}

/* Names a directory of another mount namespace by a descriptor, which holds when the process there ends. */
static int outside_name(pid_t outer, const char *directory, char ret_directory[static LOADER_PATH_SIZE])
{
	char path[2 * LOADER_PATH_SIZE];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/root%s", outer, directory);
	if (!is_bpf(path))
		return -ENOENT;
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	snprintf(ret_directory, LOADER_PATH_SIZE, "/proc/self/fd/%d", fd);
	return 0;
}

int loader_mount(const char *directory, char ret_directory[static LOADER_PATH_SIZE], struct error *error)
{
	pid_t outer;
	int code;

	if (directory[0] != '/')
		return error_set(error, EINVAL, "the bpf directory %s: the path must be absolute", directory);
	if (strlen(directory) >= LOADER_PATH_SIZE)
		return error_set(error, ENAMETOOLONG, "the bpf directory's path is too long");
	outer = is_bpf(directory) ? 0 : outer_process();
	if (outer && mount_outside(outer, directory) == 0 && outside_name(outer, directory, ret_directory) == 0)
		return 0;
	code = mount_here(directory);
	if (code)
		return error_set(error, code, "mounting a bpf file system at %s: %s", directory, strerror(code));
	strcpy(ret_directory, directory);
	return 0;
}
