/* The lock that a helper thread holds while it is inside libcurl or OpenSSL. A fork of the process
 * waits for it, so that the child inherits no lock that is held. An exit of the process takes it
 * for ever, before OpenSSL frees memory that a handshake uses. POSIX only. */
#ifndef AUTOPILOT_STEP_LOCK_H
#define AUTOPILOT_STEP_LOCK_H

#include <stdbool.h>

/* Makes forks and exits use the lock; to be called after curl_global_init and before the first
 * thread is started. False when memory is short. */
bool step_lock_prepare(void);

void step_lock_take(void);
void step_lock_release(void);

/* True when the process is in exit: nothing that a helper thread used may be used or freed. */
bool step_lock_is_final(void);

#endif
