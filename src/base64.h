/* Base64 as tokens have it (RFC 4648, sections 4 and 5): both alphabets, with padding or without.
 */
#ifndef AUTOPILOT_BASE64_H
#define AUTOPILOT_BASE64_H

#include <stdbool.h>
#include <stddef.h>

/* Writes the bytes that `text` stands for to `bytes`, which holds at least `length` of them, and
 * how many there are to `count`. False where the text is no base64: a strange character, padding in
 * the middle or of a wrong length, a lone last character, bits left over. */
bool base64_decode(const char *text, size_t length, char *bytes, size_t *count);

#endif
