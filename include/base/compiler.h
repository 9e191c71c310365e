/* Compiler attributes, branch hints, and the functions of libc that this code base does without. */
#ifndef CSERVE_BASE_COMPILER_H
#define CSERVE_BASE_COMPILER_H

#include <stdio.h>
#include <stdnoreturn.h>
#include <string.h>
#include <time.h>

#define PRINTF_LIKE(text, first) __attribute__((format(printf, text, first)))
#define MUST_CHECK               __attribute__((warn_unused_result))
#define UNUSED                   __attribute__((unused))
#define COLD                     __attribute__((cold, noinline))
#define CACHE_ALIGNED            __attribute__((aligned(64)))

#define LIKELY(condition)   __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)

#define ARRAY_LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* The struct that embeds `member` at `pointer`. */
// clang-format off
#define CONTAINER_OF(pointer, type, member) ((type *)((char *)(pointer) - offsetof(type, member)))
// clang-format on

/* Unbounded writes and hidden state. snprintf, memcpy and struct buf do the same work in sight of a length. The
 * headers that declare them are included above: a poisoned name may not appear again. */
#ifndef CSERVE_ALLOW_BANNED
#undef sprintf /* macros of _FORTIFY_SOURCE */
#undef vsprintf
#pragma GCC poison strcpy strcat strncpy strncat sprintf vsprintf gets strtok asctime ctime
#endif

#endif
