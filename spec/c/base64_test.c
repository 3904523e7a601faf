/* base64: what is decoded, what is refused, and that nothing is read or written out of bounds. */
#include "base64.h"
#include "check.h"

static bool decodes_to(const char *text, const char *expected, size_t length) {
    char bytes[32];
    size_t count = 0;
    return base64_decode(text, strlen(text), bytes, &count) && count == length &&
           memcmp(bytes, expected, length) == 0;
}

static bool is_refused(const char *text) {
    char bytes[32];
    size_t count = 0;
    return !base64_decode(text, strlen(text), bytes, &count);
}

static void every_length_is_decoded(void) {
    CHECK(decodes_to("", "", 0));
    CHECK(decodes_to("Zg", "f", 1));
    CHECK(decodes_to("Zm8", "fo", 2));
    CHECK(decodes_to("Zm9v", "foo", 3));
    CHECK(decodes_to("Zm9vYg==", "foob", 4));
    CHECK(decodes_to("Zm9vYmE=", "fooba", 5));
    CHECK(decodes_to("Zm9vYmFy", "foobar", 6));
}

static void both_alphabets_are_known(void) {
    CHECK(decodes_to("-_-_", "\xfb\xff\xbf", 3));
    CHECK(decodes_to("+/+/", "\xfb\xff\xbf", 3));
    CHECK(decodes_to("AAAA", "\0\0\0", 3));
}

static void what_is_no_base64_is_refused(void) {
    static const char *const wrong[] = {"Z",
                                        "Zm9vY",
                                        "Zh",
                                        "Zm9",
                                        "Zg=",
                                        "Zg===",
                                        "Zm8==",
                                        "Zm9v=",
                                        "=",
                                        "====",
                                        "Z=m8",
                                        "Zm 9",
                                        "Zm9\n",
                                        "Zm9v.",
                                        "\xe4"
                                        "m9v",
                                        "Zg==Zg=="};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        CHECK_ABOUT(is_refused(wrong[i]), wrong[i], strlen(wrong[i]));
    }
}

int main(void) {
    check_case("every length is decoded", every_length_is_decoded);
    check_case("both alphabets are known", both_alphabets_are_known);
    check_case("what is no base64 is refused", what_is_no_base64_is_refused);
    return check_summary();
}
