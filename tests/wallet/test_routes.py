"""Every route that LiteLLM accepts is in the table of `docs/routes.md`, and does what the table says."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from core.domain.routes import PATHS
from dev.litellm import Proxy, releases
from dev.stack import ROOT, Stack
from tests.integration.world import until
from tests.wallet.asking import Answer, ask, ask_all
from tests.wallet.beside import site_of
from tests.wallet.by_hand import OPENED, by_hand
from tests.wallet.customers import Customer, Registry
from tests.wallet.filling import Filled, Filler, Json, silence
from tests.wallet.routes import Route, Verdict, described, installed, openapi, written
from tests.wallet.site import Site
from tests.wallet.victim import Victim, operators_key

TABLE = written()
HONEST: dict[str, Json] = {
    "chat/completions": {
        "model": "live-small",
        "messages": [{"role": "user", "content": "Hello"}],
        "max_tokens": 10,
    },
    "completions": {"model": "live-small", "prompt": "Hello", "max_tokens": 10},
    "embeddings": {"model": "live-embed", "input": "Hello"},
}
"""Honest bodies of the charged routes, by what their paths end on."""

OPENED_REQUESTS: dict[str, Json] = {
    "responses": {"json": {"model": "live-small", "input": "Hello", "max_output_tokens": 16}},
    "images": {"json": {"model": "live-image", "prompt": "Hello"}},
    "speech": {"json": {"model": "live-speech", "input": "Hello", "voice": "alloy"}},
    "transcriptions": {"data": {"model": "live-transcribe"}, "files": {"file": ("hello.wav", silence(2))}},
    "rerank": {"json": {"model": "live-rerank", "query": "Hello", "documents": ["Hello", "Goodbye"]}},
    "moderations": {"json": {"model": "live-moderate", "input": "Hello"}},
}
"""Honest requests for the routes that an operator may open."""

SPELLINGS = (
    "{path}/",
    "/{path}",
    "{path}//",
    "{upper}",
    "/v1{path}",
    "/v2{path}",
    "/openai{path}",
    "/openai/v1{path}",
    "/engines/live-small{path}",
    "/openai/deployments/live-small{path}",
    "{path}/x",
    "{path}/live-small",
    "{path}:generateContent",
    "{path}/live-small:generateContent",
    "{path}/../files",
    "{path}/..%2ffiles",
    "{path}%2f..%2ffiles",
    "/files/..{path}",
    "{path};x=1",
    "{path}%00",
    "{path}%20",
)
"""Other ways to write an open path: each is closed, or leads back to the open one."""

REACHED = tuple(
    Route(path, method)
    for method, path in (
        ("GET", "/v1/files"),
        ("GET", "/v1/files/{file_id}"),
        ("GET", "/v1/files/{file_id}/content"),
        ("GET", "/v1/batches"),
        ("GET", "/v1/batches/{batch_id}"),
        ("POST", "/v1/batches/{batch_id}/cancel"),
        ("GET", "/v1/responses/{response_id}"),
        ("POST", "/v1/realtime/client_secrets"),
        ("POST", "/v1/messages"),
        ("POST", "/openai_passthrough/{endpoint}"),
        ("POST", "/anthropic/{endpoint}"),
        ("DELETE", "/v1/files/{file_id}"),
    )
)
"""Closed routes that reach the provider with the operator's key, most of them what others own there."""


OPEN_WITHOUT_A_LIST = frozenset(
    (
        "GET /v1/files",
        "GET /v1/files/{file_id}",
        "GET /v1/files/{file_id}/content",
        "GET /v1/batches",
        "GET /v1/batches/{batch_id}",
        "POST /v1/realtime/client_secrets",
        "DELETE /v1/files/{file_id}",
    )
)
"""Those of them that are answered: with what another customer owns, or in the operator's name."""


@dataclass(frozen=True)
class Scene:
    """A LiteLLM of one release, somebody who attacks, and somebody who owns things there."""

    site: Site
    registry: Registry
    attacker: Customer
    victim: Victim
    filler: Filler
    routes: frozenset[Route]

    def having(self, *verdicts: Verdict) -> list[Route]:
        """The release's routes to which the table gives one of these verdicts."""
        return sorted(route for route in self.routes if TABLE.get(route) in verdicts)

    def leaked(self, answers: list[Answer]) -> list[str]:
        """Answers that show what the victim alone may see, or what is the operator's."""
        secrets = {**self.victim.secrets, "master key": self.site.master_key}
        return [
            f"{name} in {answer}"
            for answer in answers
            for name, secret in secrets.items()
            if secret in answer.text
        ]


@pytest.fixture(scope="module", params=releases(ROOT))
def scene(request: pytest.FixtureRequest, homes: Path) -> Iterator[Scene]:
    with ExitStack() as doors:
        stack = stage(request, homes, doors)
        db = doors.enter_context(psycopg.connect(stack.superuser_url("keyfund"), autocommit=True))
        site, registry = site_of(stack), Registry(stack.env, db)
        attacker, owner = registry.some(2)
        victim = Victim.of(site, owner)
        document = openapi(site.litellm_url)
        routes = described(document) | installed(request.param).routes
        yield Scene(site, registry, attacker, victim, Filler(document, victim.ids), routes)


