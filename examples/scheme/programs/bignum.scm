;; SPDX-License-Identifier: MIT
;; Large integers: factorials, Fibonacci's numbers, a test for primes, square roots, divisions that
;; are checked by multiplication, and decimal digits written and read.
;;
;; Known: the digits of 100! add up to 648; 2^127 - 1 is prime, 2^101 - 1 is not (Lucas and Lehmer);
;; consecutive Fibonacci numbers have no common divisor.

(define (factorial n)
  (let product ((low 1) (high n))
    (if (> (- high low) 8)
        (let ((middle (quotient (+ low high) 2)))
          (* (product low middle) (product (+ middle 1) high)))
        (let loop ((i low) (p 1))
          (if (> i high) p (loop (+ i 1) (* p i)))))))

(define (sum-of-digits n)
  (apply + (map (lambda (c) (- (char->integer c) (char->integer #\0)))
                (string->list (number->string n)))))

;; The n-th and the one after it, by doubling.
(define (fibonacci n)
  (if (= n 0)
      (values 0 1)
      (call-with-values (lambda () (fibonacci (quotient n 2)))
        (lambda (a b)
          (let ((c (* a (- (* 2 b) a))) (d (+ (* a a) (* b b))))
            (if (even? n) (values c d) (values d (+ c d))))))))

(define (slow-fibonacci n)
  (let loop ((i 0) (a 0) (b 1))
    (if (= i n) a (loop (+ i 1) b (+ a b)))))

;; Is 2^p - 1 prime, for an odd prime p?
(define (mersenne-prime? p)
  (let ((m (- (expt 2 p) 1)))
    (let loop ((i 2) (s 4))
      (if (= i p) (= s 0) (loop (+ i 1) (modulo (- (* s s) 2) m))))))

(define (modular-expt base power m)
  (let loop ((base (modulo base m)) (power power) (result 1))
    (cond ((= power 0) result)
          (else
           (loop (modulo (* base base) m)
                 (quotient power 2)
                 (if (odd? power) (modulo (* result base) m) result))))))

;; Are the rules of division kept, whatever the signs?
(define (divides-well? a b)
  (let ((q (quotient a b)) (r (remainder a b)) (f (floor-quotient a b)) (m (modulo a b)))
    (and (= a (+ (* q b) r))
         (= a (+ (* f b) m))
         (< (abs r) (abs b))
         (or (= r 0) (eq? (negative? r) (negative? a)))
         (or (= m 0) (eq? (negative? m) (negative? b))))))

(define (divisions-good? n)
  (let ((random (make-random n)))
    (define (number digits)
      (let loop ((i 0) (x 1))
        (if (= i digits) (if (even? x) x (- x)) (loop (+ i 1) (+ (* x 1000) (random 1000))))))
    (let loop ((i 0))
      (or (= i n)
          (and (divides-well? (number (random 30)) (number (random 15)))
               (loop (+ i 1)))))))

(define (root-good? x)
  (call-with-values (lambda () (exact-integer-sqrt x))
    (lambda (root rest)
      (and (= x (+ (* root root) rest))
           (<= 0 rest (* 2 root))))))

(define (run n)
  (call-with-values (lambda () (fibonacci n))
    (lambda (a b)
      (let ((f (factorial n)))
        (list (sum-of-digits (factorial 100))
              (sum-of-digits f)
              (modulo a 1000000007)
              (= a (slow-fibonacci n))
              (gcd a b)
              (map mersenne-prime? '(13 23 61 101 127))
              (modular-expt 3 (expt 10 20) 1000000007)
              (= f (string->number (number->string f)))
              (= (- f) (string->number (number->string (- f) 16) 16))
              (= f (let loop ((i n) (f f) (p 1)) ; divides by all factors, multiplies again
                     (if (= i 0) (if (= f 1) p 0) (loop (- i 1) (quotient f i) (* p i)))))
              (divisions-good? n)
              (root-good? f)
              (quotient (* a (expt 10 9)) b))))))

(main-program "bignum" run
              400 '(648 3402 967250938 #t 1 (#t #f #t #f #t) 139421235 #t #t #t #t #t 618033988)
              15 '(648 45 610 #t 1 (#t #f #t #f #t) 139421235 #t #t #t #t #t 618034447) 30000)
