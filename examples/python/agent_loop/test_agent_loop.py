"""The agent without a node and without a model, under pytest."""

import json

import pytest
from agent_loop import MOST_STEPS, Agent, Tools
from model import wish

from plexspaces import UnavailableError
from plexspaces.testing import ActorHarness


@pytest.fixture
def tools() -> ActorHarness:
    return ActorHarness(Tools)


@pytest.fixture
def agent(tools: ActorHarness) -> ActorHarness:
    agent = ActorHarness(Agent, key="t-1")
    agent.answer("tools", "add", lambda payload: tools.ask("add", payload))
    return agent


def test_the_agent_uses_tools_until_it_knows(agent: ActorHarness, tools: ActorHarness) -> None:
    agent.http_respond("model", "POST", "/chat", lambda fetched: wish(json.loads(fetched.body)["messages"]))
    ended = agent.ask("workflow_run", {"question": "What is 1 and 20 and 300?"})
    assert (ended["status"], ended["text"]) == ("answered", "The sum is 321.")
    assert tools.ask("uses") == {"uses": 2}


def test_a_model_that_is_busy_is_asked_again(agent: ActorHarness) -> None:
    answers = iter([(503, {"error": "busy"}), {"answer": "42"}])
    agent.http_respond("model", "POST", "/chat", lambda _: next(answers))
    assert agent.ask("workflow_run", {"question": "?"})["text"] == "42"


def test_a_model_that_stays_busy_fails_the_task(agent: ActorHarness) -> None:
    agent.http_respond("model", "POST", "/chat", (503, {"error": "busy"}))
    with pytest.raises(UnavailableError):
        agent.ask("workflow_run", {"question": "?"})


def test_the_steps_are_bounded(agent: ActorHarness) -> None:
    agent.http_respond("model", "POST", "/chat", {"tool": "add", "arguments": {"numbers": [1]}})
    assert agent.ask("workflow_run", {"question": "?"}) == {
        "status": "gave up", "text": f"no answer after {MOST_STEPS} steps", "steps": 1 + 2 * MOST_STEPS,
    }
