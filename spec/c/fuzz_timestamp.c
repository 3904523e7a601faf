/* Fuzzes src/timestamp. The input lies in memory of exactly its length, so the address sanitizer
 * sees a byte read too far; what the parser promises of its answer is checked here. */
#include <stdint.h>
#include <stdlib.h>

#include "timestamp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    double seconds = 1e300;
    bool read = timestamp_parse((const char *)data, size, &seconds);
    if (read != (seconds != 1e300)) {
        abort();
    }
    if (read && (size < 20 || seconds < -62167219200 - 86340 || seconds > 253402300801 + 86340)) {
        abort();
    }
    return 0;
}
