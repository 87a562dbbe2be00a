;; SPDX-License-Identifier: MIT
;; Builds strings, cuts them, joins them, looks for some in others, turns them into symbols and
;; numbers and back: strings of all sizes, most of them short-lived.
;;
;; Known: joined, the pieces are the text again; a symbol is the same whatever string it is from.

(define syllables '#("ba" "co" "di" "fu" "ge" "ha" "jo" "ki" "lu" "me" "nä" "po"
                     "qi" "λο" "su" "te"))

(define (make-word random)
  (let loop ((left (+ 1 (random 3))) (word ""))
    (if (= left 0)
        word
        (loop (- left 1)
              (string-append word (vector-ref syllables (random (vector-length syllables))))))))

(define (make-words random n)
  (let loop ((i 0) (words '()))
    (if (= i n) words (loop (+ i 1) (cons (make-word random) words)))))

(define (join words separator)
  (if (null? words)
      ""
      (let loop ((rest (cdr words)) (parts (list (car words))))
        (if (null? rest)
            (apply string-append (reverse parts))
            (loop (cdr rest) (cons (car rest) (cons separator parts)))))))

(define (split text separator)
  (let loop ((i 0) (start 0) (parts '()))
    (cond ((= i (string-length text)) (reverse (cons (substring text start i) parts)))
          ((char=? separator (string-ref text i))
           (loop (+ i 1) (+ i 1) (cons (substring text start i) parts)))
          (else (loop (+ i 1) start parts)))))

;; How often `part` is in the text, also where it overlaps itself.
(define (occurrences part text)
  (let ((length (string-length part)))
    (let loop ((i 0) (count 0))
      (if (> (+ i length) (string-length text))
          count
          (loop (+ i 1)
                (if (let same ((j 0))
                      (or (= j length)
                          (and (char=? (string-ref part j) (string-ref text (+ i j)))
                               (same (+ j 1)))))
                    (+ count 1)
                    count))))))

(define (backwards text)
  (list->string (reverse (string->list text))))

;; A letter is replaced by the one 13 places on.
(define (rotate c)
  (let ((code (char->integer c)))
    (if (char<=? #\a c #\z)
        (integer->char (+ 97 (modulo (+ 13 (- code 97)) 26)))
        c)))

;; The number of different symbols among the words.
(define (distinct words)
  (let ((seen (make-hash-table)))
    (for-each (lambda (word) (hash-table-set! seen (string->symbol word) word)) words)
    (hash-table-size seen)))

;; All numbers below n written in a row, in base 2, read again and added.
(define (sum-of-written n)
  (let* ((texts (let loop ((i 0) (texts '()))
                  (if (= i n) (reverse texts) (loop (+ i 1) (cons (number->string i 2) texts)))))
         (text (join texts ",")))
    (apply + (map (lambda (part) (string->number part 2)) (split text #\,)))))

;; Shifts a string against itself in place, one character at a time.
(define (turn! text times)
  (do ((i 0 (+ i 1)))
      ((= i times) text)
    (let ((first (string-ref text 0)) (last (- (string-length text) 1)))
      (string-copy! text 0 text 1)
      (string-set! text last first))))

(define (run n)
  (let* ((words (make-words (make-random 5) n))
         (text (join words " "))
         (again (split text #\space)))
    (list (string-length text)
          (equal? words again)
          (distinct words)
          (eq? (string->symbol (car words)) (string->symbol (car again)))
          (map (lambda (part) (occurrences part text)) '("su" "ä" "λο" "didi" "e h"))
          (string=? text (backwards (backwards text)))
          (string=? text (string-map rotate (string-map rotate text)))
          (sum-of-written n)
          (string=? (join (make-words (make-random 5) 10) "-")
                    (let ((copy (string-copy (join (make-words (make-random 5) 10) "-"))))
                      (turn! copy (string-length copy)))))))

(main-program "strings" run 2000 '(10021 #t 877 #t (236 255 243 9 25) #t #t 1999000 #t)
              30 '(147 #t 26 #t (3 9 4 0 1) #t #t 435 #t) 200000)
