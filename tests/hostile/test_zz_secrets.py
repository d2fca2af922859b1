"""After everything else: no secret in anything that was written, whoever caused it.

Product and stand-ins are told apart: the product's logs must be clean of all secrets and of all that looks
like one; for PostgreSQL, LiteLLM, Supabase and Paystack there is a list of what each is known to write.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from dev import service
from dev.child import Child
from dev.part import Part
from dev.stack import ROOT, Stack, free_port
from tests.hostile.evidence import (
    FORMS,
    Evidence,
    Leak,
    collect,
    collect_authorisations,
    command_lines,
    logs_of,
    readable_by_all,
)
from tests.support import Connection, User, eventually

PRODUCT = ("webhook", "worker")

KNOWN_OF_VENDORS: dict[str, dict[str, str]] = {
    "postgres": {},
    "redis": {},
    "supabase": {},
    "provider": {},
    "litellm": {},
    "paystack": {},
}
"""By part: what its log is known to hold, and why that is so. Empty: nothing, and it stays like that."""

WRITTEN = """
    select 'an event''s outcome', outcome from keyfund.events
    union all select 'an event''s last_error', last_error from keyfund.events
    union all select 'an account''s last_error', last_error from keyfund.pushes
    union all select 'a key''s last_error', last_error from public.virtual_keys
    union all select 'a key''s preview', key_preview from public.virtual_keys
    union all select 'a gateway''s last_error', last_error from keyfund.gateways
    union all select 'a review''s reason', review_reason from public.transactions
    union all select 'a ledger entry''s reason or cause', concat(reason, cause) from public.credit_ledger
    union all select 'a worker''s name', name from keyfund.workers"""


@pytest.fixture(scope="module")
def all_evidence(
    request: pytest.FixtureRequest, stack: Stack, evidence: Evidence, handed_in: Path
) -> Evidence:
    """Every secret that there was and is; other processes are waited for that still attack."""
    folder = request.path.parent
    others = {item.path.stem for item in request.session.items if item.path.parent == folder}
    files = [handed_in / name for name in others - {request.path.stem}]
    assert eventually(lambda: all(file.exists() for file in files), seconds=280)
    for file in files:
        evidence.add(file)
    with psycopg.connect(stack.superuser_url("keyfund"), autocommit=True) as db:
        collect(evidence, stack, db)
    collect_authorisations(evidence, stack.env["PAYSTACK_BASE_URL"])
    assert len(evidence.secrets) >= 8
    return evidence


def leaks_of(evidence: Evidence, where: str, text: bytes) -> set[Leak]:
    return {*evidence.search(where, text), *evidence.search_forms(where, text)}


def leaks_in(evidence: Evidence, folder: Path, files: list[Path]) -> set[Leak]:
    return {
        leak
        for file in files
        for leak in leaks_of(evidence, str(file.relative_to(folder)), file.read_bytes())
    }


def provoke(url: str, evidence: Evidence) -> None:
    """Have a webhook service write of somebody's secrets, if it ever does."""
    key, token = (
        next(secret.decode() for secret, (what, _) in evidence.secrets.items() if what == wanted)
        for wanted in ("the master key", "the service key")
    )
    with evidence.client() as client:
        for path in ("/webhooks/paystack", "/api/keys/manage", f"/api/{token}"):
            headers = {"authorization": f"Bearer {token}", "x-paystack-signature": key}
            assert client.post(f"{url}{path}", headers=headers, content=key + token).status_code < 500


# --- logs -----------------------------------------------------------------------------------------------------


def test_every_log_of_this_run_is_some_part_s(run_folder: Path, all_evidence: Evidence) -> None:
    """Only the stacks of some tests have a Redis."""
    assert set(logs_of(run_folder)) | {"redis"} == {*PRODUCT, *KNOWN_OF_VENDORS}


