// LD_PRELOAD: each fsync takes up to $SLOW_SYNC_MS milliseconds longer, so that a kill falls into the middle of things.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static void dawdle(void) {
    static __thread unsigned seed;
    const char *most = getenv("SLOW_SYNC_MS");
    if (!most) return;
    if (!seed) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        seed = (unsigned)now.tv_nsec ^ (unsigned)getpid();
    }
    usleep((useconds_t)(rand_r(&seed) % (unsigned)(atoi(most) * 1000 + 1)));
}

int fsync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    dawdle();
    return real(fd);
}

int fdatasync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    dawdle();
    return real(fd);
}
