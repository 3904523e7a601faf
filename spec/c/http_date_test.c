/* src/http_date: what it reads is written here by other means, and what it accepts is judged here
 * by another recogniser. */
#include <math.h>

#include "http_date.h"
#include "check.h"
#include "walking_calendar.h"

#define NOW 1767225599.0 /* the last second of 2025: 50 years on, 2075 ends */

static const char *const weekdays[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                       "Thursday", "Friday", "Saturday"};
static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

/* ---- A second recogniser: a pattern, then a walk to the day ------------------------------------
 */

/* In a pattern D, Y, h, i, s stand for a digit of that field, N for a letter of the month. */
struct fields {
    int day, month, year, hour, minute, second;
    char month_name[3];
};

static int *field_of(struct fields *fields, char letter) {
    switch (letter) {
    case 'D':
        return &fields->day;
    case 'Y':
        return &fields->year;
    case 'h':
        return &fields->hour;
    case 'i':
        return &fields->minute;
    case 's':
        return &fields->second;
    default:
        return NULL;
    }
}

static bool matches(const char *pattern, const char *text, size_t length, struct fields *fields) {
    size_t letters = 0;
    memset(fields, 0, sizeof *fields);
    if (strlen(pattern) != length) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        int *field = field_of(fields, pattern[i]);
        if (field != NULL) {
            if (text[i] < '0' || text[i] > '9') {
                return false;
            }
            *field = *field * 10 + (text[i] - '0');
        } else if (pattern[i] == 'N') {
            fields->month_name[letters++] = text[i];
        } else if (pattern[i] != text[i]) {
            return false;
        }
    }
    for (int month = 1; month <= 12; month++) {
        if (memcmp(fields->month_name, months + (month - 1) * 3, 3) == 0) {
            fields->month = month;
        }
    }
    return fields->hour < 24 && fields->minute < 60 && fields->second <= 60;
}

static bool is_date(const struct fields *fields, int year, int weekday, int64_t *seconds) {
    struct walking_day day;
    if (!walking_find(year, fields->month, fields->day, &day) || day.weekday != weekday) {
        return false;
    }
    *seconds = ((day.days * 24 + fields->hour) * 60 + fields->minute) * 60 + fields->second;
    return true;
}

/* With that NOW, two digits up to 75 are of this century, the others of the last. */
static bool expected(const char *text, size_t length, int64_t *seconds) {
    struct fields fields;
    while (length > 0 && (*text == ' ' || *text == '\t')) {
        text++;
        length--;
    }
    while (length > 0 && (text[length - 1] == ' ' || text[length - 1] == '\t')) {
        length--;
    }
    for (int weekday = 0; weekday < 7; weekday++) {
        const char *name = weekdays[weekday];
        size_t name_length = strlen(name);
        if (length > 3 && memcmp(text, name, 3) == 0 &&
            (matches(", DD NNN YYYY hh:ii:ss GMT", text + 3, length - 3, &fields) ||
             matches(" NNN DD hh:ii:ss YYYY", text + 3, length - 3, &fields) ||
             matches(" NNN  D hh:ii:ss YYYY", text + 3, length - 3, &fields))) {
            return is_date(&fields, fields.year, weekday, seconds);
        }
        if (length > name_length && memcmp(text, name, name_length) == 0 &&
            matches(", DD-NNN-YY hh:ii:ss GMT", text + name_length, length - name_length,
                    &fields)) {
            return is_date(&fields, fields.year + (fields.year < 76 ? 2000 : 1900), weekday,
                           seconds);
        }
    }
    return false;
}

static void check_one(const char *text, size_t length) {
    char *copy = check_copy(text, length);
    int64_t wanted = 4711;
    int64_t got = 4711;
    bool valid = expected(text, length, &wanted);
    CHECK_ABOUT(http_date_parse(copy, length, NOW, &got) == valid, text, length);
    CHECK_ABOUT(got == wanted, text, length);
    free(copy);
}

/* ---- Cases -------------------------------------------------------------------------------------
 */

static bool reads(const char *text, double now, int64_t wanted) {
    size_t length = strlen(text);
    char *copy = check_copy(text, length);
    int64_t seconds = wanted + 1;
    bool read = http_date_parse(copy, length, now, &seconds);
    free(copy);
    return read && seconds == wanted;
}

static bool refuses(const char *text) {
    size_t length = strlen(text);
    char *copy = check_copy(text, length);
    int64_t seconds = 4711;
    bool read = http_date_parse(copy, length, NOW, &seconds);
    free(copy);
    return !read && seconds == 4711;
}

