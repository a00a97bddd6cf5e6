/* Flushes that this process has asked the kernel for since it began. */
#ifndef MHA_BENCH_KERNEL_H
#define MHA_BENCH_KERNEL_H

unsigned long kernel_flushes(void);

#endif
