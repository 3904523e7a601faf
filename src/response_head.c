#include "response_head.h"

#include <string.h>

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
    const char *at = memchr(line, ' ', length);
    if (length < 5 || memcmp(line, "HTTP/", 5) != 0 || at == NULL || line + length - at < 5) {
        return 0;
    }
    int status = 0;
    for (int i = 1; i <= 3; i++) {
        if (at[i] < '0' || at[i] > '9') {
            return 0;
        }
        status = status * 10 + (at[i] - '0');
    }
    return is_space(at[4]) ? status : 0;
}

/* Whether the next line can be a status line: the first one, and the one after a 1xx head. A line
 * that looks like one elsewhere, among fields or trailers, must not replace the status. */
static bool awaits_status(const struct response_head *head) {
    return head->status == 0 || (head->complete && !response_head_is_final(head));
}

enum byte_buffer_status response_head_add_line(struct response_head *head, const char *line,
                                               size_t length) {
    if (length == 0 || memchr(line, '\n', length) != line + length - 1) {
        return BYTE_BUFFER_OK;
    }
    if (awaits_status(head)) {
        int status = parse_status(line, length);
        if (status > 0) {
            byte_buffer_clear(&head->fields);
            head->status = status;
            head->complete = false;
        }
        return BYTE_BUFFER_OK;
    }
    if (head->complete || line[0] == '\n' || line[0] == '\r') {
        head->complete = true;
        return BYTE_BUFFER_OK;
    }
    bool is_folded = line[0] == ' ' || line[0] == '\t';
    trim(&line, &length);
    const char *colon = memchr(line, ':', length);
    if (is_folded ? head->fields.length == 0 || length == 0 : colon == NULL || colon == line) {
        return BYTE_BUFFER_OK; /* no field before it, no text, or no name */
    }
    enum byte_buffer_status status = byte_buffer_reserve(&head->fields, length + 1);
    if (status == BYTE_BUFFER_OK) {
        if (is_folded) { /* it continues the line before it (RFC 9112 section 5.2) */
            head->fields.bytes[head->fields.length - 1] = ' ';
        }
        char *added = head->fields.bytes + head->fields.length;
        byte_buffer_add(&head->fields, line, length);
        byte_buffer_add(&head->fields, "\n", 1);
        for (; !is_folded && *added != ':'; added++) {
            *added = *added >= 'A' && *added <= 'Z' ? (char)(*added - 'A' + 'a') : *added;
        }
    }
    return status;
}

bool response_head_is_final(const struct response_head *head) {
    return head->status >= 200 || head->status == 101;
}

bool response_head_next(const struct response_head *head, size_t *position,
                        struct header_field *field) {
    size_t left = head->fields.length - *position;
    if (left == 0) {
        return false;
    }
    field->name = head->fields.bytes + *position;
    size_t length = (size_t)((const char *)memchr(field->name, '\n', left) - field->name);
    const char *colon = memchr(field->name, ':', length);
    field->name_length = (size_t)(colon - field->name);
    field->value = colon + 1;
    field->value_length = length - field->name_length - 1;
    trim(&field->name, &field->name_length);
    trim(&field->value, &field->value_length);
    *position += length + 1;
    return true;
}

bool header_field_is(const struct header_field *field, const char *name) {
    return field->name_length == strlen(name) && memcmp(field->name, name, field->name_length) == 0;
}
