/* Looks for one text in another. */
#ifndef AUTOPILOT_TEXT_SEARCH_H
#define AUTOPILOT_TEXT_SEARCH_H

#include <stdbool.h>
#include <stddef.h>

/* What to look for, in memory of the caller's. Its rarest byte is what is searched for first. */
struct text_needle {
    const char *text;
    size_t length;
    size_t rarest; /* where that byte stands in it */
};

struct text_needle text_needle_of(const char *text, size_t length);

/* True when the needle stands somewhere in the text; one without bytes stands nowhere. */
bool text_needle_stands_in(const struct text_needle *needle, const char *text, size_t length);

#endif
