/* The CPUs that may be used, with control groups made of files. */
#include "config/cpus.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[] = "/tmp/cserve-cpus-XXXXXX";

/* Writes root/path, making its directories. */
static void put(const char *path, const char *text) {
    char *whole = mem_printf("%s/%s", root, path);
    for (char *slash = whole + sizeof(root); (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        mkdir(whole, 0700);
        *slash = '/';
    }
    FILE *file = fopen(whole, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    mem_free(whole);
}

static int set_up(void **state) {
    (void)state;
    memcpy(root + sizeof(root) - 7, "XXXXXX", 6);
    return mkdtemp(root) ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    char *command = mem_printf("rm -r %s", root);
    int status = system(command);
    mem_free(command);
    return status;
}

static unsigned affinity(void) {
    cpu_set_t set;
    assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
    return (unsigned)CPU_COUNT(&set);
}

static unsigned at_most(unsigned cpus) {
    return affinity() < cpus ? affinity() : cpus;
}

static void test_affinity(void **state) {
    (void)state;
    assert_int_equal(cpus_usable(root), affinity());
    cpu_set_t all, one;
    sched_getaffinity(0, sizeof(all), &all);
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE && !CPU_COUNT(&one); cpu++)
        if (CPU_ISSET(cpu, &all)) CPU_SET(cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
    assert_int_equal(cpus_usable(root), 1);
    sched_setaffinity(0, sizeof(all), &all);
}

static void test_v2(void **state) {
    (void)state;
    put("proc/self/cgroup", "0::/system.slice/cserve.service\n");
    put("sys/fs/cgroup/system.slice/cserve.service/cpu.max", "max 100000\n");
    assert_int_equal(cpus_usable(root), affinity());
    put("sys/fs/cgroup/system.slice/cserve.service/cpu.max", "50000 100000\n");
    assert_int_equal(cpus_usable(root), 1);
    put("sys/fs/cgroup/system.slice/cserve.service/cpu.max", "150000 100000\n");
    assert_int_equal(cpus_usable(root), at_most(2));
    /* A group above bounds all below. */
    put("sys/fs/cgroup/system.slice/cpu.max", "100000 100000\n");
    assert_int_equal(cpus_usable(root), 1);
}

static void test_v2_in_a_container(void **state) {
    (void)state;
    put("proc/self/cgroup", "0::/\n");
    put("sys/fs/cgroup/cpu.max", "100000 100000\n");
    assert_int_equal(cpus_usable(root), 1);
}

static void test_v1(void **state) {
    (void)state;
    put("proc/self/cgroup", "12:cpuset:/x\n4:cpu,cpuacct:/docker/1f\n1:name=systemd:/docker/1f\n");
    put("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "100000\n");
    put("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
    assert_int_equal(cpus_usable(root), 1);
    put("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
    assert_int_equal(cpus_usable(root), affinity());
}

static void test_nonsense(void **state) {
    (void)state;
    static const char *const nonsense[] = {
        "", "\n", "0", "0 0", "x 100000", "100000", "100000 x", "-5 100000", "18446744073709551615 1"};
    static const char *const groups[] = {"0::/", "0::", "0:", "", ":::", "x\n\n", "0::///"};
    for (size_t i = 0; i < sizeof(groups) / sizeof(*groups); i++) {
        put("proc/self/cgroup", groups[i]);
        for (size_t j = 0; j < sizeof(nonsense) / sizeof(*nonsense); j++) {
            put("sys/fs/cgroup/cpu.max", nonsense[j]);
            unsigned cpus = cpus_usable(root);
            assert_true(cpus >= 1 && cpus <= affinity());
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_affinity, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_v2, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_v2_in_a_container, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_v1, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nonsense, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
