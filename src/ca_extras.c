#include "ca_extras.h"
#include "platform.h"

#include <stdlib.h>
#include <string.h>

static const char begin_mark[] = "-----BEGIN ", end_mark[] = "-----END ";

/* Bytes of a bundle, or of all files of a folder. Machines have about 220 KB. */
enum { USUAL_LENGTH = 256 * 1024, LONGEST_LENGTH = 32 * 1024 * 1024 };

/* One certificate in a text: from its `-----BEGIN` to before its `-----END`. */
struct certificate {
    const char *start;
    size_t length;
};

struct certificates {
    struct certificate *items;
    size_t count, room;
};

/* The files of a folder, one after the other. */
struct folder {
    const char *path;
    struct byte_buffer text;
    bool has_hashed, is_cut;
};

static bool is_hex_digit(char byte) {
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f');
}

static bool is_hashed_name(const char *name) {
    for (int i = 0; i < 8; i++) {
        if (!is_hex_digit(name[i])) {
            return false;
        }
    }
    return name[8] == '.' && name[9] >= '0' && name[9] <= '9';
}

/* Appends the file's content; false when there is no room. An unreadable file counts as empty. */
static bool append_file(struct byte_buffer *text, const char *path) {
    char part[8192];
    size_t length;
    enum byte_buffer_status status = BYTE_BUFFER_OK;
    FILE *file = platform_open(path);
    if (file == NULL) {
        return true;
    }
    (void)setvbuf(file, NULL, _IONBF, 0);
    while (status == BYTE_BUFFER_OK && (length = fread(part, 1, sizeof part, file)) > 0) {
        status = byte_buffer_add(text, part, length);
    }
    (void)fclose(file);
    return status == BYTE_BUFFER_OK;
}

static void append_entry(void *context, const char *name) {
    struct folder *folder = context;
    char path[1024];
    if (!is_hashed_name(name) || folder->is_cut) {
        return;
    }
    int length = snprintf(path, sizeof path, "%s/%s", folder->path, name);
    if (length > 0 && (size_t)length < sizeof path) {
        folder->has_hashed = true;
        folder->is_cut = !append_file(&folder->text, path);
    }
}

static bool add_certificate(struct certificates *list, const char *start, const char *end) {
    if (list->count == list->room) {
        size_t room = list->room == 0 ? 256 : 2 * list->room;
        struct certificate *items = realloc(list->items, room * sizeof *items);
        if (items == NULL) {
            return false;
        }
        list->items = items;
        list->room = room;
    }
    struct certificate *added = &list->items[list->count++];
    added->start = start;
    added->length = (size_t)(end - start);
    return true;
}

/* Finds the certificates of a text that ends with NUL; false when memory is short. */
static bool find_certificates(struct certificates *list, const char *text) {
    const char *start = text, *end;
    while ((start = strstr(start, begin_mark)) != NULL && (end = strstr(start, end_mark)) != NULL) {
        if (!add_certificate(list, start, end)) {
            return false;
        }
        start = end;
    }
    return true;
}

/* Whether the list contains a certificate with the same bytes. */
static bool has(const struct certificates *list, const struct certificate *wanted) {
    for (size_t i = 0; i < list->count; i++) {
        const struct certificate *item = &list->items[i];
        if (item->length == wanted->length &&
            memcmp(item->start, wanted->start, item->length) == 0) {
            return true;
        }
    }
    return false;
}

/* Appends the certificate and its `-----END` line, which is not part of the struct's text. */
static bool append_certificate(struct byte_buffer *extras, const struct certificate *certificate) {
    const char *end = certificate->start + certificate->length;
    size_t rest = strcspn(end, "\r\n");
    return byte_buffer_reserve(extras, certificate->length + rest + 1) == BYTE_BUFFER_OK &&
           byte_buffer_add(extras, certificate->start, certificate->length + rest) ==
               BYTE_BUFFER_OK &&
           byte_buffer_add(extras, "\n", 1) == BYTE_BUFFER_OK;
}

/* Appends the certificates that are in the bundle and not in the folder. */
static bool append_difference(struct byte_buffer *extras, const char *bundle, const char *folder) {
    struct certificates wanted = {NULL, 0, 0}, known = {NULL, 0, 0};
    bool is_done = find_certificates(&wanted, bundle) && find_certificates(&known, folder);
    for (size_t i = 0; is_done && i < wanted.count; i++) {
        is_done = has(&known, &wanted.items[i]) || append_certificate(extras, &wanted.items[i]);
    }
    free(wanted.items);
    free(known.items);
    return is_done;
}

enum ca_extras_status ca_extras_read(const char *bundle, const char *folder,
                                     struct byte_buffer *extras) {
    struct folder known = {.path = folder};
    struct byte_buffer wanted;
    enum ca_extras_status status = CA_EXTRAS_OK;
    byte_buffer_init(&known.text, LONGEST_LENGTH);
    byte_buffer_init(&wanted, LONGEST_LENGTH);
    byte_buffer_reserve(&known.text, USUAL_LENGTH);
    byte_buffer_reserve(&wanted, USUAL_LENGTH);
    platform_each_entry(folder, append_entry, &known);
    if (!known.has_hashed) {
        status = CA_EXTRAS_NO_FOLDER;
    } else if (known.is_cut || !append_file(&wanted, bundle) ||
               byte_buffer_add(&wanted, "", 1) != BYTE_BUFFER_OK ||
               byte_buffer_add(&known.text, "", 1) != BYTE_BUFFER_OK ||
               !append_difference(extras, wanted.bytes, known.text.bytes)) {
        status = CA_EXTRAS_UNKNOWN;
    }
    byte_buffer_free(&wanted);
    byte_buffer_free(&known.text);
    return status;
}
