/* SPDX-License-Identifier: MIT */
/* bench/gc/jobs.h: one piece of work in several threads. After peer.h. */
#ifndef TARN_BENCH_GC_JOBS_H
#define TARN_BENCH_GC_JOBS_H

#include "peer.h"

enum { THREADS_MOST = 16 };

struct job {
  pthread_t thread;
  pthread_barrier_t *start;
  uint64_t (*work)(struct mutator *mutator, struct job *job);
  unsigned index, threads;
  void **keep;    /* a root that outlives the thread */
  uint64_t check; /* what work returned */
};

static void *job_main(void *argument) {
  struct job *job = argument;
  struct mutator mutator;
  mutator_begin(&mutator);
  mutator_wait_begin(&mutator);
  pthread_barrier_wait(job->start);
  mutator_wait_end(&mutator);
  job->check = job->work(&mutator, job);
  mutator_end(&mutator);
  return NULL;
}

static uint64_t run_started_jobs(struct mutator *mutator, struct job *jobs, unsigned threads) {
  uint64_t sum = 0;
  pthread_barrier_t start;
  pthread_barrier_init(&start, NULL, threads);
  mutator_wait_begin(mutator);
  for (unsigned i = 0; i < threads; i++) {
    jobs[i].start = &start;
    if (pthread_create(&jobs[i].thread, NULL, job_main, &jobs[i]) != 0)
      subject_fail(SUBJECT, "cannot start a thread");
  }
  for (unsigned i = 0; i < threads; i++) {
    pthread_join(jobs[i].thread, NULL);
    sum += jobs[i].check;
  }
  mutator_wait_end(mutator);
  pthread_barrier_destroy(&start);
  return sum;
}

/*
 * Does `work` in so many threads; returns the sum of what it returned. One thread is the caller
 * itself: a second one that only waits would cost stops. `keep`: one root for each thread.
 */
static uint64_t run_jobs(struct mutator *mutator, unsigned threads, void **keep,
                         uint64_t (*work)(struct mutator *, struct job *)) {
  struct job jobs[THREADS_MOST];
  if (threads < 1 || threads > THREADS_MOST)
    subject_fail(SUBJECT, "1 to 16 threads");
  for (unsigned i = 0; i < threads; i++)
    jobs[i] = (struct job){.work = work, .index = i, .threads = threads, .keep = &keep[i]};
  return threads == 1 ? work(mutator, jobs) : run_started_jobs(mutator, jobs, threads);
}

#endif
