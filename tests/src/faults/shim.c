/* Between a program and its disk: faults that a test asks for, while the program runs, in one directory only.
 *
 * FAULTS_DIRECTORY is the directory, FAULTS_CONTROL a file of the numbers below, mapped by both sides. A number that
 * counts falls by one with each fault, and `fired` rises, so the test knows that what it planned has happened. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* The same order as in shim.rs. */
struct control {
    atomic_uint fired;        /* faults so far */
    atomic_uint fail_sync;    /* so many syncs fail with EIO */
    atomic_uint delay_sync;   /* each sync takes this many milliseconds longer */
    atomic_uint lie_sync;     /* not 0: syncs do nothing and say that it is done */
    atomic_uint no_space;     /* so many writes fail with ENOSPC */
    atomic_uint short_write;  /* so many writes take only half */
    atomic_uint tear_write;   /* 1: the next write takes only half, and the process dies */
    atomic_uint die_before;   /* n: the process dies before the n-th sync from now */
    atomic_uint die_after;    /* n: the process dies after the n-th sync from now */
};

static struct control *control;
static char directory[PATH_MAX];

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULTS_CONTROL"), *in = getenv("FAULTS_DIRECTORY");
    if (!path || !in || !realpath(in, directory)) return;
    int file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0) return;
    void *mapped = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (mapped != MAP_FAILED) control = mapped;
    close(file);
}

/* Whether `file` lies in the directory. */
static int ours(int file) {
    char link[32], path[PATH_MAX];
    size_t length = strlen(directory);
    if (!control) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t got = readlink(link, path, sizeof path - 1);
    if (got < 0) return 0;
    path[got] = 0;
    return !strncmp(path, directory, length) && (path[length] == '/' || path[length] == 0);
}

static void fired(void) { atomic_fetch_add(&control->fired, 1); }

/* Takes one of `count`, if there is one. */
static int take(atomic_uint *count) {
    unsigned left = atomic_load(count);
    while (left && !atomic_compare_exchange_weak(count, &left, left - 1)) {
    }
    if (left) fired();
    return left != 0;
}

static void die(void) {
    fired();
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* Counts down to a death; whether it is now. */
static int due(atomic_uint *count) {
    unsigned left = atomic_load(count);
    while (left && !atomic_compare_exchange_weak(count, &left, left - 1)) {
    }
    return left == 1;
}

static int synced(int file, const char *name) {
    int (*real)(int) = dlsym(RTLD_NEXT, name);
    if (!ours(file)) return real(file);
    if (due(&control->die_before)) die();
    if (take(&control->fail_sync)) {
        errno = EIO;
        return -1;
    }
    unsigned delay = atomic_load(&control->delay_sync);
    if (delay) {
        fired();
        struct timespec time = {delay / 1000, (long)(delay % 1000) * 1000000};
        nanosleep(&time, NULL);
    }
    int done = 0;
    if (atomic_load(&control->lie_sync)) fired();
    else done = real(file);
    if (due(&control->die_after)) die();
    return done;
}

int fsync(int file) { return synced(file, "fsync"); }
int fdatasync(int file) { return synced(file, "fdatasync"); }

/* How much of a write is to be tried; -1 when it is to fail. */
static ssize_t allowed(int file, size_t count, int *dies) {
    *dies = 0;
    if (!ours(file)) return (ssize_t)count;
    if (take(&control->no_space)) {
        errno = ENOSPC;
        return -1;
    }
    if (count > 1 && due(&control->tear_write)) {
        *dies = 1;
        return (ssize_t)(count / 2);
    }
    if (count > 1 && take(&control->short_write)) return (ssize_t)(count / 2);
    return (ssize_t)count;
}

ssize_t write(int file, const void *bytes, size_t count) {
    ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    int dies;
    ssize_t some = allowed(file, count, &dies);
    if (some < 0) return -1;
    ssize_t done = real(file, bytes, (size_t)some);
    if (dies) die();
    return done;
}

static ssize_t placed(const char *name, int file, const void *bytes, size_t count, off64_t at) {
    ssize_t (*real)(int, const void *, size_t, off64_t) = dlsym(RTLD_NEXT, name);
    int dies;
    ssize_t some = allowed(file, count, &dies);
    if (some < 0) return -1;
    ssize_t done = real(file, bytes, (size_t)some, at);
    if (dies) die();
    return done;
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t at) { return placed("pwrite", file, bytes, count, at); }
ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t at) {
    return placed("pwrite64", file, bytes, count, at);
}
