"""The example's actors without a node, under pytest: each by itself, with the others scripted."""

import tomllib
from pathlib import Path

import pytest
from supervised_workers import ACTOR_REGISTRY, AuditLog, InferenceWorker, QualityGate, ValidatorAgent

from plexspaces import HandlerFailedError
from plexspaces.testing import ActorHarness


@pytest.fixture
def validator() -> ActorHarness:
    made = ActorHarness(ValidatorAgent, args={"workers": ["worker-1", "worker-2"], "watch_again_ms": 200})
    made.answer("quality_gate", "may_pass", {"pass": True, "state": "closed"})
    made.answer("worker-1", "score", {"score": 1.5})
    made.answer("worker-2", "score", {"score": 2.5})
    return made


def watch(validator: ActorHarness, worker: str) -> str:
    return next(reference for reference, watched in validator.host.monitors.items() if watched == worker)


def test_the_worker_scores_and_crashes_on_what_it_cannot_score() -> None:
    worker = ActorHarness(InferenceWorker)
    assert worker.ask("score", {"text": "ab abcd"}) == {"score": 3, "scored": 1}
    with pytest.raises(ZeroDivisionError):
        worker.ask("score", {"text": ""})


def test_the_validator_takes_turns_with_its_workers(validator: ActorHarness) -> None:
    replies = [validator.ask("validate", {"text": "x"}) for _ in range(3)]
    assert [reply["worker"] for reply in replies] == ["worker-1", "worker-2", "worker-1"]
    assert [sent.operation for sent in validator.host.tells] == ["passed"] * 3


def test_a_worker_that_went_down_gets_nothing_until_it_is_back(validator: ActorHarness) -> None:
    validator.down(watch(validator, "worker-1"), "error: ZeroDivisionError")
    assert validator.ask("workers") == {"alive": ["worker-2"]}
    assert [validator.ask("validate", {"text": "x"})["worker"] for _ in range(2)] == ["worker-2", "worker-2"]
    assert validator.host.tells[0] == (
        "audit", "record", {"event": "worker_down", "detail": {"worker": "worker-1", "reason": "error: ZeroDivisionError"}}
    )
    validator.advance(199)
    assert validator.ask("workers") == {"alive": ["worker-2"]}
    validator.advance(1)
    assert validator.ask("workers") == {"alive": ["worker-1", "worker-2"]}


def test_the_validator_looks_again_until_the_supervisor_has_started_the_worker(validator: ActorHarness) -> None:
    for _ in range(3):
        validator.down(watch(validator, "worker-1"), "noproc")
        assert validator.ask("workers") == {"alive": ["worker-2"]}
        validator.advance(200)
    assert validator.ask("workers") == {"alive": ["worker-1", "worker-2"]}
    assert validator.host.tells == []


def test_a_failure_is_told_to_the_gate_and_to_the_log(validator: ActorHarness) -> None:
    validator.answer("worker-1", "score", HandlerFailedError("ZeroDivisionError: division by zero"))
    assert validator.ask("validate", {"text": ""}) == {"error": "the worker failed", "worker": "worker-1", "code": "handler_failed"}
    assert [(sent.target, sent.operation) for sent in validator.host.tells] == [("quality_gate", "failed"), ("audit", "record")]


def test_nothing_is_validated_while_the_gate_is_open_or_nobody_lives(validator: ActorHarness) -> None:
    for worker in ("worker-1", "worker-2"):
        validator.down(watch(validator, worker), "kill")
    assert validator.ask("validate", {"text": "x"}) == {"error": "no worker lives"}
    validator.answer("quality_gate", "may_pass", {"pass": False, "state": "open"})
    assert validator.ask("validate", {"text": "x"}) == {"error": "the quality gate is open", "state": "open"}


def test_after_a_crash_the_validator_watches_its_workers_anew(validator: ActorHarness) -> None:
    before = set(validator.host.monitors)
    validator.restart()
    assert not before & set(validator.host.monitors)
    validator.down(watch(validator, "worker-2"))
    assert validator.ask("workers") == {"alive": ["worker-1"]}


def test_the_gate_opens_after_three_failures_and_tries_again_later() -> None:
    gate = ActorHarness(QualityGate, args={"cool_down_ms": 1000})
    for _ in range(3):
        assert gate.ask("may_pass") == {"pass": True, "state": "closed"}
        gate.tell("failed", {"worker": "worker-1"})
    assert gate.ask("may_pass") == {"pass": False, "state": "open"}
    gate.tell("passed")
    gate.restart()
    assert gate.ask("fsm_state") == {"state": "open", "states": ["closed", "open", "half_open"]}
    gate.advance(1000)
    assert gate.ask("may_pass") == {"pass": True, "state": "half_open"}
    gate.tell("failed", {"worker": "worker-1"})
    assert gate.ask("may_pass")["state"] == "open"
    gate.advance(1000)
    gate.tell("passed")
    assert gate.snapshot() == {"failures": 0, "fsm_state": "closed"}
    assert [sent.payload["event"] for sent in gate.host.tells] == ["gate_opened", "gate_opened"]


def test_the_log_knows_what_happened_and_who_said_so() -> None:
    log = ActorHarness(AuditLog)
    log.host.clock_ms = 5
    log.tell("record", {"event": "worker_down", "detail": {"worker": "worker-1"}}, sender="quality/validator/validator")
    log.tell("record", {"event": "gate_opened"})
    log.restart()
    assert log.ask("get_stats") == {"counts": {"worker_down": 1, "gate_opened": 1}}
    assert log.ask("recent", {"limit": 2})["events"][0] == {
        "at_ms": 5, "event": "worker_down", "detail": {"worker": "worker-1"}, "from": "quality/validator/validator"
    }
    assert log.ask("recent", {"limit": 0}) == {"events": []}


def test_the_configuration_names_types_that_there_are() -> None:
    def children(supervisor: dict) -> list[dict]:
        inner = [child for child in supervisor["children"] if child["type"] == "supervisor"]
        return [c for c in supervisor["children"] if c not in inner] + [c for each in inner for c in children(each)]

    supervisor = tomllib.loads((Path(__file__).parent / "app-config.toml").read_text())["supervisor"]
    found = {child["id"]: child for child in children(supervisor)}
    assert {child["type"] for child in found.values()} == set(ACTOR_REGISTRY)
    assert all(worker in found for worker in found["validator"]["args"]["workers"])
