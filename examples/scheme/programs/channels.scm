;; SPDX-License-Identifier: MIT
;; Threads that hand values to each other through channels.  First the sieve of Eratosthenes as a
;; chain of threads, one for each prime, after Hoare's and McIlroy's; then a web: producers write
;; jobs into one channel, workers turn them into results in another, a collector takes them all.
;;
;; Known: the 25th prime is 97, and the sum of the squares below n is (n-1) n (2n-1) / 6.

(define (start thunk)
  (let ((thread (make-thread thunk)))
    (thread-start! thread)
    thread))

;; Passes on what `prime` does not divide, up to the number that says stop.
(define (filter-out prime in out)
  (let loop ()
    (let ((n (channel-get! in)))
      (if (eof-object? n)
          (channel-close! out)
          (begin
            (if (not (= 0 (remainder n prime))) (channel-put! out n))
            (loop))))))

;; The primes below the limit, in order.
(define (primes-below limit)
  (let* ((source (make-channel 16))
         (feeder (start (lambda ()
                          (do ((n 2 (+ n 1)))
                              ((= n limit) (channel-close! source))
                            (channel-put! source n))))))
    (let loop ((in source) (threads (list feeder)) (primes '()))
      (let ((prime (channel-get! in)))
        (if (eof-object? prime)
            (begin
              (for-each thread-join! threads)
              (reverse primes))
            (let ((out (make-channel 16)))
              (loop out
                    (cons (start (lambda () (filter-out prime in out))) threads)
                    (cons prime primes))))))))

;; A job is a list of numbers; its result is the list with their squares, newly made, and a sum.
(define (work jobs results)
  (let loop ((done 0))
    (let ((job (channel-get! jobs)))
      (if (eof-object? job)
          done
          (let ((squares (map (lambda (n) (* n n)) job)))
            (channel-put! results (cons (apply + squares) squares))
            (loop (+ done 1)))))))

;; Of n numbers, this producer's share in jobs of up to ten.
(define (produce jobs n number count)
  (let loop ((i number) (job '()) (size 0))
    (cond ((>= i n) (if (pair? job) (channel-put! jobs job)))
          ((= size 10)
           (channel-put! jobs job)
           (loop i '() 0))
          (else (loop (+ i count) (cons i job) (+ size 1))))))

(define (web n)
  (let* ((count (program-threads))
         (jobs (make-channel 8))
         (results (make-channel 4))
         (collector (start (lambda ()
                             (let loop ((sum 0) (numbers 0))
                               (let ((result (channel-get! results)))
                                 (if (eof-object? result)
                                     (list sum numbers)
                                     (loop (+ sum (car result))
                                           (+ numbers (length (cdr result))))))))))
         (workers (start (lambda ()
                           (apply + (in-threads count (lambda (i) (work jobs results))))))))
    (in-threads count (lambda (i) (produce jobs n i count)))
    (channel-close! jobs)
    (let ((done (thread-join! workers)))
      (channel-close! results)
      (let ((collected (thread-join! collector)))
        (list (>= done (quotient n 10))
              (= (car collected) (quotient (* (- n 1) n (- (* 2 n) 1)) 6))
              (cadr collected))))))

(define (run n)
  (let ((primes (primes-below n)))
    (list (length primes) (car (reverse primes)) (web (* 10 n)))))

(main-program "channels" run 100 '(25 97 (#t #t 1000)) 8 '(4 7 (#t #t 80)) 12000)
