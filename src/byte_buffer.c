#include "byte_buffer.h"

#include <stdlib.h>
#include <string.h>

/* Enough for the head of a usual answer. */
static const size_t smallest_capacity = 1024;

/* A call through a volatile pointer cannot be proven to be memset, so it cannot be dropped as a
 * dead store, and still runs at memset's speed. */
static void *(*const volatile wipe_with)(void *, int, size_t) = memset;

void byte_buffer_wipe(void *memory, size_t length) {
    if (length > 0) {
        wipe_with(memory, 0, length);
    }
}

void byte_buffer_init(struct byte_buffer *buffer, size_t ceiling) {
    memset(buffer, 0, sizeof *buffer);
    buffer->ceiling = ceiling;
}

enum byte_buffer_status byte_buffer_reserve(struct byte_buffer *buffer, size_t extra) {
    if (extra > buffer->ceiling - buffer->length) {
        return BYTE_BUFFER_FULL;
    }
    size_t needed = buffer->length + extra;
    if (needed <= buffer->capacity) {
        return BYTE_BUFFER_OK;
    }
    size_t capacity = buffer->capacity > needed / 2 ? buffer->capacity * 2 : needed;
    if (capacity < smallest_capacity) {
        capacity = smallest_capacity;
    }
    /* realloc might leave an unwiped copy behind. */
    char *moved = malloc(capacity);
    if (moved == NULL) {
        return BYTE_BUFFER_NO_MEMORY;
    }
    if (buffer->length > 0) {
        memcpy(moved, buffer->bytes, buffer->length);
        byte_buffer_wipe(buffer->bytes, buffer->length);
    }
    free(buffer->bytes);
    buffer->bytes = moved;
    buffer->capacity = capacity;
    return BYTE_BUFFER_OK;
}

enum byte_buffer_status byte_buffer_add(struct byte_buffer *buffer, const void *bytes,
                                        size_t length) {
    enum byte_buffer_status status = byte_buffer_reserve(buffer, length);
    if (status == BYTE_BUFFER_OK && length > 0) {
        memcpy(buffer->bytes + buffer->length, bytes, length);
        buffer->length += length;
    }
    return status;
}

void byte_buffer_clear(struct byte_buffer *buffer) {
    byte_buffer_wipe(buffer->bytes, buffer->length);
    buffer->length = 0;
}

void byte_buffer_free(struct byte_buffer *buffer) {
    byte_buffer_clear(buffer);
    free(buffer->bytes);
    buffer->bytes = NULL;
    buffer->capacity = 0;
}

bool byte_buffer_copy(char **copy, const char *text) {
    size_t size = strlen(text) + 1;
    *copy = malloc(size);
    if (*copy != NULL) {
        memcpy(*copy, text, size);
    }
    return *copy != NULL;
}
