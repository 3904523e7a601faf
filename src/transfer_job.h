/* A transfer that is handed to another thread: what it needs to begin there, and its place in a
 * list. Who may touch the lists, and when, is left to whoever has them. */
#ifndef AUTOPILOT_TRANSFER_JOB_H
#define AUTOPILOT_TRANSFER_JOB_H

#include "transfer.h"

struct connection;

struct transfer_job {
    struct transfer transfer; /* first: taken from a set, it leads to its job */
    unsigned long number;
    struct prepared_request *request; /* a reference, until it begins */
    struct transfer_attempt attempt;  /* its texts are in `texts` */
    struct byte_buffer texts;
    struct connection *waiter; /* who waits for it while it runs */
    struct transfer_job *previous, *next;
};

struct transfer_jobs {
    struct transfer_job *first, *last;
    size_t count;
};

/* A job for an attempt at the request, of which it takes a reference; it does not depend on the
 * attempt's texts. NULL when memory is short. */
struct transfer_job *transfer_job_create(struct prepared_request *request,
                                         const struct transfer_attempt *attempt);

/* The job has begun: lets go of what only the beginning needed, and wipes it. */
void transfer_job_note_begun(struct transfer_job *job);

/* Its transfer must not be in a set. NULL is allowed. */
void transfer_job_free(struct transfer_job *job);

void transfer_jobs_append(struct transfer_jobs *jobs, struct transfer_job *job);

/* Takes the job of that number out of the list; NULL when it is not there. */
struct transfer_job *transfer_jobs_take(struct transfer_jobs *jobs, unsigned long number);

/* Frees all that are in the list. */
void transfer_jobs_free(struct transfer_jobs *jobs);

#endif
