// thread_safety: which lock protects what, in words that clang checks (-Wthread-safety). For g++ they
// are empty.
//
// A field says GORT_GUARDED_BY(lock_); a function that is called under a lock GORT_REQUIRES(lock_); the
// lock classes themselves say what they take and release. Constructors and destructors are not
// checked: there is nobody else. Three things the analysis cannot follow, and what stands there
// instead:
//
//   - park() releases an object's lock on the far side of the switch: GORT_RELEASE() at the park
//     (ParkLock::released_by_park()).
//   - What is read without the lock, because nobody can write it then or a stale value is good
//     enough: a function of its own, GORT_NO_THREAD_SAFETY_ANALYSIS, with the reason.
//   - Locks that lie in the records of other objects, reached by pointers that change: clang
//     compares expressions, not addresses.
//
// This file's job is to know the compiler.
#pragma once

#if defined(__clang__)
#define GORT_THREAD_SAFETY(attribute) __attribute__((attribute))
#else
#define GORT_THREAD_SAFETY(attribute)
#endif

// Of a class: it is a lock; it holds one from its constructor to its destructor.
#define GORT_CAPABILITY(name) GORT_THREAD_SAFETY(capability(name))
#define GORT_SCOPED_CAPABILITY GORT_THREAD_SAFETY(scoped_lockable)

// Of a field: touched under the lock only; or what it points to is.
#define GORT_GUARDED_BY(lock) GORT_THREAD_SAFETY(guarded_by(lock))
#define GORT_PT_GUARDED_BY(lock) GORT_THREAD_SAFETY(pt_guarded_by(lock))

// Of a function: called under the lock; takes it; releases it; takes it if the result is the first argument.
#define GORT_REQUIRES(...) GORT_THREAD_SAFETY(requires_capability(__VA_ARGS__))
#define GORT_ACQUIRE(...) GORT_THREAD_SAFETY(acquire_capability(__VA_ARGS__))
#define GORT_RELEASE(...) GORT_THREAD_SAFETY(release_capability(__VA_ARGS__))
#define GORT_TRY_ACQUIRE(...) GORT_THREAD_SAFETY(try_acquire_capability(__VA_ARGS__))

// Of a function: not checked. The reason stands beside it.
#define GORT_NO_THREAD_SAFETY_ANALYSIS GORT_THREAD_SAFETY(no_thread_safety_analysis)
