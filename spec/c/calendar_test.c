/* src/calendar against a calendar that walks. */
#include "calendar.h"
#include "check.h"
#include "walking_calendar.h"

static void knows_well_known_moments(void) {
    struct calendar_time epoch = {1970, 1, 1, 0, 0, 0};
    struct calendar_time rfc = {1994, 11, 6, 8, 49, 37};
    struct calendar_time never = {1, 1, 1, 0, 0, 0};
    struct calendar_time end = {9999, 12, 31, 23, 59, 59};
    CHECK(calendar_seconds(&epoch) == 0 && calendar_weekday(&epoch) == 4);
    CHECK(calendar_seconds(&rfc) == 784111777 && calendar_weekday(&rfc) == 0);
    CHECK(calendar_seconds(&never) == -62135596800 && calendar_weekday(&never) == 1);
    CHECK(calendar_seconds(&end) == 253402300799 && calendar_weekday(&end) == 5);
}

static void agrees_on_every_day(void) {
    struct walking_day day = walking_first_day();
    for (; day.year <= 9999; walking_next_day(&day)) {
        struct calendar_time time = {day.year, day.month, day.day, 0, 0, 0};
        int seconds = (int)check_random(86400);
        time.hour = seconds / 3600;
        time.minute = seconds / 60 % 60;
        time.second = seconds % 60;
        CHECK(calendar_exists(&time));
        CHECK(calendar_weekday(&time) == day.weekday);
        CHECK(calendar_seconds(&time) == day.days * 86400 + seconds);
    }
    CHECK(day.days == 2932897);
}

static void knows_which_days_exist(void) {
    for (int year = 0; year <= 9999; year++) {
        for (int month = 0; month <= 13; month++) {
            for (int day = 0; day <= 40; day++) {
                struct calendar_time time = {year, month, day, 0, 0, 0};
                bool exists = month >= 1 && month <= 12 && day >= 1 &&
                              day <= walking_days_in_month(year, month);
                CHECK(calendar_exists(&time) == exists);
            }
        }
    }
}

static void knows_which_times_exist(void) {
    for (int hour = 0; hour < 100; hour++) {
        for (int minute = 0; minute < 100; minute++) {
            for (int second = 0; second < 100; second++) {
                struct calendar_time time = {2026, 7, 23, hour, minute, second};
                CHECK(calendar_exists(&time) == (hour < 24 && minute < 60 && second < 61));
            }
        }
    }
}

static void goes_back_four_hundred_years(void) {
    for (int year = -399; year < 0; year++) {
        struct calendar_time before = {year, 3, 1, 12, 30, 0};
        struct calendar_time after = {year + 400, 3, 1, 12, 30, 0};
        CHECK(calendar_seconds(&after) - calendar_seconds(&before) == (int64_t)146097 * 86400);
        CHECK(calendar_weekday(&after) == calendar_weekday(&before));
    }
}

static void carries_what_does_not_exist(void) {
    struct calendar_time leap_second = {2016, 12, 31, 23, 59, 60};
    struct calendar_time new_year = {2017, 1, 1, 0, 0, 0};
    struct calendar_time leap_day = {2025, 2, 29, 0, 0, 0};
    struct calendar_time march = {2025, 3, 1, 0, 0, 0};
    CHECK(calendar_seconds(&leap_second) == calendar_seconds(&new_year));
    CHECK(calendar_seconds(&leap_day) == calendar_seconds(&march));
}

int main(void) {
    check_case("knows the seconds and the weekday of well-known moments", knows_well_known_moments);
    check_case("agrees with a walk through every day of ten thousand years", agrees_on_every_day);
    check_case("knows which days exist", knows_which_days_exist);
    check_case("knows which times of day exist", knows_which_times_exist);
    check_case("goes back 400 years before year 0", goes_back_four_hundred_years);
    check_case("carries second 60 and 29 February over", carries_what_does_not_exist);
    return check_summary();
}
