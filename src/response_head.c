#include "response_head.h"

#include <string.h>

struct field_lengths {
    size_t name;
    size_t value;
};

void response_head_init(struct response_head *head, size_t ceiling) {
    memset(head, 0, sizeof *head);
    byte_buffer_init(&head->fields, ceiling);
}

void response_head_free(struct response_head *head) {
    byte_buffer_free(&head->fields);
}

static bool is_space(char byte) {
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

static void trim(const char **text, size_t *length) {
    while (*length > 0 && is_space((*text)[*length - 1])) {
        --*length;
    }
    while (*length > 0 && is_space(**text)) {
        ++*text;
        --*length;
    }
}

/* The code in a status line (`HTTP/1.1 204 No Content`, `HTTP/2 204`); 0 for any other line. */
static int parse_status(const char *line, size_t length) {
    const char *space = memchr(line, ' ', length);
    if (length < 5 || memcmp(line, "HTTP/", 5) != 0 || space == NULL) {
        return 0;
    }
    const char *digits = space + 1;
    if ((size_t)(line + length - digits) < 4 || !is_space(digits[3])) {
        return 0;
    }
    int status = 0;
    for (int i = 0; i < 3; i++) {
        if (digits[i] < '0' || digits[i] > '9') {
            return 0;
        }
        status = status * 10 + (digits[i] - '0');
    }
    return status;
}

static void start_again(struct response_head *head, int status) {
    byte_buffer_clear(&head->fields);
    head->last_field = 0;
    head->status = status;
    head->complete = false;
}

static enum byte_buffer_status add_field(struct response_head *head, const char *name,
                                         size_t name_length, const char *value,
                                         size_t value_length) {
    struct field_lengths lengths = {name_length, value_length};
    size_t record_length = sizeof lengths + name_length + value_length;
    enum byte_buffer_status status = byte_buffer_reserve(&head->fields, record_length);
    if (status == BYTE_BUFFER_OK) {
        char *record = head->fields.bytes + head->fields.length;
        memcpy(record, &lengths, sizeof lengths);
        memcpy(record + sizeof lengths, name, name_length);
        memcpy(record + sizeof lengths + name_length, value, value_length);
        head->last_field = head->fields.length;
        head->fields.length += record_length;
    }
    return status;
}

/* Appends a folded line to the value before it, as one space and the text (RFC 9112 section 5.2).
 */
static enum byte_buffer_status continue_field(struct response_head *head, const char *text,
                                              size_t length) {
    struct field_lengths lengths;
    trim(&text, &length);
    if (head->fields.length == 0 || length == 0) {
        return BYTE_BUFFER_OK; /* no field before it, or no text */
    }
    memcpy(&lengths, head->fields.bytes + head->last_field, sizeof lengths);
    size_t separator_length = lengths.value > 0 ? 1 : 0;
    enum byte_buffer_status status = byte_buffer_reserve(&head->fields, separator_length + length);
    if (status == BYTE_BUFFER_OK) {
        byte_buffer_add(&head->fields, " ", separator_length);
        byte_buffer_add(&head->fields, text, length);
        lengths.value += separator_length + length;
        memcpy(head->fields.bytes + head->last_field, &lengths, sizeof lengths);
    }
    return status;
}

/* Whether the next line can be a status line: the first one, and the one after a 1xx head. A line
 * that looks like one elsewhere, among fields or trailers, must not replace the status. */
static bool awaits_status(const struct response_head *head) {
    return head->status == 0 || (head->complete && !response_head_is_final(head));
}

enum byte_buffer_status response_head_add_line(struct response_head *head, const char *line,
                                               size_t length) {
    if (length == 0 || line[length - 1] != '\n') {
        return BYTE_BUFFER_OK;
    }
    if (awaits_status(head)) {
        int status = parse_status(line, length);
        if (status > 0) {
            start_again(head, status);
        }
        return BYTE_BUFFER_OK;
    }
    if (head->complete) {
        return BYTE_BUFFER_OK;
    }
    if (line[0] == '\n' || line[0] == '\r') {
        head->complete = true;
        return BYTE_BUFFER_OK;
    }
    if (line[0] == ' ' || line[0] == '\t') {
        return continue_field(head, line, length);
    }
    const char *colon = memchr(line, ':', length);
    if (colon == NULL || colon == line) {
        return BYTE_BUFFER_OK;
    }
    const char *value = colon + 1;
    size_t name_length = (size_t)(colon - line), value_length = length - name_length - 1;
    trim(&line, &name_length);
    trim(&value, &value_length);
    return add_field(head, line, name_length, value, value_length);
}

bool response_head_is_final(const struct response_head *head) {
    return head->status >= 200 || head->status == 101;
}

bool response_head_next(const struct response_head *head, size_t *position,
                        struct header_field *field) {
    struct field_lengths lengths;
    if (*position >= head->fields.length) {
        return false;
    }
    memcpy(&lengths, head->fields.bytes + *position, sizeof lengths);
    field->name = head->fields.bytes + *position + sizeof lengths;
    field->name_length = lengths.name;
    field->value = field->name + lengths.name;
    field->value_length = lengths.value;
    *position += sizeof lengths + lengths.name + lengths.value;
    return true;
}

static char to_lower(char byte) {
    return byte >= 'A' && byte <= 'Z' ? (char)(byte - 'A' + 'a') : byte;
}

bool header_field_is(const struct header_field *field, const char *name, size_t length) {
    if (field->name_length != length) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        if (field->name[i] != name[i] && to_lower(field->name[i]) != to_lower(name[i])) {
            return false;
        }
    }
    return true;
}