static void reads_the_examples(void) {
    CHECK(reads("Sun, 06 Nov 1994 08:49:37 GMT", NOW, 784111777));
    CHECK(reads("Sunday, 06-Nov-94 08:49:37 GMT", NOW, 784111777));
    CHECK(reads("Sun Nov  6 08:49:37 1994", NOW, 784111777));
    CHECK(reads("Sun Nov 06 08:49:37 1994", NOW, 784111777));
    CHECK(reads(" \tSun, 06 Nov 1994 08:49:37 GMT\t ", NOW, 784111777));
    CHECK(reads("Sat, 01 Jan 0000 00:00:00 GMT", NOW, -62167219200));
    CHECK(reads("Fri, 31 Dec 9999 23:59:59 GMT", NOW, 253402300799));
    CHECK(reads("Thu, 01 Jan 1970 00:00:00 GMT", NOW, 0));
}

/* Every day of a whole cycle of the calendar, and an eighth of all others. */
static void reads_every_day(void) {
    struct walking_day day = walking_first_day();
    for (; day.year <= 9999; walking_next_day(&day)) {
        char text[64];
        const char *name = weekdays[day.weekday];
        if ((day.year < 1900 || day.year > 2300) && check_random(8) > 0) {
            continue;
        }
        const char *month = months + (day.month - 1) * 3;
        int clock = (int)check_random(86400);
        int hour = clock / 3600;
        int minute = clock / 60 % 60;
        int64_t moment = day.days * 86400 + clock;
        /* Any clock that is right to within 49 years finds the century. */
        double now = (double)moment + ((double)check_random(98 * 365) - 49 * 365) * 86400.0;
        snprintf(text, sizeof text, "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT", name, day.day, month,
                 day.year, hour, minute, clock % 60);
        CHECK_ABOUT(reads(text, now, moment), text, strlen(text));
        snprintf(text, sizeof text, "%s, %02d-%.3s-%02d %02d:%02d:%02d GMT", name, day.day, month,
                 day.year % 100, hour, minute, clock % 60);
        CHECK_ABOUT(reads(text, now, moment), text, strlen(text));
        snprintf(text, sizeof text, "%.3s %.3s %2d %02d:%02d:%02d %04d", name, month, day.day, hour,
                 minute, clock % 60, day.year);
        CHECK_ABOUT(reads(text, now, moment), text, strlen(text));
    }
}

/* 1 January 2050, 12:00, is a Saturday; the same day of 1950 a Sunday. */
static void keeps_two_digit_years_within_fifty_years(void) {
    const int64_t noon_1950 = -631108800;
    const int64_t noon_2000 = 946728000;
    const int64_t noon_2050 = 2524651200;
    int64_t seconds;
    CHECK(reads("Saturday, 01-Jan-50 12:00:00 GMT", (double)noon_2000, noon_2050));
    CHECK(reads("Saturday, 01-Jan-50 12:00:00 GMT", (double)noon_2000 + 0.5, noon_2050));
    CHECK(!reads("Saturday, 01-Jan-50 12:00:00 GMT", (double)noon_2000 - 0.5, noon_2050));
    CHECK(reads("Sunday, 01-Jan-50 12:00:00 GMT", (double)noon_2000 - 0.5, noon_1950));
    CHECK(!reads("Sunday, 01-Jan-50 12:00:00 GMT", (double)noon_2000, noon_1950));
    CHECK(reads("Tuesday, 29-Feb-00 00:00:00 GMT", NOW, 951782400));
    /* A clock a century or more behind does not turn the date into another one. */
    CHECK(!http_date_parse("Saturday, 01-Jan-50 12:00:00 GMT", 32, -5e9, &seconds));
    CHECK(!http_date_parse("Saturday, 01-Jan-50 12:00:00 GMT", 32, -1e300, &seconds));
    CHECK(!http_date_parse("Saturday, 01-Jan-50 12:00:00 GMT", 32, -(double)INFINITY, &seconds));
    CHECK(!http_date_parse("Saturday, 01-Jan-50 12:00:00 GMT", 32, (double)NAN, &seconds));
    CHECK(reads("Sunday, 01-Jan-50 12:00:00 GMT", (double)INFINITY, 251824507200));
    CHECK(reads("Sun, 06 Nov 1994 08:49:37 GMT", (double)NAN, 784111777));
}

static void refuses_a_wrong_weekday(void) {
    for (int weekday = 1; weekday < 7; weekday++) {
        char text[64];
        snprintf(text, sizeof text, "%.3s, 06 Nov 1994 08:49:37 GMT", weekdays[weekday]);
        CHECK_ABOUT(refuses(text), text, strlen(text));
        snprintf(text, sizeof text, "%s, 06-Nov-94 08:49:37 GMT", weekdays[weekday]);
        CHECK_ABOUT(refuses(text), text, strlen(text));
        snprintf(text, sizeof text, "%.3s Nov  6 08:49:37 1994", weekdays[weekday]);
        CHECK_ABOUT(refuses(text), text, strlen(text));
    }
}

