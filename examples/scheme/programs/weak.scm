;; SPDX-License-Identifier: MIT
;; Weak tables, weak boxes and ephemerons, and the procedures of hash tables that programs here do
;; not use otherwise.  For this Scheme alone.  Known: all checks hold.

(define (collect!) (gc) (gc))

(define (numbered list-of-pairs) (sort (map caar list-of-pairs) <))

(define (check-weak-keys)
  (let ((table (make-weak-key-hash-table)) (keys (map list '(1 2 3 4 5 6 7 8 9 10))))
    (for-each (lambda (key) (hash-table-set! table key (list 'value key))) keys)
    (check (numbered (hash-table->alist table)) '(1 2 3 4 5 6 7 8 9 10))
    (set! keys (list-tail keys 5))
    (collect!)
    (let ((left (numbered (hash-table->alist table)))) ; one more where stacks are scanned
      (check (and (<= (length left) 6) (list-tail left (- (length left) 5))) '(6 7 8 9 10)))
    (check (cadr (hash-table-ref/default table (car keys) #f)) '(6))
    (hash-table-clear! table)
    (check (hash-table-count table) 0)
    (check (guard (e (#t (condition-kind e))) (hash-table-set! table 1 2)) 'wrong-type)))

(define (check-weak-values)
  (let ((table (make-weak-value-hash-table)) (kept (list 'kept)))
    (hash-table-set! table "a" kept)
    (hash-table-set! table "b" (list 'dropped))
    (collect!)
    (check (hash-table-ref/default table "a" #f) '(kept))
    (check (pair? (member "a" (hash-table-keys table))) #t)
    (check (car kept) 'kept)))

(define (check-boxes)
  (let* ((key (list 1)) (box (make-weak-box key)) (pair (make-ephemeron key (list 'of key))))
    (collect!)
    (check (list (weak-box-value box) (ephemeron-key pair) (ephemeron-value pair))
           '((1) (1) (of (1))))
    (check (list (weak-box? box) (ephemeron? pair) (ephemeron? box) (ephemeron-broken? pair))
           '(#t #t #f #f))
    (check (weak-box-value (make-weak-box 5)) 5)
    (check (car key) 1)))

(define (check-tables)
  (let ((table (make-hash-table)))
    (hash-table-set! table "a" 1)
    (hash-table-update! table "a" (lambda (x) (+ x 1)))
    (hash-table-update! table "b" (lambda (x) (+ x 1)) (lambda () 10))
    (hash-table-update!/default table "c" (lambda (x) (+ x 1)) 100)
    (check (hash-table-fold table (lambda (key value sum) (+ value sum)) 0) 114)
    (check (hash-table-ref table "z" (lambda () 'none)) 'none)
    (check (hash-table-ref table "a" (lambda () 'none) list) '(2))
    (check (hash-table-count (hash-table-copy table)) 3)
    (check (guard (e (#t (condition-kind e))) (hash-table-ref table 'none)) 'error)
    (check (sort (hash-table-keys table) string<?) '("a" "b" "c"))))

(define (run n)
  (do ((i 0 (+ i 1)))
      ((= i n))
    (check-weak-keys)
    (check-weak-values)
    (check-boxes)
    (check-tables))
  (checks-result))

(main-program "weak" run 10 '(180 0) 1 '(18 0) 300)
