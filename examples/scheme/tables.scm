;; SPDX-License-Identifier: MIT
;;
;; tables.scm: what of SRFI 69 takes procedures.  The rest is in table.c.
;;
;; A procedure that is called for the entries of a table may change the table: they are those that
;; were there at the beginning.

(define %no-value (list 'no-value))

(define (hash-table-ref table key . rest)
  (let ((value (hash-table-ref/default table key %no-value)))
    (cond ((not (eq? value %no-value))
           (if (and (pair? rest) (pair? (cdr rest)))
               ((cadr rest) value)
               value))
          ((and (pair? rest) (car rest)) ((car rest)))
          (else (error "hash-table-ref: no such key" key)))))

(define (hash-table-update! table key procedure . rest)
  (hash-table-set! table key (procedure (apply hash-table-ref table key rest))))

(define (hash-table-update!/default table key procedure default)
  (hash-table-set! table key (procedure (hash-table-ref/default table key default))))

;; The value of the key, which (make) gives if there is none yet.
(define (hash-table-intern! table key make)
  (hash-table-ref table key
    (lambda ()
      (let ((value (make)))
        (hash-table-set! table key value)
        value))))

(define make-string-hash-table make-hash-table)
(define hash-table-size hash-table-count)
(define hash-table-exists? hash-table-contains?)
(define string-hash hash)

(define (hash-table-keys table) (map car (hash-table->alist table)))
(define (hash-table-values table) (map cdr (hash-table->alist table)))

(define (hash-table-walk table procedure)
  (for-each (lambda (entry) (procedure (car entry) (cdr entry)))
            (hash-table->alist table)))

(define (hash-table-fold table procedure value)
  (let loop ((entries (hash-table->alist table)) (value value))
    (if (null? entries)
        value
        (loop (cdr entries) (procedure (caar entries) (cdar entries) value)))))

;; Adds the entries of the second table that the first one does not have.
(define (hash-table-merge! table other)
  (hash-table-walk other
    (lambda (key value)
      (if (not (hash-table-contains? table key))
          (hash-table-set! table key value))))
  table)

;; Of entries with one key the first counts.
(define (alist->hash-table entries . rest)
  (let ((table (if (pair? rest) (car rest) (make-hash-table))))
    (for-each (lambda (entry)
                (if (not (hash-table-contains? table (car entry)))
                    (hash-table-set! table (car entry) (cdr entry))))
              entries)
    table))
