/* Fuzzes src/challenge. The input lies in memory of exactly its length, so the address sanitizer
 * sees a byte read too far; what the parser promises of its answer is checked here. */
#include <stdint.h>
#include <stdlib.h>

#include "challenge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Aborts unless the slice is empty or lies behind `from` and before `end`. */
static void require_within(struct challenge_slice slice, const char *from, const char *end) {
    if (slice.length == 0) {
        return;
    }
    if (slice.start < from || slice.start >= end || slice.length > (size_t)(end - slice.start)) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *from = (const char *)data;
    const char *end = from + size;
    struct challenge_reader reader;
    struct challenge_item item;

    challenge_reader_init(&reader, from, size);
    for (;;) {
        enum challenge_event event = challenge_reader_next(&reader, &item);
        require_within(item.name, from, end);
        require_within(item.value, from, end);
        if (event == CHALLENGE_END) {
            return 0;
        }
        if (event == CHALLENGE_MALFORMED) {
            /* Everything up to here was read: the rest is not empty and ends where the text does.
             */
            if (item.value.length == 0 || item.value.start + item.value.length != end) {
                abort();
            }
            return 0;
        }
        if (item.quoted && item.value.length > 0) {
            char *unquoted = malloc(item.value.length);
            if (unquoted == NULL || challenge_unquote(item.value, unquoted) > item.value.length) {
                abort();
            }
            free(unquoted);
        }
        if (event == CHALLENGE_TOKEN68 ? item.value.length == 0 : item.name.length == 0) {
            abort();
        }
        /* The next event may only be about what comes later: the reader cannot run in circles. */
        from = (event == CHALLENGE_TOKEN68 ? item.value.start : item.name.start) + 1;
    }
}
