;; SPDX-License-Identifier: MIT
;; Reads JSON and writes it again: a reader by recursive descent from a port, hash tables for
;; objects, vectors for arrays, and a writer that indents as the files are indented.  The size is
;; how often the files are read; at 0 it is a text in this program alone.
;;
;; Known: what is written equals what was read, byte for byte (RFC 8259).

;; Objects keep the order of their keys, as the writer needs it.
(define-record-type object
  (make-object keys table)
  object?
  (keys object-keys)
  (table object-table))

(define (fail what c) (error "bad JSON:" what c))

(define (skip-space port)
  (if (memv (peek-char port) '(#\space #\newline #\tab #\return))
      (begin (read-char port) (skip-space port))))

(define (next-char port)
  (skip-space port)
  (read-char port))

(define (read-json port)
  (skip-space port)
  (let ((c (peek-char port)))
    (case c
      ((#\{) (read-char port) (read-object port))
      ((#\[) (read-char port) (read-array port))
      ((#\") (read-char port) (read-text port))
      ((#\t) (read-word "true" #t port))
      ((#\f) (read-word "false" #f port))
      ((#\n) (read-word "null" 'null port))
      (else (read-number port)))))

(define (read-word word value port)
  (string-for-each (lambda (c) (if (not (eqv? c (read-char port))) (fail word c))) word)
  value)

(define (read-array port)
  (skip-space port)
  (if (eqv? #\] (peek-char port))
      (begin (read-char port) (vector))
      (let loop ((items (list (read-json port))))
        (let ((c (next-char port)))
          (case c
            ((#\,) (loop (cons (read-json port) items)))
            ((#\]) (list->vector (reverse items)))
            (else (fail "array" c)))))))

(define (read-object port)
  (let ((table (make-hash-table)))
    (define (read-key)
      (let ((c (next-char port)))
        (if (not (eqv? c #\")) (fail "key" c))
        (let ((key (read-text port)))
          (if (not (eqv? #\: (next-char port))) (fail "colon" key))
          (hash-table-set! table key (read-json port))
          key)))
    (skip-space port)
    (if (eqv? #\} (peek-char port))
        (begin (read-char port) (make-object '() table))
        (let loop ((keys (list (read-key))))
          (let ((c (next-char port)))
            (case c
              ((#\,) (loop (cons (read-key) keys)))
              ((#\}) (make-object (reverse keys) table))
              (else (fail "object" c))))))))

(define (read-unit port)
  (or (string->number (read-string 4 port) 16) (fail "\\u" port)))

;; The character after \u; two units make one that is beyond U+FFFF.
(define (read-escape port)
  (let ((unit (read-unit port)))
    (integer->char
     (cond ((<= #xd800 unit #xdbff)
            (read-string 2 port)
            (+ #x10000 (* 1024 (- unit #xd800)) (- (read-unit port) #xdc00)))
           (else unit)))))

(define (read-text port)
  (let ((out (open-output-string)))
    (let loop ()
      (let ((c (read-char port)))
        (cond ((eof-object? c) (fail "text" c))
              ((char=? c #\") (get-output-string out))
              ((char=? c #\\)
               (let ((c (read-char port)))
                 (write-char (case c
                               ((#\n) #\newline)
                               ((#\t) #\tab)
                               ((#\r) #\return)
                               ((#\b) #\backspace)
                               ((#\f) #\x0c)
                               ((#\u) (read-escape port))
                               (else c))
                             out)
                 (loop)))
              (else
               (write-char c out)
               (loop)))))))

(define (read-number port)
  (let loop ((chars '()))
    (let ((c (peek-char port)))
      (if (and (char? c) (or (char-numeric? c) (memv c '(#\- #\+ #\. #\e #\E))))
          (loop (cons (read-char port) chars))
          (or (string->number (list->string (reverse chars))) (fail "number" c))))))

(define (write-json x port depth)
  (define (indent depth)
    (newline port)
    (do ((i 0 (+ i 1))) ((= i depth)) (write-string "  " port)))
  (define (write-items open close items write-item)
    (write-string open port)
    (let loop ((rest items) (comma ""))
      (if (pair? rest)
          (begin
            (write-string comma port)
            (indent (+ depth 1))
            (write-item (car rest))
            (loop (cdr rest) ","))))
    (if (pair? items) (indent depth))
    (write-string close port))
  (cond ((number? x) (write-string (number->string x) port))
        ((string? x) (write-text x port))
        ((eq? x 'null) (write-string "null" port))
        ((boolean? x) (write-string (if x "true" "false") port))
        ((vector? x)
         (write-items "[" "]" (vector->list x) (lambda (item) (write-json item port (+ depth 1)))))
        (else
         (write-items "{" "}" (object-keys x)
                      (lambda (key)
                        (write-text key port)
                        (write-string ": " port)
                        (write-json (hash-table-ref/default (object-table x) key #f)
                                    port
                                    (+ depth 1)))))))

(define (write-text text port)
  (write-char #\" port)
  (string-for-each
   (lambda (c)
     (cond ((char=? c #\") (write-string "\\\"" port))
           ((char=? c #\\) (write-string "\\\\" port))
           ((char=? c #\newline) (write-string "\\n" port))
           ((char=? c #\tab) (write-string "\\t" port))
           ((char<? c #\space)
            (let ((digits (number->string (char->integer c) 16)))
              (write-string (substring "\\u000" 0 (- 6 (string-length digits))) port)
              (write-string digits port)))
           (else (write-char c port))))
   text)
  (write-char #\" port))

(define (json->string x)
  (let ((port (open-output-string)))
    (write-json x port 0)
    (newline port)
    (get-output-string port)))

(define (string->json text) (read-json (open-input-string text)))

(define (file->string path)
  (let ((out (open-output-string)))
    (call-with-input-file path
      (lambda (in)
        (let loop ()
          (let ((piece (read-string 4096 in)))
            (if (eof-object? piece)
                (get-output-string out)
                (begin (write-string piece out) (loop)))))))))

;; The number of values in it, and the sum of all that are integers.
(define (survey x)
  (let ((values 0) (sum 0))
    (let visit ((x x))
      (set! values (+ values 1))
      (cond ((vector? x) (vector-for-each visit x))
            ((object? x)
             (for-each (lambda (key) (visit (hash-table-ref/default (object-table x) key #f)))
                       (object-keys x)))
            ((and (number? x) (exact? x)) (set! sum (+ sum x)))))
    (list values sum)))

(define (round-trip text)
  (let ((x (string->json text)))
    (cons (string=? text (json->string x)) (survey x))))

(define sample
  "{\"a\" : [1, -2.5, 1e3, true,false , null], \"\\u00e4\\ud83d\\ude00\": {}, \"b\\/\\n\":[ ]}")

(define (run n)
  (let ((once (json->string (string->json sample)))
        (texts (if (= n 0) '() (map file->string (map program-data '("people.json"
                                                                     "measurements.json"))))))
    (let loop ((i 1))
      (let ((results (map round-trip (cons once texts))))
        (if (< i n) (loop (+ i 1)) results)))))

(main-program "json" run 1 '((#t 10 1) (#t 2054 65738730) (#t 2625 123456789012346049438210926752))
              0 '((#t 10 1)) 50)
