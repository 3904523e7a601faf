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

void transfer_jobs_append(struct transfer_jobs *jobs, struct transfer_job *job) {
    job->previous = jobs->last;
    job->next = NULL;
    *(jobs->last != NULL ? &jobs->last->next : &jobs->first) = job;
    jobs->last = job;
    jobs->count++;
}

static void unlink_from(struct transfer_jobs *jobs, struct transfer_job *job) {
    *(job->previous != NULL ? &job->previous->next : &jobs->first) = job->next;
    *(job->next != NULL ? &job->next->previous : &jobs->last) = job->previous;
    jobs->count--;
}

struct transfer_job *transfer_jobs_take(struct transfer_jobs *jobs, unsigned long number) {
    struct transfer_job *job = jobs->last; /* the newest is what is usually asked for */
    while (job != NULL && job->number != number) {
        job = job->previous;
    }
    if (job != NULL) {
        unlink_from(jobs, job);
    }
    return job;
}

void transfer_jobs_free(struct transfer_jobs *jobs) {
    struct transfer_job *next;
    for (struct transfer_job *job = jobs->first; job != NULL; job = next) {
        next = job->next;
        transfer_job_free(job);
    }
    jobs->first = jobs->last = NULL;
    jobs->count = 0;
}
