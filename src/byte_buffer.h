/* A growable buffer with a fixed ceiling. Its old memory is wiped when it is freed or moved, so
 * that no token stays in freed memory. */
#ifndef AUTOPILOT_BYTE_BUFFER_H
#define AUTOPILOT_BYTE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

struct byte_buffer {
    char *bytes;     /* NULL until the first byte is added */
    size_t length;   /* <= ceiling */
    size_t capacity; /* of the allocation */
    size_t ceiling;  /* the length is never allowed to exceed this */
};

enum byte_buffer_status { BYTE_BUFFER_OK, BYTE_BUFFER_FULL, BYTE_BUFFER_NO_MEMORY };

/* Makes an empty buffer, without allocating. */
void byte_buffer_init(struct byte_buffer *buffer, size_t ceiling);

/* Makes room for `extra` more bytes, so that adding them cannot fail and does not move the rest. */
enum byte_buffer_status byte_buffer_reserve(struct byte_buffer *buffer, size_t extra);

/* Appends all of the bytes, or none of them when the answer is not BYTE_BUFFER_OK. */
enum byte_buffer_status byte_buffer_add(struct byte_buffer *buffer, const void *bytes,
                                        size_t length);

/* Empties the buffer, wipes what it held and keeps its memory. */
void byte_buffer_clear(struct byte_buffer *buffer);

/* Wipes and frees; the buffer is empty afterwards and may be used or freed again. */
void byte_buffer_free(struct byte_buffer *buffer);

/* Copies the text into new memory. False when memory is short. */
bool byte_buffer_copy(char **copy, const char *text);

/* Overwrites memory in a way that the compiler must not optimise away. */
void byte_buffer_wipe(void *memory, size_t length);

#endif
