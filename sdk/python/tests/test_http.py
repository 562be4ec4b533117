"""``host.http_fetch`` on the harness's host in memory."""

from typing import Any

import pytest

from plexspaces import InvalidArgumentError, OutsideActorError, PlexSpacesError, UnavailableError, actor, handler, host
from plexspaces.testing import ActorHarness, Fetched


@actor
class Caller:
    @handler("run")
    def run(self, code: str) -> Any:
        return eval(code, {"host": host})


@pytest.fixture
def caller() -> ActorHarness:
    return ActorHarness(Caller)


def run(caller: ActorHarness, code: str) -> Any:
    return caller.ask("run", {"code": code})


def test_a_response_has_status_headers_body_and_json(caller: ActorHarness) -> None:
    caller.http_respond("llm", "POST", "/chat", {"text": "hi"})
    expected = {"status": 200, "headers": {"content-type": "application/json"}, "body": '{"text":"hi"}', "json": {"text": "hi"}}
    assert run(caller, 'host.http_fetch("llm", "post", "/chat", {"prompt": "ü"})') == expected
    sent = Fetched("llm", "POST", "/chat", {"content-type": "application/json"}, '{"prompt":"ü"}', None, None)
    assert caller.host.fetches == [sent]


@pytest.mark.parametrize(
    ("body", "sent", "content_type"),
    [
        ("None", None, None),
        ("""'{"model": "m"}'""", '{"model": "m"}', "application/json"),
        ("'plain text'", "plain text", "text/plain; charset=utf-8"),
        ("'{not json'", "{not json", "text/plain; charset=utf-8"),
        ("'7'", "7", "text/plain; charset=utf-8"),
        ("b'\\xff'", b"\xff", "application/octet-stream"),
        ("[1, None]", "[1,null]", "application/json"),
        ("0", "0", "application/json"),
    ],
)
def test_bodies_are_sent_with_their_content_type(caller: ActorHarness, body: str, sent: Any, content_type: str | None) -> None:
    caller.http_respond("api", "POST", "/x", None)
    run(caller, f"host.http_fetch('api', 'POST', '/x', {body})")
    fetched = caller.host.fetches[0]
    assert (fetched.body, fetched.headers.get("content-type")) == (sent, content_type)


def test_a_content_type_of_ones_own_stays(caller: ActorHarness) -> None:
    caller.http_respond("api", "POST", "/x", None)
    run(caller, "host.http_fetch('api', 'POST', '/x', {'a': 1}, {'Content-Type': 'application/ld+json', 'X-A': 'b'}, 250, idempotency_key='k1')")
    fetched = caller.host.fetches[0]
    assert fetched.headers == {"content-type": "application/ld+json", "x-a": "b"}
    assert (fetched.timeout_ms, fetched.idempotency_key) == (250, "k1")


def test_responses_of_every_kind_can_be_scripted(caller: ActorHarness) -> None:
    caller.http_respond("api", "GET", "/text", "plain")
    caller.http_respond("api", "GET", "/bytes", (200, b"\xff"))
    caller.http_respond("api", "GET", "/missing", (404, "no", {"X-Why": "gone"}))
    caller.http_respond("api", "GET", "/search", lambda fetched: {"asked": fetched.path})
    assert run(caller, "host.http_fetch('api', 'GET', '/text')") == {"status": 200, "headers": {}, "body": "plain"}
    assert run(caller, "host.http_fetch('api', 'GET', '/bytes')") == {"status": 200, "headers": {}, "body": "\ufffd", "body_base64": "/w=="}
    for charset, body in (("iso-8859-1", "ä"), ('"ISO-8859-1"; x=1', "ä"), ("no-such", "\ufffd"), ("rot13", "\ufffd")):
        caller.http_respond("api", "GET", "/old", (200, b"\xe4", {"Content-Type": f"text/html; charset={charset}"}))
        assert run(caller, "host.http_fetch('api', 'GET', '/old')['body']") == body
    missing = run(caller, "host.http_fetch('api', 'GET', '/missing')")
    assert missing == {"status": 404, "headers": {"x-why": "gone"}, "body": "no"}
    assert run(caller, "host.http_fetch('api', 'GET', '/search?q=1')")["json"] == {"asked": "/search?q=1"}


def test_what_has_no_response_raises(caller: ActorHarness) -> None:
    caller.http_respond("api", "GET", "/down", UnavailableError("cannot connect"))
    with pytest.raises(UnavailableError) as caught:
        run(caller, "host.http_fetch('api', 'GET', '/down')")
    assert isinstance(caught.value, PlexSpacesError) and caught.value.retryable
    with pytest.raises(PlexSpacesError, match="use harness.http_respond"):
        run(caller, "host.http_fetch('api', 'GET', '/unknown')")
    with pytest.raises(OutsideActorError):
        host.http_fetch("api", "GET", "/")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("host.http_fetch(1, 'GET', '/')", "link_name must be a string"),
        ("host.http_fetch('api', None, '/')", "method must be a string"),
        ("host.http_fetch('api', 'GET', b'/')", "path must be a string"),
        ("host.http_fetch('api', 'POST', '/', {1, 2})", "body is of type set"),
        ("host.http_fetch('api', 'POST', '/', '\\ud800')", "body has characters without a UTF-8 form"),
        ("host.http_fetch('api', 'GET', '/', headers=[('a', 'b')])", "headers must be a dict"),
        ("host.http_fetch('api', 'GET', '/', headers={'a': 1})", "headers must hold strings"),
        ("host.http_fetch('api', 'GET', '/', headers={'a': '\\ud800'})", "headers have characters"),
        ("host.http_fetch('api', 'GET', '/', headers={'Idempotency-Key': 'k'})", "as the argument idempotency_key"),
        ("host.http_fetch('api', 'GET', '/', idempotency_key=1)", "idempotency_key must be a string"),
        ("host.http_fetch('api', 'GET', '/', timeout_ms=-1)", "timeout_ms must be"),
    ],
)
def test_wrong_arguments_never_reach_the_host(caller: ActorHarness, call: str, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        run(caller, call)
    assert caller.host.fetches == []
