;; SPDX-License-Identifier: MIT
;; Proves theorems by rewriting: lemmas turn a term, inside out, into nested ifs, and it is proved
;; if each way through the ifs that is possible ends in a true value.  After Bob Boyer's benchmark
;; in Gabriel's collection, with fewer lemmas and with terms of our own.
;;
;; Known: implication is transitive, along a chain of any length; and not the other way around.

;; Lemmas: left side, right side.  Symbols that are not in the place of an operator are variables.
(define lemmas
  '(((and p q) (if p (if q (t) (f)) (f)))
    ((or p q) (if p (t) (if q (t) (f))))
    ((not p) (if p (f) (t)))
    ((implies p q) (if p (if q (t) (f)) (t)))
    ((iff p q) (and (implies p q) (implies q p)))
    ((plus (plus x y) z) (plus x (plus y z)))
    ((plus (zero) x) x)
    ((plus (add1 x) y) (add1 (plus x y)))
    ((times (zero) x) (zero))
    ((times (add1 x) y) (plus y (times x y)))
    ((times (plus x y) z) (plus (times x z) (times y z)))
    ((difference x x) (zero))
    ((difference (plus x y) x) y)
    ((equal x x) (t))
    ((equal (plus a b) (plus a c)) (equal b c))
    ((equal (add1 x) (add1 y)) (equal x y))
    ((equal (zero) (add1 x)) (f))
    ((equal (cons a b) (cons c d)) (and (equal a c) (equal b d)))
    ((append (append x y) z) (append x (append y z)))
    ((append (nil) x) x)
    ((append (cons a x) y) (cons a (append x y)))
    ((reverse (append x y)) (append (reverse y) (reverse x)))
    ((reverse (cons a x))
                               (append (reverse x) (cons a (nil))))
    ((reverse (nil)) (nil))
    ((length (append x y)) (plus (length x) (length y)))
    ((length (cons a x)) (add1 (length x)))
    ((length (nil)) (zero))
    ((member a (append x y)) (or (member a x) (member a y)))
    ((member a (cons b x)) (or (equal a b) (member a x)))
    ((member a (nil)) (f))
    ((even (add1 (add1 x))) (even x))
    ((even (zero)) (t))
    ((even (add1 (zero))) (f))))

(define lemmas-of (make-hash-table))

(for-each (lambda (lemma)
            (hash-table-update!/default lemmas-of
                                        (caar lemma)
                                        (lambda (others) (append others (list lemma)))
                                        '()))
          lemmas)

;; Bindings that make the pattern equal to the term, or #f.
(define (unify pattern term bindings)
  (cond ((not bindings) #f)
        ((symbol? pattern)
         (let ((bound (assq pattern bindings)))
           (if bound
               (and (equal? (cdr bound) term) bindings)
               (cons (cons pattern term) bindings))))
        ((and (pair? term) (eq? (car pattern) (car term)))
         (let loop ((patterns (cdr pattern)) (terms (cdr term)) (bindings bindings))
           (if (null? patterns)
               bindings
               (loop (cdr patterns) (cdr terms) (unify (car patterns) (car terms) bindings)))))
        (else #f)))

(define (substitute bindings term)
  (if (symbol? term)
      (let ((bound (assq term bindings)))
        (if bound (cdr bound) term))
      (cons (car term) (map (lambda (argument) (substitute bindings argument)) (cdr term)))))

(define rewrites 0)

(define (rewrite term)
  (if (symbol? term)
      term
      (let ((term (cons (car term) (map rewrite (cdr term)))))
        (let loop ((candidates (hash-table-ref/default lemmas-of (car term) '())))
          (if (null? candidates)
              term
              (let ((bindings (unify (caar candidates) term '())))
                (if bindings
                    (begin
                      (set! rewrites (+ rewrites 1))
                      (rewrite (substitute bindings (cadar candidates))))
                    (loop (cdr candidates)))))))))

;; Is it true whenever the terms in `true` are and those in `false` are not?
(define (tautology? term true false)
  (cond ((or (equal? term '(t)) (member term true)) #t)
        ((or (equal? term '(f)) (member term false)) #f)
        ((and (pair? term) (eq? (car term) 'if))
         (let ((test (cadr term)) (then (list-ref term 2)) (else-term (list-ref term 3)))
           (cond ((or (equal? test '(t)) (member test true)) (tautology? then true false))
                 ((or (equal? test '(f)) (member test false)) (tautology? else-term true false))
                 ((and (pair? test) (eq? (car test) 'if))
                  (tautology? (list 'if
                                    (cadr test)
                                    (list 'if (list-ref test 2) then else-term)
                                    (list 'if (list-ref test 3) then else-term))
                              true
                              false))
                 (else
                  (and (tautology? then (cons test true) false)
                       (tautology? else-term true (cons test false)))))))
        (else #f)))

(define (proves? term) (tautology? (rewrite term) '() '()))

;; Terms that say something about numbers and lists, equal to each other in pairs.
(define statements
  '#((equal (length (append u (reverse (nil)))) (length u))
     (even (plus (add1 (add1 (zero))) u))
     (member u (append v (cons w (nil))))
     (equal (times (add1 (add1 (zero))) u) (plus v (length w)))
     (equal (reverse (append u v)) (append w (nil)))
     (even (length (cons u (cons v w))))))

;; p1 -> p2 and p2 -> p3 and ... implies p1 -> pn; or pn -> p1, which does not follow.
(define (chain n forth)
  (define (statement i)
    (let ((number (let loop ((i i)) (if (= i 0) '(zero) (list 'add1 (loop (- i 1)))))))
      (substitute (list (cons 'u (list 'natural number))
                        (cons 'v (list 'plus number 'x))
                        (cons 'w (list 'range number)))
                  (vector-ref statements (modulo i 6)))))
  (define (steps i)
    (let ((step (list 'implies (statement i) (statement (+ i 1)))))
      (if (= (+ i 2) n) step (list 'and step (steps (+ i 1))))))
  (list 'implies
        (steps 0)
        (if forth
            (list 'implies (statement 0) (statement (- n 1)))
            (list 'implies (statement (- n 1)) (statement 0)))))

(define (run n)
  (set! rewrites 0)
  (let* ((forth (proves? (chain n #t)))
         (back (proves? (chain n #f)))
         (others (map proves?
                      '((equal (plus (plus a b) c) (plus a (plus b c)))
                        (equal (reverse (append (cons a (nil)) x))
                               (append (reverse x) (cons a (nil))))
                        (implies (and p (implies p q)) q)
                        (iff (not (and p q)) (or (not p) (not q)))
                        (implies (implies p q) (implies q p))))))
    (list forth back others rewrites)))

(main-program "rewrite" run 20 '(#t #f (#t #t #t #t #f) 967) 3 '(#t #f (#t #t #t #t #f) 91) 50)
