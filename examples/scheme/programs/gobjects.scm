;; SPDX-License-Identifier: MIT
;; GLib's objects as instances: properties of all kinds, one wrapper for each object, whichever
;; thread asks; a class made while several threads see its type first; objects that die with their
;; wrappers.  For this Scheme alone, built with GLib.  Known: all checks hold.

(define-syntax kind-of-error
  (syntax-rules ()
    ((_ expression) (guard (e ((condition? e) (condition-kind e))) expression))))

(define (point . properties) (apply gobject-new "TarnPoint" properties))

(define-method (x-of (self <GObject>)) 'none)
(define-method (x-of (self <TarnPoint>)) (gobject-get self 'x))

(define (check-properties)
  (let ((p (point 'x 1 'label "a\xe4;\x3bb;")) (q (gobject-new 'TarnPoint)))
    (check (map (lambda (name) (gobject-get p name)) '(x "y" label visible weight next))
           '(1.0 0.0 "a\xe4;\x3bb;" #f 0 #f))
    (gobject-set! p 'visible #t)
    (gobject-set! p 'weight 1000)
    (gobject-set! p 'x (expt 10 20))
    (gobject-set! p 'label #f)
    (gobject-set! p 'next q)
    (check (map (lambda (name) (gobject-get p name)) '(x label visible weight))
           '(1e20 #f #t 1000))
    (check (eq? (gobject-get p 'next) q) #t)
    (check (gobject-ref-count q) 2)
    (check (kind-of-error (gobject-set! p 'weight 1001)) 'out-of-range)
    (check (kind-of-error (gobject-set! p 'weight (expt 10 30))) 'out-of-range)
    (check (kind-of-error (gobject-set! p 'weight 1.5)) 'wrong-type)
    (check (kind-of-error (gobject-set! p 'x "1")) 'wrong-type)
    (check (kind-of-error (gobject-set! p 'label "a\x0;b")) 'out-of-range)
    (check (kind-of-error (gobject-set! p 'next 5)) 'wrong-type)
    (check (kind-of-error (gobject-get p 'nothing)) 'out-of-range)
    (check (kind-of-error (gobject-get 5 'x)) 'wrong-type)
    (check (kind-of-error (gobject-get (make <TarnPoint>) 'x)) 'wrong-type)
    (check (kind-of-error (point 'x)) 'error)
    (check (kind-of-error (point 'x 1 'weight -1)) 'out-of-range)
    (check (kind-of-error (gobject-new 'NoSuchType)) 'out-of-range)))

(define (check-classes)
  (check (list (x-of (point 'x 2)) (x-of (gobject-new 'GObject))) '(2.0 none))
  (check (list (class-name (class-of (point))) (gobject-type-name (point)))
         '(<TarnPoint> "TarnPoint"))
  (check (class-slots <TarnPoint>) '())
  (check (gobject-wrapper-size) 2)
  (check (in-threads 3 (lambda (i) (eq? (gobject-class 'GInitiallyUnowned)
                                        (class-of (gobject-new 'GInitiallyUnowned)))))
         '(#t #t #t))
  (check (gobject-ref-count (gobject-new 'GInitiallyUnowned)) 1))

;; Threads wrap the same objects, which their holders alone keep alive.
(define (check-wrappers n)
  (let ((holders (list-tabulate n (lambda (i) (point 'next (point 'x i))))))
    (gc)
    (let ((seen (in-threads 3 (lambda (i) (map (lambda (p) (gobject-get p 'next)) holders)))))
      (check (and (every eq? (car seen) (cadr seen)) (every eq? (car seen) (caddr seen))) #t)
      (check (map (lambda (p) (gobject-get p 'x)) (car seen))
             (list-tabulate n (lambda (i) (inexact i)))))))

;; Where words of stacks are scanned a few may live on.
(define (check-deaths n)
  (gc)
  (gc)
  (let ((before (gobject-point-count)))
    (do ((i 0 (+ i 1))) ((= i n)) (point 'next (point)))
    (gc)
    (gc)
    (check (<= (- (gobject-point-count) before) 6) #t)))

(define (run n)
  (do ((i 0 (+ i 1)))
      ((= i n))
    (check-properties)
    (check-classes)
    (check-wrappers 30)
    (check-deaths 50))
  (checks-result))

(main-program "gobjects" run 10 '(250 0) 1 '(25 0) 100)
