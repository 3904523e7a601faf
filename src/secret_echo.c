#include "secret_echo.h"
#include "text_search.h"

#include <string.h>

/* So much of a beginning gives a secret away; less may stand anywhere by chance. As in redact.lua.
 */
enum { TELLING = 16 };

static const char jwt_beginning[] = "eyJ"; /* `{"` and the beginning of a name, in base64 */

bool secret_echo_is_suspect(const char *text, size_t length) {
    static const struct text_needle signs[] = {
        {jwt_beginning, sizeof jwt_beginning - 1, 2},
        {"\\", 1, 0},
        {"%", 1, 0},
        {"earer", 5, 0},
    };
    for (size_t i = 0; i < sizeof signs / sizeof signs[0]; i++) {
        if (text_needle_stands_in(&signs[i], text, length)) {
            return true;
        }
    }
    return false;
}

static bool begins_like_a_jwt(const char *part, size_t length) {
    return length >= sizeof jwt_beginning - 1 &&
           memcmp(part, jwt_beginning, sizeof jwt_beginning - 1) == 0;
}

bool secret_echo_stands_in(const char *secret, size_t secret_length, const char *text,
                           size_t length) {
    const char *part = secret, *end = secret + secret_length;
    while (part != NULL) {
        size_t left = (size_t)(end - part);
        const char *dot = memchr(part, '.', left);
        size_t room = left < TELLING ? left : TELLING; /* it goes on behind the dot */
        bool is_telling = part == secret || (size_t)((dot != NULL ? dot : end) - part) >= TELLING;
        if (is_telling && !begins_like_a_jwt(part, room)) {
            const struct text_needle needle = text_needle_of(part, room);
            if (text_needle_stands_in(&needle, text, length)) {
                return true;
            }
        }
        part = dot != NULL ? dot + 1 : NULL;
    }
    return false;
}
