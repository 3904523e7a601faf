/* Whether a text may repeat a secret: a quick look, so that the many texts that hold nothing can be
 * handed on as they are. What to take out of the others is redact.lua's. */
#ifndef AUTOPILOT_SECRET_ECHO_H
#define AUTOPILOT_SECRET_ECHO_H

#include <stdbool.h>
#include <stddef.h>

/* True when the text has a sign of somebody's secret, or of an escape behind which one may be. */
bool secret_echo_is_suspect(const char *text, size_t length);

/* True when the text has the beginning of the secret, or of a part of it behind a dot that is long
 * enough to stand alone. What begins like a JWT is not looked for: it is suspect whosever it is. */
bool secret_echo_stands_in(const char *secret, size_t secret_length, const char *text,
                           size_t length);

#endif
