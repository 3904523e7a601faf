/* Fuzzes src/response_head with the lines of any text, each in memory of exactly its length. What
 * the head promises is checked after every line: records that stay whole, a ceiling that holds, and
 * a final status that never changes again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "response_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CEILING = 700 };

static void require(bool holds) {
    if (!holds) {
        abort();
    }
}

static void check_head(const struct response_head *head, int final_status) {
    struct header_field field;
    size_t position = 0, sum = 0;
    while (response_head_next(head, &position, &field)) {
        for (size_t i = 0; i < field.name_length; i++) {
            sum += (unsigned char)field.name[i];
        }
        for (size_t i = 0; i < field.value_length; i++) {
            sum += (unsigned char)field.value[i];
        }
        for (size_t i = 0; i < field.name_length; i++) {
            require(field.name[i] < 'A' || field.name[i] > 'Z');
        }
        require(field.value_length == 0 ||
                (field.value[0] != ' ' && field.value[field.value_length - 1] != ' '));
    }
    require(sum < SIZE_MAX && position == head->fields.length && position <= CEILING);
    require(head->status >= 0 && head->status <= 999);
    require(final_status == 0 || head->status == final_status);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct response_head head;
    enum byte_buffer_status status = BYTE_BUFFER_OK;
    int final_status = 0;
    response_head_init(&head, CEILING);
    while (size > 0 && status == BYTE_BUFFER_OK) {
        const uint8_t *end = memchr(data, '\n', size);
        size_t length = end != NULL ? (size_t)(end - data) + 1 : size;
        char *line = malloc(length);
        require(line != NULL);
        memcpy(line, data, length);
        status = response_head_add_line(&head, line, length);
        free(line);
        check_head(&head, final_status);
        if (response_head_is_final(&head)) {
            final_status = head.status;
        }
        data += length;
        size -= length;
    }
    response_head_free(&head);
    return 0;
}
