"""The story over the whole stack, with Keyfund beside a project that has its names already."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from core.errors import RefusedError
from core.settings import Settings
from core.store.service import make_supabase_client, open_store
from dev import story
from dev.postgres import SUPERUSER
from dev.stack import Stack
from operate.database import describe_absence
from operate.finding import Verdict
from tests.living.project import BESIDE, FIXTURES
from tests.support import sign_up_at


@pytest.fixture(scope="module")
def beside(homes: Path) -> Iterator[Stack]:
    """A stack whose project began as most do, with Keyfund in a schema of its own."""
    with Stack(homes / "beside", schema=BESIDE, theirs=FIXTURES / "quickstart.sql") as running:
        running.unhurry()
        yield running


def test_the_story_is_played_in_a_schema_of_another_name(beside: Stack) -> None:
    said: list[str] = []
    story.play(beside.env, said.append)
    assert said[-1].startswith("the story held")


def test_their_own_tables_are_read_and_written_by_their_own_policies(beside: Stack) -> None:
    user = sign_up_at(beside.env, full_name="Ana")
    url = f"{beside.env['SUPABASE_URL']}/rest/v1/profiles"
    headers = {"apikey": beside.env["SUPABASE_ANON_KEY"], "authorization": f"Bearer {user.token}"}
    (theirs,) = httpx.get(url, headers=headers, params={"id": f"eq.{user.id}"}).json()
    assert theirs["full_name"] == "Ana"
    (ours,) = httpx.get(url, headers=headers | {"accept-profile": BESIDE}).json()
    assert (ours["id"], ours["credits"]) == (user.id, 500)
    changed = httpx.patch(url, headers=headers, params={"id": f"eq.{user.id}"}, json={"username": "ana"})
    assert changed.status_code == 204
    refused = httpx.patch(
        url,
        headers=headers | {"content-profile": BESIDE},
        params={"id": f"eq.{user.id}"},
        json={"credits": 9},
    )
    assert refused.status_code == 403


def test_the_page_is_told_the_schema(beside: Stack) -> None:
    told = httpx.get(f"{beside.env['WEBHOOK_BASE_URL']}/analytics/config.json").json()
    assert told["supabase_schema"] == BESIDE


@pytest.mark.parametrize(
    ("schema", "code"), [("elsewhere", "schema_not_exposed"), ("public", "function_missing")]
)
async def test_a_process_that_is_told_another_schema_says_what_to_change(
    beside: Stack, schema: str, code: str
) -> None:
    names = ("supabase_url", "supabase_service_role_key", "supabase_anon_key")
    given = {name: beside.env[name.upper()] for name in names}
    settings = Settings.model_validate({**given, "supabase_schema": schema})
    async with make_supabase_client() as client:
        store = await open_store(settings, client)
        with pytest.raises(RefusedError, match="SUPABASE_SCHEMA") as refused:
            await store.check_installation(2)
    assert refused.value.code == code
    assert describe_absence(refused.value).verdict is Verdict.BROKEN


def test_nothing_of_ours_is_in_public(beside: Stack) -> None:
    with psycopg.connect(beside.address.url(SUPERUSER, "keyfund")) as db:
        found = db.execute(
            "select relname from pg_class where relnamespace = 'public'::regnamespace"
        ).fetchall()
    assert {name for (name,) in found} == {"profiles", "profiles_pkey", "profiles_username_key"}
