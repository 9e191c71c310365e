/* ps(1) reads a process's title from where the kernel put argv, and from the environment behind it when the title is
 * longer than argv was (proc(5), /proc/PID/cmdline). So both are copied elsewhere once, and their old place is the
 * title from then on. Must never be set while another thread reads the title's memory; nobody does after
 * proctitle_init(). */
#include "base/proctitle.h"

#include "base/mem.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <unistd.h>

static struct {
    char *memory;
    size_t bytes;
    char **kept; /* all copies, for ever: setenv(3) forgets what it replaces */
} title;

/* Is `text` the string that follows the title's memory? Then it belongs to it. */
static void claim(char *text) {
    if (!text || text != title.memory + title.bytes) return;
    title.bytes += strlen(text) + 1;
}

void proctitle_init(int argc, char **argv) {
    if (argc < 1 || title.memory) return;
    title.memory = argv[0];
    for (int i = 0; i < argc; i++) claim(argv[i]);
    size_t count = 0;
    while (environ && environ[count]) claim(environ[count++]);
    char **kept = title.kept = mem_zalloc((size_t)argc + count, sizeof(*kept));
    for (int i = 0; i < argc; i++) argv[i] = *kept++ = mem_strdup(argv[i]);
    char **copy = mem_zalloc(count + 1, sizeof(*copy));
    for (size_t i = 0; i < count; i++) copy[i] = *kept++ = mem_strdup(environ[i]);
    environ = copy;

    program_invocation_name = argv[0];
    const char *slash = strrchr(argv[0], '/');
    program_invocation_short_name = slash ? (char *)slash + 1 : argv[0];
}

/* "cserve: master" of "cserve: master [wsgi:app]"; the kernel takes 15 bytes, which is too short for a worker's
 * number. */
static void set_comm(const char *text) {
    char comm[16];
    const char *end = strstr(text, " [");
    snprintf(comm, sizeof(comm), "%.*s", (int)(end ? end - text : (ptrdiff_t)strlen(text)), text);
    size_t length = strlen(comm);
    if (length && comm[length - 1] == ' ') comm[length - 1] = '\0';
    prctl(PR_SET_NAME, comm, 0, 0, 0);
}

void proctitle_set(const char *format, ...) {
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    set_comm(text);
    if (!title.bytes) return;
    size_t length = strlen(text);
    if (length >= title.bytes) length = title.bytes - 1;
    memcpy(title.memory, text, length);
    memset(title.memory + length, 0, title.bytes - length);
}
