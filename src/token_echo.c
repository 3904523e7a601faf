#include "token_echo.h"

#include <string.h>

static bool contains(const char *text, size_t length, const char *wanted, size_t wanted_length) {
    const char *end = text + length;
    while (wanted_length > 0 && (size_t)(end - text) >= wanted_length) {
        const char *found = memchr(text, wanted[0], (size_t)(end - text) - wanted_length + 1);
        if (found == NULL) {
            return false;
        }
        if (memcmp(found, wanted, wanted_length) == 0) {
            return true;
        }
        text = found + 1;
    }
    return false;
}

static bool looks_like_a_token(const char *text, size_t length) {
    return contains(text, length, "eyJ", 3) || contains(text, length, "earer", 5) ||
           contains(text, length, "EARER", 5);
}

static bool repeats(const char *text, size_t length, const char *secret, size_t secret_length) {
    size_t telling = secret_length < TOKEN_ECHO_TELLING ? secret_length : TOKEN_ECHO_TELLING;
    return contains(text, length, secret, telling);
}

bool token_echo_possible(const char *text, size_t text_length, const char *secret,
                         size_t secret_length) {
    if (memchr(text, '\\', text_length) != NULL || memchr(text, '%', text_length) != NULL ||
        looks_like_a_token(text, text_length)) {
        return true;
    }
    const char *end = secret + secret_length;
    for (const char *part = secret; part != NULL && part < end;) {
        if (repeats(text, text_length, part, (size_t)(end - part))) {
            return true;
        }
        const char *dot = memchr(part, '.', (size_t)(end - part));
        part = dot != NULL ? dot + 1 : NULL;
    }
    return false;
}
