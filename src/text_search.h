/* Looks for one text in another. */
#ifndef AUTOPILOT_TEXT_SEARCH_H
#define AUTOPILOT_TEXT_SEARCH_H

#include <stdbool.h>
#include <stddef.h>

/* True when the wanted bytes stand somewhere in the text; no bytes stand nowhere. Fast where the
 * first of them is rare, as in texts that hold no token. */
bool text_search_contains(const char *text, size_t length, const char *wanted,
                          size_t wanted_length);

#endif
