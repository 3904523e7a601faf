/* The challenges of WWW-Authenticate (RFC 9110, sections 11.2 to 11.6.1): which schemes a service
 * takes, and what it says about each. Several stand in one value, and several headers arrive joined
 * by ", "; the reader tells a new scheme from one more parameter. It hands out slices of the text
 * and allocates nothing. What a challenge means, which parameters matter and what to do about
 * duplicates is left to others. */
#ifndef AUTOPILOT_CHALLENGE_H
#define AUTOPILOT_CHALLENGE_H

#include <stdbool.h>
#include <stddef.h>

#include "text_cursor.h"

enum challenge_event {
    CHALLENGE_SCHEME,    /* a challenge begins: `name` is its scheme, as written */
    CHALLENGE_TOKEN68,   /* the challenge consists of this `value` and has no parameters */
    CHALLENGE_PARAMETER, /* a parameter of the challenge: `name` as written, and `value` */
    CHALLENGE_END,       /* all was read */
    CHALLENGE_MALFORMED, /* `value` is the rest of the text, whose first list member is wrong;
                          * everything before it holds */
};

/* Some bytes of the text. */
struct challenge_slice {
    const char *start;
    size_t length;
};

/* What an event is about; slices that an event does not mention are empty. */
struct challenge_item {
    struct challenge_slice name;
    struct challenge_slice value;
    bool quoted; /* `value` stood in quotes: its quoted pairs still have their backslash */
};

/* A read position; its fields are the reader's own. */
struct challenge_reader {
    struct text_cursor cursor;
    bool after_scheme;       /* what belongs to a scheme may follow, without a comma */
    bool accepts_parameters; /* a challenge has begun that is not a token68 */
    bool malformed;          /* `cursor` stands at what is wrong, for good */
};

/* Begins at the first of `length` bytes of `text`, which need no terminator and must stay where
 * they are. */
void challenge_reader_init(struct challenge_reader *reader, const char *text, size_t length);

/* Reads up to the next event. After CHALLENGE_END and CHALLENGE_MALFORMED the same comes again.
 * Every other event moves on by at least one byte.
 *
 * Where the RFC's grammar leaves room: empty list members do not count; a blank may be a tab; a
 * parameter after a comma belongs to the scheme before it, also if that has none yet. Control
 * bytes, NUL among them, are malformed anywhere. */
enum challenge_event challenge_reader_next(struct challenge_reader *reader,
                                           struct challenge_item *item);

/* Writes the quoted `value` without the backslashes of its quoted pairs; returns how many bytes
 * were written. `buffer` holds at least `value.length` bytes. */
size_t challenge_unquote(struct challenge_slice value, char *buffer);

#endif
