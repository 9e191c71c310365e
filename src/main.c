/* cserve: reads the command line and hands over to the arbiter. */
#include "base/fd.h"
#include "base/proctitle.h"
#include "base/version.h"
#include "config/describe.h"
#include "config/inifile.h"
#include "http/parser.h"
#include "process/arbiter.h"
#include "process/reexec.h"
#include "process/worker.h"
#include "wsgi/wsgi.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* Each line of `text` as a message of its own. */
static void print_lines(const struct buf *text) {
    struct slice rest = buf_slice(text), line;
    while (slice_next(&rest, '\n', &line))
        if (line.len) fprintf(stderr, "cserve: %.*s\n", SLICE_ARG(line));
}

static struct settings *load(int argc, char **argv) {
    struct buf errors = BUF_INIT, notes = BUF_INIT;
    struct settings *s = settings_load(argc, argv, &errors, &notes);
    print_lines(&notes);
    if (!s) print_lines(&errors);
    buf_release(&errors);
    buf_release(&notes);
    return s;
}

/* --check-config: the import runs in a child, whatever it does to its process. */
static int check(const struct settings *s) {
    int status;
    if (s->chdir && chdir(s->chdir))
        die(EXIT_SETTINGS, "cannot change to the directory '%s': %s", s->chdir, strerror(errno));
    pid_t pid = fork();
    if (pid < 0) die(EXIT_BOOT, "cannot fork: %s", strerror(errno));
    if (pid == 0) worker_check(s);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
    int result = WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_APP;
    if (WIFSIGNALED(status)) fprintf(stderr, "cserve: the import was killed by signal %d\n", WTERMSIG(status));
    if (!result) printf("cserve: the settings are valid and '%s' can be loaded\n", s->wsgi_app);
    return result;
}

static int print(const struct settings *s) {
    describe_settings(s, stdout);
    return fflush(stdout) ? EXIT_SETTINGS : EXIT_SUCCESS;
}

int main(int argc, char **argv) {
    char details[160];
    proctitle_init(argc, argv);
    if (fd_ensure_standard()) return EXIT_SETTINGS;
    snprintf(details, sizeof(details), "(%s, %s, %s)", wsgi_version(), parser_version(), inifile_version());
    if (settings_answer_early(argc, argv, details)) return EXIT_SUCCESS;
    struct settings *s = load(argc, argv);
    if (!s) reexec_go_back(argv);
    if (!s) return EXIT_SETTINGS;
    if (!s->print_config && !s->check_config) return arbiter_run(argc, argv, s);
    int status = s->print_config ? print(s) : check(s);
    settings_free(s);
    return status;
}
