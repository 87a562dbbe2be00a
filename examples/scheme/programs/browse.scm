;; SPDX-License-Identifier: MIT
;; Looks for patterns in a data base of nested lists of symbols, with backtracking.  In a pattern
;; `?` stands for any one item, a symbol that begins with ? for the same item wherever it is in the
;; pattern, `*` for any number of items.  After "browse" in Gabriel's benchmarks.
;;
;; Known: every unit is found by a pattern that was made of itself.

(define words '#(ash beech cedar elm fir hazel larch lime maple oak pine rowan))

(define (variable? x)
  (and (symbol? x)
       (let ((name (symbol->string x)))
         (and (> (string-length name) 1) (char=? #\? (string-ref name 0))))))

;; Calls `found` with the bindings for each way to match, until it returns true.
(define (match pattern data bindings found)
  (cond ((null? pattern) (and (null? data) (found bindings)))
        ((not (pair? pattern)) (and (eq? pattern data) (found bindings)))
        ((eq? (car pattern) '*)
         (or (match (cdr pattern) data bindings found)
             (and (pair? data) (match pattern (cdr data) bindings found))))
        ((not (pair? data)) #f)
        ((eq? (car pattern) '?) (match (cdr pattern) (cdr data) bindings found))
        ((variable? (car pattern))
         (let ((bound (assq (car pattern) bindings)))
           (if bound
               (and (equal? (cdr bound) (car data))
                    (match (cdr pattern) (cdr data) bindings found))
               (match (cdr pattern)
                      (cdr data)
                      (cons (cons (car pattern) (car data)) bindings)
                      found))))
        ((pair? (car pattern))
         (and (pair? (car data))
              (match (car pattern) (car data) bindings
                (lambda (bindings) (match (cdr pattern) (cdr data) bindings found)))))
        (else
         (and (eq? (car pattern) (car data)) (match (cdr pattern) (cdr data) bindings found)))))

(define (matches? pattern data) (match pattern data '() (lambda (bindings) #t)))

(define (ways pattern data)
  (let ((count 0))
    (match pattern data '() (lambda (bindings) (set! count (+ count 1)) #f))
    count))

(define (make-unit random depth)
  (let loop ((left (+ 3 (random 4))) (unit '()))
    (if (= left 0)
        unit
        (loop (- left 1)
              (cons (if (and (> depth 0) (= 0 (random 3)))
                        (make-unit random (- depth 1))
                        (vector-ref words (random (vector-length words))))
                    unit)))))

(define (make-units random n)
  (if (= n 0)
      '()
      (let ((unit (make-unit random 2)))
        (cons unit (make-units random (- n 1))))))

;; The unit with each third item or so replaced by something that matches it.  Which ones depends
;; on the order of evaluation.
(define (blur random unit)
  (if (pair? unit)
      (cons (case (random 6)
              ((0) '?)
              ((1) '*)
              (else (blur random (car unit))))
            (map (lambda (item) (blur random item)) (cdr unit)))
      unit))

(define patterns
  '((* oak *) (?a * ?a) (* ?a * ?a *) (?a ?b *) (* (* ?a *) * ?a *) (* (* (*) *) *)
    (* ?a ?a *) (* (?a * ?b) * ?b * ?a *) (* * * elm)))

(define (run n)
  (let* ((random (make-random 11)) (units (make-units random n)))
    (let ((own (let loop ((units units) (count 0))
                 (if (null? units)
                     count
                     (loop (cdr units)
                           (if (matches? (blur random (car units)) (car units))
                               (+ count 1)
                               count))))))
      (cons (= own n)
            (map (lambda (pattern)
                   (apply + (map (lambda (unit) (ways pattern unit)) units)))
                 patterns)))))

(main-program "browse" run 300 '(#t 81 10 97 300 144 692 38 1 211)
              5 '(#t 1 0 3 5 4 11 0 0 0) 40000)
