;; SPDX-License-Identifier: MIT
;; Classes, instances and generic functions: slots that are managed or raw, inheritance, what comes
;; first when an instance is made, dispatch on classes of all values, slots whose place is known when
;; a method is compiled.  For this Scheme alone.  Known: all checks hold.

(define-syntax kind-of-error
  (syntax-rules ()
    ((_ expression) (guard (e ((condition? e) (condition-kind e))) expression))))

(define log '())
(define (logged name value) (set! log (cons name log)) value)

(define-class <point> (<object>)
  (x (init (logged 'x 0)) (keyword x) (accessor point-x))
  (y (init 7) (keyword y) (getter point-y) (setter set-point-y!))
  label
  (serial raw))
(define-class <point3> (<point>)
  (z (init (logged 'z 3)) (keyword z) (accessor point-z)))

(define-method (norm (self <point>)) (+ (slot-ref self 'x) (slot-ref self 'y)))
(define-method (norm (self <point3>)) (+ (call-next norm <point3> self) (slot-ref self 'z)))
(define-method (name-of (self <null>) . rest) 'null)
(define-method (name-of (self <integer>) . rest) (list 'integer self))
(define-method (name-of (self <point>) . rest) (cons 'point rest))
(define-method (name-of (self <top>) . rest) 'anything)
(define-method (move (self <point>) by)
  (slot-set! self 'x (+ by (slot-ref self 'x)))
  (slot-ref self 'x))
(define-method (label-of (self <point>)) (slot-ref self 'label))
(define-method (count-up (self <point>))
  (slot-set! self 'serial (+ 1 (slot-ref self 'serial)))
  (slot-ref self 'serial))
(define-method (replaced (self <point>) other) ; the class of self is not known after this
  (set! self other)
  (guard (e (#t 'error)) (slot-ref self 'x)))

(define (check-slots)
  (let ((p (make <point> 'x 5)) (q (make <point3> 'y 2 'unknown)))
    (check (list (point-x p) (point-y p)) '(5 7))
    (check (begin (point-x p 9) (set-point-y! p 1) (list (point-x p) (point-y p))) '(9 1))
    (check (map car (class-slots <point3>)) '(x y label serial z))
    (check (list (slot-ref q 'z) (slot-ref q 'y)) '(3 2))
    (check (kind-of-error (slot-ref p 'label)) 'unbound)
    (check (begin (slot-set! p 'label "a") (slot-ref p 'label)) "a")
    (check (kind-of-error (slot-ref p 'nothing)) 'out-of-range)
    (check (begin (slot-set! p 'serial -9223372036854775808) (slot-ref p 'serial))
           -9223372036854775808)
    (check (list (is-a? q <point>) (is-a? p <point3>) (is-a? 1 <point>)) '(#t #f #f))
    (check (list (subclass? <point3> <object>) (class-name (class-of q))) '(#t <point3>))
    (set! log '())
    (make <point3>)
    (check (reverse log) '(x z))))

(define (check-methods)
  (let ((p (make <point> 'x 5)) (q (make <point3> 'x 1 'y 2)))
    (check (list (norm p) (norm q)) '(12 6))
    (check (map name-of (list '() 1 "s" q)) '(null (integer 1) anything (point)))
    (check (list (move p 10) (move q 10) (point-x p)) '(15 11 15))
    (check (kind-of-error (label-of p)) 'unbound)
    (check (list (count-up p) (count-up p)) '(1 2))
    (check (kind-of-error (norm 5)) 'no-method)
    (check (list (replaced p q) (replaced p 5)) '(11 error))
    (check (procedure? norm) #t)
    (check (apply norm (list q)) 16)))

;; Threads make instances, add methods for them and call these, all at once.
(define (make-and-call i)
  (let ((p (make <point> 'x i)))
    (do ((n 0 (+ n 1)))
        ((= n 200) (norm p))
      (if (= n 100) (let () (define-class <own> (<point>)) (set! p (make <own> 'x i))))
      (move p 1))))

(define (run n)
  (do ((i 0 (+ i 1)))
      ((= i n))
    (check-slots)
    (check-methods)
    (check (in-threads 3 make-and-call) '(107 108 109)))
  (checks-result))

(main-program "classes" run 10 '(210 0) 1 '(21 0) 200)
