;; SPDX-License-Identifier: MIT
;; Writes the data that json.scm and wordgraph.scm read, the same on every machine:
;;
;;   guile --r7rs data/generate.scm DIRECTORY
;;
;; people.json is like what a web service answers, measurements.json like what an instrument logs.
;; Both are indented by two spaces, so that json.scm can write them again byte for byte.
(import (scheme base) (scheme file) (scheme process-context) (scheme write))

(define seed 20261130)
(define (random k)
  (set! seed (modulo (+ (* seed 1103515245) 12345) 2147483648))
  (modulo (quotient seed 1024) k))
(define (pick items) (vector-ref items (random (vector-length items))))

(define first-names '#("Ada" "Björn" "Chloé" "Dmitri" "Eylül" "Françoise" "Grace" "Håkon" "Ines"
                       "Jürgen" "Kateřina" "Łukasz" "Màiri" "Nuño" "Øyvind" "Παύλος" "Юлия" "直美"))
(define last-names '#("Abbott" "Böhm" "Carter" "Dvořák" "Eriksen" "Fischer" "García" "Hall" "Ivanov"
                      "Jensen" "Kowalski" "Lindqvist" "Müller" "O'Neill" "Peña" "Sørensen"))
(define streets '#("Mill Lane" "Rue de l'Église" "Am Bächle" "Storgata" "Calle Mayor"
                    "High Street"))
(define tags '#("new" "vip" "late" "export" "gift" "return" "phone" "web" "b2b" "night"))
(define remarks '#("call back\nafter noon" "says \"soon\"" "path C:\\temp\\in" "tab\there"
                   "no remark" "ends with a slash/" "bell\u0007 and escape" ""))

(define (indent depth) (newline) (write-string (make-string (* 2 depth) #\space)))

;; Data are written at once: (object (key . writer) ...), (array writer ...), where a writer takes
;; the depth.
(define (sequence open close depth writers)
  (write-string open)
  (let loop ((rest writers) (first #t))
    (if (pair? rest)
        (begin
          (if (not first) (write-string ","))
          (indent (+ depth 1))
          ((car rest) (+ depth 1))
          (loop (cdr rest) #f))))
  (if (pair? writers) (indent depth))
  (write-string close))

(define (array . writers) (lambda (depth) (sequence "[" "]" depth writers)))
(define (object . fields)
  (lambda (depth)
    (sequence "{" "}" depth
              (map (lambda (field)
                     (lambda (depth)
                       ((text (car field)) depth)
                       (write-string ": ")
                       ((cdr field) depth)))
                   fields))))

(define (text string)
  (lambda (depth)
    (write-char #\")
    (string-for-each
     (lambda (c)
       (case c
         ((#\") (write-string "\\\""))
         ((#\\) (write-string "\\\\"))
         ((#\newline) (write-string "\\n"))
         ((#\tab) (write-string "\\t"))
         ((#\alarm) (write-string "\\u0007"))
         (else (write-char c))))
     string)
    (write-char #\")))

(define (literal x) (lambda (depth) (display x)))
(define (flag) (literal (pick '#("true" "false"))))

;; A number with up to three decimal digits, none of them a zero at the end.
(define (decimal)
  (let* ((whole (- (random 2000) 1000)) (part (random 1000)))
    (lambda (depth)
      (display whole)
      (write-string ".")
      (display part)
      (if (= 0 (modulo part 10)) (display 5)))))

(define (repeat n make)
  (if (= n 0) '() (let ((one (make))) (cons one (repeat (- n 1) make)))))

(define (person)
  (let* ((id (+ 100000 (random 900000)))
         (first (pick first-names))
         (last (pick last-names))
         (active (flag))
         (balance (decimal))
         (number (+ 1 (random 200)))
         (street (pick streets))
         (position (repeat 2 decimal))
         (homeless (= 0 (random 5)))
         (own-tags (repeat (random 4) (lambda () (text (pick tags)))))
         (remark (pick remarks)))
    (object
     (cons "id" (literal id))
     (cons "name" (object (cons "first" (text first)) (cons "last" (text last))))
     (cons "active" active)
     (cons "balance" balance)
     (cons "address"
           (if homeless
               (literal "null")
               (object (cons "street" (text (string-append (number->string number) " " street)))
                       (cons "position" (apply array position)))))
     (cons "tags" (apply array own-tags))
     (cons "remark" (text remark)))))

(define (people n)
  (object (cons "version" (literal 3))
          (cons "next" (literal "null"))
          (cons "count" (literal n))
          (cons "people" (apply array (repeat n person)))))

(define (measurement)
  (let* ((at (+ 1764460800000 (random 86400000)))
         (channel (random 8))
         (good (flag))
         (values (repeat (+ 4 (random 8)) decimal)))
    (object (cons "at" (literal at))
            (cons "channel" (literal channel))
            (cons "good" good)
            (cons "values" (apply array values)))))

(define (measurements n)
  (let* ((calibration (repeat 3 (lambda () (apply array (repeat 3 decimal)))))
         (runs (repeat n measurement)))
    (object (cons "instrument" (text "λ-scan µ2 \"lab\""))
            (cons "calibration" (apply array calibration))
            (cons "empty" (array))
            (cons "settings" (object))
            (cons "counter" (literal "123456789012345678901234567890"))
            (cons "runs" (apply array runs)))))

(define (write-file name data)
  (call-with-output-file (string-append (cadr (command-line)) "/" name)
    (lambda (port)
      (parameterize ((current-output-port port))
        (data 0)
        (newline)))))

(write-file "people.json" (people 140))
(write-file "measurements.json" (measurements 210))
