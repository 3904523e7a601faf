/* A read position in text that is neither NUL-terminated nor trusted: the strict parsers walk it
 * from left to right and cannot step past its end. Bytes are compared as ASCII, never through the
 * locale.
 *
 * Every take_* function either moves past what it took and returns true, or returns false; where it
 * stands after a false is unspecified, so a parser that wants to try again keeps a copy. */
#ifndef AUTOPILOT_TEXT_CURSOR_H
#define AUTOPILOT_TEXT_CURSOR_H

#include <stdbool.h>
#include <stddef.h>

struct text_cursor {
    const char *at;
    const char *end;
};

/* Stands at the first of `length` bytes; `text` may be NULL when there are none. */
struct text_cursor text_cursor_over(const char *text, size_t length);

/* Is nothing left? */
bool text_cursor_at_end(const struct text_cursor *cursor);

/* Is `wanted` the next byte? */
bool text_cursor_sees(const struct text_cursor *cursor, char wanted);

/* Moves past spaces and tabs; says whether there were any. */
bool text_cursor_skip_blanks(struct text_cursor *cursor);

/* Moves past commas, spaces and tabs: what stands between the members of a list, empty members too.
 */
void text_cursor_skip_separators(struct text_cursor *cursor);

/* Drops spaces and tabs at both ends. */
void text_cursor_trim(struct text_cursor *cursor);

/* Takes exactly the bytes of the NUL-terminated `literal`. */
bool text_cursor_take(struct text_cursor *cursor, const char *literal);

/* Takes exactly `digits` (1 to 9) decimal digits, as a number. */
bool text_cursor_take_number(struct text_cursor *cursor, int digits, int *number);

/* Takes an optional fraction, "." and at least one digit; `fraction` is 0 where there is none. The
 * first 15 digits count: as many as a double always holds. Never reaches 1, and a larger text never
 * gives a smaller number. */
bool text_cursor_take_fraction(struct text_cursor *cursor, double *fraction);

/* Takes a decimal digit, as 0 to 9. */
bool text_cursor_take_digit(struct text_cursor *cursor, int *digit);

#endif
