#include "text_search.h"

#include <string.h>

bool text_search_contains(const char *text, size_t length, const char *wanted,
                          size_t wanted_length) {
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
