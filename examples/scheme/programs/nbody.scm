;; SPDX-License-Identifier: MIT
;; The sun and the four large planets, each pulling at all others, in steps of 0.01 days of a
;; year of 365.24: nothing but floating point, in vectors that are changed.  The task and the
;; initial values are those of the benchmarks game.
;;
;; Known: the energy is -0.169075164 at first and -0.169087605 after 1000 steps.

(define pi 3.141592653589793)
(define solar-mass (* 4.0 pi pi))
(define year 365.24)

;; x y z, velocities, mass
(define (body x y z vx vy vz mass)
  (vector x y z (* vx year) (* vy year) (* vz year) (* mass solar-mass)))

(define (make-bodies)
  (list (body 0.0 0.0 0.0 0.0 0.0 0.0 1.0)
        (body 4.84143144246472090e+00 -1.16032004402742839e+00 -1.03622044471123109e-01
              1.66007664274403694e-03 7.69901118419740425e-03 -6.90460016972063023e-05
              9.54791938424326609e-04)
        (body 8.34336671824457987e+00 4.12479856412430479e+00 -4.03523417114321381e-01
              -2.76742510726411021e-03 4.99852801234917238e-03 2.30417297573763929e-05
              2.85885980666130812e-04)
        (body 1.28943695621391310e+01 -1.51111514016986312e+01 -2.23307578892655734e-01
              2.96460137564761618e-03 2.37847173959480950e-03 -2.96589568540237556e-05
              4.36624404335156298e-05)
        (body 1.53796971148509165e+01 -2.59193146099879641e+01 1.79258772950371181e-01
              2.68067772490389322e-03 1.62824170038242295e-03 -9.51592254519715870e-05
              5.15138902046611451e-05)))

(define (add! body i amount) (vector-set! body i (+ (vector-ref body i) amount)))
(define (mass body) (vector-ref body 6))
(define (distance a b i) (- (vector-ref a i) (vector-ref b i)))
(define (square x) (* x x))

(define (squared-distance a b)
  (+ (square (distance a b 0)) (square (distance a b 1)) (square (distance a b 2))))

;; Calls `visit` with each two bodies.
(define (each-pair bodies visit)
  (if (pair? bodies)
      (begin
        (for-each (lambda (other) (visit (car bodies) other)) (cdr bodies))
        (each-pair (cdr bodies) visit))))

;; The sun moves so that everything together stands still.
(define (stand-still! bodies)
  (for-each
   (lambda (i)
     (vector-set! (car bodies) i
                  (- (/ (apply + (map (lambda (b) (* (mass b) (vector-ref b i))) bodies))
                        solar-mass))))
   '(3 4 5)))

(define (pull! a b time)
  (let* ((d (squared-distance a b)) (force (/ time (* d (sqrt d)))))
    (do ((i 0 (+ i 1)))
        ((= i 3))
      (let ((along (* force (distance a b i))))
        (add! a (+ i 3) (- (* along (mass b))))
        (add! b (+ i 3) (* along (mass a)))))))

(define (advance! bodies time)
  (each-pair bodies (lambda (a b) (pull! a b time)))
  (for-each (lambda (body)
              (do ((i 0 (+ i 1)))
                  ((= i 3))
                (add! body i (* time (vector-ref body (+ i 3))))))
            bodies))

(define (energy bodies)
  (let ((sum 0.0))
    (for-each (lambda (b)
                (set! sum (+ sum (* 0.5 (mass b) (+ (square (vector-ref b 3))
                                                    (square (vector-ref b 4))
                                                    (square (vector-ref b 5)))))))
              bodies)
    (each-pair bodies
               (lambda (a b)
                 (set! sum (- sum (/ (* (mass a) (mass b)) (sqrt (squared-distance a b)))))))
    sum))

(define (nine-digits x) (exact (round (* x 1e9))))

(define (run n)
  (let ((bodies (make-bodies)))
    (stand-still! bodies)
    (let ((before (energy bodies)))
      (do ((i 0 (+ i 1)))
          ((= i n) (list (nine-digits before) (nine-digits (energy bodies))))
        (advance! bodies 0.01)))))

(main-program "nbody" run 1000 '(-169075164 -169087605) 10 '(-169075164 -169073022) 100000)