static void refuses_what_does_not_exist(void) {
    for (int weekday = 0; weekday < 7; weekday++) {
        static const char *const endings[] = {
            "30 Feb 2026 00:00:00", "29 Feb 2026 00:00:00", "29 Feb 1900 00:00:00",
            "31 Apr 2026 00:00:00", "00 Jan 2026 00:00:00", "32 Jan 2026 00:00:00",
            "01 Jan 2026 24:00:00", "01 Jan 2026 23:60:00", "01 Jan 2026 23:59:61"};
        for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
            char text[64];
            snprintf(text, sizeof text, "%.3s, %s GMT", weekdays[weekday], endings[i]);
            CHECK_ABOUT(refuses(text), text, strlen(text));
        }
    }
    CHECK(reads("Sat, 31 Dec 2016 23:59:60 GMT", NOW, 1483228800));
}

static void refuses_other_notations(void) {
    int64_t seconds = 4711;
    static const char *const others[] = {"",
                                         " ",
                                         "0",
                                         "784111777",
                                         "20260101",
                                         "1994-11-06T08:49:37Z",
                                         "06 Nov 1994 08:49:37 GMT",
                                         "Sun, 06 Nov 1994 08:49:37",
                                         "Sun, 06 Nov 1994 08:49:37 UTC",
                                         "Sun, 06 Nov 1994 08:49:37 +0000",
                                         "Sun, 06 Nov 1994 08:49:37 Z",
                                         "Sun, 06 Nov 1994 08:49:37 gmt",
                                         "sun, 06 Nov 1994 08:49:37 GMT",
                                         "Sun, 06 NOV 1994 08:49:37 GMT",
                                         "Sun, 6 Nov 1994 08:49:37 GMT",
                                         "Sun,  6 Nov 1994 08:49:37 GMT",
                                         "Sun, 06 Nov 94 08:49:37 GMT",
                                         "Sun, 06 Nov 1994  08:49:37 GMT",
                                         "Sun,06 Nov 1994 08:49:37 GMT",
                                         "Sun, 06 Nov 1994 08:49 GMT",
                                         "Sun, 06-Nov-1994 08:49:37 GMT",
                                         "Sun, 06-Nov-94 08:49:37 GMT",
                                         "Sunday, 06-Nov-1994 08:49:37 GMT",
                                         "Sunday, 06 Nov 1994 08:49:37 GMT",
                                         "Sun Nov 6 08:49:37 1994",
                                         "Sun Nov  6 08:49:37 1994 GMT",
                                         "Sun Nov  6 08:49:37 94",
                                         "Sun, 06 Nov 1994 08:49:37 GMT\n",
                                         "\rSun, 06 Nov 1994 08:49:37 GMT",
                                         "Sun Nov  6 08:49:37 1994, Sun Nov  6 08:49:37 1994"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        CHECK_ABOUT(refuses(others[i]), others[i], strlen(others[i]));
    }
    CHECK(!http_date_parse(NULL, 0, NOW, &seconds) && seconds == 4711);
}

static const char *const samples[] = {
    "Sun, 06 Nov 1994 08:49:37 GMT", "Thursday, 29-Feb-96 23:59:59 GMT", "Sun Nov  6 08:49:37 1994",
    "Wed Nov 16 08:49:60 1994", " Tue, 29 Feb 2000 00:00:00 GMT\t"};

static void judges_mutations_like_the_second_recogniser(void) {
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        check_mutations(samples[i], strlen(samples[i]), check_one);
        check_cuts(samples[i], strlen(samples[i]), check_one);
    }
}

/* Several bytes at once, mostly of the kind that stood there: many of these are valid. */
static void judges_random_texts_like_the_second_recogniser(void) {
    static const char other[] = "SunMonTueWedThuFriSat, -:GMT\t";
    for (int round = 0; round < 200000; round++) {
        char text[64];
        const char *sample = samples[check_random(sizeof samples / sizeof *samples)];
        size_t length = strlen(sample);
        memcpy(text, sample, length);
        for (uint32_t changes = 1 + check_random(4); changes > 0; changes--) {
            size_t place = check_random((uint32_t)length);
            if (text[place] >= '0' && text[place] <= '9') {
                text[place] = (char)('0' + check_random(10));
            } else if (check_random(20) == 0) {
                text[place] = other[check_random(sizeof other)];
            } else if (place + 3 <= length && strchr("SMTWF", text[place]) != NULL) {
                memcpy(text + place, weekdays[check_random(7)], 3);
            }
        }
        check_one(text, length);
    }
}

int main(void) {
    check_case("reads the RFC's examples and the ends of the range", reads_the_examples);
    check_case("reads the days of ten thousand years in the three forms", reads_every_day);
    check_case("keeps a two-digit year at most 50 years ahead",
               keeps_two_digit_years_within_fifty_years);
    check_case("refuses a weekday that is not the date's", refuses_a_wrong_weekday);
    check_case("refuses days and times that do not exist", refuses_what_does_not_exist);
    check_case("refuses other notations", refuses_other_notations);
    check_case("judges every mutation and cut as another recogniser does",
               judges_mutations_like_the_second_recogniser);
    check_case("judges random texts as another recogniser does",
               judges_random_texts_like_the_second_recogniser);
    return check_summary();
}
