/* A transfer that is handed to another thread, and what it needs to begin there. */
#ifndef AUTOPILOT_TRANSFER_JOB_H
#define AUTOPILOT_TRANSFER_JOB_H

#include "transfer.h"

struct connection;

struct transfer_job {
    struct transfer transfer; /* first, so that a pointer to it is one to its job */
    unsigned long number;
    struct prepared_request *request; /* a reference, until it begins */
    struct transfer_attempt attempt;  /* its texts are in `texts` */
    struct byte_buffer texts;
    struct connection *waiter; /* the connection that waits for it while it runs */
};

/* A job for an attempt at the request, of which it takes a reference; it copies the attempt's
 * texts. NULL when memory is short. */
struct transfer_job *transfer_job_create(struct prepared_request *request,
                                         const struct transfer_attempt *attempt);

/* To be called when the job has begun: wipes and frees what only the beginning needed. */
void transfer_job_note_begun(struct transfer_job *job);

/* Its transfer must not be in a set. NULL is allowed. */
void transfer_job_free(struct transfer_job *job);

/* The job of a transfer that was made by transfer_job_create. NULL for NULL. */
struct transfer_job *transfer_job_of(struct transfer *transfer);

/* Takes the job of that number out of a list of such transfers; NULL when it is not there. */
struct transfer_job *transfer_job_take(struct transfer_list *list, unsigned long number);

#endif
