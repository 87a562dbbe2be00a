;; SPDX-License-Identifier: MIT
;; For Guile 3.0 alone: what these programs use beyond R7RS-small and Guile has under other names.
;;
;;   guile --r7rs -l guile.scm -l main.scm tak.scm
(set-module-duplicates-handlers! (current-module) (lookup-duplicates-handlers '(replace last)))
(import (scheme base) (scheme case-lambda) (scheme char) (scheme complex) (scheme cxr)
        (scheme eval) (scheme file) (scheme inexact) (scheme lazy) (scheme load)
        (scheme process-context) (scheme read) (scheme repl) (scheme time) (scheme write)
        (srfi srfi-69)
        (only (srfi srfi-18)
              make-thread thread-start! thread-join! thread-yield! make-mutex mutex-lock!
              mutex-unlock! make-condition-variable condition-variable-signal!
              condition-variable-broadcast!)
        (only (guile) gc gc-stats assq-ref)
        (only (ice-9 exceptions) exception-kind)
        (rename (only (scheme base) error-object-irritants)
                (error-object-irritants guile-irritants)))

;; Two that Guile 3.0.8 answers otherwise than R7RS.
(define (error-object-irritants e) (or (guile-irritants e) '()))
(define (file-error? e) (and (error-object? e) (eq? (exception-kind e) 'system-error)))

(define (runtime-statistics)
  (let ((statistics (gc-stats)))
    (list (cons 'collections (assq-ref statistics 'gc-times))
          (cons 'heap_bytes_max (assq-ref statistics 'heap-size)))))
(define (port-statistics) '())

;; A channel holds up to `capacity` values.  After channel-close! those inside can still be taken;
;; then channel-get! returns the eof object.
(define-record-type <channel>
  (channel capacity mutex changed items last count closed)
  channel?
  (capacity channel-capacity)
  (mutex channel-mutex)
  (changed channel-changed)
  (items channel-items channel-items-set!)
  (last channel-last channel-last-set!)
  (count channel-count channel-count-set!)
  (closed channel-closed channel-closed-set!))

(define (make-channel capacity)
  (channel capacity (make-mutex) (make-condition-variable) '() '() 0 #f))

;; Calls `ready?` until it is true, with the mutex held; then `act`, whose value is returned.
(define (channel-when c ready? act)
  (mutex-lock! (channel-mutex c))
  (if (ready?)
      (let ((value (act)))
        (condition-variable-broadcast! (channel-changed c))
        (mutex-unlock! (channel-mutex c))
        value)
      (begin
        (mutex-unlock! (channel-mutex c) (channel-changed c))
        (channel-when c ready? act))))

(define (channel-put! c value)
  (let ((closed
         (channel-when
          c
          (lambda () (or (channel-closed c) (< (channel-count c) (channel-capacity c))))
          (lambda ()
            (if (not (channel-closed c))
                (let ((cell (list value)))
                  (if (= 0 (channel-count c))
                      (channel-items-set! c cell)
                      (set-cdr! (channel-last c) cell))
                  (channel-last-set! c cell)
                  (channel-count-set! c (+ (channel-count c) 1))))
            (channel-closed c)))))
    (if closed (error "channel-put!: the channel is closed"))))

(define (channel-get! c)
  (channel-when
   c
   (lambda () (or (channel-closed c) (> (channel-count c) 0)))
   (lambda ()
     (if (= 0 (channel-count c))
         (eof-object)
         (let ((cell (channel-items c)))
           (channel-items-set! c (cdr cell))
           (channel-count-set! c (- (channel-count c) 1))
           (car cell))))))

(define (channel-close! c)
  (channel-when c (lambda () #t) (lambda () (channel-closed-set! c #t))))
