;; SPDX-License-Identifier: MIT
;; The digits of pi one after the other: a spigot after Stanley Rabinowitz and Stan Wagon in the
;; form that Jeremy Gibbons gave it, with unbounded numbers; and as a check the same digits by
;; Machin's formula, all at once.
;;
;; Known: 3.14159 26535 89793 23846 26433 83279 50288 41971 69399 37510 ...

;; A list of the first n digits.
(define (spigot n)
  (let loop ((left n) (q 1) (r 0) (t 1) (k 1) (m 3) (x 3) (digits '()))
    (cond ((= left 0) (reverse digits))
          ((< (+ (* 4 q) (- r t)) (* m t))
           (loop (- left 1)
                 (* 10 q)
                 (* 10 (- r (* m t)))
                 t
                 k
                 (- (quotient (* 10 (+ (* 3 q) r)) t) (* 10 m))
                 x
                 (cons m digits)))
          (else
           (loop left
                 (* q k)
                 (* (+ (* 2 q) r) x)
                 (* t x)
                 (+ k 1)
                 (quotient (+ (* q (+ (* 7 k) 2)) (* r x)) (* t x))
                 (+ x 2)
                 digits)))))

;; arctan (1 / x), times `unit`
(define (arctan-inverse x unit)
  (let loop ((power (quotient unit x)) (k 1) (sign 1) (sum 0))
    (if (= power 0)
        sum
        (loop (quotient power (* x x))
              (+ k 2)
              (- sign)
              (+ sum (* sign (quotient power k)))))))

(define (machin n)
  (let ((unit (expt 10 (+ n 10))))
    (quotient (* 4 (- (* 4 (arctan-inverse 5 unit)) (arctan-inverse 239 unit)))
              (expt 10 11))))

(define (digits->string digits)
  (list->string (map (lambda (d) (integer->char (+ d (char->integer #\0)))) digits)))

(define (run n)
  (let* ((digits (digits->string (spigot n))) (size (string-length digits)))
    (list (string=? digits (number->string (machin n)))
          (string-copy digits 0 (min size 10))
          (string-copy digits (max 0 (- size 10)) size))))

(main-program "pi" run 200 '(#t "3141592653" "9549303819") 12 '(#t "3141592653" "4159265358") 2500)
