#include "text_search.h"

#include <string.h>

/* Names, numbers and sentences are made of small letters, digits and spaces: whatever else a needle
 * has tells it apart from them sooner. */
static bool is_common(char byte) {
    return (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') || byte == ' ';
}

struct text_needle text_needle_of(const char *text, size_t length) {
    struct text_needle needle = {text, length, 0};
    for (size_t i = 0; i < length; i++) {
        if (!is_common(text[i])) {
            needle.rarest = i;
            break;
        }
    }
    return needle;
}

bool text_needle_stands_in(const struct text_needle *needle, const char *text, size_t length) {
    if (needle->length == 0 || needle->length > length) {
        return false;
    }
    const char rarest = needle->text[needle->rarest];
    const char *at = text + needle->rarest;
    const char *end = at + (length - needle->length) + 1;
    while (at < end && (at = memchr(at, rarest, (size_t)(end - at))) != NULL) {
        if (memcmp(at - needle->rarest, needle->text, needle->length) == 0) {
            return true;
        }
        at++;
    }
    return false;
}
