/* What a machine's certificate bundle holds beyond its folder of certificates. Both are usually
 * written by one program and hold the same, but a company's own authority may have been appended to
 * the bundle alone. */
#ifndef AUTOPILOT_CA_EXTRAS_H
#define AUTOPILOT_CA_EXTRAS_H

#include "byte_buffer.h"

enum ca_extras_status {
    CA_EXTRAS_OK,
    CA_EXTRAS_NO_FOLDER, /* no certificate of a hashed name is in the folder */
    CA_EXTRAS_UNKNOWN    /* memory is short, or what there is to read too long */
};

/* Appends to `extras`, which is empty, the certificates of the bundle (PEM) that none of the
 * folder's files of a hashed name (`002c0b4f.0`, as `openssl rehash` makes them) holds. A bundle
 * that cannot be read has none. */
enum ca_extras_status ca_extras_read(const char *bundle, const char *folder,
                                     struct byte_buffer *extras);

#endif
