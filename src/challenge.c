#include "challenge.h"

#include <string.h>

static bool is_letter_or_digit(char byte) {
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9');
}

/* A byte of a token: a scheme, a parameter's name, an unquoted value. */
static bool is_token_byte(char byte) {
    static const char others[] = "!#$%&'*+-.^_`|~";
    return is_letter_or_digit(byte) || memchr(others, byte, sizeof others - 1) != NULL;
}

/* A byte of a token68, apart from the padding. */
static bool is_token68_byte(char byte) {
    static const char others[] = "-._~+/";
    return is_letter_or_digit(byte) || memchr(others, byte, sizeof others - 1) != NULL;
}

/* A byte that may stand in a quoted string: no control byte except the tab. */
static bool is_text_byte(char byte) {
    unsigned char code = (unsigned char)byte;
    return code == '\t' || (code >= ' ' && code != 0x7f);
}

/* Takes as many bytes as `belongs` says; false where there is none. */
static bool take_while(struct text_cursor *cursor, bool (*belongs)(char),
                       struct challenge_slice *taken) {
    taken->start = cursor->at;
    while (!text_cursor_at_end(cursor) && belongs(*cursor->at)) {
        cursor->at++;
    }
    taken->length = (size_t)(cursor->at - taken->start);
    return taken->length > 0;
}

/* Moves to the comma or the end that must close a list member. */
static bool finish_member(struct text_cursor *cursor) {
    text_cursor_skip_blanks(cursor);
    return text_cursor_at_end(cursor) || text_cursor_sees(cursor, ',');
}

/* Takes what follows an opening quote, and the closing one. */
static bool take_quoted(struct text_cursor *cursor, struct challenge_slice *value) {
    value->start = cursor->at;
    for (; !text_cursor_at_end(cursor); cursor->at++) {
        if (*cursor->at == '"') {
            value->length = (size_t)(cursor->at - value->start);
            cursor->at++;
            return true;
        }
        if (*cursor->at == '\\') {
            cursor->at++;
            if (text_cursor_at_end(cursor)) {
                return false;
            }
        }
        if (!is_text_byte(*cursor->at)) {
            return false;
        }
    }
    return false;
}

/* Takes `name = value`, with optional blanks around the equals sign, as the rest of a list member.
 */
static bool take_parameter(struct text_cursor *cursor, struct challenge_item *item) {
    if (!take_while(cursor, is_token_byte, &item->name)) {
        return false;
    }
    text_cursor_skip_blanks(cursor);
    if (!text_cursor_take(cursor, "=")) {
        return false;
    }
    text_cursor_skip_blanks(cursor);
    item->quoted = text_cursor_take(cursor, "\"");
    if (item->quoted ? !take_quoted(cursor, &item->value)
                     : !take_while(cursor, is_token_byte, &item->value)) {
        return false;
    }
    return finish_member(cursor);
}

/* Takes a token68 that is the rest of a list member: `abc=` is one, `abc=def` is a parameter. */
static bool take_token68(struct text_cursor *cursor, struct challenge_item *item) {
    if (!take_while(cursor, is_token68_byte, &item->value)) {
        return false;
    }
    while (text_cursor_take(cursor, "=")) {
    }
    item->value.length = (size_t)(cursor->at - item->value.start);
    return finish_member(cursor);
}

/* Takes a scheme, which a blank, a comma or the end must follow. */
static bool take_scheme(struct text_cursor *cursor, struct challenge_item *item) {
    if (!take_while(cursor, is_token_byte, &item->name)) {
        return false;
    }
    return text_cursor_skip_blanks(cursor) || text_cursor_at_end(cursor) ||
           text_cursor_sees(cursor, ',');
}

/* Does a list member begin here that has an equals sign behind its first word? */
static bool is_parameter_ahead(struct text_cursor cursor) {
    struct challenge_slice word;
    take_while(&cursor, is_token_byte, &word);
    text_cursor_skip_blanks(&cursor);
    return text_cursor_sees(&cursor, '=');
}

static const struct challenge_item no_item = {{NULL, 0}, {NULL, 0}, false};

void challenge_reader_init(struct challenge_reader *reader, const char *text, size_t length) {
    reader->cursor = text_cursor_over(text, length);
    reader->after_scheme = false;
    reader->accepts_parameters = false;
    reader->malformed = false;
}

/* Reads the rest of the list member that began with a scheme. */
static enum challenge_event read_after_scheme(struct challenge_reader *reader,
                                              struct challenge_item *item) {
    struct text_cursor token68 = reader->cursor;

    if (take_token68(&token68, item)) {
        reader->cursor = token68;
        reader->accepts_parameters = false;
        return CHALLENGE_TOKEN68;
    }
    return take_parameter(&reader->cursor, item) ? CHALLENGE_PARAMETER : CHALLENGE_MALFORMED;
}

/* Reads from the beginning of a list member: a further parameter, or a new challenge. */
static enum challenge_event read_member(struct challenge_reader *reader,
                                        struct challenge_item *item) {
    if (is_parameter_ahead(reader->cursor)) {
        return reader->accepts_parameters && take_parameter(&reader->cursor, item)
                   ? CHALLENGE_PARAMETER
                   : CHALLENGE_MALFORMED;
    }
    reader->after_scheme = true;
    reader->accepts_parameters = true;
    return take_scheme(&reader->cursor, item) ? CHALLENGE_SCHEME : CHALLENGE_MALFORMED;
}

/* Stops the reading where the cursor stands, for good. */
static enum challenge_event stop(struct challenge_reader *reader, struct challenge_item *item) {
    *item = no_item;
    item->value.start = reader->cursor.at;
    item->value.length = (size_t)(reader->cursor.end - reader->cursor.at);
    reader->malformed = true;
    return CHALLENGE_MALFORMED;
}

enum challenge_event challenge_reader_next(struct challenge_reader *reader,
                                           struct challenge_item *item) {
    enum challenge_event event;
    const char *start;
    bool inside_member;

    if (reader->malformed) {
        return stop(reader, item);
    }
    *item = no_item;
    inside_member = reader->after_scheme && !finish_member(&reader->cursor);
    reader->after_scheme = false;
    if (!inside_member) {
        text_cursor_skip_separators(&reader->cursor);
    }
    if (text_cursor_at_end(&reader->cursor)) {
        return CHALLENGE_END;
    }
    start = reader->cursor.at;
    event = inside_member ? read_after_scheme(reader, item) : read_member(reader, item);
    if (event == CHALLENGE_MALFORMED) {
        reader->cursor.at = start;
        return stop(reader, item);
    }
    return event;
}

size_t challenge_unquote(struct challenge_slice value, char *buffer) {
    size_t written = 0;
    for (size_t read = 0; read < value.length; read++) {
        if (value.start[read] == '\\' && read + 1 < value.length) {
            read++;
        }
        buffer[written++] = value.start[read];
    }
    return written;
}
