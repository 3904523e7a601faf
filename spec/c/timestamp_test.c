/* src/timestamp: what it reads is written here by other means, and what it accepts is judged here
 * by another recogniser. */
#include "timestamp.h"
#include "check.h"
#include "walking_calendar.h"

/* ---- A second recogniser: fixed places, a walk to the day, and strtod --------------------------
 */

static int digits_at(const char *text, int count) {
    int number = 0;
    for (int i = 0; i < count; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return -1;
        }
        number = number * 10 + text[i] - '0';
    }
    return number;
}

static double fraction_of(const char *text, size_t length) {
    char copy[80] = "0";
    CHECK(length < sizeof copy - 1);
    memcpy(copy + 1, text, length);
    return strtod(copy, NULL);
}

static bool expected_offset(const char *text, size_t length, int *offset) {
    int hours, minutes;
    if (length == 1 && (*text == 'Z' || *text == 'z')) {
        *offset = 0;
        return true;
    }
    if (length != 6 || text[3] != ':' || (text[0] != '+' && text[0] != '-')) {
        return false;
    }
    hours = digits_at(text + 1, 2);
    minutes = digits_at(text + 4, 2);
    *offset = (hours * 3600 + minutes * 60) * (text[0] == '-' ? -1 : 1);
    return hours >= 0 && hours < 24 && minutes >= 0 && minutes < 60;
}

static bool expected(const char *text, size_t length, double *seconds) {
    struct walking_day day;
    int hour, minute, second, offset;
    size_t end = 19;
    double fraction = 0;
    if (length < 20 || text[4] != '-' || text[7] != '-' || (text[10] != 'T' && text[10] != 't') ||
        text[13] != ':' || text[16] != ':') {
        return false;
    }
    hour = digits_at(text + 11, 2);
    minute = digits_at(text + 14, 2);
    second = digits_at(text + 17, 2);
    if (digits_at(text, 4) < 0 ||
        !walking_find(digits_at(text, 4), digits_at(text + 5, 2), digits_at(text + 8, 2), &day) ||
        hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60) {
        return false;
    }
    if (text[end] == '.') {
        while (++end < length && digits_at(text + end, 1) >= 0) {
        }
        if (end == 20) {
            return false;
        }
        fraction = fraction_of(text + 19, end - 19);
    }
    if (!expected_offset(text + end, length - end, &offset)) {
        return false;
    }
    *seconds = (double)(day.days * 86400 + hour * 3600 + minute * 60 + second - offset) + fraction;
    return true;
}

static void check_one(const char *text, size_t length) {
    char *copy = check_copy(text, length);
    double wanted = 4711;
    double got = 4711;
    bool valid = expected(text, length, &wanted);
    CHECK_ABOUT(timestamp_parse(copy, length, &got) == valid, text, length);
    CHECK_ABOUT(got == wanted, text, length);
    free(copy);
}

/* ---- Cases -------------------------------------------------------------------------------------
 */

static bool reads(const char *text, double wanted) {
    size_t length = strlen(text);
    char *copy = check_copy(text, length);
    double seconds = wanted + 1;
    bool read = timestamp_parse(copy, length, &seconds);
    free(copy);
    return read && seconds == wanted;
}

static bool refuses(const char *text) {
    size_t length = strlen(text);
    char *copy = check_copy(text, length);
    double seconds = 4711;
    bool read = timestamp_parse(copy, length, &seconds);
    free(copy);
    return !read && seconds == 4711;
}

static void reads_what_the_service_sends(void) {
    CHECK(reads("2026-07-23T11:23:15.0768271Z", 1784805795.0768271));
    CHECK(reads("2026-07-23T11:23:14.5754524Z", 1784805794.5754524));
    CHECK(reads("2026-07-23T03:23:15.0768271-08:00", 1784805795.0768271));
    CHECK(reads("2026-07-23T16:53:15+05:30", 1784805795));
    CHECK(reads("2026-07-23t11:23:15z", 1784805795));
    CHECK(reads("0001-01-01T00:00:00Z", -62135596800));
    CHECK(reads("1970-01-01T00:00:00Z", 0));
}

