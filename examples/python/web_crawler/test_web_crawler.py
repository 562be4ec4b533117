"""The crawler without a node and without a site, under pytest."""

import pytest
from small_site import PAGES, page
from web_crawler import WORKERS, Crawler, Worker

from plexspaces.testing import ActorHarness, Fetched, World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def workers(world: World) -> list[ActorHarness]:
    def answer(fetched: Fetched) -> tuple[int, str]:
        number = fetched.path.strip("/") or "0"
        return (200, page(int(number))) if number.isdecimal() else (404, "not found")

    workers = [ActorHarness(Worker, key=str(number), world=world) for number in range(WORKERS)]
    for worker in workers:
        for path in ["/", "/missing", *(f"/{number}" for number in range(PAGES))]:
            worker.http_respond("site", "GET", path, answer)
    return workers


def test_each_page_is_visited_once(world: World, workers: list[ActorHarness]) -> None:
    crawler = ActorHarness(Crawler, world=world)
    assert crawler.ask("crawl", {"depth": 10}) == {"begun": True}
    assert crawler.ask("pages") == {"pages": {}, "complete": False}
    world.deliver()
    crawled = crawler.ask("pages")
    assert crawled["complete"] and crawled["pages"]["/39"] == "Page 39" and crawled["pages"]["/missing"] == ""
    visits = [fetched.path for worker in workers for fetched in worker.host.fetches]
    assert len(visits) == len(set(visits)) == len(crawled["pages"]) == PAGES + 2
    # All have had their share.
    assert min(len(worker.host.fetches) for worker in workers) > 4
    assert crawler.ask("crawl") == {"begun": False}


def test_a_crawl_goes_no_deeper_than_it_should(world: World, workers: list[ActorHarness]) -> None:
    crawler = ActorHarness(Crawler, world=world)
    crawler.ask("crawl", {"depth": 1})
    world.deliver()
    assert sorted(crawler.ask("pages")["pages"]) == ["/", "/0", "/1", "/2", "/missing"]


def test_a_site_that_is_busy_is_asked_again(workers: list[ActorHarness]) -> None:
    answers = iter([(503, "busy"), (200, "<title>At last</title>")])
    worker = workers[0]
    worker.http_respond("site", "GET", "/", lambda _: next(answers))
    worker.tell("visit", {"path": "/", "depth": 0})
    worker.replay()
    assert len(worker.host.fetches) == 2
