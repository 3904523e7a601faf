/* What the two C programs of the benchmark give to a call: the token, and a new request id. */
#ifndef AUTOPILOT_BENCH_CALL_INPUTS_H
#define AUTOPILOT_BENCH_CALL_INPUTS_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

enum { REQUEST_ID_LENGTH = 36 };

/* Reads the first line of the file, without its end; false when there is none or it is too long. */
static bool read_token(const char *file_name, char *token, size_t size) {
    FILE *file = fopen(file_name, "r");
    if (file == NULL) {
        return false;
    }
    bool read = fgets(token, (int)size, file) != NULL;
    fclose(file);
    if (read) {
        token[strcspn(token, "\n")] = '\0';
    }
    return read && strlen(token) + 1 < size;
}

/* Writes a random version 4 UUID and a NUL; false when the system has no random bytes. */
static bool write_request_id(char *text) {
    static const char digits[] = "0123456789abcdef";
    unsigned char random[16];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        return false;
    }
    random[6] = (unsigned char)((random[6] & 0x0f) | 0x40);
    random[8] = (unsigned char)((random[8] & 0x3f) | 0x80);
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            *text++ = '-';
        }
        *text++ = digits[random[i] >> 4];
        *text++ = digits[random[i] & 15];
    }
    *text = '\0';
    return true;
}

#endif
