/* pthreads are POSIX, not C99. */
#define _POSIX_C_SOURCE 200809L

#include "platform.h"

#include <stdlib.h>

#include "transfer_jobs.h"

bool transfer_jobs_init(struct transfer_jobs *jobs) {
    return pthread_mutex_init(&jobs->lock, NULL) == 0;
}

void transfer_jobs_free(struct transfer_jobs *jobs) {
    for (int i = 0; i < JOB_LISTS; i++) {
        while (jobs->lists[i] != NULL) {
            struct transfer_job *job = jobs->lists[i];
            jobs->lists[i] = job->next;
            transfer_job_free(job);
        }
    }
    pthread_mutex_destroy(&jobs->lock);
}

/* Copies a text of the attempt, for which there is room. */
static void copy_text(struct byte_buffer *texts, const char **text, size_t length) {
    if (*text != NULL) {
        byte_buffer_add(texts, *text, length);
        *text = texts->bytes + texts->length - length;
    }
}

struct transfer_job *transfer_job_create(unsigned long number, struct prepared_request *request,
                                         const struct transfer_attempt *attempt) {
    struct transfer_job *job = calloc(1, sizeof *job);
    if (job == NULL) {
        return NULL;
    }
    size_t room = attempt->token_length + attempt->client_request_id_length + 1;
    byte_buffer_init(&job->texts, room);
    if (byte_buffer_reserve(&job->texts, room) != BYTE_BUFFER_OK) {
        free(job);
        return NULL;
    }
    job->number = number;
    job->attempt = *attempt;
    copy_text(&job->texts, &job->attempt.token, attempt->token_length);
    copy_text(&job->texts, &job->attempt.client_request_id, attempt->client_request_id_length);
    job->request = prepared_request_retain(request);
    return job;
}

void transfer_job_free(struct transfer_job *job) {
    if (job != NULL) {
        byte_buffer_free(&job->texts);
        prepared_request_release(job->request);
        transfer_free(&job->transfer);
        free(job);
    }
}

void transfer_jobs_put(struct transfer_jobs *jobs, enum transfer_job_list list,
                       struct transfer_job *job) {
    pthread_mutex_lock(&jobs->lock);
    job->next = jobs->lists[list];
    jobs->lists[list] = job;
    pthread_mutex_unlock(&jobs->lock);
}

struct transfer_job *transfer_jobs_take(struct transfer_jobs *jobs, enum transfer_job_list list,
                                        unsigned long number) {
    pthread_mutex_lock(&jobs->lock);
    struct transfer_job **link = &jobs->lists[list];
    while (*link != NULL && (*link)->number != number) {
        link = &(*link)->next;
    }
    struct transfer_job *job = *link;
    if (job != NULL) {
        *link = job->next;
    }
    pthread_mutex_unlock(&jobs->lock);
    return job;
}

size_t transfer_jobs_count(struct transfer_jobs *jobs, enum transfer_job_list list) {
    size_t count = 0;
    pthread_mutex_lock(&jobs->lock);
    for (const struct transfer_job *job = jobs->lists[list]; job != NULL; job = job->next) {
        count++;
    }
    pthread_mutex_unlock(&jobs->lock);
    return count;
}
