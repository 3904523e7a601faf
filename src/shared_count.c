#include "shared_count.h"

#ifdef _MSC_VER

#include <windows.h>

long shared_count_add(long *count, long change) {
    return InterlockedExchangeAdd(count, change) + change;
}

#else

long shared_count_add(long *count, long change) {
    return __atomic_add_fetch(count, change, __ATOMIC_ACQ_REL);
}

#endif
