;; SPDX-License-Identifier: MIT
;; The demo of Tarn, examples/wordgraph, in Scheme: several threads read real files and build a
;; graph with a node for each distinct word and counted edges to the words that follow it.  Each
;; pass builds a graph from all files and drops it, cycles and all, while other threads may be in
;; the next pass already.  One thread counts the same words plainly, and every count is compared.
;;
;;   wordgraph.scm FILE...      the size is the number of passes, or PROGRAM_PASSES; PROGRAM_ROUNDS: how often each
;;                              file is read in a pass, 1.  Without files: those in data.
;;
;; No port is closed here: that is left to the collector, also when descriptors run out.
;; Known: no count differs.  Words are as in the C program, bytes that are letters, digits, _ or
;; beyond ASCII, at most 128 of them; each byte is a character here, so no encoding can be wrong.

(define word-max 128)
(define shards 64)

;; By byte: the lower-case character, or #f if it belongs to no word.
(define word-chars
  (let ((chars (make-vector 256 #f)))
    (do ((i 0 (+ i 1)))
        ((= i 256) chars)
      (let ((c (integer->char i)))
        (if (or (>= i 128) (char=? c #\_) (char-alphabetic? c) (char-numeric? c))
            (vector-set! chars i (if (< i 128) (char-downcase c) c)))))))

;; Calls `found` with each word, a new string, of the pieces that `next-piece` returns.
(define (cut-words next-piece found)
  (let ((word (make-string word-max #\a)))
    (let pieces ((length 0))
      (let ((piece (next-piece)))
        (if (eof-object? piece)
            (if (> length 0) (found (string-copy word 0 length)))
            (let ((size (bytevector-length piece)))
              (let loop ((i 0) (length length))
                (if (= i size)
                    (pieces length)
                    (let ((c (vector-ref word-chars (bytevector-u8-ref piece i))))
                      (if c (string-set! word length c))
                      (let ((length (if c (+ length 1) length)))
                        (if (or (= length word-max) (and (not c) (> length 0)))
                            (begin
                              (found (string-copy word 0 length))
                              (loop (+ i 1) 0))
                            (loop (+ i 1) length))))))))))))

(define (piece-reader port) (lambda () (read-bytevector 65536 port)))

;; --- the plain count ---------------------------------------------------------------------------

(define inputs '())
(define unreadable 0)
(define plain-total 0)
(define plain-words #f)
(define plain-edges #f) ; the key is "word word"

(define (count! table key) (hash-table-update!/default table key (lambda (times) (+ times 1)) 0))

(define (plain-add-file! path)
  ;; All of it first, so that a file is counted whole or not at all.
  (let ((pieces (guard (e (#t #f))
                  (let* ((port (open-binary-input-file path)) (read (piece-reader port)))
                    (let loop ((pieces '()))
                      (let ((piece (read)))
                        (if (eof-object? piece)
                            (begin (close-port port) (reverse (cons piece pieces)))
                            (loop (cons piece pieces)))))))))
    (if (not pieces)
        (begin
          (display (string-append "wordgraph: cannot read " path "\n") (current-error-port))
          (set! unreadable (+ unreadable 1)))
        (let ((before #f))
          (set! inputs (cons path inputs))
          (cut-words (lambda () (let ((piece (car pieces))) (set! pieces (cdr pieces)) piece))
                     (lambda (word)
                       (set! plain-total (+ plain-total 1))
                       (count! plain-words word)
                       (if before (count! plain-edges (string-append before " " word)))
                       (set! before word)))))))

(define (plain-start! paths)
  (set! inputs '())
  (set! unreadable 0)
  (set! plain-total 0)
  (set! plain-words (make-hash-table))
  (set! plain-edges (make-hash-table))
  (for-each plain-add-file! paths)
  (set! inputs (list->vector (reverse inputs))))

;; --- the graph ---------------------------------------------------------------------------------

;; A graph is a vector of shards.  A shard's mutex guards its nodes, their counts and their edges.
(define-record-type shard (make-shard mutex nodes) shard? (mutex shard-mutex) (nodes shard-nodes))
(define-record-type node
  (make-node word id shard times edges)
  node?
  (word node-word)
  (id node-id)
  (shard node-shard)
  (times node-times set-node-times!)
  (edges node-edges)) ; by the other node's id
(define-record-type edge
  (make-edge to times)
  edge?
  (to edge-to)
  (times edge-times set-edge-times!))

(define (make-graph)
  (vector-map (lambda (i) (make-shard (make-mutex) (make-hash-table))) (make-vector shards 0)))

(define (shard-of word)
  (let loop ((i 0) (hash 7))
    (if (= i (string-length word))
        (modulo hash shards)
        (loop (+ i 1) (modulo (+ (* 31 hash) (char->integer (string-ref word i))) 65521)))))

;; The word's node, counted once more.
(define (graph-word! graph word)
  (let* ((number (shard-of word)) (shard (vector-ref graph number)))
    (with-mutex (shard-mutex shard)
      (lambda ()
        (let* ((nodes (shard-nodes shard))
               (node (or (hash-table-ref/default nodes word #f)
                         (let ((new (make-node word (+ number (* shards (hash-table-size nodes)))
                                               shard 0 (make-hash-table))))
                           (hash-table-set! nodes word new)
                           new))))
          (set-node-times! node (+ 1 (node-times node)))
          node)))))

;; Counts that `to` was seen behind `from`.
(define (graph-edge! from to)
  (with-mutex (shard-mutex (node-shard from))
    (lambda ()
      (let ((edge (hash-table-ref/default (node-edges from) (node-id to) #f)))
        (if edge
            (set-edge-times! edge (+ 1 (edge-times edge)))
            (hash-table-set! (node-edges from) (node-id to) (make-edge to 1)))))))

;; A list: words counted in the graph, differences from the plain count.  The graph is complete.
(define (graph-check graph rounds)
  (let ((words 0) (distinct 0) (edges 0) (differences 0))
    (define (compare table key times)
      (if (not (= times (* rounds (hash-table-ref/default table key 0))))
          (set! differences (+ differences 1))))
    (vector-for-each
     (lambda (shard)
       (hash-table-walk
        (shard-nodes shard)
        (lambda (word node)
          (set! words (+ words (node-times node)))
          (set! distinct (+ distinct 1))
          (compare plain-words word (node-times node))
          (hash-table-walk
           (node-edges node)
           (lambda (id edge)
             (set! edges (+ edges 1))
             (compare plain-edges
                      (string-append word " " (node-word (edge-to edge)))
                      (edge-times edge)))))))
     graph)
    (if (not (and (= distinct (hash-table-size plain-words))
                  (= edges (hash-table-size plain-edges))
                  (= words (* rounds plain-total))))
        (set! differences (+ differences 1)))
    (list words differences)))

;; --- threads -----------------------------------------------------------------------------------

(define-record-type pass
  (make-pass mutex graph next readers checked)
  pass?
  (mutex pass-mutex)
  (graph pass-graph set-pass-graph!)        ; #f when it was checked
  (next pass-next set-pass-next!)           ; the next turn; a turn is one file, once
  (readers pass-readers set-pass-readers!)  ; who have not left it yet; the last one checks
  (checked pass-checked set-pass-checked!)) ; what graph-check found

(define (next-turn! pass)
  (with-mutex (pass-mutex pass)
    (lambda ()
      (let ((turn (pass-next pass)))
        (set-pass-next! pass (+ turn 1))
        turn))))

;; Returns the number of words.
(define (read-file! graph path)
  (let ((port (open-binary-input-file path)) (before #f) (words 0))
    (cut-words (piece-reader port)
               (lambda (word)
                 (let ((node (graph-word! graph word)))
                   (if before (graph-edge! before node))
                   (set! before node)
                   (set! words (+ words 1)))))
    words))

;; A list: words and files that this thread has read.
(define (read-passes passes rounds)
  (let ((words 0) (files 0) (turns (* rounds (vector-length inputs))))
    (vector-for-each
     (lambda (pass)
       (let ((graph (pass-graph pass)))
         (let loop ((turn (next-turn! pass)))
           (if (< turn turns)
               (let ((path (vector-ref inputs (modulo turn (vector-length inputs)))))
                 (set! words (+ words (read-file! graph path)))
                 (set! files (+ files 1))
                 (loop (next-turn! pass))))))
       (if (with-mutex (pass-mutex pass)
             (lambda ()
               (set-pass-readers! pass (- (pass-readers pass) 1))
               (= 0 (pass-readers pass))))
           (begin
             (set-pass-checked! pass (graph-check (pass-graph pass) rounds))
             (set-pass-graph! pass #f))))
     passes)
    (list words files)))

;; --- the table ---------------------------------------------------------------------------------

(define (grouped n)
  (if (< n 1000)
      (number->string n)
      (string-append (grouped (quotient n 1000)) ","
                     (substring (number->string (+ 1000 (remainder n 1000))) 1 4))))

(define (row name value note)
  (let ((digits (if (exact-integer? value) (grouped value) (number->string value))))
    (define (pad width text) (make-string (max 1 (- width (string-length text))) #\space))
    (for-each display (list name (pad 27 name) (pad 14 digits) digits " " note "\n"))))

(define (text . parts)
  (apply string-append (map (lambda (p) (if (number? p) (number->string p) p)) parts)))

;; A figure of an alist; 0 where the system has none of the name.
(define (figure name statistics)
  (let ((entry (assq name statistics)))
    (if entry (cdr entry) 0)))

;; The last ports die here, and what they held is given back.
(define (collect-ports!)
  (do ((i 0 (+ i 1)))
      ((= i 3))
    (gc)))

(define (report threads passes rounds words checked differences milliseconds)
  (let ((statistics (runtime-statistics)))
    (collect-ports!)
    (let* ((ports (port-statistics))
           (open (- (figure 'opened ports) (figure 'closed ports))))
      (row "threads" threads "")
      (row "files" (vector-length inputs)
           (text "each " rounds " times in each of " passes " passes"))
      (row "files that cannot be read" unreadable "")
      (row "words" words "")
      (row "distinct words" (hash-table-size plain-words) "")
      (row "edges" (hash-table-size plain-edges) "")
      (row "words per second" (quotient (* 1000 words) (max 1 milliseconds)) "")
      (row "collections" (figure 'collections statistics) "")
      (row "pause, median" (quotient (figure 'pause_median_ns statistics) 1000) "us")
      (row "pause, maximum" (quotient (figure 'pause_max_ns statistics) 1000) "us")
      (row "time to safepoint, maximum" (quotient (figure 'stop_max_ns statistics) 1000) "us")
      (row "heap, peak" (quotient (figure 'heap_bytes_max statistics) 1024) "KiB")
      (row "descriptors opened" (figure 'opened ports) "")
      (row "descriptors closed" (figure 'closed ports)
           (text (figure 'collected ports) " by the collector"))
      (row "words checked" checked
           (text "in " passes " graphs; " differences " differences from a plain count"))
      (row "time" milliseconds "ms")
      (+ differences unreadable ; This program and what loaded it; and what words of stacks kept, where these are scanned.
         (if (> open (+ 2 (* 2 threads))) open 0)))))

(define (run n)
  (let* ((threads (program-threads))
         (count (environment-number "PROGRAM_PASSES" n))
         (rounds (environment-number "PROGRAM_ROUNDS" 1))
         (arguments (cdr (command-line)))
         (start (begin
                  (plain-start! (cond ((pair? arguments) arguments)
                                      ((string=? (program-size) "tiny")
                                       (list (program-data "small.txt")))
                                      (else
                                       (map program-data '("people.json" "measurements.json")))))
                  (current-jiffy)))
         (passes (vector-map (lambda (i) (make-pass (make-mutex) (make-graph) 0 threads #f))
                             (make-vector count 0)))
         (done (in-threads/timed threads (lambda (i) (read-passes passes rounds))))
         (checked (map pass-checked (vector->list passes)))
         (differences (apply + (map cadr checked))))
    (let ((wrong (report threads count rounds (apply + (map car done)) (apply + (map car checked))
                         differences
                         (quotient (* 1000 (- (current-jiffy) start)) (jiffies-per-second)))))
      (display (if (= wrong 0) "everything is as it must be\n" "something is WRONG\n"))
      (if (> wrong 0) (exit 1))
      wrong)))

(main-program "wordgraph" run 2 0 1 0 30)
