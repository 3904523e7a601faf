/* Civil dates and times of day to Unix seconds, in the Gregorian calendar extended backwards,
 * always UTC: what the system's mktime family would do, minus the time zone, the locale and the
 * differences between platforms. Reading text is left to http_date and timestamp. */
#ifndef AUTOPILOT_CALENDAR_H
#define AUTOPILOT_CALENDAR_H

#include <stdbool.h>
#include <stdint.h>

struct calendar_time {
    int year;  /* -399 to 9999; year 0 is the one before year 1 */
    int month; /* 1 to 12 */
    int day;   /* 1 to 31 */
    int hour;
    int minute;
    int second; /* 0 to 60 */
};

/* Does such a day exist, and such a time of day? A second of 60 does: clocks print it for a leap
 * second, in any minute that a time zone may turn the last one of a UTC day into. */
bool calendar_exists(const struct calendar_time *time);

/* Seconds from 1970-01-01T00:00:00 to `time`. Second 60 is second 0 of the next minute, and a 29
 * February of a common year is its 1 March. */
int64_t calendar_seconds(const struct calendar_time *time);

/* The day of the week: 0 is Sunday, 6 is Saturday. */
int calendar_weekday(const struct calendar_time *time);

#endif
