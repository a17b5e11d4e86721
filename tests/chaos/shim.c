/* A wall clock that jumps, and a disk that is full, for one process and its children: put before its libraries with LD_PRELOAD.
 *
 * CHAOS_SHIM names a file of two 64-bit numbers, which the test changes while the process runs: nanoseconds by which the wall clock
 * is off, and whether writing below the folder that CHAOS_DISK names fails for want of room.  Monotonic clocks stay as they are.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t nothing[2];
static volatile int64_t *told = nothing;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("CHAOS_SHIM");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *mapped = mmap(NULL, sizeof nothing, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (mapped != MAP_FAILED)
        told = mapped;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* The wall clock */

int clock_gettime(clockid_t which, struct timespec *at)
{
    static __typeof__(&clock_gettime) real;
    if (!real)
        real = REAL(clock_gettime);
    int status = real(which, at);
    if (status == 0 && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) {
        int64_t ns = at->tv_nsec + told[0] % 1000000000;
        at->tv_sec += told[0] / 1000000000;
        at->tv_sec += ns >= 1000000000 ? 1 : ns < 0 ? -1 : 0;
        at->tv_nsec = ns >= 1000000000 ? ns - 1000000000 : ns < 0 ? ns + 1000000000 : ns;
    }
    return status;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at)
        *at = now.tv_sec;
    return now.tv_sec;
}

/* The disk */

static int is_full(int fd)
{
    const char *disk = getenv("CHAOS_DISK");
    char link[64], path[4096];
    if (!told[1] || !disk)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0)
        return 0;
    path[size] = 0;
    if (strncmp(path, disk, strlen(disk)))
        return 0;
    errno = ENOSPC;
    return 1;
}

#define WRITER(type, name, parameters, arguments)                                                                                  \
    type name parameters                                                                                                           \
    {                                                                                                                              \
        static __typeof__(&name) real;                                                                                             \
        if (!real)                                                                                                                 \
            real = REAL(name);                                                                                                     \
        return is_full(fd) ? -1 : real arguments;                                                                                  \
    }

WRITER(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size))
WRITER(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at))
WRITER(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at))
WRITER(ssize_t, writev, (int fd, const struct iovec *pieces, int count), (fd, pieces, count))
