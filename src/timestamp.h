/* The moments that Microsoft Graph writes into JSON: RFC 3339, the strict profile of ISO 8601.
 *
 *     2026-07-23T11:23:15.0768271Z        2026-07-23t03:23:15-08:00
 *
 * What a moment means (Graph's 0001-01-01T00:00:00Z is its "never") is left to others. */
#ifndef AUTOPILOT_TIMESTAMP_H
#define AUTOPILOT_TIMESTAMP_H

#include <stdbool.h>
#include <stddef.h>

/* Reads the `length` bytes at `text`, which need no terminator, as a date, T, a time with seconds,
 * an optional fraction after a point and an offset: Z, or hours and minutes up to 23:59 of either
 * sign (-00:00 is UTC too). T and Z may be small. Returns true and the Unix seconds, negative
 * before 1970; otherwise returns false and leaves `seconds` alone.
 *
 * Text without an offset, such as Graph's `innerError.date`, names no moment and is refused, like a
 * date alone, a space for T, a comma before the fraction, hour 24, a day that does not exist, and
 * anything around it. Second 60 is second 0 of the next minute. Of two texts the later moment never
 * gives the smaller number; today the nearest doubles are a quarter of a microsecond apart. */
bool timestamp_parse(const char *text, size_t length, double *seconds);

#endif
