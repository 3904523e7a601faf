#include "calendar.h"

/* The calendar repeats after 400 years, which are this many days and a whole number of weeks. */
#define DAYS_IN_400_YEARS 146097

/* Days from 0001-01-01 to 1970-01-01. */
#define DAYS_BEFORE_1970 719162

static bool is_leap_year(int year) {
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int days_in_month(int year, int month) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return days[month - 1] + (month == 2 && is_leap_year(year) ? 1 : 0);
}

/* Days from 1970-01-01, negative before it. */
static int64_t days_since_1970(const struct calendar_time *time) {
    static const int before_month[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    /* One whole cycle later, so that every division below is of a number that is not negative. */
    int64_t years = (int64_t)time->year + 400 - 1;
    int64_t days = years * 365 + years / 4 - years / 100 + years / 400;
    days += before_month[time->month - 1];
    if (time->month > 2 && is_leap_year(time->year)) {
        days++;
    }
    return days + time->day - 1 - DAYS_IN_400_YEARS - DAYS_BEFORE_1970;
}

bool calendar_exists(const struct calendar_time *time) {
    if (time->month < 1 || time->month > 12) {
        return false;
    }
    if (time->day < 1 || time->day > days_in_month(time->year, time->month)) {
        return false;
    }
    return time->hour <= 23 && time->minute <= 59 && time->second <= 60;
}

int64_t calendar_seconds(const struct calendar_time *time) {
    int64_t minutes = (days_since_1970(time) * 24 + time->hour) * 60 + time->minute;
    return minutes * 60 + time->second;
}

int calendar_weekday(const struct calendar_time *time) {
    /* 1970-01-01 was a Thursday, day 4; counted in a cycle that lies wholly after it. */
    const int64_t always_positive = (int64_t)DAYS_IN_400_YEARS * 10;
    return (int)((days_since_1970(time) + always_positive + 4) % 7);
}
