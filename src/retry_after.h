/* How long a service asks to be left alone: the Retry-After header (RFC 9110, section 10.2.3).
 * Whether to wait that long, and what to do without it, is left to the retry policy. */
#ifndef AUTOPILOT_RETRY_AFTER_H
#define AUTOPILOT_RETRY_AFTER_H

#include <stdbool.h>
#include <stddef.h>

/* The longest wait that is told apart, 2^31 s (68 years), the value RFC 9111 gives to an overflow.
 */
#define RETRY_AFTER_CEILING 2147483648.0

/* Reads the `length` bytes at `text`, which need no terminator. Returns true and the seconds to
 * wait from `now` (Unix seconds; needed for dates only), never negative, never more than
 * RETRY_AFTER_CEILING; otherwise returns false and leaves `seconds` alone.
 *
 * A value is digits, digits with a fraction ("2.128", which Graph sends and the RFC does not know),
 * or an HTTP-date, where one that has passed means 0. No sign, exponent, unit or other notation is
 * taken, and digits without end mean the ceiling.
 *
 * Repeated headers arrive joined by commas. The longest wait of them is the answer: no part of the
 * service was promised less. Empty members do not count, but one that cannot be read spoils the
 * whole, lest the cut date "Sun, 06" become six seconds. */
bool retry_after_parse(const char *text, size_t length, double now, double *seconds);

#endif
