/* Transfers that one thread hands to another and gets back. Each job is in the list from its
 * submission until it is claimed or given up. The list has a lock; while a job runs, its transfer
 * belongs to the thread that runs it. POSIX only. */
#ifndef AUTOPILOT_TRANSFER_JOBS_H
#define AUTOPILOT_TRANSFER_JOBS_H

#include <pthread.h>

#include "transfer.h"

enum transfer_job_state { JOB_SUBMITTED = 1, JOB_RUNNING = 2, JOB_FINISHED = 4 };

struct transfer_job {
    struct transfer transfer; /* first, so that a pointer to it is one to its job */
    unsigned long number;
    enum transfer_job_state state;
    struct prepared_request *request; /* a reference */
    struct transfer_attempt attempt;  /* its texts are in `texts` */
    struct byte_buffer texts;
    int waiter; /* the descriptor at which its end is awaited, once it runs */
    struct transfer_job *next;
};

struct transfer_jobs {
    pthread_mutex_t lock;
    struct transfer_job *newest;
    unsigned long last_number; /* used by the submitting thread only */
};

/* For zeroed memory. False when memory is short. */
bool transfer_jobs_init(struct transfer_jobs *jobs);

/* Frees the list and all jobs in it, of which none runs. */
void transfer_jobs_free(struct transfer_jobs *jobs);

/* Adds an attempt at the request, and copies its texts. Its number; 0 when memory is short. */
unsigned long transfer_jobs_submit(struct transfer_jobs *jobs, struct prepared_request *request,
                                   const struct transfer_attempt *attempt);

/* Moves the job with that number from one state to the next and returns it; NULL when no job with
 * that number is in the state `from`. After JOB_FINISHED the thread that ran it must not use it. */
struct transfer_job *transfer_jobs_advance(struct transfer_jobs *jobs, unsigned long number,
                                           enum transfer_job_state from,
                                           enum transfer_job_state to);

/* Takes the job of that number out of the list if it is in one of these states; else NULL. */
struct transfer_job *transfer_jobs_take(struct transfer_jobs *jobs, unsigned long number,
                                        unsigned states);

/* How many jobs are in one of these states. */
size_t transfer_jobs_count(struct transfer_jobs *jobs, unsigned states);

/* Frees a job that was taken; its transfer must not be in a set. NULL is allowed. */
void transfer_job_free(struct transfer_job *job);

#endif