static void reads_the_edges(void) {
    CHECK(reads("0000-01-01T00:00:00+23:59", -62167219200 - 86340));
    CHECK(reads("9999-12-31T23:59:59-23:59", 253402300799 + 86340));
    CHECK(reads("2016-12-31T23:59:60Z", 1483228800));
    CHECK(reads("2016-12-31T15:59:60.5-08:00", 1483228800.5));
    CHECK(reads("2024-02-29T00:00:00-00:00", 1709164800));
    CHECK(reads("1969-12-31T23:59:59.75Z", -0.25));
    CHECK(reads("2026-07-22T23:00:00-12:23", 1784805780));
}

static void refuses_what_is_no_moment(void) {
    double seconds = 4711;
    static const char *const others[] = {"",
                                         "Z",
                                         "2026-02-01T10:00:00",
                                         "2026-02-01T10:00:00.5",
                                         "2026-02-01",
                                         "2026-02-01Z",
                                         "2026-02-01T10:00Z",
                                         "2026-02-01T10Z",
                                         "2026-02-01 10:00:00Z",
                                         "2026-02-01T10:00:00,5Z",
                                         "2026-02-01T10:00:00.Z",
                                         "2026-02-01T10:00:00.+01:00",
                                         "2026-02-01T10:00:00.5.5Z",
                                         "2026-02-01T10:00:00 Z",
                                         "2026-02-01T10:00:00+0100",
                                         "2026-02-01T10:00:00+01",
                                         "2026-02-01T10:00:00+01:00Z",
                                         "2026-02-01T10:00:00+24:00",
                                         "2026-02-01T10:00:00+01:60",
                                         "2026-02-01T10:00:00+1:00",
                                         "2026-02-01T10:00:00\342\210\22201:00",
                                         "2026-02-01T24:00:00Z",
                                         "2026-02-01T10:60:00Z",
                                         "2026-02-01T10:00:61Z",
                                         "2026-02-29T10:00:00Z",
                                         "1900-02-29T10:00:00Z",
                                         "2026-04-31T10:00:00Z",
                                         "2026-00-01T10:00:00Z",
                                         "2026-13-01T10:00:00Z",
                                         "2026-01-00T10:00:00Z",
                                         "2026-01-32T10:00:00Z",
                                         "20260201T100000Z",
                                         "26-02-01T10:00:00Z",
                                         "+2026-02-01T10:00:00Z",
                                         "-001-02-01T10:00:00Z",
                                         "12026-02-01T10:00:00Z",
                                         " 2026-02-01T10:00:00Z",
                                         "2026-02-01T10:00:00Z ",
                                         "2026-02-01T10:00:00Z\n",
                                         "2026-W05-7T10:00:00Z",
                                         "2026-032T10:00:00Z",
                                         "2026-02-01T10:00:00GMT",
                                         "1784805795",
                                         "Sun, 06 Nov 1994 08:49:37 GMT"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        CHECK_ABOUT(refuses(others[i]), others[i], strlen(others[i]));
    }
    CHECK(!timestamp_parse(NULL, 0, &seconds) && seconds == 4711);
}

/* An offset moves a clock that is written without it; the moment stays. */
static void reads_every_offset(void) {
    const int64_t moment = 1784805795;
    for (int minutes = -1439; minutes <= 1439; minutes++) {
        char text[64];
        int64_t local = moment + minutes * 60;
        int clock = (int)(local % 86400);
        struct walking_day day;
        CHECK(walking_find(2026, 7, 22, &day));
        while (day.days < local / 86400) {
            walking_next_day(&day);
        }
        snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d%c%02d:%02d", day.year, day.month,
                 day.day, clock / 3600, clock / 60 % 60, clock % 60, minutes < 0 ? '-' : '+',
                 abs(minutes) / 60, abs(minutes) % 60);
        CHECK_ABOUT(reads(text, (double)moment), text, strlen(text));
    }
}

