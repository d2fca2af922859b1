"""A takeover where keys are in use: they obey the wallet, nothing counts twice, and the way back."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.living import catalogue
from tests.living.document import Document
from tests.support import User, eventually

SAME_HISTORY = """
    select count(*) from public.transactions join keyfund_before.transactions
      using (id, user_id, reference, amount, currency, status, created_at)
"""


@pytest.fixture
def document(homes: Path) -> Iterator[Document]:
    with Document(homes / "document") as running:
        yield running


def read_catalogue(document: Document) -> catalogue.Lines:
    with psycopg.connect(document.superuser_url("keyfund"), autocommit=True) as db:
        return catalogue.read(db)


def spend_until_refused(document: Document, string: str) -> tuple[int, str]:
    """How many dollars went through, and why the next one did not."""
    for count in range(20):
        answer = document.call(string)
        if not answer.is_success:
            return count, answer.text
    raise AssertionError("nothing bounds this key")


def transaction(document: Document, user: User, reference: str, status: str) -> None:
    document.execute(
        "insert into public.transactions (user_id, reference, amount, currency, status) "
        "values (%s, %s, 500000, 'NGN', %s)",
        user.id,
        reference,
        status,
    )


def outcome(document: Document, reference: str) -> str | None:
    found = document.value("select max(outcome) from keyfund.events where reference = %s", reference)
    return None if found is None else str(found)


def payment(document: Document, reference: str) -> tuple[str, str | None]:
    (row,) = document.execute(
        "select status, review_reason from public.transactions where reference = %s", reference
    )
    return row["status"], row["review_reason"]


def test_from_the_document_to_keyfund_and_back(document: Document) -> None:
    before = read_catalogue(document)
    ana, ben, cyd = (document.sign_up() for _ in range(3))
    laptop = document.make_key(ana)
    # A key with the person as its user, who has a row and has spent; its cap is somebody's choice.
    document.litellm(
        "POST", "/user/update", json={"user_id": ben.id, "max_budget": 77, "budget_duration": "30d"}
    )
    server = document.make_key(ben, user_id=ben.id, max_budget=50, metadata={"theirs": "kept"})
    assert document.call(laptop).is_success
    assert document.call(server).is_success
    assert eventually(lambda: document.user(ben.id)["spend"] > 0.99, seconds=60)
    assert eventually(lambda: document.key(laptop)["spend"] > 0.99, seconds=60)
    paid, unpaid = document.checkout(), document.checkout()
    document.pay(paid, deliver=False)
    transaction(document, ana, paid, "success")
    transaction(document, ana, unpaid, "pending")
    rows = {
        table: document.execute(f"select to_jsonb(t) as row from public.{table} t order by 1")
        for table in ("profiles", "virtual_keys", "transactions")
    }
    held = {string: document.kept(string) for string in (laptop, server)}

    told = document.takeover()
    assert "take over 3 people with 1,500 credits" in told
    assert "adopt 2 keys; 3 were never made" in told
    assert laptop not in told
    assert {string: document.kept(string) for string in held} == held
    assert document.value("select to_regnamespace('keyfund')") is None

    document.takeover("--yes")
    assert "Taken over on" in document.takeover("--yes")
    assert document.value(SAME_HISTORY) == 2
    document.run_keyfund()
    check_balances_and_keys(document, (ana, ben, cyd), (laptop, server))
    check_payments_of_before(document, ana, paid, unpaid)
    check_wallets(document, (ana, ben), (laptop, server))
    assert eventually(lambda: booked(document, ben) >= 900, seconds=90)
    document.keyfund("reconcile")
    document.keyfund("drift")

    # Somebody buys, and somebody comes.
    document.execute("select keyfund.append_entry(%s, 100, 'purchase', 'purchase:bought-since')", cyd.id)
    document.sign_up()
    document.stop_keyfund()
    assert "Credits were bought since" in document.takeover("--back", status=1)
    told = document.takeover("--back", "--yes")
    assert "1 purchases of 100 credits" in told
    assert "In LiteLLM 2 keys are as they were" in told
    assert read_catalogue(document) == before
    for table, was in rows.items():
        assert document.execute(f"select to_jsonb(t) as row from public.{table} t order by 1") == was
    assert {string: document.kept(string) for string in held} == held
    assert (document.user(ben.id)["max_budget"], document.user(ben.id)["budget_duration"]) == (77, "30d")
    assert document.call(laptop).is_success
    dee = document.sign_up()
    assert document.value("select credits from public.profiles where id = %s", dee.id) == 500
    assert "nothing was changed" in document.takeover("--back")


def booked(document: Document, user: User) -> int:
    """What was booked as spent since, in cents."""
    micros = document.value("select booked_micros from keyfund.wallets where account_id = %s", user.id)
    return int(micros) // 10_000


def check_balances_and_keys(document: Document, people: tuple[User, ...], strings: tuple[str, ...]) -> None:
    for user in people:
        assert document.value("select credits from public.profiles where id = %s", user.id) == 500
    kept = document.execute("select litellm_key_id from public.virtual_keys where state = 'active'")
    assert {row["litellm_key_id"] for row in kept} == set(strings)
    synced = "select count(*) from public.virtual_keys where state = 'active' and sync_status = 'synced'"
    assert eventually(lambda: document.value(synced) == 2, seconds=90)


def check_payments_of_before(document: Document, ana: User, paid: str, unpaid: str) -> None:
    """The webhook of a paid one credits nothing; one that is paid later waits for a person."""
    document.pay(paid)
    document.pay(unpaid)
    assert eventually(lambda: outcome(document, paid) is not None, seconds=60)
    assert eventually(lambda: outcome(document, unpaid) is not None, seconds=60)
    assert (outcome(document, paid), payment(document, paid)) == ("already_credited", ("success", None))
    assert payment(document, unpaid) == ("needs_review", "taken_over")
    assert document.value("select credits from public.profiles where id = %s", ana.id) == 500


def check_wallets(document: Document, people: tuple[User, User], strings: tuple[str, str]) -> None:
    """Ana's key spends what is hers and no more; what Ben spent before is not spent once more, nor again."""
    (ana, ben), (laptop, server) = people, strings
    assert document.user(ana.id)["max_budget"] == 10
    spent = document.user(ben.id)["spend"]
    assert document.user(ben.id)["max_budget"] == pytest.approx(10 + spent, abs=1e-6)
    shown = document.key(laptop)
    assert (shown["user_id"], shown["max_budget"]) == (ana.id, 10)
    assert "/v1/chat/completions" in shown["allowed_routes"]
    shown = document.key(server)
    assert (shown["user_id"], shown["max_budget"], shown["metadata"]["theirs"]) == (ben.id, 50, "kept")
    count, refusal = spend_until_refused(document, server)
    assert 9 <= count <= 10  # the guard takes a call for somewhat more than a dollar
    assert "User=" in refusal
    count, _ = spend_until_refused(document, laptop)
    assert 8 <= count <= 9  # the dollar of before counts against its cap, as it did
