;; SPDX-License-Identifier: MIT
;; prelude.scm: what of R7RS is written in Scheme.  Part of the program; read at its start, before
;; tables.scm, threads.scm and classes.scm.  Names that begin with % are for the runtime's own use.

;;; --- forms out of others ---------------------------------------------------------------------

(define-syntax letrec*
  (syntax-rules ()
    ((_ ((name value) ...) body ...) (let () (define name value) ... (let () body ...)))))
(define-syntax letrec
  (syntax-rules () ((_ bindings body ...) (letrec* bindings body ...))))
(define-syntax letrec-syntax
  (syntax-rules ()
    ((_ ((name rules) ...) body ...) (let () (define-syntax name rules) ... (let () body ...)))))

(define-syntax when
  (syntax-rules () ((_ test first rest ...) (if test (begin first rest ...)))))
(define-syntax unless
  (syntax-rules () ((_ test first rest ...) (if (not test) (begin first rest ...)))))

(define-syntax do
  (syntax-rules ()
    ((_ ((name value step ...) ...) (test result ...) command ...)
     (let loop ((name value) ...)
       (if test
           (begin result ...)
           (begin command ... (loop (%do-step name step ...) ...)))))))
(define-syntax %do-step
  (syntax-rules ()
    ((_ name) name)
    ((_ name step) step)))

;;; --- dynamic state ---------------------------------------------------------------------------

;; (%state 0): winders, a list of #(before after handlers bindings); 1: exception handlers; 2: bindings
;; of parameters.
;; A continuation has all three and brings them back.
(define (%with-state n value thunk)
  (let ((saved (%state n)))
    (%set-state! n value)
    (let ((result (thunk)))
      (%set-state! n saved)
      result)))

(define (dynamic-wind before thunk after)
  (before)
  (let ((result (%with-state 0
                             (cons (vector before after (%state 1) (%state 2)) (%state 0))
                             thunk)))
    (after)
    result))

;; Runs what lies between here and there: out of the innermost first, then in, the outermost first,
;; each with the handlers and bindings that its dynamic-wind was called with.
(define (%rewind there)
  (let ((here (%state 0)))
    (if (not (eq? here there))
        (let ((deep (length here)) (goal (length there)))
          (cond ((> deep goal) (%unwind-one here) (%rewind there))
                ((< deep goal) (%rewind-one there))
                (else (%unwind-one here) (%rewind-one there)))))))
(define (%rewind-one there)
  (%rewind (cdr there))
  (%wind (car there) 0)
  (%set-state! 0 there))
(define (%unwind-one here)
  (%set-state! 0 (cdr here))
  (%wind (car here) 1))
(define (%wind winder which)
  (%set-state! 1 (vector-ref winder 2))
  (%set-state! 2 (vector-ref winder 3))
  ((vector-ref winder which)))

;; Full continuations: the stack is copied, and copied back as often as it is called, in the thread
;; that made it.
(define (call-with-current-continuation procedure)
  (%call/cc
   (lambda (k)
     (let ((winders (%state 0)))
       (procedure (lambda results
                    (%rewind winders)
                    (apply k results)))))))
(define call/cc call-with-current-continuation)

