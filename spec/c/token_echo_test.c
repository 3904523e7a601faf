/* token_echo: the quick look must never say "no" where a part of the secret is. */
#include "check.h"
#include "token_echo.h"

static const char secret[] = "secretheader0123456789.claimsclaimsclaims.signaturesignature";
static const char innocent[] = "7f3b2f9e-1a2b-4c3d-8e9f-0a1b2c3d4e5f";

static bool possible(const char *text, size_t length) {
    return token_echo_possible(text, length, secret, sizeof secret - 1);
}

static void an_id_is_no_echo(void) {
    CHECK(!possible(innocent, sizeof innocent - 1));
    CHECK(!possible("", 0));
    CHECK(!token_echo_possible("a text", 6, "", 0));
}

/* The beginning of the secret and of its parts, at every place of a text, whole and cut. */
static void every_telling_part_is_found_wherever_it_stands(void) {
    static const char *const parts[] = {"secretheader0123", "claimsclaimsclai", "signaturesignatu"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        for (size_t before = 0; before < 40; before++) {
            char text[128];
            memset(text, 's', sizeof text);
            memcpy(text + before, parts[i], TOKEN_ECHO_TELLING);
            CHECK_ABOUT(possible(text, sizeof text), text, sizeof text);
            CHECK_ABOUT(possible(text, before + TOKEN_ECHO_TELLING), text, before);
        }
    }
}

static void a_short_secret_is_found_as_a_whole(void) {
    CHECK(token_echo_possible("the pass word", 13, "pass", 4));
    CHECK(!token_echo_possible("the pas word", 12, "pass", 4));
    CHECK(token_echo_possible("a", 1, "a", 1));
}

static void what_looks_like_a_token_or_is_escaped_gets_the_thorough_look(void) {
    CHECK(possible("eyJ", 3));
    CHECK(possible("Bearer x", 8));
    CHECK(possible("BEARER x", 8));
    CHECK(possible("a\\u0041", 7));
    CHECK(possible("a%41", 4));
}

/* Against a second opinion: strstr of every window of the secret's telling beginning. */
static void random_texts_agree_with_a_plain_search(void) {
    uint32_t state = 12345;
    for (int round = 0; round < 20000; round++) {
        char text[65];
        for (size_t i = 0; i < 64; i++) {
            state = state * 1664525u + 1013904223u;
            text[i] = "ab"[(state >> 24) & 1];
        }
        text[64] = '\0';
        char wanted[7];
        memcpy(wanted, text + (state >> 20) % 40, 6);
        wanted[(state >> 10) % 6] = (char)("ab"[(state >> 9) & 1]);
        wanted[6] = '\0';
        bool expected = strstr(text, wanted) != NULL;
        CHECK_ABOUT(token_echo_possible(text, 64, wanted, 6) == expected, text, 64);
    }
}

int main(void) {
    check_case("an id is no echo", an_id_is_no_echo);
    check_case("every telling part is found wherever it stands",
               every_telling_part_is_found_wherever_it_stands);
    check_case("a short secret is found as a whole", a_short_secret_is_found_as_a_whole);
    check_case("what looks like a token or is escaped gets the thorough look",
               what_looks_like_a_token_or_is_escaped_gets_the_thorough_look);
    check_case("random texts agree with a plain search", random_texts_agree_with_a_plain_search);
    return check_summary();
}
