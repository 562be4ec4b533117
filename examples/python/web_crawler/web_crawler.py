"""A crawler of many actors that visits each page of a site once: who writes the tuple of a page first, visits it."""

import re

from plexspaces import UnavailableError, actor, handler, host

WORKERS = 4


@actor(facets=["durability"])
class Crawler:
    """Begins a crawl and says how far it is."""

    @handler("crawl")
    def crawl(self, path: str = "/", depth: int = 4) -> dict:
        """Visits a page and all that can be reached from it in some steps."""
        return {"begun": visit_once(path, depth)}

    @handler("pages")
    def pages(self) -> dict:
        """The titles of the pages that were visited, and whether all that were found were."""
        visited = host.ts.read_all(["visited", None, None])
        return {"pages": {path: title for _, path, title in visited}, "complete": len(visited) == host.ts.count(["found", None])}


@actor(facets=["durability"])
class Worker:
    """Visits pages."""

    @handler("visit", "cast")
    def visit(self, path: str, depth: int) -> None:
        """Fetches a page, remembers its title, and has the pages visited to which it links."""
        page = host.retry(fetch, path, attempts=5)
        title = re.search(r"<title>(.*?)</title>", page)
        if depth > 0:
            for link in re.findall(r'href="(/[^"]*)"', page):
                visit_once(link, depth - 1)
        host.ts.write(["visited", path, title[1] if title else ""])


def visit_once(path: str, depth: int) -> bool:
    """Has a page visited, unless it was found before. Of several who find it at the same time one has it visited."""
    if not host.ts.write_once(["found", path], ["found", path]):
        return False
    host.tell(f"{host.get_actor_id().split('/')[0]}/worker/{hash_of(path) % WORKERS}", "visit", {"path": path, "depth": depth})
    return True


def fetch(path: str) -> str:
    """A page's text; the site's mistakes are pages without a title."""
    response = host.http_fetch("site", "GET", path)
    if response["status"] >= 500:
        raise UnavailableError(f"the site answered {response['status']}")
    return str(response["body"])


def hash_of(text: str) -> int:
    """A number that is the same on every node; Python's own `hash` is not."""
    return sum(ord(character) * 31**place for place, character in enumerate(text))


ACTOR_REGISTRY = {"crawler": Crawler, "worker": Worker}
