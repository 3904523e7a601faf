/* src/challenge: the events are written out as text, and compared with what is expected, or with
 * what a second recogniser says, which first splits the list and then judges each member as a
 * whole.
 *
 *     S(scheme)  68(token68)  P(name=value)  Q(name="value", unquoted)  then E for the end or M for
 *     malformed and the rest of the text */
#include "challenge.h"
#include "check.h"

struct output {
    char bytes[2000];
    size_t length;
};

static void put(struct output *output, const char *bytes, size_t length) {
    CHECK(output->length + length <= sizeof output->bytes);
    if (length > 0 && output->length + length <= sizeof output->bytes) {
        memcpy(output->bytes + output->length, bytes, length);
        output->length += length;
    }
}

static void put_text(struct output *output, const char *text) {
    put(output, text, strlen(text));
}

/* ---- What the reader says ----------------------------------------------------------------------
 */

static bool lies_within(struct challenge_slice slice, const char *text, size_t length) {
    return slice.length == 0 || (slice.start >= text && slice.start < text + length &&
                                 slice.length <= (size_t)(text + length - slice.start));
}

static void put_parameter(struct output *output, const struct challenge_item *item) {
    char *value = check_copy(item->value.start, item->value.length);
    size_t length = item->value.length;
    if (item->quoted) {
        length = challenge_unquote(item->value, value);
    }
    put_text(output, item->quoted ? "Q(" : "P(");
    put(output, item->name.start, item->name.length);
    put_text(output, "=");
    put(output, value, length);
    put_text(output, ")");
    free(value);
}

/* Writes out all events; at the end, that the last one comes again. */
static void read_all(const char *text, size_t length, struct output *output) {
    struct challenge_reader reader;
    struct challenge_item item;
    enum challenge_event event;
    output->length = 0;
    challenge_reader_init(&reader, text, length);
    for (size_t events = 0;; events++) {
        event = challenge_reader_next(&reader, &item);
        CHECK_ABOUT(lies_within(item.name, text, length), text, length);
        CHECK_ABOUT(lies_within(item.value, text, length), text, length);
        CHECK_ABOUT(events <= length, text, length);
        if (event == CHALLENGE_END || event == CHALLENGE_MALFORMED || events > length) {
            break;
        }
        if (event == CHALLENGE_PARAMETER) {
            put_parameter(output, &item);
        } else {
            put_text(output, event == CHALLENGE_SCHEME ? "S(" : "68(");
            put(output, event == CHALLENGE_SCHEME ? item.name.start : item.value.start,
                item.name.length + item.value.length);
            put_text(output, ")");
        }
    }
    put_text(output, event == CHALLENGE_END ? "E" : "M");
    put(output, item.value.start, item.value.length);
    for (int again = 0; again < 3; again++) {
        const char *rest = item.value.start;
        CHECK_ABOUT(challenge_reader_next(&reader, &item) == event, text, length);
        CHECK_ABOUT(item.value.start == rest && item.name.length == 0, text, length);
    }
}

/* ---- A second recogniser ------------------------------------------------------------------------
 */

static const char token_bytes[] = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "abcdefghijklmnopqrstuvwxyz";
static const char token68_bytes[] = "-._~+/0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                    "abcdefghijklmnopqrstuvwxyz";

static size_t span(const char *text, size_t length, const char *bytes) {
    size_t count = 0;
    while (count < length && text[count] != '\0' && strchr(bytes, text[count]) != NULL) {
        count++;
    }
    return count;
}

/* The length of the list member at `text`: to the first comma outside quotes. */
static size_t member_length(const char *text, size_t length) {
    bool quoted = false;
    size_t i = 0;
    for (; i < length && (quoted || text[i] != ','); i++) {
        if (text[i] == '"') {
            quoted = !quoted;
        } else if (quoted && text[i] == '\\' && i + 1 < length) {
            i++;
        }
    }
    return i;
}

static bool expected_quoted(const char *text, size_t length, struct output *output) {
    if (length < 2 || text[0] != '"' || text[length - 1] != '"') {
        return false;
    }
    for (size_t i = 1; i < length - 1; i++) {
        if (text[i] == '"') {
            return false;
        }
        if (text[i] == '\\' && ++i == length - 1) {
            return false;
        }
        if (((unsigned char)text[i] < 32 && text[i] != '\t') || text[i] == 127) {
            return false;
        }
        put(output, text + i, 1);
    }
    return true;
}

