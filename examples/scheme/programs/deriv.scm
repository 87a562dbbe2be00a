;; SPDX-License-Identifier: MIT
;; Derives formulas by symbols, over and over, and simplifies and evaluates what comes out: small
;; short-lived lists.  The idea is that of "deriv" and "dderiv" in Gabriel's benchmarks: here the
;; rules are found in a table.
;;
;; Known: the third derivative of x^4 is 24 x.

(define rules '())

(define (define-rule! operator rule)
  (set! rules (cons (cons operator rule) rules)))

(define (derive e)
  (cond ((number? e) 0)
        ((symbol? e) (if (eq? e 'x) 1 0))
        (else ((cdr (assq (car e) rules)) (cdr e)))))

(define-rule! '+ (lambda (terms) (cons '+ (map derive terms))))
(define-rule! '- (lambda (terms) (cons '- (map derive terms))))

;; The sum of all products in which one factor is derived.
(define-rule! '*
  (lambda (factors)
    (let loop ((before '()) (after factors) (sum '()))
      (if (null? after)
          (cons '+ (reverse sum))
          (loop (cons (car after) before)
                (cdr after)
                (cons (cons '* (append (reverse before) (list (derive (car after))) (cdr after)))
                      sum))))))

(define-rule! '/
  (lambda (arguments)
    (let ((above (car arguments)) (below (cadr arguments)))
      `(/ (- (* ,(derive above) ,below) (* ,above ,(derive below)))
          (* ,below ,below)))))

(define-rule! 'expt
  (lambda (arguments)
    (let ((base (car arguments)) (power (cadr arguments)))
      `(* ,power (expt ,base ,(- power 1)) ,(derive base)))))

;; Zeros and ones vanish, numbers next to each other are computed.
(define (simplify e)
  (if (not (pair? e))
      e
      (let ((arguments (map simplify (cdr e))))
        (case (car e)
          ((+) (gather '+ 0 + arguments))
          ((*) (if (memv 0 arguments) 0 (gather '* 1 * arguments)))
          ((-) (if (eqv? 0 (cadr arguments)) (car arguments) (cons '- arguments)))
          ((/) (if (eqv? 0 (car arguments)) 0 (cons '/ arguments)))
          ((expt) (case (cadr arguments)
                    ((0) 1)
                    ((1) (car arguments))
                    (else (cons 'expt arguments))))
          (else (cons (car e) arguments))))))

(define (gather operator neutral combine arguments)
  (let loop ((rest arguments) (number neutral) (others '()))
    (cond ((null? rest)
           (let ((all (if (eqv? number neutral) (reverse others) (cons number (reverse others)))))
             (cond ((null? all) neutral)
                   ((null? (cdr all)) (car all))
                   (else (cons operator all)))))
          ((number? (car rest)) (loop (cdr rest) (combine number (car rest)) others))
          ((and (pair? (car rest)) (eq? operator (caar rest)))
           (loop (append (cdar rest) (cdr rest)) number others))
          (else (loop (cdr rest) number (cons (car rest) others))))))

(define (evaluate e x)
  (cond ((number? e) e)
        ((symbol? e) (if (eq? e 'x) x 3))
        (else
         (let ((arguments (map (lambda (argument) (evaluate argument x)) (cdr e))))
           (case (car e)
             ((+) (apply + arguments))
             ((-) (apply - arguments))
             ((*) (apply * arguments))
             ((/) (apply quotient arguments))
             (else (apply expt arguments)))))))

(define (size e)
  (if (pair? e) (+ 1 (apply + (map size (cdr e)))) 1))

(define formulas
  '((+ (* 3 x x) (* a x x) (* b x) 5)
    (* (+ x 1) (+ x 2) (+ x 3) (- x 4))
    (/ (* 12 (expt x 3)) (+ x 1))
    (expt (+ (* x x) (* 2 x) 1) 3)))

;; Derives everything twice; the number of operators and leaves before and after simplification.
(define (round-of-formulas)
  (let loop ((rest formulas) (plain 0) (simple 0))
    (if (null? rest)
        (list plain simple)
        (let ((e (derive (derive (car rest)))))
          (loop (cdr rest) (+ plain (size e)) (+ simple (size (simplify e))))))))

(define (third e) (simplify (derive (simplify (derive (simplify (derive e)))))))

(define (run n)
  (let loop ((i 1))
    (let ((sizes (round-of-formulas)))
      (if (< i n)
          (loop (+ i 1))
          (list sizes
                (simplify (derive (car formulas)))
                (third '(expt x 4))
                (evaluate (third '(* x x x x)) 2)
                (evaluate (third (cadr formulas)) 5))))))

;; Both sizes give the same.
(define known '((598 179) (+ (* 3 x) (* 3 x) (* a x) (* a x) b) (* 24 x) 48 132))

(main-program "deriv" run 100 known 1 known 10000)
