;; SPDX-License-Identifier: MIT
;; Threads that build binary trees, and hang them into places that all of them share: whatever a
;; tree has, it was made by one thread, is counted by another, and is dropped by a third.  gcbench
;; has the same trees on one thread.  After the "binary trees" of the benchmarks game, with sharing.
;;
;; Known: a tree of depth d has 2^(d+1) - 1 nodes.

(define (build depth tag)
  (if (= depth 0)
      (vector tag #f #f)
      (vector tag (build (- depth 1) tag) (build (- depth 1) tag))))

;; The number of nodes, or #f if one has another tag than the root.
(define (count tree)
  (let ((tag (vector-ref tree 0)))
    (let loop ((tree tree))
      (cond ((not tree) 0)
            ((not (eq? tag (vector-ref tree 0))) #f)
            (else
             (let ((left (loop (vector-ref tree 1))) (right (loop (vector-ref tree 2))))
               (and left right (+ 1 left right))))))))

(define places 16)
(define shared (make-vector places #f))
(define mutexes (make-vector places #f))

;; Puts the tree where another may be, which is returned.
(define (exchange! place tree)
  (with-mutex (vector-ref mutexes place)
    (lambda ()
      (let ((old (vector-ref shared place)))
        (vector-set! shared place tree)
        old))))

;; Builds `trees` trees, and counts the ones that it gets for them.
(define (work number depth trees)
  (let ((random (make-random number)))
    (let loop ((i 0) (nodes 0))
      (if (= i trees)
          nodes
          (let* ((tree (build depth (list number i)))
                 (old (exchange! (random places) tree)))
            (loop (+ i 1) (if old (+ nodes (count old)) nodes)))))))

;; A thread for each half, down to as many threads as there are to be, and the sum of both.
(define (count-parallel tree threads)
  (if (<= threads 1)
      (count tree)
      (let ((halves (in-threads 2 (lambda (i)
                                    (count-parallel (vector-ref tree (+ i 1))
                                                    (quotient threads 2))))))
        (+ 1 (car halves) (cadr halves)))))

(define (run n)
  (vector-fill! shared #f)
  (do ((i 0 (+ i 1)))
      ((= i places))
    (vector-set! mutexes i (make-mutex)))
  (let* ((threads (program-threads))
         (trees (quotient (* 16 n) threads)) ; as many in all, however many threads share them
         (passed (apply + (in-threads/timed threads (lambda (number) (work number n trees)))))
         (left (let loop ((i 0) (nodes 0))
                 (if (= i places)
                     nodes
                     (let ((tree (vector-ref shared i)))
                       (loop (+ i 1) (if tree (+ nodes (count tree)) nodes))))))
         (size (- (expt 2 (+ n 1)) 1)))
    (list (- (+ passed left) (* threads trees size))
          (count-parallel (build n 'one) threads))))

(main-program "partrees" run 9 '(0 1023) 2 '(0 7) 15)
