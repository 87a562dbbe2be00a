;; SPDX-License-Identifier: MIT
;; In how many ways can n queens stand on a board of n by n, none attacking another?  Lists of
;; columns, all solutions collected.  A classic of Gauss's time and of all benchmarks.
;;
;; Known: 1, 0, 0, 2, 10, 4, 40, 92, 352, 724, 2680.

(define (columns n)
  (if (= n 0) '() (cons n (columns (- n 1)))))

;; `board` has the columns of the queens in the rows above, the nearest first.
(define (safe? column board)
  (let loop ((board board) (distance 1))
    (or (null? board)
        (and (not (= (car board) column))
             (not (= (abs (- (car board) column)) distance))
             (loop (cdr board) (+ distance 1))))))

(define (place row all board solutions)
  (if (= row 0)
      (cons board solutions)
      (let loop ((candidates all) (solutions solutions))
        (if (null? candidates)
            solutions
            (loop (cdr candidates)
                  (if (safe? (car candidates) board)
                      (place (- row 1) all (cons (car candidates) board) solutions)
                      solutions))))))

;; Turned around, a solution is a solution too.
(define (symmetric? solutions)
  (let loop ((rest solutions))
    (or (null? rest)
        (and (member (reverse (car rest)) solutions) (loop (cdr rest))))))

(define (run n)
  (let ((solutions (place n (columns n) '() '())))
    (list (length solutions)
          (if (null? solutions) '() (car solutions))
          (if (< n 9) (symmetric? solutions) #t))))

(main-program "nqueens" run 8 '(92 (4 2 7 3 6 8 5 1) #t) 5 '(10 (4 2 5 3 1) #t) 12)
