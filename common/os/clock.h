/* The one clock of deadlines and leases: CLOCK_BOOTTIME, which counts suspended time too. */
#ifndef MHA_OS_CLOCK_H
#define MHA_OS_CLOCK_H

#include <stdint.h>

/* Nanoseconds since the host was started; never goes back. */
uint64_t clock_boot_ns(void);

/* Milliseconds since 1970, for people and to compare with what others wrote down by it. */
uint64_t clock_wall_ms(void);

#endif
