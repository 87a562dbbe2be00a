;; SPDX-License-Identifier: MIT
;; Peg solitaire on a triangle: all holes but one have a peg; a peg that jumps over another removes
;; it; who is left with one peg has won.  Plays all games to their ends.  After "triang" in
;; Gabriel's benchmarks, but here the jumps are computed.  A size of 505 means five rows, with
;; hole 5 empty at first.
;;
;; Known, with five rows: hole 5 has 1,550 solutions in 137,846 games; hole 4 (one of three alike
;; in the middles of the sides) 85,258 in 1,149,568; a corner 29,760 in 568,630.

(define (hole row column) (+ column (quotient (* row (- row 1)) 2)))

;; All (from over to) on a board of so many rows; holes count from 1.
(define (all-jumps rows)
  (let ((jumps '()))
    (define (jump-if-there row column down right)
      (let ((to-row (+ row (* 2 down))) (to-column (+ column (* 2 right))))
        (if (and (<= 1 to-row rows) (<= 1 to-column to-row))
            (set! jumps (cons (list (hole row column)
                                    (hole (+ row down) (+ column right))
                                    (hole to-row to-column))
                              jumps)))))
    (do ((row 1 (+ row 1)))
        ((> row rows) jumps)
      (do ((column 1 (+ column 1)))
          ((> column row))
        (for-each (lambda (direction)
                    (jump-if-there row column (car direction) (cdr direction)))
                  '((0 . 1) (0 . -1) (1 . 0) (-1 . 0) (1 . 1) (-1 . -1)))))))

(define games 0)
(define solutions 0)
(define last-pegs '()) ; an alist of the last peg's place and how often it was there

(define (count-solution board path)
  (set! solutions (+ solutions 1))
  (let* ((place (list-ref (car path) 2)) (known (assv place last-pegs)))
    (if known
        (set-cdr! known (+ (cdr known) 1))
        (set! last-pegs (cons (cons place 1) last-pegs)))))

(define (play board jumps pegs path)
  (let loop ((rest jumps) (stuck #t))
    (cond ((pair? rest)
           (let* ((jump (car rest)) (from (car jump)) (over (cadr jump)) (to (car (cddr jump))))
             (if (and (vector-ref board from) (vector-ref board over) (not (vector-ref board to)))
                 (begin
                   (vector-set! board from #f)
                   (vector-set! board over #f)
                   (vector-set! board to #t)
                   (play board jumps (- pegs 1) (cons jump path))
                   (vector-set! board from #t)
                   (vector-set! board over #t)
                   (vector-set! board to #f)
                   (loop (cdr rest) #f))
                 (loop (cdr rest) stuck))))
          (stuck
           (set! games (+ games 1))
           (if (= pegs 1) (count-solution board path))))))

(define (run n)
  (let* ((rows (quotient n 100)) (holes (hole rows rows)) (board (make-vector (+ holes 1) #t)))
    (set! games 0)
    (set! solutions 0)
    (set! last-pegs '())
    (vector-set! board (remainder n 100) #f)
    (play board (all-jumps rows) (- holes 1) '())
    (list solutions games last-pegs)))

(main-program "triangle" run 505 '(1550 137846 ((13 . 1550)))
              402 '(14 93 ((3 . 14))) 504)
