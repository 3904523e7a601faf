/* A calendar for the tests that shares no arithmetic with src/calendar: it walks from the first day
 * of year 0, a Saturday, one day or one year at a time. */
#ifndef AUTOPILOT_WALKING_CALENDAR_H
#define AUTOPILOT_WALKING_CALENDAR_H

#include <stdbool.h>
#include <stdint.h>

struct walking_day {
    int year;
    int month;
    int day;
    int weekday;  /* 0 is Sunday */
    int64_t days; /* from 1970-01-01 */
};

static inline struct walking_day walking_first_day(void) {
    struct walking_day first = {0, 1, 1, 6, -719528};
    return first;
}

static inline int walking_days_in_month(int year, int month) {
    switch (month) {
    case 2:
        if (year % 400 == 0) {
            return 29;
        }
        if (year % 100 == 0) {
            return 28;
        }
        return year % 4 == 0 ? 29 : 28;
    case 4:
    case 6:
    case 9:
    case 11:
        return 30;
    default:
        return 31;
    }
}

static inline void walking_next_day(struct walking_day *at) {
    at->days++;
    at->weekday = at->weekday == 6 ? 0 : at->weekday + 1;
    if (at->day < walking_days_in_month(at->year, at->month)) {
        at->day++;
        return;
    }
    at->day = 1;
    if (at->month < 12) {
        at->month++;
        return;
    }
    at->month = 1;
    at->year++;
}

static inline void walking_next_year(struct walking_day *at) {
    int length = walking_days_in_month(at->year, 2) + 337;
    at->year++;
    at->days += length;
    at->weekday = (at->weekday + length) % 7;
}

/* Finds a day of the years 0 to 9999; false where there is none. */
static inline bool walking_find(int year, int month, int day, struct walking_day *found) {
    static struct walking_day new_years[10000]; /* the walk through the years is made once */
    struct walking_day at = walking_first_day();
    if (new_years[0].month == 0) {
        for (; at.year <= 9999; walking_next_year(&at)) {
            new_years[at.year] = at;
        }
    }
    if (month < 1 || month > 12 || day < 1 || day > walking_days_in_month(year, month)) {
        return false;
    }
    at = new_years[year];
    while (at.month < month || at.day < day) {
        walking_next_day(&at);
    }
    *found = at;
    return true;
}

#endif
