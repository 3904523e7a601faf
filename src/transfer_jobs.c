/* pthreads are POSIX, not C99. */
#define _POSIX_C_SOURCE 200809L

#include "platform.h"

#include <stdlib.h>

#include "transfer_jobs.h"

/* Copies a text of the attempt, for which there is room. */
static void copy_text(struct byte_buffer *texts, const char **text, size_t length) {
    if (*text != NULL) {
        byte_buffer_add(texts, *text, length);
        *text = texts->bytes + texts->length - length;
    }
}

static struct transfer_job *create(struct prepared_request *request,
                                   const struct transfer_attempt *attempt) {
    struct transfer_job *job = calloc(1, sizeof *job);
    if (job == NULL) {
        return NULL;
    }
    size_t room = attempt->token_length + attempt->client_request_id_length;
    byte_buffer_init(&job->texts, room + 1);
    if (byte_buffer_reserve(&job->texts, room + 1) != BYTE_BUFFER_OK) {
        free(job);
        return NULL;
    }
    job->attempt = *attempt;
    copy_text(&job->texts, &job->attempt.token, attempt->token_length);
    copy_text(&job->texts, &job->attempt.client_request_id, attempt->client_request_id_length);
    job->request = prepared_request_retain(request);
    job->state = JOB_SUBMITTED;
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

bool transfer_jobs_init(struct transfer_jobs *jobs) {
    return pthread_mutex_init(&jobs->lock, NULL) == 0;
}

void transfer_jobs_free(struct transfer_jobs *jobs) {
    for (struct transfer_job *job = jobs->newest, *next; job != NULL; job = next) {
        next = job->next;
        transfer_job_free(job);
    }
    pthread_mutex_destroy(&jobs->lock);
}

unsigned long transfer_jobs_submit(struct transfer_jobs *jobs, struct prepared_request *request,
                                   const struct transfer_attempt *attempt) {
    struct transfer_job *job = create(request, attempt);
    if (job == NULL) {
        return 0;
    }
    unsigned long number = job->number = ++jobs->last_number;
    pthread_mutex_lock(&jobs->lock);
    job->next = jobs->newest;
    jobs->newest = job;
    pthread_mutex_unlock(&jobs->lock);
    return number;
}

/* The link to the job of that number, if it is in one of these states; else one to NULL. */
static struct transfer_job **find(struct transfer_jobs *jobs, unsigned long number,
                                  unsigned states) {
    struct transfer_job **link = &jobs->newest;
    while (*link != NULL && ((*link)->number != number || ((*link)->state & states) == 0)) {
        link = &(*link)->next;
    }
    return link;
}

struct transfer_job *transfer_jobs_advance(struct transfer_jobs *jobs, unsigned long number,
                                           enum transfer_job_state from,
                                           enum transfer_job_state to) {
    pthread_mutex_lock(&jobs->lock);
    struct transfer_job *job = *find(jobs, number, from);
    if (job != NULL) {
        job->state = to;
    }
    pthread_mutex_unlock(&jobs->lock);
    return job;
}

struct transfer_job *transfer_jobs_take(struct transfer_jobs *jobs, unsigned long number,
                                        unsigned states) {
    pthread_mutex_lock(&jobs->lock);
    struct transfer_job **link = find(jobs, number, states);
    struct transfer_job *job = *link;
    if (job != NULL) {
        *link = job->next;
    }
    pthread_mutex_unlock(&jobs->lock);
    return job;
}

size_t transfer_jobs_count(struct transfer_jobs *jobs, unsigned states) {
    size_t count = 0;
    pthread_mutex_lock(&jobs->lock);
    for (const struct transfer_job *job = jobs->newest; job != NULL; job = job->next) {
        count += (job->state & states) != 0;
    }
    pthread_mutex_unlock(&jobs->lock);
    return count;
}
