/* libfaketime turns the time that pthread_cond_timedwait waits for into real time, and does not know
   C11's cnd_timedwait, which librdkafka waits with: it would wait for ever for a false time. In the
   C library of Linux the types and clocks of both are the same. */
#include <errno.h>
#include <pthread.h>
#include <threads.h>

int cnd_timedwait(cnd_t *condition, mtx_t *mutex, const struct timespec *until) {
    switch (pthread_cond_timedwait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex, until)) {
    case 0:
        return thrd_success;
    case ETIMEDOUT:
        return thrd_timedout;
    default:
        return thrd_error;
    }
}
