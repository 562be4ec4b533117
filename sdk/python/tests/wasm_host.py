"""Runs a component as the node does, with a small host, so that tests see what crosses the component's border."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from wasmtime import Config, Engine, Store, WasiConfig
from wasmtime.component import Component, Linker, Record, Variant

PACKAGE = "plexspaces:actor/{}@0.1.0"


class Failed(Exception):
    """A `failure` that an export returned."""

    def __init__(self, failure: Any) -> None:
        super().__init__(f"{failure.kind}/{failure.code}: {failure.message}")
        self.kind = failure.kind
        self.code = failure.code
        self.message = failure.message
        self.field = failure.field
        self.trace = failure.trace


def record(**fields: Any) -> Record:
    made = Record()
    made.__dict__.update({name.replace("_", "-"): value for name, value in fields.items()})
    return made


class WasmHost:
    """One component, any number of instances."""

    def __init__(self, component: Path) -> None:
        self.engine = Engine(Config())
        self.component = Component.from_file(self.engine, str(component))
        self.pairs: dict[str, str] = {}
        self.lines: list[tuple[str, str]] = []
        self.told: list[tuple[str, str, str | bytes]] = []
        self.calls: list[tuple[Any, ...]] = []
        self.signals: list[tuple[str, str | bytes]] = []
        self.answer: str | bytes = '{"ok":true}'
        self.served = "{}"
        self.fetched: str | bytes = '{"ok":true}'
        self.refusal: tuple[str, str, bool] | None = None

    def instance(self) -> WasmInstance:
        store = Store(self.engine)
        store.set_limits(memory_size=256 << 20)
        store.set_wasi(WasiConfig())
        linker = Linker(self.engine)
        linker.add_wasip2()
        with linker.root() as root:
            self._define(root)
        return WasmInstance(store, self.component, linker.instantiate(store, self.component))

    def _result(self, value: Any) -> Any:
        if self.refusal is not None:
            code, message, retryable = self.refusal
            return record(code=code, message=message, retryable=retryable)
        return value

    def _define(self, root: Any) -> None:
        def cas(store: Any, key: str, expected: str | None, value: str) -> Any:
            same = self.pairs.get(key) == expected
            if same:
                self.pairs[key] = value
            return self._result(same)

        def keys(store: Any, prefix: str, after: str | None, limit: int) -> Any:
            found = [k for k in sorted(self.pairs) if k.startswith(prefix) and (after is None or k > after)]
            return self._result(found[:limit])

        def tell(store: Any, target: str, operation: str, payload: str | bytes) -> Any:
            self.told.append((target, operation, payload))
            return self._result(None)

        with root.add_instance(PACKAGE.format("context")) as context:
            context.add_func("actor-id", lambda store: "default/probe/one")
            context.add_func("now-ms", lambda store: 1234567890123.0)
        with root.add_instance(PACKAGE.format("messaging")) as messaging:
            messaging.add_func("ask", lambda store, target, operation, payload, timeout: self._result(self.answer))
            messaging.add_func("tell", tell)
        with root.add_instance(PACKAGE.format("key-value")) as kv:
            kv.add_func("get", lambda store, key: self._result(self.pairs.get(key)))
            kv.add_func("put", lambda store, key, value, ttl: self._result(self.pairs.__setitem__(key, value)))
            kv.add_func("delete", lambda store, key: self._result(self.pairs.pop(key, None) is not None))
            kv.add_func("compare-and-set", cas)
            kv.add_func("list-keys", keys)
        with root.add_instance(PACKAGE.format("logging")) as logging:
            logging.add_func("log", lambda store, level, message: self.lines.append((level, message)))

        def called(name: str, answer: Any = None) -> Any:
            def call(store: Any, *arguments: Any) -> Any:
                self.calls.append((name, *arguments))
                return self._result(answer)

            return call

        def demonitor(store: Any, reference: str) -> None:
            self.calls.append(("demonitor", reference))

        def start(store: Any, name: str | None, schedule: Any, operation: str, payload: str | bytes, durable: bool) -> Any:
            self.calls.append(("start", name, (schedule.tag, schedule.payload), operation, payload, durable))
            return self._result("t1")

        with root.add_instance(PACKAGE.format("lifecycle")) as lifecycle:
            lifecycle.add_func("monitor", called("monitor", "m1"))
            lifecycle.add_func("demonitor", demonitor)
            lifecycle.add_func("link", called("link"))
            lifecycle.add_func("unlink", called("unlink"))
            lifecycle.add_func("spawn", called("spawn", "default/worker/w1"))
            lifecycle.add_func("stop", called("stop", True))
        def fetch(store: Any, link: str, request: Any) -> Any:
            self.calls.append(("fetch", link, {name.replace("-", "_"): value for name, value in vars(request).items()}))
            response = record(status=200, headers=[("content-type", "text/plain"), ("x-a", "1"), ("x-a", "2")], body=self.fetched)
            # Both sides are records, so that here the tag is needed.
            return Variant("ok" if self.refusal is None else "err", self._result(response))

        def request(store: Any, service: str, name: str, operation: str, arguments: str) -> Any:
            self.calls.append(("request", service, name, operation, json.loads(arguments)))
            return self._result(self.served)

        with root.add_instance(PACKAGE.format("http")) as http:
            http.add_func("fetch", fetch)
        with root.add_instance(PACKAGE.format("timers")) as timers:
            timers.add_func("start", start)
            timers.add_func("cancel", called("cancel", True))

        with root.add_instance(PACKAGE.format("services")) as services:
            services.add_func("request", request)
        with root.add_instance(PACKAGE.format("blobs")) as blobs:
            for function in ("put", "get", "head", "delete", "presign", "list-blobs"):
                blobs.add_func(function, called(function))

        def sleep(store: Any, until_ms: int) -> Any:
            self.calls.append(("sleep", until_ms))
            return self._result(not self.signals)

        def take(store: Any) -> Any:
            signals, self.signals = self.signals, []
            return [record(operation=operation, payload=payload) for operation, payload in signals]

        with root.add_instance(PACKAGE.format("durability")) as durability:
            durability.add_func("sleep-until", sleep)
            durability.add_func("take-signals", take)
            durability.add_func("publish", called("publish"))


class WasmInstance:
    """One actor."""

    def __init__(self, store: Store, component: Component, instance: Any) -> None:
        self._store = store
        self._instance = instance
        self._guest = component.get_export_index(PACKAGE.format("guest"))
        self._component = component

    def _call(self, name: str, *arguments: Any) -> Any:
        index = self._component.get_export_index(name, self._guest)
        function = self._instance.get_func(self._store, index)
        result = function(self._store, *arguments)
        return result

    def _checked(self, name: str, *arguments: Any) -> Any:
        # The bindings drop a variant's tag where the Python types of its cases differ, as they do everywhere but in `handle`.
        result = self._call(name, *arguments)
        if isinstance(result, Record):
            raise Failed(result)
        return result

    def describe(self) -> Any:
        return json.loads(self._call("describe"))

    def init(self, actor_type: str, config: dict[str, Any] | str = "{}") -> None:
        text = config if isinstance(config, str) else json.dumps(config)
        self._checked("init", actor_type, text)

    def handle(self, operation: str, payload: Any = None, kind: str = "call", sender: str = "") -> Any:
        body = payload if isinstance(payload, bytes) else json.dumps({} if payload is None else payload)
        return self.raw(operation, body, kind, sender)

    def raw(self, operation: str, body: str | bytes, kind: str = "call", sender: str = "") -> Any:
        reply = self._turn(operation, body, kind, sender, False).payload
        return json.loads(reply) if isinstance(reply, str) else bytes(reply)

    def handle_with_state(self, operation: str, payload: Any = None) -> tuple[Any, Any]:
        reply = self._turn(operation, json.dumps({} if payload is None else payload), "call", "", True)
        return json.loads(reply.payload), json.loads(reply.state)

    def _turn(self, operation: str, body: str | bytes, kind: str, sender: str, want_state: bool) -> Any:
        result = self._call("handle", record(operation=operation, kind=kind, payload=body, sender=sender), want_state)
        # Both sides are records, so that here the tag is there.
        if result.tag == "err":
            raise Failed(result.payload)
        return result.payload

    def snapshot(self) -> Any:
        return json.loads(self._checked("snapshot"))

    def restore(self, state: Any) -> None:
        self._checked("restore", json.dumps(state))
