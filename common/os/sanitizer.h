/* Whether a sanitizer is linked: its run-time library has shadow memory and makes calls of its own.
 */
#ifndef MHA_OS_SANITIZER_H
#define MHA_OS_SANITIZER_H

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define OS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define OS_SANITIZED 1
#endif
#endif
#ifndef OS_SANITIZED
#define OS_SANITIZED 0
#endif

#endif
