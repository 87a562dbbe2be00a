;; SPDX-License-Identifier: MIT
;; Checks itself: records as R7RS defines them in 5.5; then a queue made of records, and a
;; red-black tree whose nodes are records, with many of them old when they are changed.
;;
;; Known: the depth of a red-black tree of n keys is at most 2 log2 (n + 1).

(define-record-type <point>
  (make-point x y)
  point?
  (x point-x set-point-x!)
  (y point-y))

;; A field that the constructor does not take, and fields in another order than it takes them.
(define-record-type <entry>
  (make-entry value key)
  entry?
  (key entry-key)
  (value entry-value set-entry-value!)
  (next entry-next set-entry-next!))

(define-record-type <empty> (make-empty) empty?)

(define (check-basics)
  (define p (make-point 1 2))
  (define e (make-entry 'v 'k))
  (check (point? p) #t)
  (check (map point? (list e 1 '() "p" (vector 1 2) car)) '(#f #f #f #f #f #f))
  (check (list (point-x p) (point-y p)) '(1 2))
  (check (begin (set-point-x! p 10) (point-x p)) 10)
  (check (list (entry-key e) (entry-value e)) '(k v))
  (check (begin (set-entry-next! e e) (eq? e (entry-next e))) #t)
  (check (map (lambda (test) (test p)) (list pair? vector? procedure? symbol? string? null?))
         '(#f #f #f #f #f #f))
  (check (list (empty? (make-empty)) (empty? p) (eq? (make-empty) (make-empty))) '(#t #f #f))
  (check (guard (x ((error-object? x) 'error)) (point-x e)) 'error)
  (check (guard (x ((error-object? x) 'error)) (set-point-x! (make-empty) 1)) 'error)
  (check (let ()
           (define-record-type local (make-local a) local? (a local-a))
           (list (local? (make-local 1)) (local-a (make-local 2)) (local? p)))
         '(#t 2 #f))
  (check (map point-x (list (make-point 1 2) (make-point 3 4))) '(1 3))
  (check (equal? p p) #t))

;; A queue of records in a circle.
(define-record-type queue (make-queue last) queue? (last queue-last set-queue-last!))

(define (enqueue! queue value)
  (let ((entry (make-entry value #f)) (last (queue-last queue)))
    (set-entry-next! entry (if last (entry-next last) entry))
    (if last (set-entry-next! last entry))
    (set-queue-last! queue entry)))

(define (dequeue! queue)
  (let* ((last (queue-last queue)) (first (entry-next last)))
    (if (eq? first last)
        (set-queue-last! queue #f)
        (set-entry-next! last (entry-next first)))
    (entry-value first)))

(define (queue-test n)
  (let ((q (make-queue #f)))
    (let loop ((i 0) (sum 0))
      (cond ((< i n)
             (enqueue! q i)
             (enqueue! q (* 2 i))
             (loop (+ i 1) (+ sum (dequeue! q))))
            ((queue-last q) (loop i (+ sum (dequeue! q))))
            (else (quotient sum 3))))))

;; Red-black trees in Okasaki's way, but with nodes that keep their keys and are painted in place.
(define-record-type node
  (make-node red left key right)
  node?
  (red red? paint!)
  (left left)
  (key key)
  (right right))

(define (red-node? tree) (and tree (red? tree)))

;; A black node with its children, turned if a red child has a red child.
(define (balance a x b)
  (define (both a x b y c z d) (make-node #t (make-node #f a x b) y (make-node #f c z d)))
  (cond ((and (red-node? a) (red-node? (left a)))
         (both (left (left a)) (key (left a)) (right (left a)) (key a) (right a) x b))
        ((and (red-node? a) (red-node? (right a)))
         (both (left a) (key a) (left (right a)) (key (right a)) (right (right a)) x b))
        ((and (red-node? b) (red-node? (left b)))
         (both a x (left (left b)) (key (left b)) (right (left b)) (key b) (right b)))
        ((and (red-node? b) (red-node? (right b)))
         (both a x (left b) (key b) (left (right b)) (key (right b)) (right (right b))))
        (else (make-node #f a x b))))

(define (insert tree new)
  (define (below t)
    (cond ((not t) (make-node #t #f new #f))
          ((< new (key t)) (join t (below (left t)) (right t)))
          ((> new (key t)) (join t (left t) (below (right t))))
          (else t)))
  (define (join t a b)
    (if (red? t) (make-node #t a (key t) b) (balance a (key t) b)))
  (let ((root (below tree)))
    (paint! root #f)
    root))

;; Black nodes on every way down, or #f if they differ or two red ones follow each other.
(define (black-height tree)
  (if (not tree)
      0
      (let ((a (black-height (left tree))) (b (black-height (right tree))))
        (and a b (= a b)
             (not (and (red? tree) (or (red-node? (left tree)) (red-node? (right tree)))))
             (if (red? tree) a (+ a 1))))))

(define (keys tree rest)
  (if tree (keys (left tree) (cons (key tree) (keys (right tree) rest))) rest))

(define (depth tree) (if tree (+ 1 (max (depth (left tree)) (depth (right tree)))) 0))

;; All numbers below n, in an order without order: 7919 is prime.
(define (tree-test n)
  (let loop ((i 0) (tree #f))
    (if (< i n)
        (loop (+ i 1) (insert tree (modulo (* i 7919) n)))
        (and (black-height tree)
             (<= (expt 2 (quotient (depth tree) 2)) (+ n 1))
             (let ascending ((keys (keys tree '())) (i 0))
               (if (null? keys) i (and (= i (car keys)) (ascending (cdr keys) (+ i 1)))))))))

(define (run n)
  (check-basics)
  (let ((checks (checks-result)))
    (list checks (- (queue-test n) (quotient (* n (- n 1)) 2)) (- (tree-test n) n))))

(main-program "records" run 2000 '((13 0) 0 0) 30 '((13 0) 0 0) 400000)
