/* The one function of a fuzz target, as libFuzzer wants it. */
#ifndef MHA_FUZZ_FUZZ_H
#define MHA_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* Always returns 0; a finding is a failed CHECK or what a sanitizer reports. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#endif
