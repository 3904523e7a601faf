/* Transfers that one thread hands to another and gets back, in lists under a lock. While a job runs
 * it is in no list, and belongs to the thread that runs it. POSIX only. */
#ifndef AUTOPILOT_TRANSFER_JOBS_H
#define AUTOPILOT_TRANSFER_JOBS_H

#include <pthread.h>

#include "transfer.h"

struct transfer_job {
    struct transfer transfer; /* first, so that a pointer to it is one to its job */
    unsigned long number;
    struct prepared_request *request; /* a reference */
    struct transfer_attempt attempt;  /* its texts are in `texts` */
    struct byte_buffer texts;
    struct transfer_job *next;
};

enum transfer_job_list { JOBS_SUBMITTED, JOBS_FINISHED, JOB_LISTS };

struct transfer_jobs {
    pthread_mutex_t lock;
    struct transfer_job *lists[JOB_LISTS]; /* the newest of each */
};

/* For zeroed memory. False when memory is short. */
bool transfer_jobs_init(struct transfer_jobs *jobs);

/* Frees all jobs in the lists. */
void transfer_jobs_free(struct transfer_jobs *jobs);

/* A job for an attempt at the request, with copies of its texts; NULL when memory is short. */
struct transfer_job *transfer_job_create(unsigned long number, struct prepared_request *request,
                                         const struct transfer_attempt *attempt);

/* Frees a job that is in no list; its transfer must not be in a set. NULL is allowed. */
void transfer_job_free(struct transfer_job *job);

/* Puts the job in the list: from then on the other thread may take it. */
void transfer_jobs_put(struct transfer_jobs *jobs, enum transfer_job_list list,
                       struct transfer_job *job);

/* Takes the job of that number out of the list; NULL when it is not there. */
struct transfer_job *transfer_jobs_take(struct transfer_jobs *jobs, enum transfer_job_list list,
                                        unsigned long number);

/* How many jobs the list has. */
size_t transfer_jobs_count(struct transfer_jobs *jobs, enum transfer_job_list list);

#endif
