;; SPDX-License-Identifier: MIT
;; Lists that are changed in place: a circle out of which every third is counted, a merge sort that
;; only moves pairs, piles that cards are dealt to and taken from.  After "destruct" in Gabriel's
;; benchmarks; what is in old lists comes to refer to young pairs all the time.
;;
;; Known: of 41 in the circle, number 31 is left (Josephus).

(define (circle n)
  (let ((first (list 1)))
    (let loop ((last first) (i 2))
      (if (> i n)
          (set-cdr! last first)
          (begin
            (set-cdr! last (list i))
            (loop (cdr last) (+ i 1)))))
    first))

;; Who is left when every third leaves: `at` is the one before the one that counts "one".
(define (survivor n)
  (let loop ((at (let last ((p (circle n)) (i 1)) (if (= i n) p (last (cdr p) (+ i 1))))))
    (let ((second (cddr at)))
      (if (eq? at (cdr at))
          (car at)
          (begin
            (set-cdr! second (cddr second))
            (loop second))))))

(define (reverse-in-place! list)
  (let loop ((rest list) (done '()))
    (if (null? rest)
        done
        (let ((next (cdr rest)))
          (set-cdr! rest done)
          (loop next rest)))))

(define (merge! a b)
  (let ((head (list #f)))
    (let loop ((last head) (a a) (b b))
      (cond ((null? a) (set-cdr! last b))
            ((null? b) (set-cdr! last a))
            ((< (car b) (car a))
             (set-cdr! last b)
             (loop b a (cdr b)))
            (else
             (set-cdr! last a)
             (loop a (cdr a) b))))
    (cdr head)))

(define (sort! list)
  (if (or (null? list) (null? (cdr list)))
      list
      (let loop ((slow list) (fast (cdr list)))
        (if (and (pair? fast) (pair? (cdr fast)))
            (loop (cdr slow) (cddr fast))
            (let ((second (cdr slow)))
              (set-cdr! slow '())
              (merge! (sort! list) (sort! second)))))))

(define (sorted? list)
  (or (null? list) (null? (cdr list))
      (and (<= (car list) (cadr list)) (sorted? (cdr list)))))

(define (random-list random n)
  (let loop ((i 0) (list '()))
    (if (= i n) list (loop (+ i 1) (cons (random 1000) list)))))

;; Deals the cards to piles, then puts the piles, each turned around, on each other again.
(define (deal! cards piles)
  (let loop ((cards cards) (i 0))
    (if (pair? cards)
        (let ((next (cdr cards)))
          (set-cdr! cards (vector-ref piles i))
          (vector-set! piles i cards)
          (loop next (modulo (+ i 1) (vector-length piles))))))
  (let loop ((i 0) (all '()))
    (if (= i (vector-length piles))
        all
        (let ((pile (reverse-in-place! (vector-ref piles i))))
          (vector-set! piles i '())
          (loop (+ i 1) (if (null? pile)
                            all
                            (let last ((p pile))
                              (if (pair? (cdr p))
                                  (last (cdr p))
                                  (begin (set-cdr! p all) pile)))))))))

;; The sum of all cards, each times its place.
(define (weigh cards)
  (let loop ((cards cards) (place 1) (sum 0))
    (if (null? cards) sum (loop (cdr cards) (+ place 1) (+ sum (* place (car cards)))))))

(define (run n)
  (let* ((random (make-random 7))
         (cards (random-list random n))
         (piles (make-vector 7 '())))
    (let loop ((i 0) (cards cards))
      (if (< i 7)
          (loop (+ i 1) (deal! cards piles))
          (let* ((weight (weigh cards)) (cards (sort! cards)))
            (list (survivor 41) (survivor n) weight (weigh cards) (sorted? cards)))))))

(main-program "destruct" run 5000 '(31 2864 6364616913 8382648757 #t)
              50 '(31 11 520711 801435 #t) 300000)
