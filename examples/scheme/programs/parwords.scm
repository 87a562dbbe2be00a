;; SPDX-License-Identifier: MIT
;; Counts the words of a text on several threads: each counts a part in a table of its own, and puts
;; what it has found into tables that all share, guarded by mutexes.  One thread counts all once
;; more.  The text is made up, with words that are the rarer, the longer they are.
;;
;; Known: both counts are the same, and the counts add up to the number of words.

(define (make-text n)
  (let ((random (make-random 99)) (port (open-output-string)))
    (let loop ((i 0))
      (if (= i n)
          (get-output-string port)
          (begin
            (let letters ()
              (write-char (string-ref "etaoinshrd" (random 10)) port)
              (if (> (random 3) 0) (letters)))
            (write-string (vector-ref '#(" " ", " "\n" ". ") (random 4)) port)
            (loop (+ i 1)))))))

;; Calls `found` with each word of the text from `start` on, before `end`.
(define (each-word text start end found)
  (let loop ((i start) (word '()))
    (if (and (< i end) (char-alphabetic? (string-ref text i)))
        (loop (+ i 1) (cons (string-ref text i) word))
        (begin
          (if (pair? word) (found (list->string (reverse word))))
          (if (< i end) (loop (+ i 1) '()))))))

(define (add! table word times)
  (hash-table-update!/default table word (lambda (old) (+ old times)) 0))

;; The first place at or after i where no word goes on.
(define (boundary text i)
  (if (and (< 0 i (string-length text)) (char-alphabetic? (string-ref text i)))
      (boundary text (+ i 1))
      i))

(define shards 8)

(define (shard-of word)
  (modulo (* (string-length word) (char->integer (string-ref word 0))) shards))

(define (count-part! text start end tables mutexes)
  (let ((own (make-hash-table)))
    (each-word text start end (lambda (word) (add! own word 1)))
    (hash-table-walk own
                     (lambda (word times)
                       (let ((shard (shard-of word)))
                         (with-mutex (vector-ref mutexes shard)
                           (lambda () (add! (vector-ref tables shard) word times))))))))

(define (run n)
  (let* ((text (make-text n))
         (size (string-length text))
         (parts (max 8 (program-threads))) ; the same work for one thread and for several
         (tables (vector-map (lambda (i) (make-hash-table)) (make-vector shards 0)))
         (mutexes (vector-map (lambda (i) (make-mutex)) (make-vector shards 0)))
         (plain (make-hash-table)))
    (define (edge i) (boundary text (quotient (* i size) parts)))
    (in-threads/timed (program-threads)
                      (lambda (number)
                        (do ((i number (+ i (program-threads))))
                            ((>= i parts))
                          (count-part! text (edge i) (edge (+ i 1)) tables mutexes))))
    (each-word text 0 size (lambda (word) (add! plain word 1)))
    (let ((words 0) (differences 0) (distinct 0))
      (hash-table-walk plain
                       (lambda (word times)
                         (set! words (+ words times))
                         (if (not (eqv? times (hash-table-ref/default
                                               (vector-ref tables (shard-of word)) word #f)))
                             (set! differences (+ differences 1)))))
      (vector-for-each (lambda (table) (set! distinct (+ distinct (hash-table-size table)))) tables)
      (list words (- distinct (hash-table-size plain)) differences
            (hash-table-ref/default plain "e" 0)))))

(main-program "parwords" run 3000 '(3000 0 0 100) 30 '(30 0 0 0) 600000)
