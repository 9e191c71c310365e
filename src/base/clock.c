/* The clocks of clock_gettime(2), and calendars computed without libc's time-zone lock: a child that an application
 * forks while another thread holds that lock could never log again. Must never fail. */
#include "base/clock.h"

#include <stdatomic.h>
#include <stdbool.h>

static struct timespec now(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t;
}

static uint64_t milliseconds(struct timespec t) {
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t microseconds(struct timespec t) {
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint64_t clock_mono_ms(void) {
    return milliseconds(now(CLOCK_MONOTONIC));
}

uint64_t clock_mono_us(void) {
    return microseconds(now(CLOCK_MONOTONIC));
}

uint64_t clock_mono_coarse_ms(void) {
    return milliseconds(now(CLOCK_MONOTONIC_COARSE));
}

uint64_t clock_wall_us(void) {
    return microseconds(now(CLOCK_REALTIME));
}

void clock_utc(time_t seconds, struct tm *out) {
    /* Days to civil date in years that begin in March, so that the leap day comes last (Howard Hinnant's chrono
     * algorithms). */
    long day = (long)(seconds / 86400), rest = (long)(seconds % 86400);
    if (rest < 0) {
        rest += 86400;
        day--;
    }
    long shifted = day + 719468;
    long era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
    long of_era = shifted - era * 146097;
    long year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    long of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    long month = (5 * of_year + 2) / 153; /* 0 is March */
    long year = year_of_era + era * 400 + (month >= 10);
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    *out = (struct tm){
        .tm_sec = (int)(rest % 60),
        .tm_min = (int)(rest / 60 % 60),
        .tm_hour = (int)(rest / 3600),
        .tm_mday = (int)(of_year - (153 * month + 2) / 5 + 1),
        .tm_mon = (int)(month < 10 ? month + 2 : month - 10),
        .tm_year = (int)(year - 1900),
        .tm_wday = (int)(((day + 4) % 7 + 7) % 7),
        .tm_yday = (int)(month < 10 ? of_year + 59 + leap : of_year - 306),
        .tm_zone = "UTC",
    };
}

/* Offsets change at quarters of an hour only, so one answer of localtime_r(3) holds for a quarter. */
static long offset_at(time_t seconds) {
    static atomic_llong cached_quarter = -1;
    static atomic_long cached_offset;
    long long quarter = (long long)seconds / 900;
    long offset = atomic_load_explicit(&cached_offset, memory_order_relaxed);
    if (atomic_load_explicit(&cached_quarter, memory_order_acquire) == quarter) return offset;
    struct tm local;
    if (!localtime_r(&seconds, &local)) return 0;
    atomic_store_explicit(&cached_offset, local.tm_gmtoff, memory_order_relaxed);
    atomic_store_explicit(&cached_quarter, quarter, memory_order_release);
    return local.tm_gmtoff;
}

void clock_local(time_t seconds, struct tm *out) {
    long offset = offset_at(seconds);
    clock_utc(seconds + offset, out);
    out->tm_gmtoff = offset;
    out->tm_zone = "";
}
