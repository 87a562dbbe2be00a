;; SPDX-License-Identifier: MIT
;; Checks itself: macros by syntax-rules must neither capture the variables of who uses them, nor be
;; captured by them; ellipses, nested and escaped; literals; macros that define macros.
;;
;; Known: what R7RS says in 4.3 and 5.3.

(define-syntax swap!
  (syntax-rules ()
    ((_ a b) (let ((tmp a)) (set! a b) (set! b tmp)))))

(define-syntax my-or
  (syntax-rules ()
    ((_) #f)
    ((_ e) e)
    ((_ e more ...) (let ((t e)) (if t t (my-or more ...))))))

(define-syntax my-let
  (syntax-rules ()
    ((_ ((name value) ...) body1 body2 ...) ((lambda (name ...) body1 body2 ...) value ...))
    ((_ tag ((name value) ...) body1 body2 ...)
     ((letrec ((tag (lambda (name ...) body1 body2 ...))) tag) value ...))))

(define-syntax my-let*
  (syntax-rules ()
    ((_ () body ...) (let () body ...))
    ((_ (first more ...) body ...) (let (first) (my-let* (more ...) body ...)))))

(define-syntax while
  (syntax-rules ()
    ((_ condition body ...) (let loop () (if condition (begin body ... (loop)) #f)))))

(define-syntax for
  (syntax-rules (in from to)
    ((_ x in list body ...) (map (lambda (x) body ...) list))
    ((_ x from low to high body ...)
     (let loop ((x low))
       (if (> x high) '() (cons (let () body ...) (loop (+ x 1))))))))

(define-syntax my-cond
  (syntax-rules (else)
    ((_) 'none)
    ((_ (else e)) e)
    ((_ (test e) clause ...) (if test e (my-cond clause ...)))))

;; Ellipses in ellipses, after an item, before items, in vectors.
(define-syntax flatten-twice
  (syntax-rules () ((_ (a b ...) ...) '(a ... (b ...) ... b ... ...))))
(define-syntax last-of
  (syntax-rules () ((_ first ... last) 'last)))
(define-syntax ends
  (syntax-rules () ((_ a b ... c d . e) '(a (b ...) c d e))))
(define-syntax vector-parts
  (syntax-rules () ((_ #(a b ...) ...) '((a ...) #(b ... ...)))))
(define-syntax dots
  (syntax-rules () ((_ a) '(a (... ...)))))
(define-syntax other-ellipsis
  (syntax-rules ::: () ((_ a :::) '(a ::: ...))))
(define-syntax ignores
  (syntax-rules () ((_ _ x _) 'x)))
(define-syntax wants-string
  (syntax-rules () ((_ "yes") 1) ((_ 2) 2) ((_ #\c) 3) ((_ ()) 4) ((_ #t) 5) ((_ other) 0)))

;; Macros that make macros and definitions.
(define-syntax define-constant-macro
  (syntax-rules () ((_ name value) (define-syntax name (syntax-rules () ((_) value))))))
(define-constant-macro seven 7)
(define-syntax define-list-macro
  (syntax-rules ()
    ((_ name) (define-syntax name
                (syntax-rules () ((_ x (... ...)) (list 'name x (... ...))))))))
(define-list-macro tagged)
(define-syntax define-getter-setter
  (syntax-rules ()
    ((_ getter setter initial)
     (begin
       (define cell initial)
       (define (getter) cell)
       (define (setter x) (set! cell x))))))
(define-getter-setter get-one set-one! 1)

(define hidden 'global)
(define-syntax get-hidden (syntax-rules () ((_) hidden)))

(define (check-capture)
  (check (let ((tmp 1) (other 2)) (swap! tmp other) (list tmp other)) '(2 1))
  (check (let ((t 5)) (my-or #f t)) 5)
  (check (let ((if list)) (my-or #f 3)) 3)
  (check (let ((let 1) (t 2)) (my-or #f #f t)) 2)
  (check (let ((hidden 'local)) (get-hidden)) 'global)
  (check (let ((hidden 'local)) (let-syntax ((get (syntax-rules () ((_) hidden))))
                                  (let ((hidden 'inner)) (get))))
         'local)
  (check (let ((i 0)) (while (< i 5) (set! i (+ i 1))) i) 5)
  (check (let ((loop 7) (i 0)) (while (< i 1) (set! i (+ i loop))) i) 7)
  (check (let ((else #f)) (my-cond (#f 1) (#t 3))) 3)
  (check (let ((=> #f)) (cond (#t => 'ok))) 'ok)
  (check (letrec-syntax
             ((my-even? (syntax-rules () ((_) #t) ((_ x . rest) (my-odd? . rest))))
              (my-odd? (syntax-rules () ((_) #f) ((_ x . rest) (my-even? . rest)))))
           (list (my-even? 1 2 3 4) (my-even? 1 2 3)))
         '(#t #f))
  (check (let ((x 'outer))
           (let-syntax ((m (syntax-rules () ((_ y) (let ((x 'inner)) (list x y))))))
             (m x)))
         '(inner outer))
  (check (let ((a 1)) (my-let* ((b (+ a 1)) (a (* 10 b))) (list a b))) '(20 2))
  (check (my-let ((x 1) (y 2)) (+ x y)) 3)
  (check (my-let fact ((n 5)) (if (= n 0) 1 (* n (fact (- n 1))))) 120))

(define (check-patterns)
  (check (for x in '(1 2 3) (* x x)) '(1 4 9))
  (check (for x from 1 to 4 (define y (* 2 x)) (+ y 1)) '(3 5 7 9))
  (check (flatten-twice (1 2 3) (4) (5 6)) '(1 4 5 (2 3) () (6) 2 3 6))
  (check (last-of 1 2 3) 3)
  (check (last-of only) 'only)
  (check (ends 1 2 3 4 5) '(1 (2 3) 4 5 ()))
  (check (ends 1 3 4 . 5) '(1 () 3 4 5))
  (check (vector-parts #(1 2 3) #(4)) '((1 4) #(2 3)))
  (check (dots 1) '(1 ...))
  (check (other-ellipsis 1 2) '(1 2 ...))
  (check (ignores 1 2 3) 2)
  (check (list (wants-string "yes") (wants-string 2) (wants-string #\c) (wants-string ())
               (wants-string #t) (wants-string "no"))
         '(1 2 3 4 5 0)))

(define (check-definitions)
  (check (seven) 7)
  (check (tagged 1 2) '(tagged 1 2))
  (check (begin (set-one! 5) (get-one)) 5)
  (check (let ()
           (define-syntax local (syntax-rules () ((_ a) (define a 'defined))))
           (local name)
           name)
         'defined)
  (check (let ()
           (define-getter-setter get put! 1)
           (define cell 'mine)
           (put! 9)
           (list (get) cell))
         '(9 mine))
  (check (let ((x 1))
           (define-syntax set-x! (syntax-rules () ((_ v) (set! x v))))
           (let ((x 2)) (set-x! 3))
           x)
         3)
  (check (let ((a 1))
           (let-syntax ((make (syntax-rules ()
                                ((_ name) (let ((a 10)) (define-values (name b) (values a 2))
                                               (+ name b))))))
             (+ a (make c))))
         13))

(define (check-rows)
  (check (let-syntax ((twice (syntax-rules () ((_ (x ...) ...) '((x ... x ...) ...)))))
           (twice (1 2) (3)))
         '((1 2 1 2) (3 3)))
  (check (let-syntax ((each (syntax-rules () ((_ (x ...) (y ...)) '((x y ...) ...)))))
           (each (1 2) (3 4 5)))
         '((1 3 4 5) (2 3 4 5)))
  (check (let-syntax ((each (syntax-rules () ((_ ((x ...) ...) y ...) '(#(y (x ...)) ... x ... ...)))))
           (list (each ()) (each ((1 2) (3)) 4 5)))
         '(() (#(4 (1 2)) #(5 (3)) 1 2 3))))

(define (run n)
  (do ((i 0 (+ i 1)))
      ((= i n))
    (check-capture)
    (check-patterns)
    (check-definitions)
    (check-rows))
  (checks-result))

(main-program "hygiene" run 10 '(370 0) 1 '(37 0) 60000)
