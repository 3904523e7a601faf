/* src/response_head: what it takes from the lines of an answer, and what it does not. */
#include "check.h"
#include "response_head.h"

enum { CEILING = 4096 };

/* Hands every line of the text to the head, each in memory of its own; the last status. */
static enum byte_buffer_status read_text(struct response_head *head, const char *text,
                                         size_t length) {
    enum byte_buffer_status status = BYTE_BUFFER_OK;
    while (length > 0 && status == BYTE_BUFFER_OK) {
        const char *end = memchr(text, '\n', length);
        size_t line_length = end != NULL ? (size_t)(end - text) + 1 : length;
        char *line = check_copy(text, line_length);
        status = response_head_add_line(head, line, line_length);
        free(line);
        text += line_length;
        length -= line_length;
    }
    return status;
}

/* Writes the head as text: `204! name=value;` with `!` when it is complete. */
static void describe(const struct response_head *head, char *text, size_t size) {
    struct header_field field;
    size_t length = (size_t)snprintf(text, size, "%d%s", head->status, head->complete ? "!" : "");
    for (size_t position = 0; response_head_next(head, &position, &field);) {
        length +=
            (size_t)snprintf(text + length, size - length, " %.*s=%.*s;", (int)field.name_length,
                             field.name, (int)field.value_length, field.value);
        if (length >= size) {
            return;
        }
    }
}

static void check_read(const char *text, const char *expected) {
    struct response_head head;
    char description[512];
    response_head_init(&head, CEILING);
    CHECK_ABOUT(read_text(&head, text, strlen(text)) == BYTE_BUFFER_OK, text, strlen(text));
    describe(&head, description, sizeof description);
    CHECK_ABOUT(strcmp(description, expected) == 0, description, strlen(description));
    response_head_free(&head);
}

static void reads_a_head(void) {
    check_read("HTTP/1.1 204 No Content\r\nA: 1\r\nB: 2\r\n\r\n", "204! a=1; b=2;");
    check_read("HTTP/1.1 204\r\n\r\n", "204!");
    check_read("HTTP/2 204 \r\nretry-after: 5\r\n\r\n", "204! retry-after=5;");
    check_read("HTTP/1.0 503 Busy\nA:1\n\n", "503! a=1;");
    check_read("", "0");
}

static void knows_a_status_line(void) {
    check_read("HTTP/1.1 20\r\n\r\n", "0");
    check_read("HTTP/1.1 2045\r\n\r\n", "0");
    check_read("HTTP/1.1 20x\r\n\r\n", "0");
    check_read("HTTP/1.1 \r\n\r\n", "0");
    check_read("HTTP/1.1\r\n\r\n", "0");
    check_read("HTTP/\n", "0");
    check_read("HTTX/1.1 204 \r\n\r\n", "0");
    check_read(" HTTP/1.1 204 \r\n\r\n", "0");
    check_read("H 204 \r\n\r\n", "0");
    check_read("A: 1\r\n\r\n", "0");
}

static void forgets_interim_answers(void) {
    check_read("HTTP/1.1 100 Continue\r\n\r\n", "100!");
    check_read("HTTP/1.1 103 Early\r\nA: 1\r\n\r\nHTTP/1.1 204 X\r\nB: 2\r\n\r\n", "204! b=2;");
    check_read("HTTP/1.1 100 X\r\n\r\nHTTP/1.1 102 X\r\n\r\nHTTP/1.1 409 X\r\n\r\n", "409!");
    check_read("HTTP/1.1 100 X\r\n\r\nnoise\r\nHTTP/1.1 409 X\r\n\r\n", "409!");
}

static void keeps_the_first_final_status(void) {
    check_read("HTTP/1.1 500 X\r\nHTTP/1.1 204 No: Content\r\nA: 1\r\n\r\n",
               "500! http/1.1 204 no=Content; a=1;");
    check_read("HTTP/1.1 500 X\r\nHTTP/1.1 204 No Content\r\n\r\n", "500!");
    check_read("HTTP/1.1 500 X\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", "500!");
    check_read("HTTP/1.1 101 X\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", "101!");
    check_read("HTTP/1.1 100 X\r\nHTTP/1.1 204 No Content\r\n", "100");
}

static void ignores_trailers(void) {
    check_read("HTTP/1.1 500 X\r\nA: 1\r\n\r\nRetry-After: 3\r\n folded\r\n\r\n", "500! a=1;");
}

static void says_which_status_is_final(void) {
    struct response_head head;
    response_head_init(&head, CEILING);
    CHECK(!response_head_is_final(&head));
    read_text(&head, "HTTP/1.1 100 X\r\n\r\n", 18);
    CHECK(!response_head_is_final(&head));
    read_text(&head, "HTTP/1.1 200 X\r\n", 16);
    CHECK(response_head_is_final(&head) && !head.complete);
    response_head_free(&head);
    response_head_init(&head, CEILING);
    read_text(&head, "HTTP/1.1 101 X\r\n", 16);
    CHECK(response_head_is_final(&head));
    response_head_free(&head);
}

static void trims_values(void) {
    check_read("HTTP/1.1 204 X\r\nA:\r\nB: \t x y \t\r\nC : z\r\n", "204 a=; b=x y; c=z;");
}

