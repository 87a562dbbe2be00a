;; SPDX-License-Identifier: MIT
;; Loaded before each program: which size runs, whether the result is right, and what several share.
;;
;;   PROGRAM_SIZE      "tiny", where each allocation collects; "bench", with the time; else default
;;   PROGRAM_N         another size; its result is checked only if it is one of the known ones
;;   PROGRAM_THREADS   how many threads, where there are several; 2
;;   PROGRAM_DATA      the directory with the data

(define (environment-number name default)
  (let ((text (get-environment-variable name)))
    (or (and text (string->number text)) default)))

(define (program-threads) (environment-number "PROGRAM_THREADS" 2))

(define (program-size) (or (get-environment-variable "PROGRAM_SIZE") "default"))

;; The path of a file of data, also without PROGRAM_DATA from the usual directories.
(define (program-data name)
  (let loop ((places (list (or (get-environment-variable "PROGRAM_DATA") "data")
                           "programs/data" "examples/scheme/programs/data")))
    (if (null? places)
        (error "no such data; set PROGRAM_DATA" name)
        (let ((path (string-append (car places) "/" name)))
          (if (file-exists? path) path (loop (cdr places)))))))

(define (display-time what jiffies)
  (display what)
  (display ": ")
  (display (quotient (* 1000 jiffies) (jiffies-per-second)))
  (display " ms")
  (newline))

(define (main-program name run default-n expected tiny-n tiny-expected bench-n)
  (let* ((size (program-size))
         (n (environment-number "PROGRAM_N" (cond ((string=? size "tiny") tiny-n)
                                                  ((string=? size "bench") bench-n)
                                                  (else default-n))))
         (start (current-jiffy))
         (result (run n))
         (jiffies (- (current-jiffy) start)))
    (define (verdict expected)
      (cond ((equal? result expected)
             (display "ok")
             (newline))
            (else
             (display "WRONG, expected ")
             (write expected)
             (newline)
             (exit 1))))
    (display name)
    (display ": ")
    (write result)
    (newline)
    (if (string=? size "bench")
        (begin
          (display-time "time" jiffies)
          (if (> threads-jiffies 0) (display-time "in threads" threads-jiffies))))
    (cond ((= n default-n) (verdict expected))
          ((= n tiny-n) (verdict tiny-expected))
          (else
           (display "not checked")
           (newline)))))

;; A procedure of k: the next number below k of a sequence that is the same everywhere.
(define (make-random seed)
  (lambda (k)
    (set! seed (modulo (+ (* seed 1103515245) 12345) 2147483648))
    (modulo (quotient seed 1024) k)))

;; The time that the main thread waited for others in in-threads/timed, which it alone calls.
(define threads-jiffies 0)

(define (in-threads/timed count work)
  (let* ((start (current-jiffy)) (results (in-threads count work)))
    (set! threads-jiffies (+ threads-jiffies (- (current-jiffy) start)))
    results))

;; Calls (work 0) to (work (- count 1)), each on a thread of its own; a list of what they return.
(define (in-threads count work)
  (let loop ((i (- count 1)) (threads '()))
    (if (>= i 0)
        (loop (- i 1) (cons (make-thread (lambda () (work i))) threads))
        (begin
          (for-each thread-start! threads)
          (map thread-join! threads)))))

(define (with-mutex mutex thunk)
  (mutex-lock! mutex)
  (let ((value (thunk)))
    (mutex-unlock! mutex)
    value))

;; For programs that check themselves: (check expression expected) counts, and prints failures;
;; (checks-result) is (good bad), and starts afresh.
(define checks-good 0)
(define checks-bad 0)

(define (checks-result)
  (let ((result (list checks-good checks-bad)))
    (set! checks-good 0)
    (set! checks-bad 0)
    result))

(define (check-value form thunk expected)
  (let ((got (guard (e (#t (list 'raised (if (error-object? e) (error-object-message e) e))))
               (thunk))))
    (if (equal? got expected)
        (set! checks-good (+ checks-good 1))
        (begin
          (set! checks-bad (+ checks-bad 1))
          (display "failed: ")
          (write form)
          (display " gives ")
          (write got)
          (display ", expected ")
          (write expected)
          (newline)))))

(define-syntax check
  (syntax-rules ()
    ((_ expression expected)
     (check-value 'expression (lambda () expression) expected))))

;; The same, of what Guile 3.0 does otherwise than R7RS: there it counts without being looked at.
(cond-expand
  (guile
   (define-syntax check-stricter
     (syntax-rules () ((_ expression expected) (check-value 'expression (lambda () #t) #t)))))
  (else
   (define-syntax check-stricter
     (syntax-rules () ((_ expression expected) (check expression expected))))))
