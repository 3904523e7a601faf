#include "timestamp.h"

#include "calendar.h"
#include "text_cursor.h"

/* Takes `capital` or its small letter. */
static bool take_letter(struct text_cursor *cursor, char capital) {
    char small = (char)(capital - 'A' + 'a');
    if (!text_cursor_sees(cursor, capital) && !text_cursor_sees(cursor, small)) {
        return false;
    }
    cursor->at++;
    return true;
}

/* Takes YYYY-MM-DDThh:mm:ss, a day and a time that exist. */
static bool take_date_and_time(struct text_cursor *cursor, struct calendar_time *time) {
    return text_cursor_take_number(cursor, 4, &time->year) && text_cursor_take(cursor, "-") &&
           text_cursor_take_number(cursor, 2, &time->month) && text_cursor_take(cursor, "-") &&
           text_cursor_take_number(cursor, 2, &time->day) && take_letter(cursor, 'T') &&
           text_cursor_take_number(cursor, 2, &time->hour) && text_cursor_take(cursor, ":") &&
           text_cursor_take_number(cursor, 2, &time->minute) && text_cursor_take(cursor, ":") &&
           text_cursor_take_number(cursor, 2, &time->second) && calendar_exists(time);
}

/* Takes Z or +hh:mm or -hh:mm, as seconds east of Greenwich. */
static bool take_offset(struct text_cursor *cursor, int *offset) {
    int sign = text_cursor_sees(cursor, '-') ? -1 : 1;
    int hours = 0;
    int minutes = 0;

    *offset = 0;
    if (take_letter(cursor, 'Z')) {
        return true;
    }
    if (!text_cursor_take(cursor, sign < 0 ? "-" : "+") ||
        !text_cursor_take_number(cursor, 2, &hours) || !text_cursor_take(cursor, ":") ||
        !text_cursor_take_number(cursor, 2, &minutes) || hours > 23 || minutes > 59) {
        return false;
    }
    *offset = sign * (hours * 60 + minutes) * 60;
    return true;
}

bool timestamp_parse(const char *text, size_t length, double *seconds) {
    struct text_cursor cursor = text_cursor_over(text, length);
    struct calendar_time time;
    double fraction = 0;
    int offset = 0;

    if (!take_date_and_time(&cursor, &time) || !text_cursor_take_fraction(&cursor, &fraction) ||
        !take_offset(&cursor, &offset) || !text_cursor_at_end(&cursor)) {
        return false;
    }
    *seconds = (double)(calendar_seconds(&time) - offset) + fraction;
    return true;
}
