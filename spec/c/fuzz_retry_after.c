/* Fuzzes src/retry_after. The input lies in memory of exactly its length, so the address sanitizer
 * sees a byte read too far; what the parser promises of its answer is checked here. */
#include <stdint.h>
#include <stdlib.h>

#include "retry_after.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const double clocks[] = {-1e300, 0, 1784805795.25, 1e11, 1e300};
    for (size_t i = 0; i < sizeof clocks / sizeof *clocks; i++) {
        double seconds = -1;
        bool read = retry_after_parse((const char *)data, size, clocks[i], &seconds);
        if (read ? !(seconds >= 0 && seconds <= RETRY_AFTER_CEILING) : seconds >= 0) {
            abort();
        }
    }
    return 0;
}
