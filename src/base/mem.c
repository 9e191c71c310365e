/* malloc(3) whose failure needs no handling: it ends the process with one line on stderr.
 * Must never be called by the arbiter between its start and a reload, nor from a signal handler. */
#include "base/mem.h"

#include "base/compiler.h"

#include <link.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static COLD noreturn void exhausted(void) {
    static const char line[] = "cserve: out of memory\n";
    ssize_t ignored UNUSED = write(STDERR_FILENO, line, sizeof(line) - 1);
    abort();
}

void *mem_alloc(size_t bytes) {
    void *memory = malloc(bytes ? bytes : 1);
    if (UNLIKELY(!memory)) exhausted();
    return memory;
}

void *mem_zalloc(size_t count, size_t bytes) {
    void *memory = calloc(count ? count : 1, bytes ? bytes : 1);
    if (UNLIKELY(!memory)) exhausted();
    return memory;
}

void *mem_realloc(void *pointer, size_t bytes) {
    void *memory = realloc(pointer, bytes ? bytes : 1);
    if (UNLIKELY(!memory)) exhausted();
    return memory;
}

char *mem_strdup(const char *text) {
    return mem_strndup(text, strlen(text));
}

char *mem_strndup(const char *text, size_t length) {
    if (UNLIKELY(length == SIZE_MAX)) exhausted();
    char *copy = mem_alloc(length + 1);
    if (length) memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}

char *mem_printf(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (UNLIKELY(length < 0)) exhausted();
    char *text = mem_alloc((size_t)length + 1);
    vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return text;
}

void mem_free(void *pointer) {
    free(pointer);
}

/* A segment that may not be written has nothing that the file has not. */
static int drop_read_only_segments(struct dl_phdr_info *object, size_t size UNUSED, void *context UNUSED) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    for (unsigned i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        if (segment->p_type != PT_LOAD || segment->p_flags & PF_W) continue;
        uintptr_t from = (object->dlpi_addr + segment->p_vaddr) & ~(page - 1);
        madvise((void *)from, object->dlpi_addr + segment->p_vaddr + segment->p_memsz - from, MADV_DONTNEED);
    }
    return 0;
}

void mem_drop_text(void) {
    dl_iterate_phdr(drop_read_only_segments, NULL);
}
