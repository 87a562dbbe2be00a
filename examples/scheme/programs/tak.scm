;; SPDX-License-Identifier: MIT
;; Takeuchi's function, as John McCarthy's misremembered it, four times: on numbers, on lists as
;; numbers, in continuation-passing style, and with call/cc at each call.  All calls and no data,
;; except for the closures and the continuations.  From Richard Gabriel's benchmarks.
;;
;; Known: (tak 18 12 6) is 7.

(define (tak x y z)
  (if (< y x)
      (tak (tak (- x 1) y z) (tak (- y 1) z x) (tak (- z 1) x y))
      z))

;; A number is a list of that length.
(define (unary n)
  (if (= n 0) '() (cons n (unary (- n 1)))))

(define (shorter? a b)
  (and (pair? b) (or (null? a) (shorter? (cdr a) (cdr b)))))

(define (tak-lists x y z)
  (if (shorter? y x)
      (tak-lists (tak-lists (cdr x) y z) (tak-lists (cdr y) z x) (tak-lists (cdr z) x y))
      z))

(define (tak-passing x y z return)
  (if (< y x)
      (tak-passing (- x 1) y z
        (lambda (a)
          (tak-passing (- y 1) z x
            (lambda (b)
              (tak-passing (- z 1) x y
                (lambda (c) (tak-passing a b c return)))))))
      (return z)))

(define (tak-escaping x y z)
  (call-with-current-continuation
   (lambda (return)
     (if (< y x)
         (return (tak-escaping (tak-escaping (- x 1) y z)
                               (tak-escaping (- y 1) z x)
                               (tak-escaping (- z 1) x y)))
         (return z)))))

(define (run n)
  (let ((x (* 3 n)) (y (* 2 n)))
    (list (tak x y n)
          (length (tak-lists (unary x) (unary y) (unary n)))
          (tak-passing x y n (lambda (result) result))
          (tak-escaping (- x 3) (- y 2) (- n 1)))))

(main-program "tak" run 6 '(7 7 7 10) 3 '(6 6 6 3) 8)
