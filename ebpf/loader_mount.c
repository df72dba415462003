/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <fcntl.h>
#include <libgen.h>
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

/* Whether two paths name the same thing. */
static bool same_place(const char *a, const char *b)
{
	struct stat first, second;

	return stat(a, &first) == 0 && stat(b, &second) == 0 && first.st_ino == second.st_ino &&
	       first.st_dev == second.st_dev;
}

/* Whether we may look into a process' mount namespace, and the directory is the same one there. */
static bool sees(pid_t process, const char *parent)
{
	char path[2 * LOADER_PATH_SIZE];
	struct stat status;

	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", process);
	if (stat(path, &status) < 0)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/root%s", process, parent);
	return same_place(path, parent);
}

static bool lives_outside(pid_t process)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", process);
	return !same_place(path, "/proc/self/ns/mnt");
}

/*
 * The first process by number that sees the directory, 0 when it lives in our own mount namespace: then that is the outer
 * one, whatever namespaces others made for themselves (services with private mounts do). Usually it is process 1; where a
 * sandbox keeps that one from us, the next will do.
 */
static pid_t outer_process(const char *directory)
{
	_cleanup_(freep) char *copy = strdup(directory);
	DIR *processes = opendir("/proc");
	const char *parent = copy ? dirname(copy) : "/";
	struct dirent *entry;
	pid_t found = 0;

	while (processes && (entry = readdir(processes))) {
		pid_t process = (pid_t)strtol(entry->d_name, NULL, 10);

		if (process > 0 && (found == 0 || process < found) && sees(process, parent))
			found = process;
	}
	if (processes)
		closedir(processes);
	return found && lives_outside(found) ? found : 0;
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
	outer = is_bpf(directory) ? 0 : outer_process(directory);
	if (outer && mount_outside(outer, directory) == 0 && outside_name(outer, directory, ret_directory) == 0)
		return 0;
	code = mount_here(directory);
	if (code)
		return error_set(error, code, "mounting a bpf file system at %s: %s", directory, strerror(code));
	strcpy(ret_directory, directory);
	return 0;
}
