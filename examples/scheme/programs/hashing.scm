;; SPDX-License-Identifier: MIT
;; Hash tables that grow and shrink: keys are integers, strings, symbols and lists; entries are
;; inserted, changed and deleted.  A vector says at each end what the tables must contain.
;;
;; Known: Collatz's longest way from below 1000 is that of 871, in 178 steps.

;; Inserts, changes and deletes at random; the number of differences from a vector.
(define (churn random n)
  (let ((table (make-hash-table))
        (strings (make-hash-table))
        (model (make-vector n #f)))
    (define (key i) (string-append "key " (number->string i)))
    (do ((i 0 (+ i 1)))
        ((= i (* 4 n)))
      (let ((k (random n)))
        (case (random 4)
          ((0)
           (hash-table-delete! table k)
           (hash-table-delete! strings (key k))
           (vector-set! model k #f))
          ((1)
           (hash-table-set! table k i)
           (hash-table-set! strings (key k) i)
           (vector-set! model k i))
          (else
           (hash-table-update!/default table k (lambda (old) (+ old 1)) 0)
           (hash-table-update!/default strings (key k) (lambda (old) (+ old 1)) 0)
           (vector-set! model k (+ 1 (or (vector-ref model k) 0)))))))
    (let loop ((k 0) (present 0) (differences 0))
      (if (< k n)
          (let ((right (vector-ref model k)))
            (loop (+ k 1)
                  (if right (+ present 1) present)
                  (if (and (eqv? right (hash-table-ref/default table k #f))
                           (eqv? right (hash-table-ref/default strings (key k) #f)))
                      differences
                      (+ differences 1))))
          (list present
                (- (hash-table-size table) present)
                (- (hash-table-size strings) present)
                differences)))))

;; The longest way from below n to 1, halving what is even and taking 3 k + 1 of what is not; the
;; table remembers all ways.
(define (collatz n)
  (let ((known (make-hash-table)))
    (define (steps k)
      (or (hash-table-ref/default known k #f)
          (let ((count (+ 1 (steps (if (even? k) (quotient k 2) (+ 1 (* 3 k)))))))
            (hash-table-set! known k count)
            count)))
    (hash-table-set! known 1 0)
    (let loop ((k 1) (best 1))
      (if (< k n)
          (loop (+ k 1) (if (> (steps k) (steps best)) k best))
          (list best (steps best) (hash-table-size known))))))

;; Points of a walk through the plane, as keys that are lists: how many were visited, and how often
;; the one that was visited most.
(define (walk random n)
  (let ((visited (make-hash-table)))
    (let loop ((i 0) (x 0) (y 0))
      (if (< i n)
          (begin
            (hash-table-update!/default visited (list x y) (lambda (times) (+ times 1)) 0)
            (case (random 4)
              ((0) (loop (+ i 1) (+ x 1) y))
              ((1) (loop (+ i 1) (- x 1) y))
              ((2) (loop (+ i 1) x (+ y 1)))
              (else (loop (+ i 1) x (- y 1)))))))
    (let ((most 0) (sum 0))
      (hash-table-walk visited
                       (lambda (point times)
                         (set! most (max most times))
                         (set! sum (+ sum times))))
      (list (hash-table-size visited) most (= sum n)))))

;; A table full and empty again, several times.
(define (tides n)
  (let ((table (make-hash-table)))
    (let loop ((tide 0) (high '()))
      (if (= tide 3)
          (cons (hash-table-size table) high)
          (begin
            (do ((i 0 (+ i 1))) ((= i n)) (hash-table-set! table (* i i) (list i)))
            (let ((size (hash-table-size table)))
              (do ((i 0 (+ i 1))) ((= i n)) (hash-table-delete! table (* i i)))
              (loop (+ tide 1) (cons size high))))))))

(define (run n)
  (list (churn (make-random 3) n) (collatz n) (walk (make-random 4) n) (tides n)))

(main-program "hashing" run 1000 '((733 0 0 0) (871 178 2228) (451 10 #t) (0 1000 1000 1000))
              20 '((17 0 0 0) (18 20 38) (13 3 #t) (0 20 20 20)) 200000)
