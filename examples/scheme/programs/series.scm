;; SPDX-License-Identifier: MIT
;; Sums and other limits whose digits are known, in floating point; and Mandelbrot's set, counted by
;; points.  Many numbers that live for one operation.
;;
;; Known: the sum of 1/k^2 is pi^2/6, that of 1/k! e; of (-1)^k / (2k+1) pi/4; the circle that
;; polygons close in on has pi; Mandelbrot's set has an area of about 1.5065.

(define pi 3.141592653589793)

(define (sum term n)
  (let loop ((k 1) (total 0.0))
    (if (> k n) total (loop (+ k 1) (+ total (term k))))))

;; Kahan's: what was lost at one addition is added at the next.
(define (careful-sum term n)
  (let loop ((k 1) (total 0.0) (lost 0.0))
    (if (> k n)
        total
        (let* ((t (- (term k) lost)) (next (+ total t)))
          (loop (+ k 1) next (- (- next total) t))))))

(define (basel n)
  (let ((rest (/ 1.0 (+ n 0.5)))) ; about what is missing
    (+ rest (careful-sum (lambda (k) (/ 1.0 (* k k))) n))))

;; The mean of two neighbours, again and again, of the partial sums of Leibniz's series.
(define (leibniz n)
  (let loop ((k 0) (sign 4.0) (total 0.0) (sums '()))
    (if (<= k n)
        (let ((total (+ total (/ sign (+ k k 1)))))
          (loop (+ k 1) (- sign) total (cons total sums)))
        (let means ((sums sums))
          (if (null? (cdr sums))
              (car sums)
              (means (let next ((s sums))
                       (if (null? (cdr s))
                           '()
                           (cons (/ (+ (car s) (cadr s)) 2.0) (next (cdr s)))))))))))

(define (euler)
  (let loop ((k 1) (term 1.0) (total 1.0))
    (if (< term 1e-20) total (loop (+ k 1) (/ term k) (+ total (/ term k))))))

;; Archimedes: polygons of 4, 8, 16... sides, half of their circumference outside and inside.  In a
;; list, since the compiler of Guile 3.0.8 fails when it sees from which number a root is taken.
(define four-sides (list 4.0 (* 2.0 (sqrt 2.0))))

(define (archimedes doublings)
  (let loop ((i 0) (outside (car four-sides)) (inside (cadr four-sides)))
    (if (= i doublings)
        inside
        (let ((outside (/ (* 2.0 outside inside) (+ outside inside))))
          (loop (+ i 1) outside (sqrt (* outside inside)))))))

(define (newton-root x)
  (let loop ((guess x) (i 0))
    (if (= i 40) guess (loop (/ (+ guess (/ x guess)) 2.0) (+ i 1)))))

;; How many points of a grid of n by n over the square from -2-1.5i to 1+1.5i do not escape.
(define (mandelbrot n)
  (define (inside? cx cy)
    (let loop ((x 0.0) (y 0.0) (i 0))
      (cond ((> (+ (* x x) (* y y)) 4.0) #f)
            ((= i 50) #t)
            (else (loop (+ (- (* x x) (* y y)) cx) (+ (* 2.0 x y) cy) (+ i 1))))))
  (let rows ((row 0) (count 0))
    (if (= row n)
        count
        (let columns ((column 0) (count count))
          (if (= column n)
              (rows (+ row 1) count)
              (columns (+ column 1)
                       (if (inside? (- (/ (* 3.0 (+ column 0.5)) n) 2.0)
                                    (- (/ (* 3.0 (+ row 0.5)) n) 1.5))
                           (+ count 1)
                           count)))))))

(define (near? a b tolerance) (< (abs (- a b)) tolerance))

(define (run n)
  (let ((points (mandelbrot n)))
    (list (near? (basel (* 10 n)) (/ (* pi pi) 6.0) (/ 1.0 (* n n n)))
          (near? (leibniz 30) pi 1e-10)
          (near? (euler) (exp 1.0) 1e-14)
          (near? (archimedes 25) pi 1e-14)
          (near? (newton-root 2.0) (sqrt 2.0) 1e-15)
          (near? (sum (lambda (k) (/ 1.0 k)) (* 10 n))
                 (+ (log (* 10.0 n)) 0.57721566490153286 (/ 1.0 (* 20.0 n)))
                 (/ 1.0 (* n n)))
          (near? (atan 1.0 1.0) (/ pi 4.0) 1e-15)
          points
          (or (< n 20) (near? (/ (* 9.0 points) (* n n)) 1.5 0.1)))))

(main-program "series" run 80 '(#t #t #t #t #t #t #t 1132 #t)
              6 '(#t #t #t #t #t #t #t 4 #t) 600)
