/* A wall clock that is wrong by what a file says, in seconds; every other clock stays right. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int (*right)(clockid_t, struct timespec *);

__attribute__((constructor)) static void find(void) { right = dlsym(RTLD_NEXT, "clock_gettime"); }

/* Reads the file at most ten times a second: a wall clock is asked far more often than it is set. */
static long ahead_s(void) {
    static __thread long seconds;
    static __thread struct timespec read_at;
    struct timespec now;
    right(CLOCK_MONOTONIC, &now);
    if (read_at.tv_sec && (now.tv_sec - read_at.tv_sec) * 1000 + (now.tv_nsec - read_at.tv_nsec) / 1000000 < 100)
        return seconds;
    read_at = now;
    const char *path = getenv("WRONG_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file >= 0) {
        char text[32] = {0};
        if (read(file, text, sizeof text - 1) > 0)
            seconds = strtol(text, NULL, 10);
        close(file);
    }
    return seconds;
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    if (!right)
        find();
    int failed = right(clock, at);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        at->tv_sec += ahead_s();
    return failed;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    (void)zone;
    struct timespec now;
    int failed = clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return failed;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at)
        *at = now.tv_sec;
    return now.tv_sec;
}
