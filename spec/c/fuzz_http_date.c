/* Fuzzes src/http_date. The input lies in memory of exactly its length, so the address sanitizer
 * sees a byte read too far; what the parser promises of its answer is checked here. */
#include <stdlib.h>

#include "http_date.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const double clocks[] = {-1e300, -1e11, 0, 1784805795, 1e11, 1e300};
    for (size_t i = 0; i < sizeof clocks / sizeof *clocks; i++) {
        int64_t seconds = INT64_MIN;
        bool read = http_date_parse((const char *)data, size, clocks[i], &seconds);
        if (read != (seconds != INT64_MIN)) {
            abort();
        }
        if (read && (size < 24 || seconds < -62167219200 || seconds > 253402300800)) {
            abort();
        }
    }
    return 0;
}
