"""What the client does with a node's answers, and what it does without them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from plexspaces.client import Client, Entry, Turn, channel_subscribe
from plexspaces.errors import ActorNotFoundError, InvalidArgumentError, PermissionDeniedError, UnavailableError

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers each request with the next of the answers, the last one again and again."""

    answers: list[Answer]
    seen: list[tuple[str, str, dict[str, str], Any]]

    def handle_one(self) -> None:
        length = int(self.headers.get("content-length", 0))
        body = json.loads(self.rfile.read(length)) if length else None
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.seen.append((self.command, self.path, headers, body))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        answer(self)

    do_GET = do_POST = handle_one

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def node(*answers: Answer) -> Iterator[tuple[str, list[tuple[str, str, dict[str, str], Any]]]]:
    handler = type("Bound", (Handler,), {"answers": list(answers), "seen": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", handler.seen  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()


def says(value: Any, status: int = 200) -> Answer:
    def answer(handler: Handler) -> None:
        body = json.dumps(value).encode()
        handler.send_response(status)
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def streams(text: str, then: threading.Event | None = None) -> Answer:
    """Sends events, and ends when it is told to."""

    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream")
        handler.end_headers()
        handler.wfile.write(text.encode())
        handler.wfile.flush()
        if then is not None:
            then.wait(60)

    return answer


def event(position: int, payload: Any) -> str:
    return f"id: {position}\ndata: {json.dumps({'payload': payload, 'position': position})}\n\n"


def test_an_ask_names_actor_operation_and_key() -> None:
    with node(says({"balance": 10})) as (url, seen):
        client = Client(url, token="secret", tenant="acme", namespace="shop")
        assert client.ask("bank/account/a/b", "deposit", {"amount": 10}, idempotency_key="k" * 16) == {"balance": 10}
        assert client.ask("counter", "get") == {"balance": 10}
    (method, path, headers, body), (_, other, _, empty) = seen
    assert (method, body, empty) == ("POST", {"amount": 10}, {})
    assert path == "/api/v1/actors/acme/bank/account?invocation=call&msg_type=deposit&timeout_ms=5000&actor_id=a%2Fb"
    assert (headers["authorization"], headers["idempotency-key"]) == ("Bearer secret", "k" * 16)
    assert other == "/api/v1/actors/acme/shop/counter?invocation=call&msg_type=get&timeout_ms=5000"


def test_a_tell_and_a_publication_give_their_ids() -> None:
    with node(says({"status": "accepted", "message_id": "m1"}, 202), says({"msg_id": "m2"})) as (url, seen):
        client = Client(url)
        assert client.tell("counter", "increment") == "m1"
        assert client.channel_publish("a/b", {"n": 1}, msg_type="t") == "m2"
    assert seen[1][1] == "/api/v1/channels/a%2Fb:publish"
    assert seen[1][3] == {"tenant_id": "default", "namespace": "default", "payload": {"n": 1}, "msg_type": "t"}


def test_the_past_is_asked_for_page_by_page_and_moment_by_moment() -> None:
    entry = {"entry": 1, "what": "sleep", "happened_at": "t", "result": True}
    first = {"turns": [{"turn": 1, "operation": "note", "payload": {"n": 1}, "entries": [entry], "state_kept": True}], "next_page_token": "p/2"}
    with node(says(first), says({"turns": [{"turn": 2, "failure": "no"}]})) as (url, seen):
        one, two = Client(url, tenant="acme").history("bank/account/a/b")
    assert one == Turn(1, "note", {"n": 1}, None, None, None, None, True, (Entry(1, "sleep", "t", True, None),))
    assert (two.turn, two.operation, two.failure, two.entries) == (2, None, "no", ())
    path = "/api/v1/journals/bank/account?tenant_id=acme&actor_id=a%2Fb&page_size=200"
    assert [(method, where, body) for method, where, _, body in seen] == [("GET", path, None), ("GET", f"{path}&page_token=p%2F2", None)]

    with node(says({"turn": 3, "state": {"n": 1}, "changes": [{"op": "add"}], "actor_id": "bank/account/c", "document": "d"})) as (url, seen):
        client = Client(url)
        at = datetime(2026, 1, 31, 13, tzinfo=timezone(timedelta(hours=1)))
        assert client.state("account") == (3, {"n": 1})
        for moment in ({"turn": 0}, {"at": at}, {"at": 1000}, {"at": "2026-01-31T12:00:00Z"}):
            client.state("account", **moment)
        assert client.diff("account", 1, turn=3) == [{"op": "add"}]
        assert client.fork("bank/account/a", "c", turn=3, entry=0, payload={"n": 2}) == "bank/account/c"
        assert client.export("account") == "d"
    state = "/api/v1/journals/default/account/state?tenant_id=default"
    times = ["&turn=0", "&state_at=2026-01-31T12%3A00%3A00Z", "&state_at=1970-01-01T00%3A00%3A01.000Z", "&state_at=2026-01-31T12%3A00%3A00Z"]
    assert [path for _, path, _, _ in seen[:6]] == [state, *(state + time for time in times), f"{state}&since=1&turn=3"]
    body = {"tenant_id": "default", "actor_id": "a", "new_actor_id": "c", "turn": 3, "entry": 0, "payload": {"n": 2}}
    assert seen[6][::3] == ("POST", body) and seen[6][1] == "/api/v1/journals/bank/account:fork"
    assert seen[7][1] == "/api/v1/journals/default/account:export?tenant_id=default"
    for wrong in ({"turn": 1, "at": 5}, {"at": datetime(2026, 1, 31)}):
        with pytest.raises(InvalidArgumentError):
            Client(url).state("account", **wrong)


def test_a_refusal_is_the_exception_of_its_code() -> None:
    with node(says({"reason": "not_found", "message": "nobody", "retryable": False}, 404)) as (url, _):
        with pytest.raises(ActorNotFoundError, match="nobody"):
            Client(url).ask("nobody", "get")
        with pytest.raises(ActorNotFoundError):
            channel_subscribe("news", url)
    with pytest.raises(UnavailableError):
        Client(url).ask("counter", "get")
    with pytest.raises(InvalidArgumentError):
        Client("localhost:8080")


def test_a_subscription_goes_on_where_its_connection_broke() -> None:
    end = threading.Event()
    first = ": a comment\n\nid: 4\n\n" + event(5, {"n": 1}) + "id: 6\ndata: {"
    with node(streams(first), says({}, 503), streams(event(6, None) + event(7, [1]), end)) as (url, seen):
        with channel_subscribe("news", url, namespace="shop") as news:
            assert news.next() == {"n": 1}
            message = news.next_message()
            assert message is not None and message["position"] == 6 and message["payload"] is None
            assert next(iter(news)) == [1]
            assert news.next(timeout_ms=0) is None and news.next(timeout_ms=1) is None
        end.set()
    paths = {path for _, path, _, _ in seen}
    assert paths == {"/api/v1/channels/news/subscribe?tenant_id=default&namespace=shop"}
    assert [headers.get("last-event-id") for _, _, headers, _ in seen] == [None, "5", "5"]


def test_a_subscription_that_saw_nothing_yet_goes_on_from_its_beginning() -> None:
    end = threading.Event()
    with node(streams("id: 4\n\n"), streams(event(5, 1), end)) as (url, seen):
        with channel_subscribe("news", url) as news:
            assert news.next() == 1
        end.set()
    assert seen[1][2]["last-event-id"] == "4"


def test_a_subscription_begins_after_a_position() -> None:
    end = threading.Event()
    with node(streams(event(8, 1), end)) as (url, seen):
        with channel_subscribe("news", url, after=7) as news:
            assert news.next() == 1
        end.set()
    assert seen[0][2]["last-event-id"] == "7"


def test_an_error_for_good_ends_a_subscription() -> None:
    error = {"reason": "permission_denied", "message": "no longer", "retryable": False}
    with node(streams(event(1, 1) + f"event: error\ndata: {json.dumps(error)}\n\n")) as (url, _):
        with channel_subscribe("news", url) as news:
            assert news.next() == 1
            for _ in range(2):
                with pytest.raises(PermissionDeniedError, match="no longer"):
                    news.next()
