/* text_search: what is there is found wherever it stands, and nothing is read beyond the text. */
#include "check.h"
#include "text_search.h"

static bool stands_in(const char *text, size_t length, const char *wanted, size_t wanted_length) {
    const struct text_needle needle = text_needle_of(wanted, wanted_length);
    return text_needle_stands_in(&needle, text, length);
}

static void is_found_wherever_it_stands(const char *needle) {
    for (size_t before = 0; before < 40; before++) {
        char text[48];
        memset(text, 'n', sizeof text);
        memcpy(text + before, needle, 6);
        CHECK_ABOUT(stands_in(text, sizeof text, needle, 6), text, sizeof text);
        CHECK_ABOUT(stands_in(text, before + 6, needle, 6), text, before + 6);
        CHECK_ABOUT(!stands_in(text, before + 5, needle, 6), text, before + 5);
    }
}

static void a_text_is_found_wherever_it_stands(void) {
    is_found_wherever_it_stands("needle");
}

static void its_rarest_byte_may_stand_anywhere_in_it(void) {
    is_found_wherever_it_stands("Needle");
    is_found_wherever_it_stands("neeDle");
    is_found_wherever_it_stands("needl%");
    is_found_wherever_it_stands("NNNNNN");
}

static void nothing_is_found_nowhere(void) {
    CHECK(!stands_in("text", 4, "", 0));
    CHECK(!stands_in("", 0, "", 0));
    CHECK(!stands_in("", 0, "a", 1));
}

static void a_nul_is_a_byte_like_any_other(void) {
    CHECK(stands_in("a\0b", 3, "\0b", 2));
    CHECK(!stands_in("a\0b", 3, "ab", 2));
}

/* Against strstr, on texts of two letters, where near misses abound. */
static void it_agrees_with_a_plain_search(void) {
    uint32_t state = 12345;
    for (int round = 0; round < 20000; round++) {
        char text[65] = {0}, wanted[7] = {0};
        for (size_t i = 0; i < 64; i++) {
            state = state * 1664525u + 1013904223u;
            text[i] = "aB"[(state >> 24) & 1];
        }
        memcpy(wanted, text + (state >> 20) % 40, 6);
        wanted[(state >> 10) % 6] = "aB"[(state >> 9) & 1];
        bool expected = strstr(text, wanted) != NULL;
        CHECK_ABOUT(stands_in(text, 64, wanted, 6) == expected, text, 64);
    }
}

int main(void) {
    check_case("a text is found wherever it stands", a_text_is_found_wherever_it_stands);
    check_case("its rarest byte may stand anywhere in it",
               its_rarest_byte_may_stand_anywhere_in_it);
    check_case("nothing is found nowhere", nothing_is_found_nowhere);
    check_case("a NUL is a byte like any other", a_nul_is_a_byte_like_any_other);
    check_case("it agrees with a plain search", it_agrees_with_a_plain_search);
    return check_summary();
}