@pytest.mark.parametrize("part", PRODUCT)
def test_the_product_s_logs_hold_no_secret(
    stack: Stack, run_folder: Path, all_evidence: Evidence, part: str
) -> None:
    """Those of other stacks of the same run, too."""
    provoke(stack.env["WEBHOOK_BASE_URL"], all_evidence)
    logs = logs_of(run_folder)[part]
    assert any(file.stat().st_size for file in logs)
    assert leaks_in(all_evidence, run_folder, logs) == set()


@pytest.mark.parametrize("part", sorted(KNOWN_OF_VENDORS))
def test_the_other_parts_logs_hold_no_more_than_is_known(
    run_folder: Path, all_evidence: Evidence, part: str
) -> None:
    found = leaks_in(all_evidence, run_folder, logs_of(run_folder).get(part, []))
    assert {leak for leak in found if leak.what not in KNOWN_OF_VENDORS[part]} == set()


# --- answers, metrics, rows -----------------------------------------------------------------------------------


def test_no_answer_held_a_secret_that_is_not_its_reader_s(all_evidence: Evidence) -> None:
    assert all_evidence.search_answers() == set()


@pytest.fixture
def measured(stack: Stack, homes: Path) -> Iterator[tuple[str, str]]:
    """A webhook service whose metrics can be read, and the token for them."""
    token, port = "a-token-of-the-operators", free_port()
    settings = {**stack.env, "METRICS_TOKEN": token}
    del settings["DATABASE_URL"]
    folder = homes / "measured"
    folder.mkdir()
    child = Child(service.webhook(ROOT, port=port, settings=settings), folder / "webhook.log", {})
    try:
        child.spawn()
        child.wait_ready()
        yield child.part.url, token
    finally:
        child.stop()


def test_metrics_hold_numbers_and_no_secret(
    stack: Stack, all_evidence: Evidence, measured: tuple[str, str]
) -> None:
    url, token = measured
    provoke(url, all_evidence)
    for source in (stack.parts["worker"].url, url):
        answer = httpx.get(f"{source}/metrics", headers={"authorization": f"Bearer {token}"}, timeout=10)
        assert answer.status_code == 200
        assert "keyfund_" in answer.text
        assert leaks_of(all_evidence, "the metrics", answer.content) == set()
        # No person either: labels are few and fixed, or they would grow with the number of accounts.
        assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}|@|kf-[0-9a-f]{8}", answer.text)
    assert httpx.get(f"{url}/metrics", timeout=10).status_code == 401
    assert httpx.get(f"{stack.env['WEBHOOK_BASE_URL']}/metrics", timeout=10).status_code == 404


def test_what_the_database_keeps_of_errors_holds_no_secret(all_evidence: Evidence, stack: Stack) -> None:
    with psycopg.connect(stack.superuser_url("keyfund"), autocommit=True) as db:
        written = [(where, text) for where, text in db.execute(WRITTEN).fetchall() if text]
        assert written
        found = {leak for where, text in written for leak in leaks_of(all_evidence, where, text.encode())}
        assert found == set()
        assert vendors_words(db) == []


def vendors_words(db: Connection) -> list[object]:
    """Errors on keys, which their owners read, that are not of our own writing: code, colon, sentence."""
    rows = db.execute("select last_error from public.virtual_keys where last_error is not null").fetchall()
    return [text for (text,) in rows if not re.fullmatch(r"[a-z0-9_]+: [A-Z][^{}<>]{5,200}", text)]


# --- the machine ----------------------------------------------------------------------------------------------


def leaks_of_lines(evidence: Evidence, lines: set[str]) -> set[Leak]:
    return {leak for line in lines for leak in evidence.search(line[:60], line.encode())}


def test_no_command_line_and_no_process_title_holds_a_secret(stack: Stack, all_evidence: Evidence) -> None:
    """Anybody on the machine can read them."""
    lines = command_lines(stack.children.values())
    assert len(lines) >= 6
    assert leaks_of_lines(all_evidence, lines) == set()


