/* Clocks. Deadlines count in milliseconds of CLOCK_MONOTONIC, which no one can set; wall time is for logs and Date
 * alone. */
#ifndef CSERVE_BASE_CLOCK_H
#define CSERVE_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Milliseconds, microseconds of CLOCK_MONOTONIC (clock_gettime(2)); CLOCK_MONOTONIC is the same in all processes. */
uint64_t clock_mono_ms(void);
uint64_t clock_mono_us(void);
/* As clock_mono_ms() at a fifth of the price, some milliseconds behind. */
uint64_t clock_mono_coarse_ms(void);
/* Microseconds since the epoch. */
uint64_t clock_wall_us(void);

/* The calendar at `seconds` since the epoch, in UTC and in the local zone (tm_gmtoff). As gmtime_r(3) and
 * localtime_r(3), but without the lock of libc's time zone, which a forked child may find taken for ever;
 * localtime_r(3) is asked once a quarter of an hour. */
void clock_utc(time_t seconds, struct tm *out);
void clock_local(time_t seconds, struct tm *out);

#define CLOCK_NEVER UINT64_MAX

#endif