static void joins_folded_lines(void) {
    check_read("HTTP/1.1 204 X\r\nA: x\r\n y\r\n\t z \r\nB: 1\r\n", "204 a=x y z; b=1;");
    check_read("HTTP/1.1 204 X\r\nA:\r\n y\r\n", "204 a=y;");
    check_read("HTTP/1.1 204 X\r\nA: x\r\n \r\n\t\r\n\r\n", "204! a=x;");
    check_read("HTTP/1.1 204 X\r\n nothing before\r\nA: 1\r\n", "204 a=1;");
}

static void passes_over_what_is_no_field(void) {
    check_read("HTTP/1.1 204 X\r\nno colon\r\n: no name\r\nA: 1\r\n", "204 a=1;");
}

static void does_not_believe_half_a_line(void) {
    check_read("HTTP/1.1 204 X\r\nA: 1\r\nRetry-After: 12", "204 a=1;");
    check_read("HTTP/1.1 204", "0");
}

static void keeps_any_byte_of_a_value(void) {
    struct response_head head;
    struct header_field field;
    size_t position = 0;
    response_head_init(&head, CEILING);
    read_text(&head, "HTTP/1.1 204 X\r\nA: \0\xff:\r \x01\r\n", 28);
    CHECK(response_head_next(&head, &position, &field));
    CHECK(field.value_length == 6 && memcmp(field.value, "\0\xff:\r \x01", 6) == 0);
    CHECK(!response_head_next(&head, &position, &field));
    response_head_free(&head);
}

static void has_names_in_lower_case(void) {
    check_read("HTTP/1.1 204 X\r\nRetry-After: Now\r\n@[AZ`{ : Z\r\n Folded: X\r\n",
               "204 retry-after=Now; @[az`{=Z Folded: X;");
    const struct header_field field = {"retry-after", 11, "", 0};
    CHECK(header_field_is(&field, "retry-after"));
    CHECK(!header_field_is(&field, "retry-afte"));
    CHECK(!header_field_is(&field, "retry-afters"));
    CHECK(!header_field_is(&field, ""));
}

static void stays_below_its_ceiling(void) {
    struct response_head head;
    char line[64];
    response_head_init(&head, 256);
    read_text(&head, "HTTP/1.1 429 X\r\nRetry-After: 5\r\n", 32);
    enum byte_buffer_status status = BYTE_BUFFER_OK;
    for (int i = 0; i < 100 && status == BYTE_BUFFER_OK; i++) {
        int length =
            snprintf(line, sizeof line, i % 2 == 0 ? "H%d: value\r\n" : " folded %d\r\n", i);
        status = response_head_add_line(&head, line, (size_t)length);
    }
    CHECK(status == BYTE_BUFFER_FULL);
    CHECK(head.fields.length <= 256);
    CHECK(head.status == 429);
    struct header_field field;
    size_t position = 0;
    CHECK(response_head_next(&head, &position, &field) && field.value[0] == '5');
    while (response_head_next(&head, &position, &field)) {
    }
    CHECK(position == head.fields.length);
    response_head_free(&head);
}

/* Whatever the text, the records stay whole and the status is none or three digits. */
static void check_sane(const char *text, size_t length) {
    struct response_head head;
    struct header_field field;
    size_t position = 0;
    response_head_init(&head, 512);
    read_text(&head, text, length);
    while (response_head_next(&head, &position, &field)) {
        bool is_inside = field.value + field.value_length <= head.fields.bytes + head.fields.length;
        CHECK_ABOUT(is_inside, text, length);
        if (!is_inside) {
            break;
        }
    }
    CHECK_ABOUT(head.status >= 0 && head.status <= 999, text, length);
    CHECK_ABOUT(position == head.fields.length, text, length);
    response_head_free(&head);
}

static void survives_anything(void) {
    static const char text[] =
        "HTTP/1.1 103 X\r\nA: 1\r\n\r\nHTTP/1.1 204 X\r\nB: 2\r\n c\r\n\r\nD: 3\r\n";
    check_mutations(text, sizeof text - 1, check_sane);
    check_cuts(text, sizeof text - 1, check_sane);
}

int main(void) {
    check_case("reads a status line and fields", reads_a_head);
    check_case("knows a status line from what only looks like one", knows_a_status_line);
    check_case("forgets a 1xx answer when another follows", forgets_interim_answers);
    check_case("keeps the first final status, whatever follows", keeps_the_first_final_status);
    check_case("ignores trailers", ignores_trailers);
    check_case("says which status is final", says_which_status_is_final);
    check_case("drops the white space around names and values", trims_values);
    check_case("joins folded lines by one space", joins_folded_lines);
    check_case("passes over lines that are no fields", passes_over_what_is_no_field);
    check_case("does not believe a line without its end", does_not_believe_half_a_line);
    check_case("keeps any byte of a value", keeps_any_byte_of_a_value);
    check_case("has names in lower case, and values as they came", has_names_in_lower_case);
    check_case("stays below its ceiling and keeps what it had", stays_below_its_ceiling);
    check_case("survives any change of a byte and any cut", survives_anything);
    return check_summary();
}
