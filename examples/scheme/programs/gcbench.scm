;; SPDX-License-Identifier: MIT
;; Binary trees, built from the leaves up and from the root down, of growing depths and dying at
;; once, while one long-lived tree and a large vector of numbers stay.  After the GCBench of John
;; Ellis, Pete Kovac and Hans Boehm.  In trees that grow downwards old nodes refer to young ones.
;;
;; Known: a tree of depth d has 2^(d+1) - 1 nodes.

(define-record-type node
  (make-node left right)
  node?
  (left node-left node-left-set!)
  (right node-right node-right-set!))

(define (tree-size depth) (- (expt 2 (+ depth 1)) 1))

(define (build depth)
  (if (= depth 0)
      (make-node #f #f)
      (make-node (build (- depth 1)) (build (- depth 1)))))

(define (populate! depth node)
  (if (> depth 0)
      (begin
        (node-left-set! node (make-node #f #f))
        (node-right-set! node (make-node #f #f))
        (populate! (- depth 1) (node-left node))
        (populate! (- depth 1) (node-right node)))))

(define (build-down depth)
  (let ((root (make-node #f #f)))
    (populate! depth root)
    root))

(define (count tree)
  (if tree (+ 1 (count (node-left tree)) (count (node-right tree))) 0))

;; As many trees of the depth as have about the nodes of two trees of the largest; their nodes.
(define (churn depth most)
  (let ((times (quotient (* 2 (tree-size most)) (tree-size depth))))
    (let loop ((i 0) (nodes 0))
      (if (= i times)
          nodes
          (loop (+ i 1)
                (+ nodes (count (build depth)) (count (build-down depth))))))))

(define (run n)
  (let* ((stretched (count (build (+ n 1))))
         (long-lived (build-down n))
         (numbers (make-vector (tree-size n) 0.0)))
    (do ((i 1 (+ i 1)))
        ((> i (quotient (vector-length numbers) 2)))
      (vector-set! numbers i (/ 1.0 i)))
    (let loop ((depth 2) (churned '()))
      (if (<= depth n)
          (loop (+ depth 2) (cons (churn depth n) churned))
          (list stretched
                (count long-lived)
                (if (> (vector-length numbers) 20) (vector-ref numbers 8) 0.125)
                (reverse churned))))))

(main-program "gcbench" run 12 '(16383 8191 0.125 (32760 32736 32512 32704 32752 32764))
              4 '(63 31 0.125 (112 124)) 18)
