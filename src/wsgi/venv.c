/* A virtual environment is a directory with pyvenv.cfg and bin/python (PEP 405); told that path as sys.executable,
 * Python finds the rest itself. The version is compared here, because a wrong one would only show as modules that
 * cannot be found. */
#include "py.h"

#include "venv.h"

#include "base/fd.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define CONFIG_BYTES 4096

static bool is_executable(const char *path) {
    return access(path, X_OK) == 0;
}

/* "python3.11" in PATH, for binaries that run on another machine than the one they were built on. */
static char *search_path(void) {
    const char *path = getenv("PATH");
    struct slice rest = slice_of(path ? path : "/usr/local/bin:/usr/bin:/bin"), directory;
    while (slice_next(&rest, ':', &directory)) {
        if (directory.len == 0) continue;
        char *candidate = mem_printf("%.*s/python%d.%d", SLICE_ARG(directory), PY_MAJOR_VERSION, PY_MINOR_VERSION);
        if (is_executable(candidate)) return candidate;
        mem_free(candidate);
    }
    return NULL;
}

static char *base_python(void) {
#ifdef CSERVE_PYTHON
    if (is_executable(CSERVE_PYTHON)) return mem_strdup(CSERVE_PYTHON);
#endif
    char *found = search_path();
    if (!found)
        log_error("cannot find python%d.%d: neither where the build found it nor in PATH; install it or set virtualenv",
                  PY_MAJOR_VERSION, PY_MINOR_VERSION);
    return found;
}

/* The value of a line "key = value". */
static bool find_key(struct slice text, struct slice key, struct slice *value) {
    struct slice line, name;
    while (slice_next(&text, '\n', &line)) {
        *value = line;
        if (!slice_next(value, '=', &name) || !value->data || !slice_equal_nocase(slice_trim(name), key)) continue;
        *value = slice_trim(*value);
        return true;
    }
    return false;
}

/* Python's own venv writes "version = 3.11.2", virtualenv and others "version_info = 3.11.2.final.0". */
static bool is_our_version(struct slice version) {
    struct slice major, minor;
    uint64_t number[2];
    return slice_next(&version, '.', &major) && slice_next(&version, '.', &minor) && slice_to_u64(major, &number[0]) &&
           slice_to_u64(minor, &number[1]) && number[0] == PY_MAJOR_VERSION && number[1] == PY_MINOR_VERSION;
}

static size_t read_config(const char *virtualenv, char *data, size_t size) {
    char *path = mem_printf("%s/pyvenv.cfg", virtualenv);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, data, size);
    if (length < 0)
        log_error("the virtual environment '%s' cannot be used: '%s': %s; make it anew, or set virtualenv to another "
                  "directory",
                  virtualenv, path, strerror(errno));
    fd_close(&fd);
    mem_free(path);
    return length < 0 ? 0 : (size_t)length;
}

static bool check_version(const char *virtualenv) {
    char data[CONFIG_BYTES];
    struct slice config = slice_make(data, read_config(virtualenv, data, sizeof(data))), version;
    if (config.len == 0) return false;
    bool is_told = find_key(config, SLICE("version"), &version) || find_key(config, SLICE("version_info"), &version);
    if (!is_told || is_our_version(version)) return true;
    log_error("the virtual environment '%s' is of Python %.*s, but this cserve embeds Python %d.%d; make it anew with "
              "python%d.%d, or build "
              "cserve with PYTHON='%s/bin/python'",
              virtualenv, SLICE_ARG(version), PY_MAJOR_VERSION, PY_MINOR_VERSION, PY_MAJOR_VERSION, PY_MINOR_VERSION,
              virtualenv);
    return false;
}

char *venv_find_python(const struct settings *s) {
    if (!s->virtualenv) return base_python();
    if (!check_version(s->virtualenv)) return NULL;
    char *python = mem_printf("%s/bin/python", s->virtualenv);
    if (is_executable(python)) return python;
    log_error("the virtual environment '%s' cannot be used: '%s': %s; make it anew", s->virtualenv, python,
              strerror(errno));
    mem_free(python);
    return NULL;
}
