/* The title that the kernel shows, and that arguments and environment survive it. Runs itself anew, since a test's own
 * argv is short. */
#include "base/proctitle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static size_t read_file(const char *path, char *out, size_t size) {
    int fd = open(path, O_RDONLY);
    ssize_t length = read(fd, out, size - 1);
    close(fd);
    out[length > 0 ? length : 0] = '\0';
    return (size_t)(length > 0 ? length : 0);
}

/* In the new process: nonzero names the first thing that is wrong. */
static int check_in_child(int argc, char **argv) {
    char text[4096], comm[64];
    proctitle_init(argc, argv);
    if (strcmp(argv[1], "child") != 0) return 1;
    proctitle_set("cserve: worker %d [%s]", 1, "wsgi:app");
    read_file("/proc/self/cmdline", text, sizeof(text));
    if (strcmp(text, "cserve: worker 1 [wsgi:app]") != 0) return 2;
    read_file("/proc/self/comm", comm, sizeof(comm));
    if (strcmp(comm, "cserve: worker\n") != 0) return 3;
    const char *kept = getenv("TITLE_TEST");
    if (!kept || strcmp(kept, "kept") != 0) return 4;
    if (strcmp(argv[1], "child") != 0) return 5;

    /* Longer than argv was, into the environment's place; then shorter, and nothing of the old one is left. */
    char long_name[150];
    memset(long_name, 'x', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    proctitle_set("cserve: master [%s]", long_name);
    read_file("/proc/self/cmdline", text, sizeof(text));
    if (strlen(text) != strlen("cserve: master []") + sizeof(long_name) - 1) return 6;
    proctitle_set("cserve: status");
    size_t length = read_file("/proc/self/cmdline", text, sizeof(text));
    for (size_t i = strlen("cserve: status"); i < length; i++)
        if (text[i]) return 7;
    if (strcmp(program_invocation_name, argv[0]) != 0) return 8;
    return setenv("TITLE_TEST", "changed", 1) == 0 && strcmp(getenv("TITLE_TEST"), "changed") == 0 ? 0 : 9;
}

static void test_title(void **state) {
    (void)state;
    char padding[256];
    memset(padding, 'p', sizeof(padding) - 1);
    padding[sizeof(padding) - 1] = '\0';
    setenv("TITLE_TEST", "kept", 1);
    setenv("TITLE_PADDING", padding, 1);
    pid_t child = fork();
    if (child == 0) {
        execl("/proc/self/exe", "test_proctitle", "child", (char *)NULL);
        _exit(100);
    }
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "child") == 0) return check_in_child(argc, argv);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_title)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
