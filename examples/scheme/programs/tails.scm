;; SPDX-License-Identifier: MIT
;; Calls in tail position, in all the places that R7RS lists in 3.5, a million times: they must
;; not use up the stack.  A state machine whose states call each other, and a loop of closures that
;; each make the next.  At last the contrary: a recursion as deep as the loops are long.
;;
;; Known: all counts are what is counted down from.

(define (even-by-calls? n) (if (= n 0) #t (odd-by-calls? (- n 1))))
(define (odd-by-calls? n) (if (= n 0) #f (even-by-calls? (- n 1))))

;; Each line below is a tail call in another kind of expression.
(define (through n kind)
  (if (= n 0)
      'done
      (let ((m (- n 1)) (next (if (= kind 12) 0 (+ kind 1))))
        (case kind
          ((0) (cond ((= n -1) #f) (else (through m next))))
          ((1) (and #t n (through m next)))
          ((2) (or #f (through m next)))
          ((3) (when #t n (through m next)))
          ((4) (unless #f n (through m next)))
          ((5) (let* ((a m) (b next)) (through a b)))
          ((6) (letrec ((f (lambda () (through m next)))) (f)))
          ((7) (begin n (through m next)))
          ((8) (do () (#t n (through m next))))
          ((9) (apply through (list m next)))
          ((10) (call-with-current-continuation (lambda (k) (through m next))))
          ((11) (call-with-values (lambda () (values m next)) through))
          (else (cond (m => (lambda (m) (through m next))) (else #f)))))))

;; Words of a's and b's in which a is followed by an even number of b's: states as procedures.
(define (accepts? read)
  (define (start)
    (case (read) ((#\a) (even-bs)) ((#\b) (start)) (else #t)))
  (define (even-bs)
    (case (read) ((#\a) (even-bs)) ((#\b) (odd-bs)) (else #t)))
  (define (odd-bs)
    (case (read) ((#\b) (even-bs)) ((#\a) #f) (else #f)))
  (start))

;; Reads "abb" again and again, n characters, and then the end.
(define (make-reader n)
  (let ((at -1))
    (lambda ()
      (set! at (+ at 1))
      (and (< at n) (string-ref "abb" (remainder at 3))))))

(define (closures n)
  (let loop ((step (lambda (k) (k 0))))
    (step (lambda (i)
            (if (= i n) i (loop (lambda (k) (k (+ i 1)))))))))

;; Continuation-passing style: the continuations grow on the heap, and then unwind by tail calls.
(define (passing n k)
  (if (= n 0) (k 0) (passing (- n 1) (lambda (sum) (k (+ sum 1))))))

(define (vararg n . rest)
  (if (= n 0) (length rest) (apply vararg (- n 1) n '(1 2 3))))

(define (deep n) (if (= n 0) 0 (+ 1 (deep (- n 1)))))

(define (run n)
  (list (even-by-calls? n)
        (through n 0)
        (accepts? (make-reader (* 3 n)))
        (accepts? (make-reader (+ 2 (* 3 n))))
        (- (closures n) n)
        (- (passing n (lambda (sum) sum)) n)
        (vararg n)
        (- (deep (quotient n 10)) (quotient n 10))))

(define known '(#t done #t #f 0 0 4 0))

(main-program "tails" run 100000 known 500 known 2000000)
