#include "base64.h"

/* The six bits that a character stands for; -1 for none. No locale has a say. */
static int value_of(char character) {
    if (character >= 'A' && character <= 'Z') {
        return character - 'A';
    }
    if (character >= 'a' && character <= 'z') {
        return character - 'a' + 26;
    }
    if (character >= '0' && character <= '9') {
        return character - '0' + 52;
    }
    if (character == '+' || character == '-') {
        return 62;
    }
    return character == '/' || character == '_' ? 63 : -1;
}

/* The length without the padding. */
static size_t unpadded(const char *text, size_t length) {
    while (length > 0 && text[length - 1] == '=') {
        length--;
    }
    return length;
}

bool base64_decode(const char *text, size_t length, char *bytes, size_t *count) {
    size_t digits = unpadded(text, length), written = 0;
    unsigned int bits = 0, width = 0;

    if (digits % 4 == 1 || (digits < length && (length - digits > 2 || length % 4 != 0))) {
        return false;
    }
    for (size_t i = 0; i < digits; i++) {
        int value = value_of(text[i]);
        if (value < 0) {
            return false;
        }
        bits = bits << 6 | (unsigned int)value;
        width += 6;
        if (width >= 8) {
            width -= 8;
            bytes[written++] = (char)(bits >> width & 0xff);
            bits &= (1u << width) - 1;
        }
    }
    *count = written;
    return bits == 0;
}
