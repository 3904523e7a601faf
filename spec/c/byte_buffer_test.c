/* src/byte_buffer: its ceiling holds, adding is all or nothing, and nothing stays behind. */
#include "byte_buffer.h"
#include "check.h"

/* The address sanitizer ends a program that asks for more than there can be. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED true
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED true
#endif
#ifdef SANITIZED
static const bool is_sanitized = true;
#else
static const bool is_sanitized = false;
#endif

static void is_empty_at_first(void) {
    struct byte_buffer buffer;
    byte_buffer_init(&buffer, 10);
    CHECK(buffer.bytes == NULL && buffer.length == 0);
    CHECK(byte_buffer_add(&buffer, NULL, 0) == BYTE_BUFFER_OK);
    CHECK(byte_buffer_reserve(&buffer, 0) == BYTE_BUFFER_OK);
    byte_buffer_clear(&buffer);
    byte_buffer_free(&buffer);
    CHECK(buffer.bytes == NULL && buffer.length == 0);
}

static void holds_its_ceiling(void) {
    struct byte_buffer buffer;
    byte_buffer_init(&buffer, 5);
    CHECK(byte_buffer_add(&buffer, "abc", 3) == BYTE_BUFFER_OK);
    CHECK(byte_buffer_add(&buffer, "def", 3) == BYTE_BUFFER_FULL);
    CHECK(buffer.length == 3 && memcmp(buffer.bytes, "abc", 3) == 0);
    CHECK(byte_buffer_reserve(&buffer, 3) == BYTE_BUFFER_FULL);
    CHECK(byte_buffer_add(&buffer, "de", 2) == BYTE_BUFFER_OK);
    CHECK(byte_buffer_add(&buffer, "f", 1) == BYTE_BUFFER_FULL);
    CHECK(byte_buffer_add(&buffer, "", 0) == BYTE_BUFFER_OK);
    CHECK(buffer.length == 5 && memcmp(buffer.bytes, "abcde", 5) == 0);
    byte_buffer_free(&buffer);
    byte_buffer_init(&buffer, 0);
    CHECK(byte_buffer_add(&buffer, "a", 1) == BYTE_BUFFER_FULL);
    CHECK(byte_buffer_add(&buffer, "", 0) == BYTE_BUFFER_OK);
    byte_buffer_free(&buffer);
}

static void is_not_fooled_by_a_length_that_wraps(void) {
    struct byte_buffer buffer;
    byte_buffer_init(&buffer, 100);
    byte_buffer_add(&buffer, "abc", 3);
    CHECK(byte_buffer_reserve(&buffer, (size_t)-1) == BYTE_BUFFER_FULL);
    CHECK(byte_buffer_reserve(&buffer, (size_t)-3) == BYTE_BUFFER_FULL);
    CHECK(byte_buffer_reserve(&buffer, (size_t)-1 / 2) == BYTE_BUFFER_FULL);
    CHECK(buffer.length == 3);
    byte_buffer_free(&buffer);
}

static void tells_when_memory_is_short(void) {
    struct byte_buffer buffer;
    byte_buffer_init(&buffer, (size_t)-1);
    byte_buffer_add(&buffer, "abc", 3);
    if (!is_sanitized) {
        CHECK(byte_buffer_reserve(&buffer, (size_t)-1 - 100) == BYTE_BUFFER_NO_MEMORY);
    }
    CHECK(buffer.length == 3 && memcmp(buffer.bytes, "abc", 3) == 0);
    byte_buffer_free(&buffer);
}

static void keeps_what_was_added(void) {
    struct byte_buffer buffer;
    byte_buffer_init(&buffer, 1000000);
    char *expected = malloc(1000000);
    size_t length = 0;
    while (expected != NULL && length < 900000) {
        size_t more = check_random(20000);
        for (size_t i = 0; i < more; i++) {
            expected[length + i] = (char)check_random(256);
        }
        CHECK(byte_buffer_add(&buffer, expected + length, more) == BYTE_BUFFER_OK);
        length += more;
        CHECK(buffer.length == length && buffer.capacity >= length);
    }
    CHECK(memcmp(buffer.bytes, expected, length) == 0);
    free(expected);
    byte_buffer_free(&buffer);
}

static void does_not_move_what_was_reserved(void) {
    struct byte_buffer buffer;
    byte_buffer_init(&buffer, 100000);
    byte_buffer_reserve(&buffer, 50000);
    const char *place = buffer.bytes;
    for (int i = 0; i < 50000; i++) {
        byte_buffer_add(&buffer, "x", 1);
    }
    CHECK(buffer.bytes == place);
    byte_buffer_free(&buffer);
}

static void wipes_what_it_gives_up(void) {
    struct byte_buffer buffer;
    byte_buffer_init(&buffer, 100);
    byte_buffer_add(&buffer, "secret", 6);
    byte_buffer_clear(&buffer);
    CHECK(buffer.length == 0 && buffer.bytes != NULL);
    for (size_t i = 0; i < 6; i++) {
        CHECK(buffer.bytes[i] == 0);
    }
    byte_buffer_add(&buffer, "ok", 2);
    CHECK(buffer.length == 2 && memcmp(buffer.bytes, "ok", 2) == 0);
    byte_buffer_free(&buffer);
    char text[] = "secret!";
    byte_buffer_wipe(text, 6);
    CHECK(memcmp(text, "\0\0\0\0\0\0!", 8) == 0);
    byte_buffer_wipe(NULL, 0);
}

static void may_be_freed_and_used_again(void) {
    struct byte_buffer buffer;
    byte_buffer_init(&buffer, 10);
    for (int i = 0; i < 3; i++) {
        CHECK(byte_buffer_add(&buffer, "0123456789", 10) == BYTE_BUFFER_OK);
        byte_buffer_free(&buffer);
        byte_buffer_free(&buffer);
        CHECK(buffer.length == 0 && buffer.capacity == 0);
    }
}

int main(void) {
    check_case("is empty at first, and harmless", is_empty_at_first);
    check_case("holds its ceiling, and adds all or nothing", holds_its_ceiling);
    check_case("is not fooled by a length that wraps", is_not_fooled_by_a_length_that_wraps);
    check_case("tells when memory is short, and keeps what it had", tells_when_memory_is_short);
    check_case("keeps what was added, however it grew", keeps_what_was_added);
    check_case("does not move what was reserved", does_not_move_what_was_reserved);
    check_case("wipes what it gives up", wipes_what_it_gives_up);
    check_case("may be freed twice and used again", may_be_freed_and_used_again);
    return check_summary();
}