/* Is all of the member a parameter? If so it is written out. */
static bool expected_parameter(const char *text, size_t length, struct output *output) {
    size_t start = output->length;
    size_t name = span(text, length, token_bytes);
    size_t at = name + span(text + name, length - name, " \t");
    if (name == 0 || at == length || text[at] != '=') {
        return false;
    }
    at++;
    at += span(text + at, length - at, " \t");
    put_text(output, at < length && text[at] == '"' ? "Q(" : "P(");
    put(output, text, name);
    put_text(output, "=");
    if (at < length && span(text + at, length - at, token_bytes) == length - at) {
        put(output, text + at, length - at);
    } else if (!expected_quoted(text + at, length - at, output)) {
        output->length = start;
        return false;
    }
    put_text(output, ")");
    return true;
}

static bool expected_token68(const char *text, size_t length, struct output *output) {
    size_t bytes = span(text, length, token68_bytes);
    if (bytes == 0 || bytes + span(text + bytes, length - bytes, "=") != length) {
        return false;
    }
    put_text(output, "68(");
    put(output, text, length);
    put_text(output, ")");
    return true;
}

/* Writes out one member that is not empty; returns how much of it was good, all of it or less. */
static size_t expected_member(const char *text, size_t length, bool *takes_parameters,
                              struct output *output) {
    size_t scheme = span(text, length, token_bytes);
    size_t rest = scheme + span(text + scheme, length - scheme, " \t");
    if (rest < length && text[rest] == '=') {
        return *takes_parameters && expected_parameter(text, length, output) ? length : 0;
    }
    if (scheme == 0 || (rest == scheme && rest < length)) {
        return 0;
    }
    put_text(output, "S(");
    put(output, text, scheme);
    put_text(output, ")");
    *takes_parameters = true;
    if (rest == length || expected_parameter(text + rest, length - rest, output)) {
        return length;
    }
    *takes_parameters = false;
    return expected_token68(text + rest, length - rest, output) ? length : rest;
}

static void expect_all(const char *text, size_t length, struct output *output) {
    bool takes_parameters = false;
    size_t at = 0;
    output->length = 0;
    while (at < length) {
        size_t member, end;
        at += span(text + at, length - at, ", \t");
        member = end = member_length(text + at, length - at);
        while (member > 0 && (text[at + member - 1] == ' ' || text[at + member - 1] == '\t')) {
            member--;
        }
        if (member > 0) {
            size_t good = expected_member(text + at, member, &takes_parameters, output);
            if (good < member) {
                put_text(output, "M");
                put(output, text + at + good, length - at - good);
                return;
            }
        }
        at += end;
    }
    put_text(output, "E");
}

static void check_one(const char *text, size_t length) {
    struct output wanted, got;
    char *copy = check_copy(text, length);
    expect_all(text, length, &wanted);
    read_all(copy, length, &got);
    CHECK_ABOUT(got.length == wanted.length, text, length);
    CHECK_ABOUT(memcmp(got.bytes, wanted.bytes, wanted.length) == 0, text, length);
    free(copy);
}

/* ---- Cases -------------------------------------------------------------------------------------
 */

static bool says(const char *text, const char *wanted) {
    struct output got;
    size_t length = strlen(text);
    char *copy = check_copy(text, length);
    read_all(copy, length, &got);
    free(copy);
    return got.length == strlen(wanted) && memcmp(got.bytes, wanted, got.length) == 0;
}

static const char entra[] =
    "Bearer realm=\"\", "
    "authorization_uri=\"https://login.microsoftonline.com/common/oauth2/authorize\","
    " client_id=\"00000003-0000-0000-c000-000000000000\", error=\"insufficient_claims\","
    " claims=\"eyJhY2Nlc3NfdG9rZW4iOnt9fQ==\"";

static void reads_the_real_form(void) {
    CHECK(says(entra,
               "S(Bearer)Q(realm=)"
               "Q(authorization_uri=https://login.microsoftonline.com/common/oauth2/authorize)"
               "Q(client_id=00000003-0000-0000-c000-000000000000)Q(error=insufficient_claims)"
               "Q(claims=eyJhY2Nlc3NfdG9rZW4iOnt9fQ==)E"));
}

