/* A disk that fails when it is told to: LD_PRELOAD it, and calls on files under $DISK_FAULTS_UNDER are counted in
 * the shared page $DISK_FAULTS. Calls number first to first + times - 1 of the chosen kinds fail with the chosen
 * errno; half of what such a write should have written is written all the same. strace could inject the same errors,
 * but it can't tell a file from gevent's eventfd, and counts by thread. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { WRITE = 1, SYNC = 2, OPEN = 4, NAME = 8, LOG = 16 };

struct control {
    int64_t kinds, error, first, times;
    _Atomic int64_t calls, hits;
};

static struct control *control;
static const char *folder;
static size_t folder_length;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("DISK_FAULTS");
    folder = getenv("DISK_FAULTS_UNDER");
    if (!path || !folder)
        return;
    folder_length = strlen(folder);
    int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0)
        return;
    void *page = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    if (page != MAP_FAILED)
        control = page;
}

static int is_ours(const char *path)
{
    return !strncmp(path, folder, folder_length) && (path[folder_length] == '/' || !path[folder_length]);
}

static int fails(int kind)
{
    if (!(control->kinds & kind))
        return 0;
    int64_t number = atomic_fetch_add(&control->calls, 1) + 1;
    if (number < control->first || number >= control->first + control->times)
        return 0;
    atomic_fetch_add(&control->hits, 1);
    errno = (int)control->error;
    return 1;
}

static int fails_path(int kind, const char *path)
{
    return control && control->kinds && path && is_ours(path) && fails(kind);
}

static int fails_fd(int kind, int fd)
{
    char name[64], path[4096];
    if (!control || !control->kinds)
        return 0;
    char *end = name + sizeof name - 1;
    *end = 0;
    unsigned number = fd < 0 ? 0 : fd;
    do
        *--end = '0' + number % 10;
    while (number /= 10);
    end -= sizeof "/proc/self/fd/" - 1;
    memcpy(end, "/proc/self/fd/", sizeof "/proc/self/fd/" - 1);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, end, path, sizeof path - 1);
    if (length <= 0)
        return 0;
    path[length] = 0;
    if (!is_ours(path))
        return 0;
    if (length > 4 && !strcmp(path + length - 4, ".log"))
        kind = LOG;
    return fails(kind);
}

ssize_t write(int fd, const void *data, size_t size)
{
    if (fails_fd(WRITE, fd)) {
        int error = errno;
        syscall(SYS_write, fd, data, size / 2);
        errno = error;
        return -1;
    }
    return syscall(SYS_write, fd, data, size);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at)
{
    if (fails_fd(WRITE, fd)) {
        int error = errno;
        syscall(SYS_pwrite64, fd, data, size / 2, at);
        errno = error;
        return -1;
    }
    return syscall(SYS_pwrite64, fd, data, size, at);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return pwrite64(fd, data, size, at); }

int ftruncate64(int fd, off64_t size) { return fails_fd(WRITE, fd) ? -1 : syscall(SYS_ftruncate, fd, size); }
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

int fsync(int fd) { return fails_fd(SYNC, fd) ? -1 : syscall(SYS_fsync, fd); }
int fdatasync(int fd) { return fails_fd(SYNC, fd) ? -1 : syscall(SYS_fdatasync, fd); }

static int open_at(int at, const char *path, int flags, mode_t mode)
{
    /* A full disk refuses new files only, a read-only one all that are to be written. */
    int refuses = !control || (control->error == ENOSPC ? flags & O_CREAT
                               : control->error == EROFS ? (flags & O_ACCMODE) != O_RDONLY
                                                         : 1);
    if (refuses && fails_path(OPEN, path))
        return -1;
    return syscall(SYS_openat, at, path, flags, mode);
}

#define MODE(flags)                                        \
    mode_t mode = 0;                                       \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {               \
        va_list list;                                      \
        va_start(list, flags);                             \
        mode = va_arg(list, mode_t);                       \
        va_end(list);                                      \
    }

int open(const char *path, int flags, ...) { MODE(flags) return open_at(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return open_at(AT_FDCWD, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE(flags) return open_at(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE(flags) return open_at(at, path, flags, mode); }

int mkdir(const char *path, mode_t mode)
{
    return fails_path(NAME, path) ? -1 : syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}

int rename(const char *from, const char *to)
{
    return fails_path(NAME, to) ? -1 : syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int renameat(int from_at, const char *from, int to_at, const char *to)
{
    return fails_path(NAME, to) ? -1 : syscall(SYS_renameat2, from_at, from, to_at, to, 0);
}
