/*
 * CHECK is for our own bugs: it aborts, leaves a core, and the master restarts the worker.
 * It stays on in production. What the world does wrong is a struct err, never a CHECK.
 */
#ifndef MHA_BASE_CHECK_H
#define MHA_BASE_CHECK_H

#define CHECK(condition) ((condition) ? (void)0 : check_failed(#condition, __FILE__, __LINE__))

/* Writes one line to stderr and aborts. Async-signal-safe; no allocation. */
_Noreturn void check_failed(const char *condition, const char *file, int line);

#endif
