#include "retry_after.h"

#include <math.h>

#include "http_date.h"
#include "text_cursor.h"

static double at_most_ceiling(double seconds) {
    return seconds < RETRY_AFTER_CEILING ? seconds : RETRY_AFTER_CEILING;
}

/* Reads digits with an optional fraction, and nothing else. */
static bool parse_delay(struct text_cursor cursor, double *seconds) {
    double whole = 0;
    double fraction = 0;
    int digit;

    if (!text_cursor_take_digit(&cursor, &digit)) {
        return false;
    }
    do {
        whole = whole * 10 + digit; /* infinity, after 300 digits, is over the ceiling too */
    } while (text_cursor_take_digit(&cursor, &digit));
    if (!text_cursor_take_fraction(&cursor, &fraction) || !text_cursor_at_end(&cursor)) {
        return false;
    }
    *seconds = at_most_ceiling(whole + fraction);
    return true;
}

/* Reads one member of the list: a delay or a date. */
static bool parse_member(struct text_cursor member, double now, double *seconds) {
    int64_t date = 0;
    double left;

    text_cursor_trim(&member);
    if (parse_delay(member, seconds)) {
        return true;
    }
    if (!http_date_parse(member.at, (size_t)(member.end - member.at), now, &date)) {
        return false;
    }
    left = (double)date - now;
    if (isnan(left)) { /* so was `now`: no answer, rather than a wait of 0 */
        return false;
    }
    *seconds = left > 0 ? at_most_ceiling(left) : 0;
    return true;
}

/* The next comma at or after `at`, or the end. */
static const char *find_comma(const char *at, const char *end) {
    while (at != end && *at != ',') {
        at++;
    }
    return at;
}

/* Takes the next member that is not empty, up to the comma behind it; a date may itself hold one
 * comma. */
static bool take_member(struct text_cursor *cursor, double now, double *seconds) {
    struct text_cursor member = *cursor;

    member.end = find_comma(member.at, cursor->end);
    if (!parse_member(member, now, seconds)) {
        if (member.end == cursor->end) {
            return false;
        }
        member.end = find_comma(member.end + 1, cursor->end);
        if (!parse_member(member, now, seconds)) {
            return false;
        }
    }
    cursor->at = member.end;
    return true;
}

bool retry_after_parse(const char *text, size_t length, double now, double *seconds) {
    struct text_cursor cursor = text_cursor_over(text, length);
    double longest = -1;

    text_cursor_skip_separators(&cursor);
    while (!text_cursor_at_end(&cursor)) {
        double member = 0;
        if (!take_member(&cursor, now, &member)) {
            return false;
        }
        longest = member > longest ? member : longest;
        text_cursor_skip_separators(&cursor);
    }
    if (longest < 0) {
        return false;
    }
    *seconds = longest;
    return true;
}
