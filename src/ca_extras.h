/* The certificates that a machine's bundle has and its certificate folder lacks. Both usually hold
 * the same, but a company's own authority may have been appended to the bundle alone. */
#ifndef AUTOPILOT_CA_EXTRAS_H
#define AUTOPILOT_CA_EXTRAS_H

#include "byte_buffer.h"

enum ca_extras_status {
    CA_EXTRAS_OK,
    CA_EXTRAS_NO_FOLDER, /* the folder has no file with a hashed name */
    CA_EXTRAS_UNKNOWN    /* memory is short, or the files are too long */
};

/* Appends to `extras`, which is empty, the certificates of the bundle (PEM) that are in no file of
 * the folder with a hashed name (`002c0b4f.0`, as `openssl rehash` makes them). A bundle that
 * cannot be read counts as empty. */
enum ca_extras_status ca_extras_read(const char *bundle, const char *folder,
                                     struct byte_buffer *extras);

#endif
