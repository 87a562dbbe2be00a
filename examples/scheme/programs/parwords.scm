;; SPDX-License-Identifier: MIT
;; Counts the words of eight texts on several threads: each makes some of them, counts their words in
;; a table of its own, and at the end puts what it has found into tables that all share, each behind
;; a mutex.  Texts are made up, of 2000 words of which few are frequent, as in real ones; who makes
;; them knows the counts.
;;
;; Known: no count differs from that, and they add up to the number of words; of 4000 words 336 are
;; the most frequent one.

(define vocabulary-size 2000)

;; Digits as letters, so that no two are the same.
(define (make-word i)
  (string-map (lambda (digit) (string-ref "etaoinshrd" (- (char->integer digit) 48)))
              (number->string (+ 11 (* 37 i)))))

(define vocabulary
  (let ((words (make-vector vocabulary-size)))
    (do ((i 0 (+ i 1)))
        ((= i vocabulary-size) words)
      (vector-set! words i (make-word i)))))

;; Counts what it writes.
(define (make-text n seed counts)
  (let ((random (make-random seed)) (port (open-output-string)))
    (do ((i 0 (+ i 1)))
        ((= i n) (get-output-string port))
      (let* ((r (random 1000)) (rank (quotient (* r r r) 500000)))
        (vector-set! counts rank (+ 1 (vector-ref counts rank)))
        (write-string (vector-ref vocabulary rank) port)
        (write-string (if (= 0 (modulo i 10)) ".\n" " ") port)))))

;; Calls `found` with each word.
(define (each-word text found)
  (let ((end (string-length text)))
    (let loop ((i 0) (word '()))
      (if (and (< i end) (char-alphabetic? (string-ref text i)))
          (loop (+ i 1) (cons (string-ref text i) word))
          (begin
            (if (pair? word) (found (list->string (reverse word))))
            (if (< i end) (loop (+ i 1) '())))))))

(define (add! table word times)
  (hash-table-update!/default table word (lambda (old) (+ old times)) 0))

(define shards 16)

(define (shard-of word)
  (let ((last (char->integer (string-ref word (- (string-length word) 1)))))
    (modulo (+ (* 7 (string-length word)) (* 3 (char->integer (string-ref word 0))) last) shards)))

;; Sorts a thread's words by their shards first, so that it takes each mutex once.
(define (merge! own tables mutexes)
  (let ((sorted (make-vector shards '())))
    (hash-table-walk own
                     (lambda (word times)
                       (let ((shard (shard-of word)))
                         (vector-set! sorted shard
                                      (cons (cons word times) (vector-ref sorted shard))))))
    (do ((shard 0 (+ shard 1)))
        ((= shard shards))
      (with-mutex (vector-ref mutexes shard)
        (lambda ()
          (let ((table (vector-ref tables shard)))
            (for-each (lambda (entry) (add! table (car entry) (cdr entry)))
                      (vector-ref sorted shard))))))))

(define parts 8) ; the same work for one thread and for several

;; Makes and counts every so manieth part; a list of how often each word of the vocabulary is there.
(define (make-and-count number step n tables mutexes)
  (let ((own (make-hash-table)) (known (make-vector vocabulary-size 0)))
    (do ((part number (+ part step)))
        ((>= part parts))
      (each-word (make-text (quotient n parts) (+ 99 part) known)
                 (lambda (word) (add! own word 1))))
    (merge! own tables mutexes)
    (vector->list known)))

(define (run n)
  (let* ((tables (vector-map (lambda (i) (make-hash-table)) (make-vector shards 0)))
         (mutexes (vector-map (lambda (i) (make-mutex)) (make-vector shards 0)))
         (threads (program-threads))
         (known (in-threads/timed
                 threads
                 (lambda (number) (make-and-count number threads n tables mutexes))))
         (counted (map (lambda (word)
                         (hash-table-ref/default (vector-ref tables (shard-of word)) word 0))
                       (vector->list vocabulary))))
    (list (apply + counted)
          (equal? counted (apply map + known))
          (car counted))))

(main-program "parwords" run 4000 '(4000 #t 336) 80 '(80 #t 12) 3000000)
