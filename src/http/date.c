/* Formats HTTP dates. Not with strftime(3), whose names follow the application's locale. */
#include "http/date.h"

#include "base/compiler.h"

static void format(struct http_date *d, time_t now) {
    static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct tm t;
    gmtime_r(&now, &t);
    snprintf(d->text, sizeof d->text, "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT", days + 3 * t.tm_wday, t.tm_mday,
             months + 3 * t.tm_mon, t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
    d->second = (uint64_t)now;
}

struct slice http_date_now(struct http_date *cached) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if ((uint64_t)now.tv_sec != cached->second) format(cached, now.tv_sec);
    return slice_make(cached->text, sizeof "Tue, 24 Nov 2026 10:06:39 GMT" - 1);
}
