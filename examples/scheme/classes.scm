;; SPDX-License-Identifier: MIT
;;
;; classes.scm: classes and generic functions as a program writes them, on the primitives of
;; class.c.  All is plain syntax-rules; %typed-lambda alone is the compiler's: a lambda expression
;; whose first argument is known, and checked, to be of a class.
;;
;;   (define-class <point> (<object>)
;;     (x (init 0) (keyword x) (accessor point-x))       ; (point-x p) and (point-x p value)
;;     (y (init 0) (keyword y) (getter point-y) (setter set-point-y!))
;;     label                                             ; unbound in a new instance
;;     (serial raw)                                      ; 64 bits that the collector never looks at
;;     (free count-free))                                ; last: what is called for the dead
;;
;;   (define-method (area (self <point>) . rest) ...)    ; in it (call-next area <point> self ...)
;;   (make <point> 'x 1 'y 2)
;;
;; A slot of the name `free` is written (free raw) or with two options, so that it is no free
;; function.

;; Each slot is looked at in turn, until none is left.  By then `slots` are the expressions of their
;; descriptions, (name raw? keyword init), and `definitions` those of the accessors.
(define-syntax define-class
  (syntax-rules ()
    ((_ name (super) slot ...)
     (%define-class (name super) () () slot ...))))

(define-syntax %define-class
  (syntax-rules (free raw)
    ((_ (name super) slots definitions)
     (%finish-class name super slots definitions #f))
    ((_ class slots definitions (free raw) . rest)
     (%define-slot (class slots definitions rest) free #f #f #f raw))
    ((_ (name super) slots definitions (free function))
     (%finish-class name super slots definitions function))
    ((_ class slots definitions (slot option ...) . rest)
     (%define-slot (class slots definitions rest) slot #f #f #f option ...))
    ((_ class slots definitions slot . rest)
     (%define-slot (class slots definitions rest) slot #f #f #f))))

(define-syntax %finish-class
  (syntax-rules ()
    ((_ name super (slot ...) (definition ...) function)
     (begin
       (define name (%make-class 'name super (list slot ...) 'function))
       definition ...))))

;; One option after the other; then on with the next slot.
(define-syntax %define-slot
  (syntax-rules (raw init keyword accessor getter setter)
    ((_ (class (slots ...) definitions rest) slot raw? key thunk)
     (%define-class class (slots ... (list 'slot raw? 'key thunk)) definitions . rest))
    ((_ state slot raw? key thunk raw option ...)
     (%define-slot state slot #t key thunk option ...))
    ((_ state slot raw? key thunk (init expression) option ...)
     (%define-slot state slot raw? key (lambda () expression) option ...))
    ((_ state slot raw? key thunk (keyword name) option ...)
     (%define-slot state slot raw? name thunk option ...))
    ((_ state slot raw? key thunk (getter function) option ...)
     (%define-accessor state slot raw? key thunk function (self) (slot-ref self 'slot)
                       option ...))
    ((_ state slot raw? key thunk (setter function) option ...)
     (%define-accessor state slot raw? key thunk function (self value) (slot-set! self 'slot value)
                       option ...))
    ((_ state slot raw? key thunk (accessor function) option ...)
     (%define-accessor state slot raw? key thunk function (self . value)
                       (if (null? value) (slot-ref self 'slot) (slot-set! self 'slot (car value)))
                       option ...))))

(define-syntax %define-accessor
  (syntax-rules ()
    ((_ ((name super) slots (definitions ...) rest) slot raw? key thunk function parameters body
        option ...)
     (%define-slot ((name super) slots
                    (definitions ...
                     (define function
                       (%add-method! (%make-generic 'function) name
                                     (%typed-lambda (name) parameters body))))
                    rest)
                   slot raw? key thunk option ...))))

;; If the variable holds a generic function already, it stays as it is.
(define-syntax define-generic
  (syntax-rules ()
    ((_ name) (define name (%make-generic 'name)))))

(define-syntax define-method
  (syntax-rules ()
    ((_ (name (self class) . parameters) body ...)
     (define name
       (%add-method! (%make-generic 'name) class
                     (%typed-lambda (class) (self . parameters) body ...))))))

;; What the generic function does for the classes above this one.
(define-syntax call-next
  (syntax-rules ()
    ((_ name class self argument ...)
     (let ((instance self))
       ((%find-next-method name class instance) instance argument ...)))))

(define (is-a? object class) (subclass? (class-of object) class))
(define (class? object) (is-a? object <class>))
(define (instance? object) (is-a? object <object>))

(define-method (initialize (self <object>) . arguments) self)

;; The part of 'key value ... that begins with the value for the key; #f: there is none.
(define (%argument key arguments)
  (cond ((or (null? arguments) (null? (cdr arguments))) #f)
        ((eq? (car arguments) key) (cdr arguments))
        (else (%argument key (cddr arguments)))))

;; Slots get their values from keywords or else from their inits, those of superclasses first; then
;; `initialize` gets all the arguments.
(define (make class . arguments)
  (let ((instance (%allocate class)))
    (let next ((slots (class-slots class)))
      (if (pair? slots)
          (let* ((name (car (car slots)))
                 (key (list-ref (car slots) 2))
                 (init (list-ref (car slots) 3))
                 (given (and key (%argument key arguments))))
            (cond (given (slot-set! instance name (car given)))
                  (init (slot-set! instance name (init))))
            (next (cdr slots)))))
    (apply initialize instance arguments)
    instance))