;; What dynamic-wind has to do on the way out is done.
(define (exit . status)
  (%rewind '())
  (apply %exit status))

(define (call-with-values producer consumer) (%apply-values consumer (producer)))

;;; --- exceptions ------------------------------------------------------------------------------

(define (with-exception-handler handler thunk)
  (%keep-reserve) ; what handlers of "out of memory" need
  (%with-state 1 (cons handler (%state 1)) thunk))

(define (raise-continuable object)
  (let ((handlers (%state 1)))
    (if (null? handlers)
        (%uncaught object)
        (%with-state 1 (cdr handlers) (lambda () ((car handlers) object))))))

(define (raise object)
  (let ((handlers (%state 1)))
    (if (null? handlers)
        (%uncaught object)
        (begin
          (%with-state 1 (cdr handlers) (lambda () ((car handlers) object)))
          (%set-state! 1 (cdr handlers))
          (raise (%make-condition 'non-continuable #f "a handler returned from raise"
                                  (list object)))))))
(%set-raise! raise)

(define (error message . irritants)
  (raise (if (string? message)
             (%make-condition 'error #f message irritants)
             (%make-condition 'error #f "error" (cons message irritants)))))

(define (read-error? object) (and (condition? object) (eq? (condition-kind object) 'read)))
(define (file-error? object) (and (condition? object) (eq? (condition-kind object) 'file)))

(define-syntax guard
  (syntax-rules ()
    ((_ (name clause ...) body ...)
     ((call-with-current-continuation
       (lambda (leave)
         (with-exception-handler
          (lambda (condition)
            ((call-with-current-continuation
              (lambda (back)
                (leave (lambda ()
                         (let ((name condition))
                           (%guard-clauses (back (lambda () (raise-continuable condition)))
                                           clause ...))))))))
          (lambda ()
            (let ((result (let () body ...)))
              (lambda () result))))))))))

(define-syntax %guard-clauses
  (syntax-rules (else)
    ((_ again clause ... (else result ...)) (cond clause ... (else result ...)))
    ((_ again clause ...) (cond clause ... (else again)))))

(define-syntax assert
  (syntax-rules ()
    ((_ test) (if (not test) (error "an assertion is false" 'test)))))

;;; --- syntax ----------------------------------------------------------------------------------

(define-syntax case-lambda
  (syntax-rules ()
    ((_ (formals body ...) ...)
     (lambda arguments
       (let ((count (length arguments)))
         (%case-lambda arguments count (formals body ...) ...))))))

(define-syntax %case-lambda
  (syntax-rules ()
    ((_ arguments count)
     (raise (%make-condition 'arguments #f "no clause of case-lambda takes so many arguments"
                             arguments)))
    ((_ arguments count ((name ...) body ...) more ...)
     (if (= count (length '(name ...)))
         (apply (lambda (name ...) body ...) arguments)
         (%case-lambda arguments count more ...)))
    ((_ arguments count ((name . rest) body ...) more ...)
     (%case-lambda-rest arguments count () (name . rest) (name . rest) (body ...) more ...))
    ((_ arguments count (rest body ...) more ...)
     (apply (lambda rest body ...) arguments))))

(define-syntax %case-lambda-rest
  (syntax-rules ()
    ((_ arguments count (seen ...) (name . more-names) formals body more ...)
     (%case-lambda-rest arguments count (seen ... name) more-names formals body more ...))
    ((_ arguments count seen rest formals (body ...) more ...)
     (if (>= count (length 'seen))
         (apply (lambda formals body ...) arguments)
         (%case-lambda arguments count more ...)))))

(define-syntax let-values
  (syntax-rules ()
    ((_ () body ...) (let () body ...))
    ((_ (binding ...) body ...) (%let-values (binding ...) () body ...))))
(define-syntax %let-values
  (syntax-rules ()
    ((_ () ((formals value) ...) body ...) (%bind-values ((formals value) ...) body ...))
    ((_ ((formals expression) more ...) (done ...) body ...)
     (let ((value expression))
       (%let-values (more ...) (done ... (formals value)) body ...)))))
(define-syntax %bind-values
  (syntax-rules ()
    ((_ () body ...) (let () body ...))
    ((_ ((formals value) more ...) body ...)
     (%apply-values (lambda formals (%bind-values (more ...) body ...)) value))))

(define-syntax let*-values
  (syntax-rules ()
    ((_ () body ...) (let () body ...))
    ((_ ((formals expression) more ...) body ...)
     (%apply-values (lambda formals (let*-values (more ...) body ...)) expression))))

(define-syntax receive
  (syntax-rules ()
    ((_ formals expression body ...) (%apply-values (lambda formals body ...) expression))))

(define-syntax define-values
  (syntax-rules ()
    ((_ formals expression) (%define-values formals () formals expression))))
(define-syntax %define-values
  (syntax-rules ()
    ((_ () ((name temporary) ...) formals expression)
     (begin
       (define name #f) ...
       (define dummy (%apply-values (%setter formals ((name temporary) ...)) expression))))
    ((_ (name . more) (done ...) formals expression)
     (%define-values more (done ... (name temporary)) formals expression))
    ((_ rest (done ...) formals expression)
     (%define-values () (done ... (rest temporary)) formals expression))))
(define-syntax %setter
  (syntax-rules ()
    ((_ formals ((name temporary) ...)) (%setter formals () ((name temporary) ...)
                                                 ((name temporary) ...)))
    ((_ () parameters () ((name temporary) ...))
     (lambda parameters (set! name temporary) ... #t))
    ((_ (name . more) (parameter ...) ((name2 temporary) others ...) all)
     (%setter more (parameter ... temporary) (others ...) all))
    ((_ rest (parameter ...) ((name2 temporary)) ((name temporary2) ...))
     (lambda (parameter ... . temporary) (set! name temporary2) ... #t))))

(define-syntax parameterize
  (syntax-rules ()
    ((_ ((parameter value) ...) body ...)
     (%parameterize (list (cons parameter value) ...) (lambda () body ...)))))
(define (%parameterize pairs thunk)
  (let loop ((pairs pairs) (bindings (%state 2)))
    (if (null? pairs)
        (%with-state 2 bindings thunk)
        (loop (cdr pairs)
              (cons (%bind-parameter (caar pairs) (%converted (caar pairs) (cdar pairs)))
                    bindings)))))
(define (%converted parameter value)
  (let ((converter (%parameter-converter parameter)))
    (if converter (converter value) value)))
(define (make-parameter value . converter)
  (if (null? converter)
      (%make-parameter value #f)
      (%make-parameter ((car converter) value) (car converter))))

(define-syntax delay
  (syntax-rules () ((_ expression) (%make-promise #f (lambda () (make-promise expression))))))
(define-syntax delay-force
  (syntax-rules () ((_ expression) (%make-promise #f (lambda () expression)))))
(define (make-promise value) (if (promise? value) value (%make-promise #t value)))
(define (force promise)
  (if (not (promise? promise))
      promise
      (let loop ()
        (let ((state (%promise-state promise)))
          (if (car state)
              (cdr state)
              (begin
                (%promise-join! promise ((cdr state)))
                (loop)))))))

(define-syntax define-record-type
  (syntax-rules ()
    ((_ (type option ...) rest ...) (define-record-type type rest ...))
    ((_ type #f predicate (field accessor ...) ...)
     (begin
       (define type (%make-record-kind 'type '(field ...)))
       (%define-predicate type predicate)
       (%define-field type field accessor ...) ...))
    ((_ type (constructor argument ...) predicate (field accessor ...) ...)
     (begin
       (define type (%make-record-kind 'type '(field ...)))
       (define constructor
         (let ((field #f) ...) (lambda (argument ...) (%make-record type field ...))))
       (%define-predicate type predicate)
       (%define-field type field accessor ...) ...))
    ((_ type constructor predicate (field accessor ...) ...)
     (define-record-type type (constructor field ...) predicate (field accessor ...) ...))))
(define-syntax %define-predicate
  (syntax-rules ()
    ((_ type #f) (begin))
    ((_ type predicate) (define (predicate object) (%record? object type)))))
(define-syntax %define-field
  (syntax-rules ()
    ((_ type field) (begin))
    ((_ type field accessor)
     (define accessor
       (let ((index (%field-index type 'field)))
         (lambda (record) (%record-ref record type index 'accessor)))))
    ((_ type field accessor modifier)
     (begin
       (%define-field type field accessor)
       (define modifier
         (let ((index (%field-index type 'field)))
           (lambda (record value) (%record-set! record type index 'modifier value))))))))
(define %record-kinds (%make-record #f 'record-kind '(name fields)))
(define (%make-record-kind name fields) (%make-record %record-kinds name fields))
(define (%field-index kind field)
  (let loop ((fields (%record-ref kind %record-kinds 1 'define-record-type)) (index 0))
    (cond ((null? fields) (error "there is no such field" field))
          ((eq? (car fields) field) index)
          (else (loop (cdr fields) (+ index 1))))))

(define-syntax cond-expand
  (syntax-rules (and or not else library)
    ((_) (begin))
    ((_ (else form ...)) (begin form ...))
    ((_ ((and) form ...) more ...) (begin form ...))
    ((_ ((and test tests ...) form ...) more ...)
     (cond-expand (test (cond-expand ((and tests ...) form ...) more ...)) more ...))
    ((_ ((or) form ...) more ...) (cond-expand more ...))
    ((_ ((or test tests ...) form ...) more ...)
     (cond-expand (test form ...) ((or tests ...) form ...) more ...))
    ((_ ((not test) form ...) more ...) (cond-expand (test (cond-expand more ...)) (else form ...)))
    ((_ ((library name) form ...) more ...) (cond-expand more ...))
    ((_ (feature form ...) more ...) (%if-feature feature (begin form ...) (cond-expand more ...)))))
(define-syntax %if-feature
  (syntax-rules (r7rs full-unicode ieee-float tarn srfi-18)
    ((_ r7rs then else) then)
    ((_ full-unicode then else) then)
    ((_ ieee-float then else) then)
    ((_ tarn then else) then)
    ((_ srfi-18 then else) then)
    ((_ other then else) else)))
(define (features) '(r7rs full-unicode ieee-float tarn srfi-18))

;;; --- numbers ---------------------------------------------------------------------------------

;; A number is an integer or a flonum, so all are real.
(define complex? number?)
(define real? number?)
(define (rational? object) (and (number? object) (finite? object)))
(define (exact-rational? object) (and (number? object) (exact? object)))
(define (inexact? x) (not (exact? x)))
(define (infinite? x) (not (or (finite? x) (nan? x))))
(define (positive? x) (> x 0))
(define (negative? x) (< x 0))
(define truncate-quotient quotient)
(define truncate-remainder remainder)
(define floor-remainder modulo)
(define inexact->exact exact)
(define exact->inexact inexact)
(define (abs x) (if (> x 0) x (- 0 x))) ; also of -0.0
(define magnitude abs)

(define (floor/ n m) (values (floor-quotient n m) (floor-remainder n m)))
(define (truncate/ n m) (values (quotient n m) (remainder n m)))
(define (exact-integer-sqrt n)
  (let ((root (%exact-integer-sqrt n)))
    (values root (- n (* root root)))))

;; Of a flonum as a fraction in lowest terms: what is not whole is doubled until it is.
(define (numerator x)
  (cond ((integer? x) x)
        ((finite? x) (numerator (* 2 x)))
        (else (exact x)))) ; which is an error
(define (denominator x)
  (cond ((integer? x) (if (exact? x) 1 1.0))
        ((finite? x) (* 2 (denominator (* 2 x))))
        (else (exact x))))

(define (bitwise-not n) (bitwise-xor n -1))
(define (arithmetic-shift n bits)
  (if (< bits 0)
      (floor-quotient n (expt 2 (- bits)))
      (* n (expt 2 bits))))

;;; --- lists -----------------------------------------------------------------------------------

; Not reverse!: a procedure may return twice.
(define (%map1 procedure list)
  (let loop ((list list) (result '()))
    (if (pair? list)
        (loop (cdr list) (cons (procedure (car list)) result))
        (reverse result))))
(define (%any-null? lists)
  (and (pair? lists) (or (not (pair? (car lists))) (%any-null? (cdr lists)))))
(define (map procedure list . lists)
  (if (null? lists)
      (%map1 procedure list)
      (let loop ((lists (cons list lists)) (result '()))
        (if (%any-null? lists)
            (reverse result)
            (loop (%map1 cdr lists) (cons (apply procedure (%map1 car lists)) result))))))
(define (for-each procedure list . lists)
  (if (null? lists)
      (let loop ((list list))
        (if (pair? list)
            (begin (procedure (car list)) (loop (cdr list)))))
      (let loop ((lists (cons list lists)))
        (if (not (%any-null? lists))
            (begin (apply procedure (%map1 car lists)) (loop (%map1 cdr lists)))))))
(define (append-map procedure . lists) (apply append (apply map procedure lists)))
(define (filter-map procedure list)
  (let loop ((list list) (result '()))
    (if (pair? list)
        (let ((value (procedure (car list))))
          (loop (cdr list) (if value (cons value result) result)))
        (reverse! result))))
(define (filter keep? list)
  (let loop ((list list) (result '()))
    (if (pair? list)
        (loop (cdr list) (if (keep? (car list)) (cons (car list) result) result))
        (reverse! result))))
(define (remove drop? list) (filter (lambda (item) (not (drop? item))) list))
(define (partition first? list)
  (values (filter first? list) (remove first? list)))
(define (fold procedure initial . lists)
  (let loop ((value initial) (rows (apply map list lists)))
    (if (null? rows)
        value
        (loop (apply procedure (append (car rows) (list value))) (cdr rows)))))
(define (fold-left procedure initial . lists)
  (let loop ((value initial) (rows (apply map list lists)))
    (if (null? rows) value (loop (apply procedure value (car rows)) (cdr rows)))))
(define (fold-right procedure initial . lists)
  (let loop ((value initial) (rows (reverse (apply map list lists))))
    (if (null? rows)
        value
        (loop (apply procedure (append (car rows) (list value))) (cdr rows)))))
(define (reduce procedure initial list)
  (if (null? list) initial (fold procedure (car list) (cdr list))))
(define (find wanted? list)
  (let loop ((list list))
    (cond ((not (pair? list)) #f)
          ((wanted? (car list)) (car list))
          (else (loop (cdr list))))))
(define (find-tail wanted? list)
  (let loop ((list list))
    (cond ((not (pair? list)) #f)
          ((wanted? (car list)) list)
          (else (loop (cdr list))))))
(define (list-index wanted? list)
  (let loop ((list list) (index 0))
    (cond ((not (pair? list)) #f)
          ((wanted? (car list)) index)
          (else (loop (cdr list) (+ index 1))))))
(define (any wanted? . lists)
  (let loop ((rows (apply map list lists)))
    (and (pair? rows) (or (apply wanted? (car rows)) (loop (cdr rows))))))
(define (every wanted? . lists)
  (let loop ((rows (apply map list lists)) (last #t))
    (if (null? rows)
        last
        (let ((value (apply wanted? (car rows)))) (and value (loop (cdr rows) value))))))
(define (count wanted? list)
  (let loop ((list list) (n 0))
    (if (pair? list) (loop (cdr list) (if (wanted? (car list)) (+ n 1) n)) n)))
(define (delete item list) (remove (lambda (other) (equal? item other)) list))
(define (delete-duplicates list . equal)
  (let loop ((list list) (result '()))
    (cond ((not (pair? list)) (reverse! result))
          ((apply member (car list) result equal) (loop (cdr list) result))
          (else (loop (cdr list) (cons (car list) result))))))
(define (list-tabulate count procedure)
  (let loop ((n (- count 1)) (result '()))
    (if (< n 0) result (loop (- n 1) (cons (procedure n) result)))))
(define (make-list count . fill)
  (vector->list (apply make-vector count fill)))
; Multiples, so that errors of flonums do not add up.
(define (iota count . rest)
  (let ((start (if (pair? rest) (car rest) 0))
        (step (if (and (pair? rest) (pair? (cdr rest))) (cadr rest) 1)))
    (list-tabulate count (lambda (n) (+ start (* n step))))))
(define (take list count)
  (let loop ((list list) (count count) (result '()))
    (if (= count 0) (reverse! result) (loop (cdr list) (- count 1) (cons (car list) result)))))
(define list-head take)
(define drop list-tail)
(define (list-set! list k object)
  (set-car! (list-tail list k) object))
(define (last-pair list)
  (if (pair? (cdr list)) (last-pair (cdr list)) list))
(define (append! . lists)
  (cond ((null? lists) '())
        ((null? (cdr lists)) (car lists))
        ((null? (car lists)) (apply append! (cdr lists)))
        (else (set-cdr! (last-pair (car lists)) (apply append! (cdr lists)))
              (car lists))))
(define (last list) (car (last-pair list)))
(define (first list) (car list))
(define (second list) (cadr list))
(define (third list) (caddr list))

(define (member object list . equal)
  (if (null? equal)
      (%member object list)
      (find-tail (lambda (item) ((car equal) object item)) list)))
(define (assoc object list . equal)
  (if (null? equal)
      (%assoc object list)
      (find (lambda (pair) ((car equal) object (car pair))) list)))

;; A stable merge sort, of lists and vectors; either order of arguments.
(define (%merge before? a b)
  (let loop ((a a) (b b) (result '()))
    (cond ((null? a) (append-reverse! result b))
          ((null? b) (append-reverse! result a))
          ((before? (car b) (car a)) (loop a (cdr b) (cons (car b) result)))
          (else (loop (cdr a) b (cons (car a) result))))))
(define (append-reverse! list tail)
  (if (null? list)
      tail
      (let ((next (cdr list)))
        (set-cdr! list tail)
        (append-reverse! next list))))
(define (%sort-list before? list count)
  (cond ((= count 0) '())
        ((= count 1) (cons (car list) '()))
        (else (let ((half (quotient count 2)))
                (%merge before? (%sort-list before? list half)
                        (%sort-list before? (list-tail list half) (- count half)))))))
(define (sort sequence before?)
  (cond ((procedure? sequence) (sort before? sequence))
        ((vector? sequence) (list->vector (sort (vector->list sequence) before?)))
        (else (%sort-list before? sequence (length sequence)))))
(define list-sort sort)
(define (sort! sequence before?)
  (if (vector? sequence)
      (let loop ((sorted (sort (vector->list sequence) before?)) (i 0))
        (if (null? sorted)
            sequence
            (begin (vector-set! sequence i (car sorted)) (loop (cdr sorted) (+ i 1)))))
      (sort sequence before?)))

;;; --- vectors and strings ---------------------------------------------------------------------

(define (vector-map procedure . vectors)
  (list->vector (apply map procedure (map vector->list vectors))))
(define (vector-for-each procedure vector . vectors)
  (if (null? vectors)
      (let ((count (vector-length vector)))
        (do ((i 0 (+ i 1))) ((= i count))
          (procedure (vector-ref vector i))))
      (apply for-each procedure (vector->list vector) (map vector->list vectors))))
(define (string-map procedure . strings)
  (list->string (apply map procedure (map string->list strings))))
(define (string->vector string . range) (list->vector (apply string->list string range)))
(define (vector->string vector . range) (list->string (apply vector->list vector range)))
(define (string-for-each procedure string . strings)
  (if (null? strings)
      (let ((count (string-length string)))
        (do ((i 0 (+ i 1))) ((= i count))
          (procedure (string-ref string i))))
      (apply for-each procedure (string->list string) (map string->list strings))))
(define (symbol<? . symbols) (apply string<? (map symbol->string symbols)))
(define (string-index string char . start)
  (let ((length (string-length string)))
    (let loop ((i (if (pair? start) (car start) 0)))
      (cond ((>= i length) #f)
            ((char=? char (string-ref string i)) i)
            (else (loop (+ i 1)))))))
(define (string-search-forward pattern string . start)
  (let* ((length (string-length pattern)) (last (- (string-length string) length)))
    (let loop ((i (if (pair? start) (car start) 0)))
      (cond ((> i last) #f)
            ((string=? pattern (substring string i (+ i length))) i)
            (else (loop (+ i 1)))))))
(define (string-split string char)
  (let loop ((start 0))
    (let ((end (string-index string char start)))
      (if end
          (cons (substring string start end) (loop (+ end 1)))
          (list (substring string start))))))
(define (string-join strings . delimiter)
  (let ((delimiter (if (pair? delimiter) (car delimiter) " ")))
    (if (null? strings)
        ""
        (apply string-append (car strings)
               (append-map (lambda (string) (list delimiter string)) (cdr strings))))))

;;; --- ports -----------------------------------------------------------------------------------

(define (call-with-port port procedure)
  (let ((result (procedure port)))
    (close-port port)
    result))
(define (call-with-input-file name procedure)
  (call-with-port (open-input-file name) procedure))
(define (call-with-output-file name procedure)
  (call-with-port (open-output-file name) procedure))
(define (with-input-from-file name thunk)
  (call-with-input-file name (lambda (port) (parameterize ((current-input-port port)) (thunk)))))
(define (with-output-to-file name thunk)
  (call-with-output-file name (lambda (port) (parameterize ((current-output-port port)) (thunk)))))
(define (call-with-output-string procedure)
  (let ((port (open-output-string)))
    (procedure port)
    (get-output-string port)))
(define (with-output-to-string thunk)
  (call-with-output-string (lambda (port) (parameterize ((current-output-port port)) (thunk)))))
(define (object->string object)
  (call-with-output-string (lambda (port) (write object port))))
(define (load name . environment)
  (call-with-input-file name
    (lambda (port)
      (do ((form (read port) (read port)))
          ((eof-object? form))
        (eval form)))))
;; (read-bytevector! to [port [start [end]]]), all of which is checked before anything is read.
(define (read-bytevector! to . rest)
  (let* ((port (if (pair? rest) (car rest) (current-input-port)))
         (range (if (pair? rest) (cdr rest) '()))
         (place (apply bytevector-copy to range))
         (bytes (read-bytevector (bytevector-length place) port)))
    (if (bytevector? bytes)
        (begin
          (bytevector-copy! to (if (pair? range) (car range) 0) bytes)
          (bytevector-length bytes))
        bytes)))
(define (port-statistics) (map cons '(opened closed collected) (%port-figures)))
(define (interaction-environment) 'global)
