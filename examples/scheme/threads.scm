;; SPDX-License-Identifier: MIT
;;
;; threads.scm: what is simpler in Scheme.  The rest is in thread.c.

;; Calls the thunk with the mutex locked; however it is left, the mutex is unlocked.
(define (with-mutex mutex thunk)
  (dynamic-wind
    (lambda () (mutex-lock! mutex))
    thunk
    (lambda () (mutex-unlock! mutex))))

;; Times are numbers of seconds.
(define current-time current-second)
(define (time->seconds time) time)
(define (seconds->time seconds) seconds)

;; Calls the finalizers of all objects that were found unreachable, in this thread; how many.  If
;; one raises an exception, those that are left wait for the next call.
(define (run-finalizers)
  (let loop ((count 0))
    (let ((next (%next-finalization)))
      (if next
          (begin
            ((cdr next) (car next))
            (loop (+ count 1)))
          count))))

;; A thread that runs finalizers, so often that none waits longer than so many seconds.  What they
;; raise, it forgets: a finalizer that may fail has to tell somebody itself.
(define (start-finalizer-thread! . interval)
  (let ((seconds (if (pair? interval) (car interval) 0.1)))
    (thread-start!
      (make-thread
        (lambda ()
          (let loop ()
            (call-with-current-continuation
              (lambda (leave)
                (with-exception-handler
                  (lambda (condition) (leave #f))
                  (lambda ()
                    (run-finalizers)
                    (thread-sleep! seconds)))))
            (loop)))
        "finalizers"))))

;; The conditions that the primitives raise.
(define (%of-kind kind)
  (lambda (object) (and (error-object? object) (eq? (condition-kind object) kind))))

(define uncaught-exception? (%of-kind 'uncaught-exception))
(define join-timeout-exception? (%of-kind 'join-timeout))
(define terminated-thread-exception? (%of-kind 'terminated-thread))
(define abandoned-mutex-exception? (%of-kind 'abandoned-mutex))

;; What the thread raised that was joined.
(define (uncaught-exception-reason condition) (car (error-object-irritants condition)))
