#include "text_cursor.h"

struct text_cursor text_cursor_over(const char *text, size_t length) {
    struct text_cursor cursor = {text, text};
    if (length > 0) {
        cursor.end = text + length;
    }
    return cursor;
}

bool text_cursor_at_end(const struct text_cursor *cursor) {
    return cursor->at == cursor->end;
}

bool text_cursor_sees(const struct text_cursor *cursor, char wanted) {
    return cursor->at != cursor->end && *cursor->at == wanted;
}

/* Space and tab are all that RFC 9110 calls whitespace inside a field. */
static bool is_blank(char byte) {
    return byte == ' ' || byte == '\t';
}

bool text_cursor_skip_blanks(struct text_cursor *cursor) {
    const char *start = cursor->at;
    while (cursor->at != cursor->end && is_blank(*cursor->at)) {
        cursor->at++;
    }
    return cursor->at != start;
}

void text_cursor_skip_separators(struct text_cursor *cursor) {
    while (text_cursor_skip_blanks(cursor) || text_cursor_take(cursor, ",")) {
    }
}

void text_cursor_trim(struct text_cursor *cursor) {
    text_cursor_skip_blanks(cursor);
    while (cursor->end != cursor->at && is_blank(cursor->end[-1])) {
        cursor->end--;
    }
}

bool text_cursor_take(struct text_cursor *cursor, const char *literal) {
    for (; *literal != '\0'; literal++) {
        if (!text_cursor_sees(cursor, *literal)) {
            return false;
        }
        cursor->at++;
    }
    return true;
}

bool text_cursor_take_digit(struct text_cursor *cursor, int *digit) {
    if (cursor->at == cursor->end || *cursor->at < '0' || *cursor->at > '9') {
        return false;
    }
    *digit = *cursor->at++ - '0';
    return true;
}

bool text_cursor_take_number(struct text_cursor *cursor, int digits, int *number) {
    *number = 0;
    for (; digits > 0; digits--) {
        int digit;
        if (!text_cursor_take_digit(cursor, &digit)) {
            return false;
        }
        *number = *number * 10 + digit;
    }
    return true;
}

bool text_cursor_take_fraction(struct text_cursor *cursor, double *fraction) {
    /* Both stay whole numbers below 2^53, so that the division at the end is the only rounding. */
    double digits = 0;
    double scale = 1;
    int digit;

    *fraction = 0;
    if (!text_cursor_take(cursor, ".")) {
        return true;
    }
    if (!text_cursor_take_digit(cursor, &digit)) {
        return false;
    }
    do {
        if (scale < 1e15) {
            digits = digits * 10 + digit;
            scale *= 10;
        }
    } while (text_cursor_take_digit(cursor, &digit));
    *fraction = digits / scale;
    return true;
}
