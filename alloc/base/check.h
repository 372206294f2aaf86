/* Assertions. ASSERT states an invariant of our own code and is compiled into debug builds; VERIFY is always
 * on, in the *_check() walkers. Mistakes of the program that uses us are no assertion: they end in os_die. */
#ifndef NEAP_BASE_CHECK_H
#define NEAP_BASE_CHECK_H

/* Says what failed on stderr and aborts; defined by the os layer. */
_Noreturn void check_failed(const char *what, const char *file, int line);

#define VERIFY(x) ((x) ? (void)0 : check_failed(#x, __FILE__, __LINE__))

#ifdef NDEBUG
#define ASSERT(x) ((void)0)
#else
#define ASSERT(x) VERIFY(x)
#endif

#endif
