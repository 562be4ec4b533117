"""What JSON cannot hold is named with its place."""

from typing import Any

import pytest

from plexspaces._json import NotJson, decode, encode


class Thing:
    pass


def _deep() -> Any:
    value: Any = []
    for _ in range(100_000):
        value = [value]
    return value


def _cycle() -> Any:
    value: dict[str, Any] = {}
    value["a"] = [value]
    return value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [0, {"b": {1, 2}}]}, r"reply\.a\[1\]\.b is of type set"),
        ({"a": Thing()}, r"reply\.a is of type Thing"),
        (b"x", "reply is of type bytes"),
        ([1.0, float("inf")], r"reply\[1\] is inf"),
        ({("a", 1): 2}, "reply has a key of type tuple"),
        ({"a": "\ud800"}, r"reply\.a has characters without a UTF-8 form"),
        ({"\ud800": 1}, "reply has a key without a UTF-8 form"),
        ({float("nan"): 1}, "reply has the key nan"),
        (_cycle(), r"reply\.a\[0\] contains itself"),
        (_deep(), "reply is nested too deeply"),
        ([10**10000], "reply is not JSON: Exceeds the limit"),
    ],
)
def test_it_says_what_and_where(value: Any, message: str) -> None:
    with pytest.raises(NotJson, match=message):
        encode(value, "reply")


def test_a_value_that_occurs_twice_is_no_cycle() -> None:
    shared = [1]
    assert encode([shared, {"a": shared}], "reply") == '[[1],{"a":[1]}]'
    with pytest.raises(NotJson, match=r"reply\[2\] is of type set"):
        encode([shared, shared, set()], "reply")


def test_brackets_in_strings_do_not_nest() -> None:
    for text in ("[" * 1000, '\\"[{' * 300, "\\"):
        assert decode(encode([text] * 250, "reply")) == [text] * 250
    assert decode(encode([[]] * 1000, "reply")) == [[]] * 1000
    with pytest.raises(ValueError, match="nested too deeply"):
        decode('["\\"",' + "[" * 200)
    tangled: list[Any] = []
    tangled += [tangled, tangled]
    with pytest.raises(NotJson, match="contains itself"):
        encode(tangled, "reply")


def test_text_is_compact_and_unicode() -> None:
    assert encode({"a": ["ü", True, None, 1.5]}, "reply") == '{"a":["ü",true,null,1.5]}'


@pytest.mark.parametrize("text", ["", "{", "NaN", "[Infinity]", "[" * 100_000, '{"a":' * 201, "1" * 10_000])
def test_what_is_no_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        decode(text)
