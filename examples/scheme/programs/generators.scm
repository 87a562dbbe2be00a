;; SPDX-License-Identifier: MIT
;; Continuations that are entered again: generators that walk through trees, two of them in turn to
;; compare fringes without lists of them; a tree of generators; backtracking with a stack of
;; continuations.  The "same fringe" is Carl Hewitt's and Peter Landin's question, `amb` McCarthy's.
;;
;; Known: Pythagorean triples up to 20 are 3-4-5, 5-12-13, 6-8-10, 8-15-17, 9-12-15, 12-16-20.

;; A procedure that returns, call after call, what `walk` hands to its argument, and then #f.
(define (make-generator walk)
  (define return #f)
  (define (resume)
    (walk (lambda (item)
            (call-with-current-continuation
             (lambda (next)
               (set! resume (lambda () (next #t)))
               (return item)))))
    (set! resume (lambda () (return #f)))
    (return #f))
  (lambda ()
    (call-with-current-continuation
     (lambda (k)
       (set! return k)
       (resume)))))

(define (walk-leaves tree give)
  (cond ((pair? tree)
         (walk-leaves (car tree) give)
         (walk-leaves (cdr tree) give))
        ((not (null? tree)) (give tree))))

(define (leaves tree) (make-generator (lambda (give) (walk-leaves tree give))))

(define (same-fringe? a b)
  (let ((next-a (leaves a)) (next-b (leaves b)))
    (let loop ()
      (let ((x (next-a)) (y (next-b)))
        (and (eqv? x y) (or (not x) (loop)))))))

;; Trees with the leaves from low to high - 1, of different shapes.
(define (balanced low high)
  (if (= (+ low 1) high)
      low
      (let ((middle (quotient (+ low high) 2)))
        (cons (balanced low middle) (balanced middle high)))))

(define (to-the-right low high)
  (if (= low high) '() (cons low (to-the-right (+ low 1) high))))

(define (to-the-left low high)
  (let loop ((i (+ low 1)) (tree low))
    (if (= i high) tree (loop (+ i 1) (cons tree i)))))

;; Takes from both generators, the smaller item first.
(define (merged a b)
  (make-generator
   (lambda (give)
     (let loop ((x (a)) (y (b)))
       (cond ((and x (or (not y) (< x y)))
              (give x)
              (loop (a) y))
             (y
              (give y)
              (loop x (b))))))))

(define (every-nth n limit)
  (make-generator
   (lambda (give)
     (do ((i n (+ i n))) ((> i limit)) (give i)))))

(define (drain generator)
  (let loop ((sum 0) (count 0) (ordered #t) (last 0))
    (let ((x (generator)))
      (if x
          (loop (+ sum x) (+ count 1) (and ordered (<= last x)) x)
          (list sum count ordered)))))

;; Where to go on when a choice was wrong.
(define choices '())

(define (fail)
  (let ((choice (car choices)))
    (set! choices (cdr choices))
    (choice)))

;; One after the other, each number from low to high.
(define (choose low high)
  (call-with-current-continuation
   (lambda (k)
     (let try ((i low))
       (if (> i high)
           (fail)
           (begin
             (set! choices (cons (lambda () (k (try (+ i 1)))) choices))
             i))))))

(define (triples limit)
  (let ((found '()))
    (call-with-current-continuation
     (lambda (done)
       (set! choices (list (lambda () (done #t))))
       (let* ((a (choose 1 limit)) (b (choose a limit)) (c (choose b limit)))
         (if (= (+ (* a a) (* b b)) (* c c))
             (set! found (cons (list a b c) found)))
         (fail))))
    (reverse found)))

(define (run n)
  (let ((a (balanced 0 n)) (b (to-the-right 0 n)) (c (to-the-left 0 n)))
    (list (same-fringe? a b)
          (same-fringe? b c)
          (same-fringe? c (to-the-left 0 (+ n 1)))
          (same-fringe? a (balanced 1 (+ n 1)))
          (drain (merged (every-nth 2 n) (merged (every-nth 3 n) (every-nth 5 n))))
          (triples (min 20 (quotient n 3))))))

(main-program "generators" run 100 '(#t #t #f #f (5283 103 #t)
                                    ((3 4 5) (5 12 13) (6 8 10) (8 15 17) (9 12 15) (12 16 20)))
              16 '(#t #t #f #f (147 16 #t) ((3 4 5))) 3000)
