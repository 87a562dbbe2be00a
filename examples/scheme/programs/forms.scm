;; SPDX-License-Identifier: MIT
;; Forms with very many parts, as programs make them: each has its value, or is refused as too deep,
;; whatever room the C stack has.  For this Scheme alone.  Known: all checks hold.

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

(define (run n)
  (check-all 4)
  (check-all n)
  (checks-result))

(main-program "forms" run 200000 '(20 0) 10 '(20 0) 400000)
