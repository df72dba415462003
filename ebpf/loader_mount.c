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

static bool own_mount_namespace(void)
{
	struct stat ours, first;

	return stat("/proc/self/ns/mnt", &ours) == 0 && stat("/proc/1/ns/mnt", &first) == 0 &&
	       (ours.st_ino != first.st_ino || ours.st_dev != first.st_dev);
}

/* A child enters the first process' namespace, because setns() would take this process there for good. */
static int mount_with_first(const char *directory)
{
	int status = 0;
	pid_t child = fork();

	if (child < 0)
		return errno;
	if (child == 0) {
		int fd = open("/proc/1/ns/mnt", O_RDONLY | O_CLOEXEC);

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

int loader_mount(const char *directory, char ret_directory[static LOADER_PATH_SIZE], struct error *error)
{
	char path[LOADER_PATH_SIZE];
	int code;

	if (directory[0] != '/')
		return error_set(error, EINVAL, "the bpf directory %s: the path must be absolute", directory);
	if ((size_t)snprintf(path, sizeof(path), "/proc/1/root%s", directory) >= sizeof(path))
		return error_set(error, ENAMETOOLONG, "the bpf directory's path is too long");
	if (own_mount_namespace() && mount_with_first(directory) == 0 && is_bpf(path)) {
		strcpy(ret_directory, path);
		return 0;
	}
	code = mount_here(directory);
	if (code)
		return error_set(error, code, "mounting a bpf file system at %s: %s", directory, strerror(code));
	strcpy(ret_directory, directory);
	return 0;
}
