;; SPDX-License-Identifier: MIT
;; Forms as programs make them: with very many parts, or circular, where each has its value or is
;; refused, whatever room the C stack has; rules that are changed, and names that threads define while
;; others compile them.
;; For this Scheme alone.  Known: all checks hold.

(define (result-of form)
  (guard (e ((and (condition? e) (eq? (condition-kind e) 'syntax)) 'syntax))
    (eval form (interaction-environment))))

(define (check-result form value) (check (and (memv (result-of form) (list value 'syntax)) #t) #t))

(define (check-all n)
  (check (result-of (cons '+ (make-list n 1))) n)
  (check (result-of (list 'let* (cons '(x 7) (make-list n '(x x))) 'x)) 7)
  (check (result-of (list 'let '() (cons 'begin (make-list (* 5 n) 5)))) 5)
  (check (result-of (cons 'and (make-list n 5))) 5)
  (check (result-of (list 'length (list 'quasiquote (cons '(unquote 1) (make-list n 1)))))
         (+ n 1))
  (check-result (append '(cond) (make-list n '(#f 1)) '((else 2))) 2)
  (check-result (append '(cond) (make-list n '(#f)) '((else 2))) 2)
  (check-result (append '(cond) (make-list n '(#f => car)) '((else 2))) 2)
  (check-result (append '(case 1) (make-list n '((2) 1)) '((else 2))) 2)
  (check (result-of (list 'case 5 (list (make-list n 1) 1) '(else 2))) 2))

(define-syntax vector-of-names (syntax-rules () ((_ x) #(x y))))

(define (check-odd-data)
  (let ((circle (list 1 2 3)))
    (set-cdr! (cddr circle) circle)
    (check (result-of (list 'quasiquote circle)) 'syntax)
    (check (result-of (list 'quasiquote (vector 1 (cons 2 circle)))) 'syntax)
    (check (result-of (cons 'list circle)) 'syntax))
  (check (vector-of-names z) #(z y)))

;; Data of which each part stands at two places.
(define (check-shared-data)
  (define (same-data? data) (eq? data (result-of (list 'quasiquote data))))
  (define (grown step) (do ((i 0 (+ i 1)) (data '(1) (step data))) ((= i 100) data)))
  (check (same-data? (grown (lambda (data) (cons data data)))) #t)
  (check (same-data? (grown (lambda (data) (list (cons 1 data) (cons 2 data))))) #t)
  (check (same-data? (grown (lambda (data) (vector data data)))) #t))

(define (check-odd-rules)
  (let ((rule (list '(_ x) 'x)) (defined (interaction-environment)))
    (eval (list 'define-syntax 'with-odd-rule (list 'syntax-rules '() rule)) defined)
    (check (result-of '(with-odd-rule 5)) 5)
    (set-cdr! rule '())
    (check (result-of '(with-odd-rule 5)) 'syntax)
    (set-car! rule 7)
    (check (result-of '(with-odd-rule 5)) 'syntax))
  (check (length (let-syntax ((twice (syntax-rules () ((_ (x x) ...) '(x ...)))))
                   (twice (1 2) (3 4) (5 6) (7 8) (9 10))))
         5)
  (check (guard (e ((condition? e) (condition-kind e))) (apply car)) 'arguments))

;; Each thread makes one name syntax and a procedure, again and again.
(define (define-often i)
  (do ((n 0 (+ n 1)))
      ((= n 30) #t)
    (eval '(define-syntax often-defined (syntax-rules () ((_ x) x))) (interaction-environment))
    (eval '(define (often-defined x) x) (interaction-environment))))

(define (run n)
  (check-odd-data)
  (check-shared-data)
  (check-odd-rules)
  (check (in-threads 3 define-often) '(#t #t #t))
  (check-all 4)
  (check-all n)
  (checks-result))

(main-program "forms" run 200000 '(33 0) 10 '(33 0) 400000)
