/* text_search: what is there is found wherever it stands, and nothing is read beyond the text. */
#include "check.h"
#include "text_search.h"

static void a_text_is_found_wherever_it_stands(void) {
    for (size_t before = 0; before < 40; before++) {
        char text[48];
        memset(text, 'n', sizeof text);
        memcpy(text + before, "needle", 6);
        CHECK_ABOUT(text_search_contains(text, sizeof text, "needle", 6), text, sizeof text);
        CHECK_ABOUT(text_search_contains(text, before + 6, "needle", 6), text, before + 6);
        CHECK_ABOUT(!text_search_contains(text, before + 5, "needle", 6), text, before + 5);
    }
}

static void nothing_is_found_nowhere(void) {
    CHECK(!text_search_contains("text", 4, "", 0));
    CHECK(!text_search_contains("", 0, "", 0));
    CHECK(!text_search_contains("", 0, "a", 1));
}

static void a_nul_is_a_byte_like_any_other(void) {
    CHECK(text_search_contains("a\0b", 3, "\0b", 2));
    CHECK(!text_search_contains("a\0b", 3, "ab", 2));
}

/* Against strstr, on texts of two letters, where near misses abound. */
static void it_agrees_with_a_plain_search(void) {
    uint32_t state = 12345;
    for (int round = 0; round < 20000; round++) {
        char text[65] = {0}, wanted[7] = {0};
        for (size_t i = 0; i < 64; i++) {
            state = state * 1664525u + 1013904223u;
            text[i] = "ab"[(state >> 24) & 1];
        }
        memcpy(wanted, text + (state >> 20) % 40, 6);
        wanted[(state >> 10) % 6] = "ab"[(state >> 9) & 1];
        bool expected = strstr(text, wanted) != NULL;
        CHECK_ABOUT(text_search_contains(text, 64, wanted, 6) == expected, text, 64);
    }
}

int main(void) {
    check_case("a text is found wherever it stands", a_text_is_found_wherever_it_stands);
    check_case("nothing is found nowhere", nothing_is_found_nowhere);
    check_case("a NUL is a byte like any other", a_nul_is_a_byte_like_any_other);
    check_case("it agrees with a plain search", it_agrees_with_a_plain_search);
    return check_summary();
}
