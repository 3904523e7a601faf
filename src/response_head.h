/* The head of an HTTP response: status and header fields, from the lines that libcurl passes
 * one at a time. It starts again after each 1xx head, and ignores trailers, which come after the
 * blank line of the final head. It does not know what headers mean. */
#ifndef AUTOPILOT_RESPONSE_HEAD_H
#define AUTOPILOT_RESPONSE_HEAD_H

#include "byte_buffer.h"

struct response_head {
    struct byte_buffer fields; /* a line each, with a colon and a newline at its end */
    int status;                /* of the last status line; 0 before the first */
    bool complete;             /* the blank line after it has been seen */
};

/* One header field; the slices point into the head and live until the next line is added. */
struct header_field {
    const char *name; /* in lower case */
    size_t name_length;
    const char *value; /* without surrounding white space; may contain any byte */
    size_t value_length;
};

/* An empty head that holds at most `ceiling` bytes. */
void response_head_init(struct response_head *head, size_t ceiling);

void response_head_free(struct response_head *head);

/* Reads one line with its line end. A line that is not a header field is ignored, and so is one
 * without its end, which was cut. Not OK when the ceiling is reached. */
enum byte_buffer_status response_head_add_line(struct response_head *head, const char *line,
                                               size_t length);

/* True once the status is final: not a 1xx, except for 101, which ends an exchange too. */
bool response_head_is_final(const struct response_head *head);

/* Steps through the fields in the order they came: start with *position == 0; false at the end. */
bool response_head_next(const struct response_head *head, size_t *position,
                        struct header_field *field);

/* True when the field has this name, which is in lower case. */
bool header_field_is(const struct header_field *field, const char *name);

#endif
