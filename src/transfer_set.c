#include "transfer_set.h"
#include "platform.h"

#include <stdlib.h>

/* Idle handles kept for the next transfers; each costs some 6 KB and saves some 10,000
 * instructions. */
enum { MOST_IDLE = 64 };

struct idle_handle {
    CURL *easy;
    struct prepared_request *configured_for; /* a reference */
};

struct transfer_list {
    struct transfer *first, *last;
};

struct transfer_set {
    CURLM *multi;
    struct transfer_list in_flight;
    struct transfer_list finished; /* in the order they finished */
    struct idle_handle idle[MOST_IDLE];
    size_t idle_count;
    int in_flight_count;
    bool has_new; /* something was added that libcurl has not begun with */
    long process_id;
};

static void append(struct transfer_list *list, struct transfer *transfer) {
    transfer->previous = list->last;
    transfer->next = NULL;
    *(list->last != NULL ? &list->last->next : &list->first) = transfer;
    list->last = transfer;
}

static void unlink_from(struct transfer_list *list, struct transfer *transfer) {
    *(transfer->previous != NULL ? &transfer->previous->next : &list->first) = transfer->next;
    *(transfer->next != NULL ? &transfer->next->previous : &list->last) = transfer->previous;
    transfer->previous = transfer->next = NULL;
}

struct transfer_set *transfer_set_create(void) {
    struct transfer_set *set = calloc(1, sizeof *set);
    if (set == NULL) {
        return NULL;
    }
    set->process_id = platform_process_id();
    set->multi = curl_multi_init();
    if (set->multi == NULL) {
        free(set);
        return NULL;
    }
    return set;
}

bool transfer_set_is_ours(const struct transfer_set *set) {
    return set->process_id == platform_process_id();
}

static void drop_handle(struct idle_handle handle) {
    curl_easy_cleanup(handle.easy);
    prepared_request_release(handle.configured_for);
}

/* A handle configured for the request, best one that is so already; NULL with *code on failure. */
static CURL *take_handle(struct transfer_set *set, struct prepared_request *request,
                         CURLcode *code) {
    for (size_t i = set->idle_count; i-- > 0;) {
        if (set->idle[i].configured_for == request) {
            CURL *easy = set->idle[i].easy;
            set->idle[i] = set->idle[--set->idle_count];
            prepared_request_release(request); /* the caller holds another reference */
            *code = CURLE_OK;
            return easy;
        }
    }
    CURL *easy;
    if (set->idle_count > 0) {
        struct idle_handle other = set->idle[--set->idle_count];
        easy = other.easy;
        curl_easy_reset(easy);
        prepared_request_release(other.configured_for);
    } else {
        easy = curl_easy_init();
    }
    *code = easy != NULL ? transfer_configure(easy, request) : CURLE_OUT_OF_MEMORY;
    return easy;
}

static void return_handle(struct transfer_set *set, CURL *easy, struct prepared_request *request) {
    struct idle_handle handle = {easy, prepared_request_retain(request)};
    if (set->idle_count < MOST_IDLE) {
        set->idle[set->idle_count++] = handle;
    } else {
        drop_handle(handle);
    }
}

void transfer_set_add(struct transfer_set *set, struct transfer *transfer,
                      struct prepared_request *request, const struct transfer_attempt *attempt) {
    CURLcode code;
    CURL *easy = take_handle(set, request, &code);
    transfer->set = set;
    CURLcode prepared = transfer_prepare(transfer, request, easy, attempt);
    code = code == CURLE_OK ? prepared : code;
    if (code == CURLE_OK && curl_multi_add_handle(set->multi, easy) != CURLM_OK) {
        code = CURLE_OUT_OF_MEMORY;
    }
    if (code == CURLE_OK) {
        append(&set->in_flight, transfer);
        set->in_flight_count++;
        set->has_new = true;
        return;
    }
    curl_easy_cleanup(transfer_finish(transfer, code));
    append(&set->finished, transfer);
}

static void finish(struct transfer_set *set, struct transfer *transfer, CURLcode code) {
    CURL *easy = transfer->easy;
    unlink_from(&set->in_flight, transfer);
    set->in_flight_count--;
    curl_multi_remove_handle(set->multi, easy);
    transfer_finish(transfer, code);
    return_handle(set, easy, transfer->request);
}

static void perform(struct transfer_set *set) {
    int running = 0, queued = 0;
    set->has_new = false;
    CURLMcode status = curl_multi_perform(set->multi, &running);
    const CURLMsg *message;
    while ((message = curl_multi_info_read(set->multi, &queued)) != NULL) {
        CURLcode code = message->data.result; /* removing the handle frees the message */
        char *context = NULL;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &context);
        struct transfer *transfer = (struct transfer *)(void *)context;
        finish(set, transfer, code);
        append(&set->finished, transfer);
    }
    /* A multi that is out of memory makes no progress any more: nobody may wait on it for ever. */
    while (status != CURLM_OK && set->in_flight.first != NULL) {
        struct transfer *transfer = set->in_flight.first;
        finish(set, transfer, CURLE_OUT_OF_MEMORY);
        append(&set->finished, transfer);
    }
}

int transfer_set_step(struct transfer_set *set, double timeout) {
    if (set->has_new || !(timeout > 0)) {
        perform(set);
    }
    if (timeout > 0 && set->finished.first == NULL && set->in_flight_count > 0) {
        const double longest = 3600;
        curl_multi_poll(set->multi, NULL, 0,
                        (int)((timeout < longest ? timeout : longest) * 1e3 + 0.999), NULL);
        perform(set);
    }
    return set->in_flight_count;
}

struct transfer *transfer_set_take(struct transfer_set *set) {
    struct transfer *transfer = set->finished.first;
    if (transfer != NULL) {
        transfer_set_remove(transfer);
    }
    return transfer;
}

void transfer_set_remove(struct transfer *transfer) {
    struct transfer_set *set = transfer->set;
    if (set == NULL) {
        return;
    }
    if (transfer->finished) {
        unlink_from(&set->finished, transfer);
    } else if (!transfer_set_is_ours(set)) {
        unlink_from(&set->in_flight, transfer);
        transfer->easy = NULL;
    } else {
        finish(set, transfer, CURLE_ABORTED_BY_CALLBACK);
    }
    transfer->set = NULL;
}

void transfer_set_destroy(struct transfer_set *set) {
    if (set == NULL) {
        return;
    }
    while (set->in_flight.first != NULL) {
        transfer_set_remove(set->in_flight.first);
    }
    while (set->finished.first != NULL) {
        transfer_set_remove(set->finished.first);
    }
    if (!transfer_set_is_ours(set)) {
        return;
    }
    while (set->idle_count > 0) {
        drop_handle(set->idle[--set->idle_count]);
    }
    curl_multi_cleanup(set->multi);
    free(set);
}
