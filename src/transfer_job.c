#include "transfer_job.h"

#include <stdlib.h>

static bool copy_attempt(struct transfer_job *job, const struct transfer_attempt *attempt) {
    struct byte_buffer *texts = &job->texts;
    size_t token_length = attempt->token != NULL ? attempt->token_length : 0;
    size_t id_length = attempt->client_request_id != NULL ? attempt->client_request_id_length : 0;
    byte_buffer_init(texts, (size_t)-1);
    if (byte_buffer_reserve(texts, token_length + id_length + 1) != BYTE_BUFFER_OK) {
        return false;
    }
    job->attempt = *attempt;
    if (attempt->token != NULL) {
        job->attempt.token = texts->bytes;
        byte_buffer_add(texts, attempt->token, token_length);
    }
    if (attempt->client_request_id != NULL) {
        job->attempt.client_request_id = texts->bytes + texts->length;
        byte_buffer_add(texts, attempt->client_request_id, id_length);
    }
    return true;
}

struct transfer_job *transfer_job_create(struct prepared_request *request,
                                         const struct transfer_attempt *attempt) {
    struct transfer_job *job = calloc(1, sizeof *job);
    if (job == NULL || !copy_attempt(job, attempt)) {
        free(job);
        return NULL;
    }
    job->request = prepared_request_retain(request);
    return job;
}

void transfer_job_note_begun(struct transfer_job *job) {
    byte_buffer_free(&job->texts);
    prepared_request_release(job->request);
    job->request = NULL;
}

void transfer_job_free(struct transfer_job *job) {
    if (job != NULL) {
        transfer_job_note_begun(job);
        transfer_free(&job->transfer);
        free(job);
    }
}

struct transfer_job *transfer_job_of(struct transfer *transfer) {
    return (struct transfer_job *)(void *)transfer;
}

struct transfer_job *transfer_job_take(struct transfer_list *list, unsigned long number) {
    struct transfer *transfer = list->last; /* the newest is what is usually asked for */
    while (transfer != NULL && transfer_job_of(transfer)->number != number) {
        transfer = transfer->previous;
    }
    if (transfer != NULL) {
        transfer_list_remove(list, transfer);
    }
    return transfer_job_of(transfer);
}
