/* src/retry_after: delays against a second reader of lists, dates by what http_date (tested on its
 * own) says of them. */
#include <math.h>

#include "retry_after.h"
#include "check.h"

#define DATE "Thu, 23 Jul 2026 11:23:15 GMT"
#define MOMENT 1784805795.0

/* ---- A second recogniser of delays, without dates -----------------------------------------------
 */

static bool is_one_of(char byte, const char *bytes) {
    return byte != '\0' && strchr(bytes, byte) != NULL;
}

/* Reads "digits" or "digits.digits" in text[0..length), by strtod. */
static bool expected_delay(const char *text, size_t length, double *seconds) {
    char copy[64];
    size_t points = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '.' && i > 0 && i + 1 < length) {
            points++;
        } else if (!is_one_of(text[i], "0123456789")) {
            return false;
        }
    }
    if (length == 0 || length >= sizeof copy || points > 1) {
        return false;
    }
    memcpy(copy, text, length);
    copy[length] = '\0';
    *seconds = strtod(copy, NULL);
    if (*seconds > RETRY_AFTER_CEILING) {
        *seconds = RETRY_AFTER_CEILING;
    }
    return true;
}

/* Splits at commas, from the end to the beginning. */
static bool expected(const char *text, size_t length, double *seconds) {
    double longest = -1;
    for (;;) {
        size_t start = length;
        size_t end = length;
        while (start > 0 && text[start - 1] != ',') {
            start--;
        }
        length = start;
        while (start < end && is_one_of(text[start], " \t")) {
            start++;
        }
        while (start < end && is_one_of(text[end - 1], " \t")) {
            end--;
        }
        if (start < end) {
            double delay;
            if (!expected_delay(text + start, end - start, &delay)) {
                return false;
            }
            longest = delay > longest ? delay : longest;
        }
        if (length == 0) {
            break;
        }
        length--;
    }
    *seconds = longest >= 0 ? longest : *seconds;
    return longest >= 0;
}

static void check_one(const char *text, size_t length) {
    char *copy = check_copy(text, length);
    double wanted = 4711;
    double got = 4711;
    bool valid = expected(text, length, &wanted);
    CHECK_ABOUT(retry_after_parse(copy, length, MOMENT, &got) == valid, text, length);
    CHECK_ABOUT(fabs(got - wanted) <= 1e-9, text, length);
    free(copy);
}

/* Whatever the text: the answer can be waited for. */
static void check_sane(const char *text, size_t length) {
    char *copy = check_copy(text, length);
    double got = 4711;
    if (!retry_after_parse(copy, length, MOMENT, &got)) {
        CHECK_ABOUT(got == 4711, text, length);
    }
    CHECK_ABOUT(got >= 0 && got <= RETRY_AFTER_CEILING, text, length);
    free(copy);
}

/* ---- Cases -------------------------------------------------------------------------------------
 */

static bool reads_at(const char *text, double now, double wanted) {
    size_t length = strlen(text);
    char *copy = check_copy(text, length);
    double seconds = wanted + 1;
    bool read = retry_after_parse(copy, length, now, &seconds);
    free(copy);
    return read && seconds == wanted;
}

static bool reads(const char *text, double wanted) {
    return reads_at(text, MOMENT, wanted);
}

static bool refuses(const char *text) {
    size_t length = strlen(text);
    char *copy = check_copy(text, length);
    double seconds = 4711;
    bool read = retry_after_parse(copy, length, MOMENT, &seconds);
    free(copy);
    return !read && seconds == 4711;
}

static void reads_delays(void) {
    CHECK(reads("120", 120));
    CHECK(reads("0", 0));
    CHECK(reads("000000000000000000000000000000120", 120));
    CHECK(reads(" 120\t", 120));
    CHECK(reads("2.128", 2.128));
    CHECK(reads("0.5", 0.5));
    CHECK(reads("600.000", 600));
}

static void reads_dates_from_now(void) {
    CHECK(reads_at(DATE, MOMENT - 600, 600));
    CHECK(reads_at(DATE, MOMENT - 0.25, 0.25));
    CHECK(reads_at("Thursday, 23-Jul-26 11:23:15 GMT", MOMENT - 90, 90));
    CHECK(reads_at("Thu Jul 23 11:23:15 2026", MOMENT - 90, 90));
    CHECK(reads_at(DATE, MOMENT, 0));
    CHECK(reads_at(DATE, MOMENT + 1, 0));
    CHECK(reads_at(DATE, 1e300, 0));
}

static void never_exceeds_the_ceiling(void) {
    char digits[1000];
    double seconds = 0;
    memset(digits, '9', sizeof digits);
    for (size_t length = 10; length <= sizeof digits; length++) {
        CHECK(retry_after_parse(digits, length, 0, &seconds) && seconds == RETRY_AFTER_CEILING);
    }
    CHECK(reads("2147483647", 2147483647));
    CHECK(reads("2147483647.5", 2147483647.5));
    CHECK(reads("2147483648", RETRY_AFTER_CEILING));
    CHECK(reads("2147483648.5", RETRY_AFTER_CEILING));
    CHECK(reads("4294967296", RETRY_AFTER_CEILING));
    CHECK(reads("18446744073709551616", RETRY_AFTER_CEILING));
    CHECK(reads("18446744073709551617.5", RETRY_AFTER_CEILING));
    CHECK(reads("Fri, 31 Dec 9999 23:59:59 GMT", RETRY_AFTER_CEILING));
    CHECK(reads_at(DATE, -1e300, RETRY_AFTER_CEILING));
    CHECK(reads_at(DATE, -(double)INFINITY, RETRY_AFTER_CEILING));
}

