/* The dates of HTTP: `Date`, `Retry-After`, `Sunset` (RFC 9110, section 5.6.7). Exactly its three
 * forms are read, in the letter case it gives, with nothing else around them than spaces and tabs:
 *
 *     Sun, 06 Nov 1994 08:49:37 GMT       the one in use
 *     Sunday, 06-Nov-94 08:49:37 GMT      RFC 850, obsolete
 *     Sun Nov  6 08:49:37 1994            C's asctime, obsolete
 *
 * libcurl's own reader takes 30 February, bare digits and other zones for dates; a cooldown must
 * not hang on such a guess. */
#ifndef AUTOPILOT_HTTP_DATE_H
#define AUTOPILOT_HTTP_DATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reads the `length` bytes at `text`, which need no terminator, as an HTTP-date. Returns true and
 * the Unix seconds, for any day of the years 0000 to 9999 that exists (second 60 is second 0 of the
 * next minute); otherwise returns false and leaves `seconds` alone.
 *
 * A day of the week that is not that date's is refused. The RFC asks for robustness, but such a
 * text names two different days, and there is no telling which was meant. It is also what saves a
 * two-digit year from a wrong local clock: one, two or three centuries off, a date never falls on
 * the same day of the week.
 *
 * `now` (Unix seconds) matters to the two-digit year of the second form only: it stands for the
 * latest year with these digits that makes the date at most 50 years later than `now`. No such year
 * (NaN): false. */
bool http_date_parse(const char *text, size_t length, double now, int64_t *seconds);

#endif