def test_the_files_with_secrets_are_the_owner_s_alone(
    stack: Stack, run_folder: Path, all_evidence: Evidence
) -> None:
    for name in ("env", "control.json"):
        assert (stack.home / name).stat().st_mode & 0o077 == 0
    files = list(readable_by_all(run_folder))
    assert files
    assert leaks_in(all_evidence, run_folder, files) == set()


# --- controls: each search finds what is there ----------------------------------------------------------------


EXAMPLES = {
    "a LiteLLM key": "sk-kf-" + "0" * 64,
    "a JSON Web Token": ".".join(["eyJ" + "a" * 20, "b" * 20, "c" * 20]),
    "a Paystack secret key": "sk_live_" + "0" * 40,
    "a Supabase secret key": "sb_secret_" + "x" * 20,
    "a card authorisation": "AUTH_" + "0" * 10,
    "a password in a URL": "postgresql://keyfund:word@127.0.0.1/x",
}


@pytest.fixture
def planted(all_evidence: Evidence) -> str:
    """A secret that everybody has heard of."""
    return next(secret.decode() for secret, (what, _) in all_evidence.secrets.items() if "master" in what)


@pytest.mark.parametrize("what", sorted(FORMS))
def test_the_control_a_form_is_found_in_a_log(tmp_path: Path, all_evidence: Evidence, what: str) -> None:
    (tmp_path / "test_9.webhook.log").write_text(f'{{"event": "x", "seen": "{EXAMPLES[what]}"}}\n')
    found = leaks_in(all_evidence, tmp_path, logs_of(tmp_path)["webhook"])
    assert found == {Leak("test_9.webhook.log", f"looks like {what}")}


def test_the_control_every_registered_secret_is_found(tmp_path: Path, all_evidence: Evidence) -> None:
    file = tmp_path / "sql.log"
    for secret, (what, _) in all_evidence.secrets.items():
        file.write_bytes(b"x" + secret + b"y")
        assert Leak("sql.log", what) in leaks_in(all_evidence, tmp_path, logs_of(tmp_path)["postgres"])


def test_the_control_answers_are_found_by_their_reader() -> None:
    owner, other = (
        User("1", "", "a password", "a token of one"),
        User("2", "", "another one", "a token of two"),
    )
    evidence = Evidence()
    evidence.meet(owner)
    evidence.meet(other)
    evidence.keep_secret("a LiteLLM key", EXAMPLES["a LiteLLM key"], owner.id)
    for number, reader in enumerate((owner, other, None)):
        headers = {"authorization": f"Bearer {reader.token}"} if reader else {}
        request = httpx.Request("GET", f"http://x/{number}", headers=headers)
        evidence.note(httpx.Response(200, text=EXAMPLES["a LiteLLM key"], request=request))
    assert {leak.where for leak in evidence.search_answers()} == {"GET /1 -> 200", "GET /2 -> 200"}


def test_the_control_a_command_line_is_found(tmp_path: Path, all_evidence: Evidence, planted: str) -> None:
    argv = [sys.executable, "-c", "import time; time.sleep(60)", planted]
    part = Part(
        name="x", argv=argv, url="", ready=lambda: True, env={}, cwd=tmp_path, ready_timeout_seconds=5
    )
    child = Child(part, tmp_path / "x.log", {})
    try:
        child.spawn()
        found = leaks_of_lines(all_evidence, command_lines([child]))
    finally:
        child.kill()
    assert {leak.what for leak in found} == {"the master key"}


def test_the_control_a_file_that_all_may_read_is_found(
    tmp_path: Path, all_evidence: Evidence, planted: str
) -> None:
    for name, mode in (("open", 0o644), ("closed", 0o600)):
        (tmp_path / name).write_text(planted)
        (tmp_path / name).chmod(mode)
    assert leaks_in(all_evidence, tmp_path, list(readable_by_all(tmp_path))) == {
        Leak("open", "the master key")
    }
