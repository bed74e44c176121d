/* A wire of a test's host that takes its time and loses frames, for kernels without netem (see
 * tests/hosts/run):
 *
 *   wire DELAY LOSS RATE SWITCH PORT DEVICE
 *
 * makes DEVICE in the network namespace of the caller, the host's, and PORT in that of the file SWITCH, and
 * carries frames between the two. What the host sends takes DELAY milliseconds, gets lost by LOSS percent,
 * and is sent with RATE megabits a second (0: as fast as it can); a frame that would have to wait long for
 * its turn is lost as well. What it receives arrives at once: each frame passes a slow wire where it is sent.
 *
 * Returns when both devices are there; a child carries the frames from then on. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define FRAMES      16384     /* under way at once: 100 ms at 2 Gbit/s */
#define FRAME_BYTES 2048      /* the devices' MTU is 1500 */
#define PATIENCE    100000000 /* ns that a frame waits for its turn, as in the buffer of a switch */
#define BATCH       64        /* frames taken from one side before the other has its turn */

struct frame {
    int64_t due;
    size_t len;
    unsigned char bytes[FRAME_BYTES];
};

struct wire {
    int device, port;
    int64_t delay;      /* ns */
    double loss;        /* of 1 */
    double ns_of_a_bit; /* 0: none */
    int64_t idle_from;  /* when the last frame has been sent */
    struct frame *frames;
    size_t first, end; /* of those under way; they only grow */
};

_Noreturn static void fail(const char *what)
{
    fprintf(stderr, "wire: %s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

/* The namespace is that of the caller when the file is opened. Without offers of ours the kernel gives us
 * frames that are complete: no longer than the MTU, with their checksums. */
static int open_device(const char *name)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
    int file = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (file < 0)
        fail("/dev/net/tun");
    if (ioctl(file, TUNSETIFF, &request) != 0)
        fail(name);
    return file;
}

static void enter_network(const char *path)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || setns(file, CLONE_NEWNET) != 0)
        fail(path);
    close(file);
}

/* A frame for a device that is down, as one that is cut off, is lost, which is right. */
static void put(int file, const unsigned char *bytes, size_t len)
{
    if (write(file, bytes, len) < 0 && errno == EBADFD)
        fail("a device is gone");
}

static void take_from_switch(const struct wire *wire)
{
    unsigned char bytes[FRAME_BYTES];
    ssize_t len;
    for (int i = 0; i < BATCH && (len = read(wire->port, bytes, sizeof bytes)) > 0; i++)
        put(wire->device, bytes, (size_t)len);
}

static bool is_full(const struct wire *wire)
{
    return wire->end - wire->first == FRAMES;
}

static void take_from_host(struct wire *wire)
{
    ssize_t len;
    for (int i = 0; i < BATCH && !is_full(wire); i++) {
        struct frame *frame = &wire->frames[wire->end % FRAMES];
        if ((len = read(wire->device, frame->bytes, sizeof frame->bytes)) <= 0)
            return;
        int64_t time = now();
        int64_t begin = wire->idle_from > time ? wire->idle_from : time;
        if (begin - time > PATIENCE)
            continue;
        wire->idle_from = begin + (int64_t)((double)len * 8 * wire->ns_of_a_bit);
        if (drand48() < wire->loss)
            continue;
        frame->len = (size_t)len;
        frame->due = wire->idle_from + wire->delay;
        wire->end++;
    }
}

/* Lets those frames arrive that are due. Returns the time that is left until the next one is, or -1 without
 * one. */
static int64_t deliver(struct wire *wire)
{
    while (wire->first < wire->end) {
        const struct frame *frame = &wire->frames[wire->first % FRAMES];
        int64_t left = frame->due - now();
        if (left > 0)
            return left;
        put(wire->port, frame->bytes, frame->len);
        wire->first++;
    }
    return -1;
}

_Noreturn static void carry(struct wire *wire)
{
    for (;;) {
        int64_t left = deliver(wire);
        struct timespec wait = {.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
        struct pollfd files[] = {
            {.fd = wire->port, .events = POLLIN},
            {.fd = is_full(wire) ? -1 : wire->device, .events = POLLIN},
        };
        if (ppoll(files, 2, left < 0 ? NULL : &wait, NULL) < 0 && errno != EINTR)
            fail("poll");
        take_from_switch(wire);
        take_from_host(wire);
    }
}

int main(int argc, char **argv)
{
    if (argc != 7) {
        fprintf(stderr, "usage: wire DELAY LOSS RATE SWITCH PORT DEVICE\n");
        return 2;
    }
    double rate = atof(argv[3]);
    struct wire wire = {
        .delay = (int64_t)(atof(argv[1]) * 1e6),
        .loss = atof(argv[2]) / 100,
        .ns_of_a_bit = rate > 0 ? 1000 / rate : 0,
        .frames = malloc(FRAMES * sizeof *wire.frames), /* what is not used takes no memory */
    };
    if (!wire.frames)
        fail("memory");
    wire.device = open_device(argv[6]);
    enter_network(argv[4]);
    wire.port = open_device(argv[5]);
    srand48(now() ^ getpid()); /* each host loses others */
    pid_t child = fork();
    if (child < 0)
        fail("fork");
    if (child == 0)
        carry(&wire);
    return 0;
}
