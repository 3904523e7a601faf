/* The few lines that the plain C tests share: named cases, checks that count, and texts in memory
 * of exactly their length, so that a sanitizer sees a parser read one byte too far. A test program
 * calls check_case for each promise and returns check_summary(). */
#ifndef AUTOPILOT_CHECK_H
#define AUTOPILOT_CHECK_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int check_passed_cases;
static int check_failed_cases;
static int check_failures; /* in the current case */

/* Counts a failure in the current case, and prints the first few with what `text` it was about. */
#define CHECK_ABOUT(condition, text, length)                                                       \
    check_that((condition), #condition, __FILE__, __LINE__, (text), (length))

#define CHECK(condition) CHECK_ABOUT(condition, "", 0)

static inline void check_that(bool holds, const char *condition, const char *file, int line,
                              const char *text, size_t length) {
    if (holds || check_failures++ >= 5) {
        return;
    }
    printf("%s:%d: not true: %s", file, line, condition);
    if (length > 0) {
        printf(" for '");
        for (size_t i = 0; i < length && i < 200; i++) {
            printf(text[i] >= ' ' && text[i] <= '~' ? "%c" : "\\x%02x", (unsigned char)text[i]);
        }
        printf("'");
    }
    printf("\n");
}

/* Runs one case: a sentence of what is promised, and the function that checks it. */
static inline void check_case(const char *promise, void (*run)(void)) {
    check_failures = 0;
    run();
    if (check_failures > 0) {
        printf("FAILED (%d times): %s\n", check_failures, promise);
        check_failed_cases++;
    } else {
        check_passed_cases++;
    }
}

/* Prints the one line that says how it went; returns the exit status. */
static inline int check_summary(void) {
    printf("%d passed, %d failed\n", check_passed_cases, check_failed_cases);
    return check_failed_cases > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* A copy in memory of exactly `length` bytes, to be freed. */
static inline char *check_copy(const char *text, size_t length) {
    char *copy = malloc(length);
    if (copy == NULL && length > 0) {
        printf("out of memory\n");
        exit(EXIT_FAILURE);
    }
    if (length > 0) {
        memcpy(copy, text, length);
    }
    return copy;
}

/* A number from 0 to `limit` - 1, the same sequence in every run. */
static inline uint32_t check_random(uint32_t limit) {
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)((state >> 16) % limit);
}

/* Calls `check` with `text`, and with every text that differs from it in one byte. */
static inline void check_mutations(const char *text, size_t length,
                                   void (*check)(const char *text, size_t length)) {
    char *mutated = check_copy(text, length);
    check(text, length);
    for (size_t i = 0; i < length; i++) {
        for (int byte = 0; byte < 256; byte++) {
            mutated[i] = (char)byte;
            check(mutated, length);
        }
        mutated[i] = text[i];
    }
    free(mutated);
}

/* Calls `check` with everything that `text` begins with and everything that it ends with. */
static inline void check_cuts(const char *text, size_t length,
                              void (*check)(const char *text, size_t length)) {
    for (size_t cut = 0; cut <= length; cut++) {
        check(text, cut);
        check(text + cut, length - cut);
    }
}

/* Calls `check` with every text of up to `longest` (at most 16) bytes of `alphabet`. */
static inline void check_all_texts(const char *alphabet, size_t letters, size_t longest,
                                   void (*check)(const char *text, size_t length)) {
    size_t digits[16] = {0};
    char text[16] = {0};
    for (size_t length = 0; length <= longest; length++) {
        size_t i;
        do {
            for (i = 0; i < length; i++) {
                text[i] = alphabet[digits[i]];
            }
            check(text, length);
            for (i = 0; i < length && ++digits[i] == letters; i++) {
                digits[i] = 0;
            }
        } while (i < length);
    }
}

#endif