def stage(request: pytest.FixtureRequest, homes: Path, doors: ExitStack) -> Stack:
    """The shared stack runs the pinned release; the newest gets one for this module alone."""
    if request.param == "pinned":
        shared: Stack = request.getfixturevalue("stack")
        return shared
    newest = doors.enter_context(Stack(homes / "newest", proxy=Proxy(release="newest")))
    newest.unhurry()
    return newest


def test_the_table_knows_every_route(scene: Scene) -> None:
    unknown = sorted(scene.routes - TABLE.keys())
    assert not unknown, "not in docs/routes.md: " + ", ".join(map(str, unknown))


def test_what_is_closed_or_free_neither_costs_nor_shows_nor_changes_anything(scene: Scene) -> None:
    scene.site.forget_bill()
    before = scene.victim.state(scene.site)
    answers = ask_all(scene.site, scene.attacker.key, scene.filler, scene.having("closed", "free"))
    opened = [str(one) for one in answers if TABLE[one.route] == "closed" and not one.closed]
    assert opened == []
    assert [call for call in scene.site.bill().calls if not counts(call)] == []
    assert scene.leaked(answers) == []
    assert scene.victim.state(scene.site) == before


def test_no_other_spelling_of_an_open_path_opens_anything(scene: Scene) -> None:
    scene.site.forget_bill()
    answers = ask_all(scene.site, scene.attacker.key, scene.filler, spelled(scene))
    assert [str(one) for one in answers if not (one.closed or one.status == 307)] == []
    assert scene.site.bill().calls == ()
    assert scene.leaked(answers) == []


def test_what_is_charged_is_billed_spent_and_booked_alike(scene: Scene) -> None:
    customer = scene.registry.one()
    scene.site.forget_bill()
    answers = [charged(scene, customer, route) for route in scene.having("charged")]
    assert [str(one) for one in answers if one.status != 200] == []
    owed = scene.site.bill()
    assert len(owed.calls) == len(answers)
    until(lambda: scene.site.user(customer.id)["spend_micros"] == owed.owed_micros, what="spend = bill")
    until(lambda: scene.registry.booked_micros([customer])[customer.id] == owed.owed_micros, what="booked")


def test_a_key_without_the_list_of_routes_reaches_what_others_own(scene: Scene) -> None:
    """So the census asks in earnest: the list closes a route, not a request that makes no sense."""
    scene.site.forget_bill()
    answers = ask_all(scene.site, operators_key(scene.site, scene.attacker), scene.filler, REACHED)
    reached = {str(one.route) for one in answers if one.status == 200}
    assert reached >= OPEN_WITHOUT_A_LIST, reached
    assert any(scene.victim.secrets["prompt"] in one.text for one in answers)


def test_below_the_routes_that_an_operator_opened_nothing_is_open(scene: Scene) -> None:
    scene.site.forget_bill()
    paths = [f"{path}/" for name in OPENED for path in PATHS[name]]
    below = [route for route in scene.having("closed") if route.path.startswith(tuple(paths))]
    opened = next(by_hand(scene.site, OPENED))
    answers = ask_all(scene.site, opened.key, scene.filler, below)
    assert len(answers) > len(OPENED)
    assert [
        str(one) for one in answers if not one.closed and not one.route.path.endswith("input_tokens")
    ] == []
    assert [call for call in scene.site.bill().calls if not counts(call)] == []
    assert scene.leaked(answers) == []


@pytest.mark.parametrize("name", OPENED)
def test_what_an_operator_opened_is_billed_and_spent_alike(scene: Scene, name: str) -> None:
    scene.site.forget_bill()
    customer = next(by_hand(scene.site, OPENED))
    statuses = [
        scene.site.ask(customer.key, "POST", path, **OPENED_REQUESTS[name]).status_code
        for path in PATHS[name]
    ]
    assert set(statuses) == {200}
    owed = scene.site.ended_bill().owed_micros
    until(lambda: scene.site.user(customer.id)["spend_micros"] == owed, what="spend = bill")


def counts(call: Json) -> bool:
    """Whether the provider was only asked to count, which it bills nothing for."""
    return call["cost_micros"] == 0 and str(call["route"]).endswith(("/input_tokens", "/count_tokens"))


def charged(scene: Scene, customer: Customer, route: Route) -> Answer:
    body = next(body for end, body in HONEST.items() if route.path.endswith(end))
    return ask(scene.site, customer.key, route, Filled(route.method, route.path, {"json": body}))


def spelled(scene: Scene) -> list[Route]:
    """Each way to write each path that a key's list of routes names, but for those that it names, too."""
    own = {route.path for route in scene.having("charged")} | {
        "/models",
        "/v1/models",
        "/utils/token_counter",
    }
    paths = {spelling.format(path=path, upper=path.upper()) for path in own for spelling in SPELLINGS}
    return [Route(path, "POST") for path in sorted(paths - own)]