static void reads_single_challenges(void) {
    struct output nothing;
    read_all(NULL, 0, &nothing);
    CHECK(nothing.length == 1 && nothing.bytes[0] == 'E');
    CHECK(says("", "E"));
    CHECK(says("Negotiate", "S(Negotiate)E"));
    CHECK(says(" Negotiate\t", "S(Negotiate)E"));
    CHECK(says("Negotiate oYG2MIGzoAMK/+==", "S(Negotiate)68(oYG2MIGzoAMK/+==)E"));
    CHECK(says("Basic realm=simple", "S(Basic)P(realm=simple)E"));
    CHECK(says("Basic realm=\"a \\\"b\\\" \\\\ c\"", "S(Basic)Q(realm=a \"b\" \\ c)E"));
    CHECK(says("Basic realm \t=\t \"x\" , charset=UTF-8", "S(Basic)Q(realm=x)P(charset=UTF-8)E"));
    CHECK(says("Basic realm=\"a, b=c, Digest d\"", "S(Basic)Q(realm=a, b=c, Digest d)E"));
    CHECK(says("Basic realm=\"\xc3\xa4\xff\"", "S(Basic)Q(realm=\xc3\xa4\xff)E"));
    CHECK(says("X  a=1", "S(X)P(a=1)E"));
}

static void tells_schemes_from_parameters(void) {
    CHECK(says(
        "Newauth realm=\"apps\", type=1, title=\"Login to \\\"apps\\\"\", Basic realm=\"simple\"",
        "S(Newauth)Q(realm=apps)P(type=1)Q(title=Login to \"apps\")S(Basic)Q(realm=simple)E"));
    CHECK(says("Negotiate, Basic realm=x, Bearer", "S(Negotiate)S(Basic)P(realm=x)S(Bearer)E"));
    CHECK(says("Negotiate abc=, Basic a = b", "S(Negotiate)68(abc=)S(Basic)P(a=b)E"));
    CHECK(says("X abc", "S(X)68(abc)E"));
    CHECK(says("X abc=", "S(X)68(abc=)E"));
    CHECK(says("X abc=d", "S(X)P(abc=d)E"));
    CHECK(says("X abc==", "S(X)68(abc==)E"));
    CHECK(says("X abc= d", "S(X)P(abc=d)E"));
    CHECK(says("X abc= \"d\"", "S(X)Q(abc=d)E"));
    CHECK(says("X realm , Y", "S(X)68(realm)S(Y)E"));
    CHECK(says("realm=x", "Mrealm=x"));
    CHECK(says("X abc, d=e", "S(X)68(abc)Md=e"));
}

static void skips_empty_members(void) {
    CHECK(says(" , ,X,, a=1,\t,b=2 ,,Y , ", "S(X)P(a=1)P(b=2)S(Y)E"));
    CHECK(says("X ,a=1", "S(X)P(a=1)E"));
    CHECK(says(",", "E"));
}

static void unquotes_within_the_slice(void) {
    struct challenge_slice lone = {check_copy("ab\\", 3), 3};
    struct challenge_slice pairs = {check_copy("\\\\\\\"\\a", 6), 6};
    char buffer[8] = "";
    CHECK(challenge_unquote(lone, buffer) == 3 && memcmp(buffer, "ab\\", 3) == 0);
    CHECK(challenge_unquote(pairs, buffer) == 3 && memcmp(buffer, "\\\"a", 3) == 0);
    free((void *)lone.start);
    free((void *)pairs.start);
}

static void hands_out_duplicates(void) {
    CHECK(says("X a=1, A=2, a=3", "S(X)P(a=1)P(A=2)P(a=3)E"));
    CHECK(says("X a=1, X a=2", "S(X)P(a=1)S(X)P(a=2)E"));
}

