/* A count that several threads may change at once; C99 itself has none. */
#ifndef AUTOPILOT_SHARED_COUNT_H
#define AUTOPILOT_SHARED_COUNT_H

/* Adds to the count; the new value. Who takes the last one away sees all that others did before
 * they took theirs. */
long shared_count_add(long *count, long change);

#endif
