#include "http_date.h"

#include "calendar.h"
#include "text_cursor.h"

static const char *const weekday_names[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", NULL};

static const char *const long_weekday_names[] = {"Sunday",   "Monday", "Tuesday",  "Wednesday",
                                                 "Thursday", "Friday", "Saturday", NULL};

static const char *const month_names[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul",
                                          "Aug", "Sep", "Oct", "Nov", "Dec", NULL};

/* What stands in the text; `weekday` counts from Sunday, 0. */
struct written_date {
    struct calendar_time time;
    int weekday;
};

/* Takes one of `names`; `index` is its place there. */
static bool take_name(struct text_cursor *cursor, const char *const *names, int *index) {
    for (int i = 0; names[i] != NULL; i++) {
        struct text_cursor tried = *cursor;
        if (text_cursor_sees(cursor, names[i][0]) && text_cursor_take(&tried, names[i])) {
            *cursor = tried;
            *index = i;
            return true;
        }
    }
    return false;
}

/* Takes a month's name, as 1 to 12. */
static bool take_month(struct text_cursor *cursor, int *month) {
    int index = 0;
    if (!take_name(cursor, month_names, &index)) {
        return false;
    }
    *month = index + 1;
    return true;
}

/* Takes hh:mm:ss. */
static bool take_time_of_day(struct text_cursor *cursor, struct calendar_time *time) {
    return text_cursor_take_number(cursor, 2, &time->hour) && text_cursor_take(cursor, ":") &&
           text_cursor_take_number(cursor, 2, &time->minute) && text_cursor_take(cursor, ":") &&
           text_cursor_take_number(cursor, 2, &time->second);
}

/* Sun, 06 Nov 1994 08:49:37 GMT */
static bool take_imf_fixdate(struct text_cursor cursor, struct written_date *date) {
    struct calendar_time *time = &date->time;
    return take_name(&cursor, weekday_names, &date->weekday) && text_cursor_take(&cursor, ", ") &&
           text_cursor_take_number(&cursor, 2, &time->day) && text_cursor_take(&cursor, " ") &&
           take_month(&cursor, &time->month) && text_cursor_take(&cursor, " ") &&
           text_cursor_take_number(&cursor, 4, &time->year) && text_cursor_take(&cursor, " ") &&
           take_time_of_day(&cursor, time) && text_cursor_take(&cursor, " GMT") &&
           text_cursor_at_end(&cursor);
}

/* Turns a two-digit year into the latest one that is no more than 50 years after `now`. */
static bool complete_year(struct calendar_time *time, double now) {
    struct calendar_time fifty_years_before = *time;
    for (int year = 9900 + time->year; year >= 0; year -= 100) {
        fifty_years_before.year = year - 50;
        if ((double)calendar_seconds(&fifty_years_before) <= now) {
            time->year = year;
            return true;
        }
    }
    return false;
}

/* Sunday, 06-Nov-94 08:49:37 GMT */
static bool take_rfc850_date(struct text_cursor cursor, double now, struct written_date *date) {
    struct calendar_time *time = &date->time;
    return take_name(&cursor, long_weekday_names, &date->weekday) &&
           text_cursor_take(&cursor, ", ") && text_cursor_take_number(&cursor, 2, &time->day) &&
           text_cursor_take(&cursor, "-") && take_month(&cursor, &time->month) &&
           text_cursor_take(&cursor, "-") && text_cursor_take_number(&cursor, 2, &time->year) &&
           text_cursor_take(&cursor, " ") && take_time_of_day(&cursor, time) &&
           text_cursor_take(&cursor, " GMT") && text_cursor_at_end(&cursor) &&
           complete_year(time, now);
}

/* Takes the day of asctime's form: two places, the first a space or a digit. */
static bool take_padded_day(struct text_cursor *cursor, int *day) {
    int places = text_cursor_sees(cursor, ' ') ? 1 : 2;
    return (places == 2 || text_cursor_take(cursor, " ")) &&
           text_cursor_take_number(cursor, places, day);
}

/* Sun Nov  6 08:49:37 1994 */
static bool take_asctime_date(struct text_cursor cursor, struct written_date *date) {
    struct calendar_time *time = &date->time;
    return take_name(&cursor, weekday_names, &date->weekday) && text_cursor_take(&cursor, " ") &&
           take_month(&cursor, &time->month) && text_cursor_take(&cursor, " ") &&
           take_padded_day(&cursor, &time->day) && text_cursor_take(&cursor, " ") &&
           take_time_of_day(&cursor, time) && text_cursor_take(&cursor, " ") &&
           text_cursor_take_number(&cursor, 4, &time->year) && text_cursor_at_end(&cursor);
}

bool http_date_parse(const char *text, size_t length, double now, int64_t *seconds) {
    struct text_cursor cursor = text_cursor_over(text, length);
    struct written_date date = {{0, 0, 0, 0, 0, 0}, 0};

    text_cursor_trim(&cursor);
    if (!take_imf_fixdate(cursor, &date) && !take_rfc850_date(cursor, now, &date) &&
        !take_asctime_date(cursor, &date)) {
        return false;
    }
    if (!calendar_exists(&date.time) || calendar_weekday(&date.time) != date.weekday) {
        return false;
    }
    *seconds = calendar_seconds(&date.time);
    return true;
}
