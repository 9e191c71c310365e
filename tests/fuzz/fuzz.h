/* What the harnesses share: libFuzzer's entry point, and an assertion that a release build keeps. */
#ifndef CSERVE_TESTS_FUZZ_H
#define CSERVE_TESTS_FUZZ_H

#include "base/compiler.h"
#include "base/slice.h"

#include <stdlib.h>

/* Called with each input (https://llvm.org/docs/LibFuzzer.html); returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                    \
    do {                                                                                   \
        if (UNLIKELY(!(condition))) {                                                      \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                       \
        }                                                                                  \
    } while (0)

/* The last byte of an input chooses settings and splits, so that a seed is otherwise what goes over the wire. */
static inline uint8_t fuzz_take_control(struct slice *input) {
    return input->len ? (uint8_t)input->data[--input->len] : 0;
}

#endif