/* Up to nine digits the number is the double nearest to the moment, as strtod finds it. */
static void keeps_fractions_to_the_nearest_double(void) {
    struct walking_day day = walking_first_day();
    for (; day.year <= 9999; walking_next_day(&day)) {
        char text[64];
        char decimal[64];
        int clock = (int)check_random(86400);
        uint32_t nanoseconds = check_random(1000000000);
        int64_t whole = day.days * 86400 + clock;
        if (check_random(8) > 0 || nanoseconds == 0) {
            continue;
        }
        if (whole >= 0) {
            snprintf(decimal, sizeof decimal, "%lld.%09u", (long long)whole, nanoseconds);
        } else {
            snprintf(decimal, sizeof decimal, "-%lld.%09u", -(long long)whole - 1,
                     1000000000 - nanoseconds);
        }
        snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%09uZ", day.year, day.month,
                 day.day, clock / 3600, clock / 60 % 60, clock % 60, nanoseconds);
        CHECK_ABOUT(reads(text, strtod(decimal, NULL)), text, strlen(text));
    }
}

static void keeps_the_order_of_moments(void) {
    double previous = -1e18;
    for (int i = 0; i < 20000; i++) {
        char text[64];
        double seconds = 0;
        snprintf(text, sizeof text, "2026-07-23T11:23:%02d.%03d999999999%09dZ", i / 1000 + 20,
                 i % 1000, i * 3);
        CHECK_ABOUT(timestamp_parse(text, strlen(text), &seconds), text, strlen(text));
        CHECK_ABOUT(seconds > previous, text, strlen(text));
        previous = seconds;
    }
}

static void takes_fractions_of_any_length(void) {
    enum { DIGITS = 100000 };
    static char text[DIGITS + 21];
    double seconds = 0;
    memcpy(text, "1970-01-01T00:00:00.", 20);
    memset(text + 20, '9', DIGITS);
    text[20 + DIGITS] = 'Z';
    CHECK(timestamp_parse(text, sizeof text, &seconds) && seconds < 1 && seconds > 0.999999999999);
    memset(text + 20, '0', DIGITS);
    CHECK(timestamp_parse(text, sizeof text, &seconds) && seconds == 0);
    text[20] = '5';
    CHECK(timestamp_parse(text, sizeof text, &seconds) && seconds == 0.5);
    CHECK(!timestamp_parse(text, sizeof text - 1, &seconds));
}

static void judges_mutations_like_the_second_recogniser(void) {
    static const char *const samples[] = {
        "2026-07-23T11:23:15.0768271Z", "2024-02-29t23:59:60.5-08:00", "0001-01-01T00:00:00+00:00"};
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        check_mutations(samples[i], strlen(samples[i]), check_one);
        check_cuts(samples[i], strlen(samples[i]), check_one);
    }
}

/* Any digits in the right places: about one in fifty is a moment. */
static void judges_random_digits_like_the_second_recogniser(void) {
    for (int round = 0; round < 500000; round++) {
        char text[] = "0000-00-00T00:00:00.000-00:00";
        for (size_t i = 0; i < sizeof text - 1; i++) {
            if (text[i] == '0') {
                uint32_t likely = i == 5 || i == 26 ? 2 : i == 8 || i == 11 || i == 24 ? 4 : 10;
                text[i] = (char)('0' + check_random(i == 14 || i == 17 || i == 27 ? 7 : likely));
            }
        }
        text[23] = check_random(2) == 0 ? '+' : '-';
        check_one(text, sizeof text - 1);
    }
}

int main(void) {
    check_case("reads what the service sends", reads_what_the_service_sends);
    check_case("reads the ends of the range, leap seconds and unknown offsets", reads_the_edges);
    check_case("refuses text that names no moment", refuses_what_is_no_moment);
    check_case("reads one moment with every offset", reads_every_offset);
    check_case("keeps fractions to the nearest double", keeps_fractions_to_the_nearest_double);
    check_case("keeps the order of moments", keeps_the_order_of_moments);
    check_case("takes fractions of any length", takes_fractions_of_any_length);
    check_case("judges every mutation and cut as another recogniser does",
               judges_mutations_like_the_second_recogniser);
    check_case("judges random digits as another recogniser does",
               judges_random_digits_like_the_second_recogniser);
    return check_summary();
}
