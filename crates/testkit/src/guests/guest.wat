;; An actor by hand, in the canonical ABI of wit/. A string is a pointer and a length; a payload is a kind (0 json, 1 bytes) and a
;; string; a result is written to memory, its first byte says whether it is an error, what it holds begins at offset 4.
(module
  (import "plexspaces:actor/context@0.1.0" "actor-id" (func $actor_id (param i32)))
  (import "plexspaces:actor/messaging@0.1.0" "ask" (func $host_ask (param i32 i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "plexspaces:actor/messaging@0.1.0" "tell" (func $host_tell (param i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "plexspaces:actor/key-value@0.1.0" "put" (func $host_put (param i32 i32 i32 i32 i32 i32 i32)))
  (import "plexspaces:actor/key-value@0.1.0" "get" (func $host_get (param i32 i32 i32)))
  (import "plexspaces:actor/logging@0.1.0" "log" (func $host_log (param i32 i32 i32)))

  (memory (export "memory") 4)

  ;; @texts

  ;; What exports return, what host calls return, and the digits of a number, each at its own place.
  (global $result i32 (i32.const 16))
  (global $answer i32 (i32.const 128))
  (global $digits_end i32 (i32.const 320))
  (global $state_digits_end i32 (i32.const 352))

  (global $state (mut i32) (i32.const 0))
  ;; The state that the host has, if it has one.
  (global $given (mut i32) (i32.const -1))

  ;; The message that is being handled.
  (global $operation (mut i32) (i32.const 0))
  (global $operation_len (mut i32) (i32.const 0))
  (global $kind (mut i32) (i32.const 0))
  (global $payload (mut i32) (i32.const 0))
  (global $len (mut i32) (i32.const 0))

  ;; Allocation only moves forward; what a call has allocated is free when the host has taken the call's result.
  (func $realloc (export "cabi_realloc") (param $old i32) (param $old_len i32) (param $align i32) (param $len i32) (result i32)
    (local $at i32) (local $end i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (local.set $end (i32.add (local.get $at) (local.get $len)))
    (if (i32.gt_u (local.get $end) (i32.mul (memory.size) (i32.const 65536)))
      (then
        (if (i32.eq (memory.grow (i32.add (i32.shr_u (local.get $len) (i32.const 16)) (i32.const 1))) (i32.const -1))
          (then (unreachable)))))
    (global.set $heap (local.get $end))
    (memory.copy (local.get $at) (local.get $old) (local.get $old_len))
    (local.get $at))

  (func $free (param i32) (global.set $heap (global.get $heap_start)))
  (export "cabi_post_plexspaces:actor/guest@0.1.0#describe" (func $free))
  (export "cabi_post_plexspaces:actor/guest@0.1.0#init" (func $free))
  (export "cabi_post_plexspaces:actor/guest@0.1.0#handle" (func $free))
  (export "cabi_post_plexspaces:actor/guest@0.1.0#snapshot" (func $free))
  (export "cabi_post_plexspaces:actor/guest@0.1.0#restore" (func $free))

  (func (export "plexspaces:actor/guest@0.1.0#describe") (result i32)
    (i32.store (global.get $result) (global.get $describe_at))
    (i32.store offset=4 (global.get $result) (global.get $describe_len))
    (global.get $result))

  (func (export "plexspaces:actor/guest@0.1.0#init") (param i32 i32 i32 i32) (result i32)
    (global.set $state (i32.const 0))
    (call $done))

  (func (export "plexspaces:actor/guest@0.1.0#handle")
    (param $operation i32) (param $operation_len i32) (param $message_kind i32)
    (param $kind i32) (param $payload i32) (param $len i32)
    (param $sender i32) (param $sender_len i32) (param $want_state i32) (result i32)
    (global.set $operation (local.get $operation))
    (global.set $operation_len (local.get $operation_len))
    (global.set $kind (local.get $kind))
    (global.set $payload (local.get $payload))
    (global.set $len (local.get $len))
    (drop (call $dispatch))
    (if (i32.eqz (i32.load8_u (global.get $result))) (then (call $give_state (local.get $want_state))))
    (global.get $result))

  (func $dispatch (result i32)
    ;; @dispatch
    (call $reply (global.get $kind) (global.get $payload) (global.get $len)))

  ;; Adds the state to a reply when the host wants it and does not have it.
  (func $give_state (param $want_state i32)
    (local $at i32)
    (i32.store8 offset=16 (global.get $result) (i32.const 0))
    (if (i32.or (i32.eqz (local.get $want_state)) (i32.eq (global.get $state) (global.get $given))) (then (return)))
    (global.set $given (global.get $state))
    (local.set $at (call $digits (global.get $state) (global.get $state_digits_end)))
    (i32.store8 offset=16 (global.get $result) (i32.const 1))
    (i32.store8 offset=20 (global.get $result) (i32.const 0))
    (i32.store offset=24 (global.get $result) (local.get $at))
    (i32.store offset=28 (global.get $result) (i32.sub (global.get $state_digits_end) (local.get $at))))

  (func (export "plexspaces:actor/guest@0.1.0#snapshot") (result i32)
    (call $number (global.get $state)))

  (func (export "plexspaces:actor/guest@0.1.0#restore") (param $kind i32) (param $at i32) (param $len i32) (result i32)
    (local $end i32)
    (local.set $end (i32.add (local.get $at) (local.get $len)))
    (global.set $state (i32.const 0))
    (block $read
      (loop $next
        (br_if $read (i32.ge_u (local.get $at) (local.get $end)))
        (global.set $state
          (i32.add (i32.mul (global.get $state) (i32.const 10)) (i32.sub (i32.load8_u (local.get $at)) (i32.const 48))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))
    (global.set $given (global.get $state))
    (call $done))

  ;; Whether the operation is the text at $at.
  (func $is (param $at i32) (param $len i32) (result i32)
    (local $i i32)
    (if (i32.ne (local.get $len) (global.get $operation_len)) (then (return (i32.const 0))))
    (loop $next
      (if (i32.eq (local.get $i) (local.get $len)) (then (return (i32.const 1))))
      (if (i32.ne (i32.load8_u (i32.add (local.get $at) (local.get $i)))
                  (i32.load8_u (i32.add (global.get $operation) (local.get $i))))
        (then (return (i32.const 0))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $next))
    (unreachable))

  ;; Results: nothing, a payload, a number as JSON, a failure.
  (func $done (result i32)
    (i32.store8 (global.get $result) (i32.const 0))
    (global.get $result))

  (func $reply (param $kind i32) (param $at i32) (param $len i32) (result i32)
    (i32.store8 (global.get $result) (i32.const 0))
    (i32.store8 offset=4 (global.get $result) (local.get $kind))
    (i32.store offset=8 (global.get $result) (local.get $at))
    (i32.store offset=12 (global.get $result) (local.get $len))
    (global.get $result))

  (func $number (param $n i32) (result i32)
    (local $at i32)
    (local.set $at (call $digits (local.get $n) (global.get $digits_end)))
    (call $reply (i32.const 0) (local.get $at) (i32.sub (global.get $digits_end) (local.get $at))))

  ;; Writes a number that ends before $at; gives where it begins.
  (func $digits (param $n i32) (param $at i32) (result i32)
    (loop $next
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (i32.store8 (local.get $at) (i32.add (i32.const 48) (i32.rem_u (local.get $n) (i32.const 10))))
      (local.set $n (i32.div_u (local.get $n) (i32.const 10)))
      (br_if $next (local.get $n)))
    (local.get $at))

  ;; $kind: 0 rejected, 1 failed. The message and the trace are the payload, the field is the operation.
  (func $failure (param $kind i32) (result i32)
    (i32.store8 (global.get $result) (i32.const 1))
    (i32.store8 offset=4 (global.get $result) (local.get $kind))
    (i32.store offset=8 (global.get $result) (global.get $code))
    (i32.store offset=12 (global.get $result) (i32.const 16))
    (i32.store offset=16 (global.get $result) (global.get $payload))
    (i32.store offset=20 (global.get $result) (global.get $len))
    (i32.store8 offset=24 (global.get $result) (i32.const 1))
    (i32.store offset=28 (global.get $result) (global.get $operation))
    (i32.store offset=32 (global.get $result) (global.get $operation_len))
    (i32.store offset=36 (global.get $result) (global.get $payload))
    (i32.store offset=40 (global.get $result) (global.get $len))
    (global.get $result))

  ;; Answers what the host answered: an error's message becomes a failure's.
  (func $refused (result i32)
    (global.set $payload (i32.load offset=12 (global.get $answer)))
    (global.set $len (i32.load offset=16 (global.get $answer)))
    (call $failure (i32.const 0)))

  ;; Operations.
  (func $count (result i32)
    (global.set $state (i32.add (global.get $state) (i32.const 1)))
    (call $number (global.get $state)))

  (func $kv_put (result i32)
    (call $host_put (global.get $key) (i32.const 1) (global.get $payload) (global.get $len) (i32.const 0) (i32.const 0) (global.get $answer))
    (if (i32.load8_u (global.get $answer)) (then (return (call $refused))))
    (call $reply (global.get $kind) (global.get $payload) (global.get $len)))

  (func $kv_get (result i32)
    (call $host_get (global.get $key) (i32.const 1) (global.get $answer))
    (if (i32.load8_u (global.get $answer)) (then (return (call $refused))))
    (if (i32.eqz (i32.load8_u offset=4 (global.get $answer))) (then (return (call $number (i32.const 0)))))
    (call $reply (i32.const 0) (i32.load offset=8 (global.get $answer)) (i32.load offset=12 (global.get $answer))))

  (func $ask (result i32)
    (call $host_ask (global.get $target) (i32.const 10) (global.get $operation) (global.get $operation_len)
      (global.get $kind) (global.get $payload) (global.get $len) (i32.const 1000) (global.get $answer))
    (if (i32.load8_u (global.get $answer)) (then (return (call $refused))))
    (call $reply (i32.load8_u offset=4 (global.get $answer))
      (i32.load offset=8 (global.get $answer)) (i32.load offset=12 (global.get $answer))))

  (func $tell (result i32)
    (call $host_tell (global.get $target) (i32.const 10) (global.get $operation) (global.get $operation_len)
      (global.get $kind) (global.get $payload) (global.get $len) (global.get $answer))
    (if (i32.load8_u (global.get $answer)) (then (return (call $refused))))
    (call $reply (global.get $kind) (global.get $payload) (global.get $len)))

  (func $log (result i32)
    (call $host_log (i32.const 1) (global.get $payload) (global.get $len))
    (call $reply (global.get $kind) (global.get $payload) (global.get $len)))

  ;; Answers bytes: the identity is not JSON.
  (func $whoami (result i32)
    (call $actor_id (global.get $answer))
    (call $reply (i32.const 1) (i32.load (global.get $answer)) (i32.load offset=4 (global.get $answer))))

  (func $recurse (param $n i32) (result i32)
    (i32.add (call $recurse (i32.add (local.get $n) (i32.const 1))) (local.get $n)))

  (func $explode (result i32) (unreachable))

  ;; 32 MiB of bytes.
  (func $huge (result i32)
    (call $reply (i32.const 1) (call $realloc (i32.const 0) (i32.const 0) (i32.const 8) (i32.const 33554432)) (i32.const 33554432)))
)
