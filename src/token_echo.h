/* Whether a text that somebody else wrote may repeat a secret: the quick look before the thorough
 * one (lua/autopilot/redact.lua), which most texts need not go through. */
#ifndef AUTOPILOT_TOKEN_ECHO_H
#define AUTOPILOT_TOKEN_ECHO_H

#include <stdbool.h>
#include <stddef.h>

/* What a text and a secret share counts from this length on. */
enum { TOKEN_ECHO_TELLING = 16 };

/* False only when the text holds neither the beginning of the secret, nor the beginning of a part
 * of it behind a dot, nor anything that looks like a token (`eyJ`, `Bearer`), nor an escape (`\`,
 * `%`) under which any of it might hide. */
bool token_echo_possible(const char *text, size_t text_length, const char *secret,
                         size_t secret_length);

#endif