static void stops_at_malformed_text_and_keeps_what_came_before(void) {
    CHECK(says("Bearer error=\"e\", claims=\"abc", "S(Bearer)Q(error=e)Mclaims=\"abc"));
    CHECK(says("Bearer error=\"e\", x=, y=1", "S(Bearer)Q(error=e)Mx=, y=1"));
    CHECK(says("Bearer error=\"e\" junk", "S(Bearer)Merror=\"e\" junk"));
    CHECK(says("Bearer error=\"e\"junk", "S(Bearer)Merror=\"e\"junk"));
    CHECK(says("Bearer a=b c=d", "S(Bearer)Ma=b c=d"));
    CHECK(says("Bearer a=1; b=2", "S(Bearer)Ma=1; b=2"));
    CHECK(says("Basic realm=x, \"y\"", "S(Basic)P(realm=x)M\"y\""));
    CHECK(says("Basic realm=x, @", "S(Basic)P(realm=x)M@"));
    CHECK(says("Basic/x", "MBasic/x"));
    CHECK(says("Basic\"x\"", "MBasic\"x\""));
    CHECK(says("=x", "M=x"));
    CHECK(says("X =x", "MX =x"));
    CHECK(says("X a=\"b\\\"", "S(X)Ma=\"b\\\""));
    CHECK(says("X a=\"b\\", "S(X)Ma=\"b\\"));
    CHECK(says("X a=\"b\nc\"", "S(X)Ma=\"b\nc\""));
    CHECK(says("X a=\"b\\\x01\"", "S(X)Ma=\"b\\\x01\""));
    CHECK(says("X a=\"\x7f\"", "S(X)Ma=\"\x7f\""));
    CHECK(says("X\r\nY a=1", "MX\r\nY a=1"));
    CHECK(says("\xc3\xa4 a=1", "M\xc3\xa4 a=1"));
}

/* What a good text says stands, whatever follows it after a comma. */
static void keeps_good_challenges_before_any_tail(void) {
    for (int round = 0; round < 20000; round++) {
        static const char bytes[] = "ab=,\" \\\t/\n;Z";
        char text[sizeof entra + 32];
        struct output good, got;
        size_t tail = check_random(30);
        memcpy(text, entra, sizeof entra - 1);
        memcpy(text + sizeof entra - 1, ", ", 2);
        for (size_t i = 0; i < tail; i++) {
            text[sizeof entra + 1 + i] = bytes[check_random(sizeof bytes)];
        }
        read_all(entra, sizeof entra - 1, &good);
        read_all(text, sizeof entra + 1 + tail, &got);
        CHECK_ABOUT(memcmp(got.bytes, good.bytes, good.length - 1) == 0, text + sizeof entra, tail);
    }
}

static void judges_short_texts_like_the_second_recogniser(void) {
    static const char alphabet[] = {'a', '=', ',', ' ', '"', '\\', '/', '\0'};
    check_all_texts(alphabet, sizeof alphabet, 6, check_one);
}

static void judges_mutations_like_the_second_recogniser(void) {
    static const char sample[] =
        "Negotiate abc/==, Basic realm = \"a\\\"b\" , x=y,,Bearer , Z q=\"\"";
    check_mutations(sample, sizeof sample - 1, check_one);
    check_cuts(sample, sizeof sample - 1, check_one);
    check_mutations(entra, sizeof entra - 1, check_one);
    check_cuts(entra, sizeof entra - 1, check_one);
}

static void judges_random_texts_like_the_second_recogniser(void) {
    static const char *const pieces[] = {"Bearer", " ",        ", ",   "a=1", "b",
                                         "=",      "\"c, d\"", "\"",   "\\",  "\t",
                                         ",",      "x = ",     "68==", "/",   "\n"};
    for (int round = 0; round < 200000; round++) {
        char text[200];
        size_t length = 0;
        for (uint32_t count = check_random(16); count > 0; count--) {
            const char *piece = pieces[check_random(sizeof pieces / sizeof *pieces)];
            memcpy(text + length, piece, strlen(piece));
            length += strlen(piece);
        }
        check_one(text, length);
    }
}

int main(void) {
    check_case("reads the challenge of continuous access evaluation", reads_the_real_form);
    check_case("reads schemes, token68s, tokens and quoted strings", reads_single_challenges);
    check_case("tells a new scheme from one more parameter", tells_schemes_from_parameters);
    check_case("skips empty members", skips_empty_members);
    check_case("unquotes without looking past the slice", unquotes_within_the_slice);
    check_case("hands out duplicates as they come", hands_out_duplicates);
    check_case("stops at malformed text and keeps what came before",
               stops_at_malformed_text_and_keeps_what_came_before);
    check_case("keeps good challenges before any tail", keeps_good_challenges_before_any_tail);
    check_case("judges all short texts as another recogniser does",
               judges_short_texts_like_the_second_recogniser);
    check_case("judges every mutation and cut as another recogniser does",
               judges_mutations_like_the_second_recogniser);
    check_case("judges random texts as another recogniser does",
               judges_random_texts_like_the_second_recogniser);
    return check_summary();
}