static void does_not_wait_from_an_unknown_now(void) {
    double seconds = 4711;
    CHECK(!retry_after_parse(DATE, strlen(DATE), (double)NAN, &seconds) && seconds == 4711);
    CHECK(reads_at("120", (double)NAN, 120));
}

static void refuses_other_notations(void) {
    double seconds = 4711;
    static const char *const others[] = {"",
                                         " ",
                                         "\t",
                                         "-1",
                                         "-0",
                                         "+1",
                                         "1e3",
                                         "1E3",
                                         "0x10",
                                         "inf",
                                         "Infinity",
                                         "nan",
                                         "NaN",
                                         ".5",
                                         "5.",
                                         ".",
                                         "1.2.3",
                                         "1 2",
                                         "120s",
                                         "120 s",
                                         "120 seconds",
                                         "120;",
                                         "120\n",
                                         "\r120",
                                         "1_000",
                                         "\xd9\xa1",
                                         "PT2M",
                                         "soon",
                                         "null",
                                         "2026-07-23T11:23:15Z",
                                         "Thu, 23 Jul 2026 11:23:15",
                                         "Fri, 23 Jul 2026 11:23:15 GMT",
                                         "Thu, 30 Feb 2026 11:23:15 GMT",
                                         "120 " DATE,
                                         DATE " 120"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        CHECK_ABOUT(refuses(others[i]), others[i], strlen(others[i]));
    }
    CHECK(!retry_after_parse(NULL, 0, MOMENT, &seconds) && seconds == 4711);
}

static void takes_the_longest_of_joined_values(void) {
    CHECK(reads("120, 120", 120));
    CHECK(reads("120,60", 120));
    CHECK(reads("60 , 120, 2.5", 120));
    CHECK(reads_at(DATE ", 5", MOMENT - 60, 60));
    CHECK(reads_at("5, " DATE, MOMENT - 60, 60));
    CHECK(reads_at("Thu Jul 23 11:23:15 2026, 5," DATE, MOMENT - 60, 60));
    CHECK(reads_at(DATE ", Thursday, 23-Jul-26 11:24:15 GMT", MOMENT - 60, 120));
    CHECK(reads_at("90, " DATE, MOMENT - 60, 90));
    CHECK(reads("120, ", 120));
    CHECK(reads(", ,\t, 120,,", 120));
}

static void refuses_a_list_with_one_unreadable_member(void) {
    CHECK(refuses("120, soon"));
    CHECK(refuses("soon, 120"));
    CHECK(refuses("120, -1"));
    CHECK(refuses("Sun, 06"));
    CHECK(refuses("Thu, 23 Jul 2026 11:23:15, 5"));
    CHECK(refuses("Thu, 120"));
    CHECK(refuses("5, Thu"));
    CHECK(refuses(", ,"));
    CHECK(refuses(DATE "," DATE ", x"));
}

static void judges_short_texts_like_the_second_recogniser(void) {
    static const char alphabet[] = {'0', '9', '.', ',', ' ', '-', 'e', '\0'};
    check_all_texts(alphabet, sizeof alphabet, 6, check_one);
}

static void judges_mutations_like_the_second_recogniser(void) {
    static const char *const samples[] = {"2.128", "120", "60, 2147483647.25 , ,7"};
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        check_mutations(samples[i], strlen(samples[i]), check_one);
        check_cuts(samples[i], strlen(samples[i]), check_one);
    }
}

static void stays_sane_whatever_becomes_of_a_date(void) {
    static const char text[] = DATE ", 60, " DATE;
    check_mutations(text, sizeof text - 1, check_sane);
    check_cuts(text, sizeof text - 1, check_sane);
}

int main(void) {
    check_case("reads seconds, with a fraction too", reads_delays);
    check_case("reads a date as the time left, none when it has passed", reads_dates_from_now);
    check_case("never exceeds the ceiling, however many digits", never_exceeds_the_ceiling);
    check_case("gives no answer for a date when now is no number",
               does_not_wait_from_an_unknown_now);
    check_case("refuses other notations", refuses_other_notations);
    check_case("takes the longest of joined values", takes_the_longest_of_joined_values);
    check_case("refuses a list with one unreadable member",
               refuses_a_list_with_one_unreadable_member);
    check_case("judges all short texts as another recogniser does",
               judges_short_texts_like_the_second_recogniser);
    check_case("judges every mutation and cut as another recogniser does",
               judges_mutations_like_the_second_recogniser);
    check_case("stays finite and not negative whatever becomes of a date",
               stays_sane_whatever_becomes_of_a_date);
    return check_summary();
}
