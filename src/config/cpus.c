/* The affinity mask bounds the CPUs a process may run on, its control group's quota the time it gets on them. The quota
 * of a group holds for all groups below it, so the path is walked up to the root. What cannot be read bounds nothing.
 * Must never fail. */
#include "config/cpus.h"

#include "base/buf.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

/* Reads a small file whole; false if it cannot be read. */
static bool read_small(const char *path, struct buf *out) {
    enum { SMALL = 16384 };
    buf_reset(out);
    buf_reserve(out, SMALL);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t length;
    while (out->len < SMALL && (length = read(fd, out->data + out->len, SMALL - out->len)) > 0)
        out->len += (size_t)length;
    close(fd);
    return out->len > 0;
}

static unsigned cpus_by_affinity(void) {
    /* The kernel refuses a mask smaller than its own with EINVAL. */
    for (size_t cpus = 1024; cpus <= 1 << 16; cpus *= 2) {
        cpu_set_t *set = CPU_ALLOC(cpus);
        if (!set) break;
        size_t bytes = CPU_ALLOC_SIZE(cpus);
        int failed = sched_getaffinity(0, bytes, set), saved = errno;
        int count = failed ? 0 : CPU_COUNT_S(bytes, set);
        CPU_FREE(set);
        if (count > 0) return (unsigned)count;
        if (saved != EINVAL) break;
    }
    return 1;
}

/* Quota and period, both in microseconds, as CPUs; `bound` if that is fewer, or if there is no quota ("max", -1). */
static unsigned bounded(unsigned bound, struct slice quota, struct slice period) {
    uint64_t quota_us, period_us;
    if (!slice_to_u64(quota, &quota_us) || !slice_to_u64(period, &period_us) || !period_us) return bound;
    uint64_t cpus = quota_us / period_us + (quota_us % period_us != 0);
    if (cpus < 1) cpus = 1;
    return cpus < bound ? (unsigned)cpus : bound;
}

static struct slice first_line(const struct buf *text) {
    struct slice all = buf_slice(text);
    return slice_trim(slice_make(all.data, slice_find(all, '\n')));
}

/* cgroup v2: "cpu.max" holds "QUOTA PERIOD". */
static unsigned bound_v2(unsigned bound, const char *group) {
    struct buf text = BUF_INIT;
    char *path = mem_printf("%s/cpu.max", group);
    if (read_small(path, &text)) {
        struct slice period = first_line(&text), quota;
        slice_next(&period, ' ', &quota);
        bound = bounded(bound, quota, period);
    }
    mem_free(path);
    buf_release(&text);
    return bound;
}

/* cgroup v1: one file for each number. */
static unsigned bound_v1(unsigned bound, const char *group) {
    struct buf quota = BUF_INIT, period = BUF_INIT;
    char *quota_path = mem_printf("%s/cpu.cfs_quota_us", group),
         *period_path = mem_printf("%s/cpu.cfs_period_us", group);
    if (read_small(quota_path, &quota) && read_small(period_path, &period))
        bound = bounded(bound, first_line(&quota), first_line(&period));
    mem_free(quota_path);
    mem_free(period_path);
    buf_release(&quota);
    buf_release(&period);
    return bound;
}

typedef unsigned bound_group(unsigned bound, const char *group);

/* `group` and all groups above it. In a container its path may lead outside of what is mounted; the root is there
 * always. */
static unsigned bound_upwards(unsigned bound, const char *mount, struct slice group, bound_group *bound_one) {
    while (group.len && group.data[group.len - 1] == '/') group.len--;
    for (;;) {
        char *path = mem_printf("%s%.*s", mount, SLICE_ARG(group));
        bound = bound_one(bound, path);
        mem_free(path);
        if (!group.len) return bound;
        while (group.len && group.data[--group.len] != '/') {
        }
    }
}

static bool has_controller(struct slice controllers, struct slice name) {
    struct slice controller;
    while (slice_next(&controllers, ',', &controller))
        if (slice_equal(controller, name)) return true;
    return false;
}

/* One line of /proc/self/cgroup: "0::/path" for version 2, "4:cpu,cpuacct:/path" for version 1. */
static unsigned bound_line(unsigned bound, const char *root, struct slice line) {
    struct slice id, controllers;
    if (!slice_next(&line, ':', &id) || !slice_next(&line, ':', &controllers) || !line.data) return bound;
    bool is_v2 = slice_equal(id, SLICE("0")) && !controllers.len;
    if (!is_v2 && !has_controller(controllers, SLICE("cpu"))) return bound;
    char *mount = is_v2 ? mem_printf("%s/sys/fs/cgroup", root)
                        : mem_printf("%s/sys/fs/cgroup/%.*s", root, SLICE_ARG(controllers));
    bound = bound_upwards(bound, mount, line, is_v2 ? bound_v2 : bound_v1);
    mem_free(mount);
    return bound;
}

unsigned cpus_usable(const char *root) {
    unsigned cpus = cpus_by_affinity();
    struct buf groups = BUF_INIT;
    char *path = mem_printf("%s/proc/self/cgroup", root);
    if (read_small(path, &groups)) {
        struct slice rest = buf_slice(&groups), line;
        while (slice_next(&rest, '\n', &line)) cpus = bound_line(cpus, root, line);
    }
    mem_free(path);
    buf_release(&groups);
    return cpus;
}
