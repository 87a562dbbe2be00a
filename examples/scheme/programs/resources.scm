;; SPDX-License-Identifier: MIT
;; What is given back when its object dies: C resources with a free function of the class, which a
;; subclass or a later call replaces; ports; guardians and finalizers; bytes outside of the heap.
;; For this Scheme alone.  Known: all checks hold.  Where words of stacks are scanned, one or two
;; objects of a hundred may live on.

(define-class <counted> (<object>) (number (keyword number)) (handle raw) (free count-free))
(define-class <uncounted> (<counted>) (free none))
(define-class <memory> (<resource>) (label (keyword label)))
(define-class <later> (<object>) (free none))

(define-syntax kind-of-error
  (syntax-rules ()
    ((_ expression) (guard (e ((condition? e) (condition-kind e))) expression))))

(define (collect!) (gc) (gc))

(define (external-bytes) (cdr (assq 'external_bytes (runtime-statistics))))

(define (nearly n got) (and (<= (- n 3) got) (<= got n)))

;; How many more free functions of <counted> run because of what `make-them` makes.
(define (freed-by make-them)
  (collect!)
  (let ((before (freed-count)))
    (make-them)
    (collect!)
    (- (freed-count) before)))

(define (times n thunk) (if (> n 0) (begin (thunk) (times (- n 1) thunk))))

(define (check-free)
  (check (nearly 100 (freed-by (lambda () (times 100 (lambda () (make <counted>)))))) #t)
  (check (freed-by (lambda () (times 100 (lambda () (make <uncounted>))))) 0)
  (check (begin
           (class-set-free! <later> 'count-free)
           (nearly 50 (freed-by (lambda () (times 50 (lambda () (make <later>)))))))
         #t)
  (class-set-free! <later> 'none))

;; Most of what is allocated here goes: that of objects that die, and what is allocated anew.
(define (check-memory)
  (collect!)
  (let ((before (external-bytes)) (kept (make <memory>)))
    (times 100 (lambda () (allocate-memory! (make <memory> 'label "a") 1000000)))
    (times 100 (lambda () (allocate-memory! kept 1000000)))
    (collect!)
    (check (< 900000 (- (external-bytes) before) 10000000) #t)
    (check (kind-of-error (allocate-memory! kept -1)) 'out-of-range)
    (check (kind-of-error (allocate-memory! (make <counted>) 1)) 'wrong-type)
    (check (kind-of-error (allocate-memory! 'a 1)) 'wrong-type)))

(define (check-ports)
  (let ((name (string-append "scheme-resources-" (number->string (current-jiffy)))))
    (times 30 (lambda () (write 'text (open-output-file name)))) ; dropped, not closed
    (collect!)
    (check (call-with-input-file name read) 'text) ; and yet written
    (delete-file name)
    (check (file-exists? name) #f)))

(define guarded (make-guardian))

(define (drain! n) (if (guarded) (drain! (+ n 1)) n))

(define (check-guardians)
  (times 100 (lambda () (guarded (list 1))))
  (collect!)
  (check (nearly 100 (drain! 0)) #t)
  (let ((kept (list 'kept)) (watching (make-guardian)))
    (watching kept)
    (collect!)
    (check (list (watching) kept) '(#f (kept)))))

(define finalized 0)

(define (check-finalizers)
  (set! finalized 0)
  (times 50 (lambda ()
              (set-finalizer! (vector 1)
                              (lambda (v) (set! finalized (+ finalized (vector-ref v 0)))))))
  (collect!)
  (run-finalizers)
  (check (nearly 50 finalized) #t))

(define (run n)
  (do ((i 0 (+ i 1)))
      ((= i n))
    (check-free)
    (check-memory)
    (check-ports)
    (check-guardians)
    (check-finalizers)
    (check (begin (external-bytes! 1000000) (external-bytes! -1000000)) (if #f #f)))
  (checks-result))

(main-program "resources" run 5 '(65 0) 1 '(13 0) 50)
