"""An order is one thing, its attempts are others; both say which provider is paid."""

from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.sql.acting import (
    Row,
    all_by_service,
    by_owner,
    by_service,
    credit,
    let_pass,
    open_order,
    payment,
    profile,
    refused,
    row,
    rows,
    sign_up,
    value,
)
from tests.support import Connection

OTHER = """
    alter domain keyfund.provider drop constraint provider_check;
    alter domain keyfund.provider add constraint provider_check check (value in ('paystack', 'other'))
"""


@pytest.fixture
def user_id(db: Connection) -> UUID:
    return sign_up(db)


@pytest.fixture
def administrator(db: Connection) -> UUID:
    user_id = sign_up(db)
    db.execute("insert into keyfund.administrators (user_id) values (%s)", [user_id])
    return user_id


@pytest.fixture
def two(db: Connection) -> Connection:
    """A database that knows another provider."""
    db.execute(OTHER)
    return db


def order_of(db: Connection, attempt: Row) -> Row:
    return row(db, "select * from keyfund.orders where id = %s", attempt["order_id"])


def repeat(db: Connection, attempt: Row) -> Row:
    again: Row = by_service(db, "repeat_order", p_reference=attempt["reference"])
    return again


# --- an order and its attempts ------------------------------------------------------------------------------


def test_an_order_is_made_once_and_has_as_many_attempts_as_it_takes(db: Connection, user_id: UUID) -> None:
    first = open_order(db, user_id)
    second = repeat(db, repeat(db, first))
    assert {first["order_id"]} == {second["order_id"]}
    assert value(db, "select count(*) from keyfund.orders") == 1
    assert value(db, "select count(distinct reference) from public.transactions") == 3
    kept = order_of(db, first)
    facts = ("account_id", "user_id", "provider", "package_id", "amount", "currency", "credits")
    assert {str(kept[name]) for name in facts} == {str(second[name]) for name in facts}
    assert first["email"] == second["email"] == profile(db, user_id)["email"]


def test_each_attempt_that_is_paid_buys_the_order_s_credits(db: Connection, user_id: UUID) -> None:
    first = open_order(db, user_id)
    second = repeat(db, first)
    db.execute("update public.credit_packages set credits = 1, amount = 1, active = false where true")
    assert [credit(db, one)["credits"] for one in (first, second)] == [500, 500]
    assert profile(db, user_id)["credits"] == 1500


@pytest.mark.parametrize(
    "change",
    [
        "amount = amount + 1", "credits = credits + 1", "currency = 'USD'", "package_id = 'plus-ngn'",
        "user_id = gen_random_uuid()", "account_id = gen_random_uuid()", "provider = 'other'",
        "order_id = gen_random_uuid()", "reference = 'kf-another'",
    ],
)  # fmt: skip
def test_no_attempt_departs_from_its_order(two: Connection, user_id: UUID, change: str) -> None:
    made = open_order(two, user_id)
    with pytest.raises(psycopg.Error, match="frozen"):
        two.execute(f"update public.transactions set {change} where id = %s".encode(), [made["id"]])


@pytest.mark.parametrize(
    "facts",
    [
        {"amount": 1}, {"credits": 10**6}, {"currency": "USD"}, {"package_id": "plus-ngn"},
        {"provider": "other"}, {"order_id": uuid4()},
    ],
)  # fmt: skip
def test_no_attempt_is_made_beside_its_order(two: Connection, user_id: UUID, facts: Row) -> None:
    made = order_of(two, open_order(two, user_id))
    columns = ("account_id", "user_id", "provider", "package_id", "amount", "currency", "credits")
    attempt = {name: made[name] for name in columns} | {"order_id": made["id"], "reference": "kf-x"} | facts
    names = ", ".join(attempt)
    places = ", ".join(["%s"] * len(attempt))
    with pytest.raises(psycopg.errors.ForeignKeyViolation) as caught:
        two.execute(
            f"insert into public.transactions ({names}) values ({places})".encode(), list(attempt.values())
        )
    assert caught.value.diag.constraint_name == "transactions_order_fkey"


@pytest.mark.parametrize(
    "statement",
    ["update keyfund.orders set amount = 1", "delete from keyfund.orders", "truncate keyfund.orders cascade"],
)
def test_nobody_changes_an_order(db: Connection, user_id: UUID, statement: str) -> None:
    open_order(db, user_id)
    with pytest.raises(psycopg.Error, match="frozen"):
        db.execute(statement.encode())


def test_what_an_order_leaves_stays_as_it_was_when_it_was_made(
    db: Connection, user_id: UUID, administrator: UUID
) -> None:
    before = open_order(db, user_id)
    given = {
        "p_currency": "NGN",
        "p_subunits_per_dollar": 160_000,
        "p_fee_basis_points": 200,
        "p_reason": "x",
    }
    by_service(db, "record_rate", **given)
    after = open_order(db, user_id)
    again = repeat(db, before)
    told = [
        by_owner(db, administrator, "read_payment", reference=one["reference"])
        for one in (before, after, again)
    ]
    assert [(one["cost"], one["fee"], one["margin"]) for one in told] == [
        (1_450_000, 34_000, 116_000),
        (1_600_000, 32_000, -32_000),
        (1_450_000, 34_000, 116_000),
    ]


def test_an_order_in_a_currency_without_a_rate_leaves_nobody_knows_what(
    db: Connection, user_id: UUID, administrator: UUID
) -> None:
    package = {"id": "x", "name": "X", "credits": 5, "amount": 100, "currency": "XOF", "below_cost": True}
    by_owner(db, administrator, "save_package", **package)
    made = open_order(db, user_id, "x")
    assert order_of(db, made)["rate_id"] is None
    told = by_owner(db, administrator, "read_payment", reference=made["reference"])
    assert (told["cost"], told["fee"], told["margin"]) == (None, None, None)


def test_what_a_sale_leaves_is_not_for_the_buyer(db: Connection, user_id: UUID) -> None:
    assert not {"rate_id", "cost", "fee", "margin"} & set(open_order(db, user_id))


# --- which provider -----------------------------------------------------------------------------------------


def order_at(db: Connection, user_id: UUID, provider: str) -> Row:
    made: Row = by_service(
        db, "open_order", p_user_id=user_id, p_package_id="starter-ngn", p_provider=provider
    )
    return made


def receive(db: Connection, provider: str, reference: str, fingerprint: str = "f1") -> Row:
    event = {"event": "charge.success", "reference": reference, "body": "{}", "lease_seconds": 0}
    told = by_service(
        db, "receive_events", p_provider=provider, p_events=Jsonb([event | {"fingerprint": fingerprint}])
    )
    answer: Row = told[fingerprint]
    return answer


@pytest.mark.parametrize("provider", ["stripe", "", None, "Paystack"])
def test_nothing_is_kept_of_a_provider_that_nobody_knows(
    db: Connection, user_id: UUID, provider: str
) -> None:
    with pytest.raises(psycopg.errors.IntegrityError):
        order_at(db, user_id, provider)
    with pytest.raises(psycopg.errors.IntegrityError):
        receive(db, provider, "kf-x")


def test_an_order_its_attempts_and_what_it_is_told_say_who_is_paid(two: Connection, user_id: UUID) -> None:
    for provider in ("paystack", "other"):
        made = order_at(two, user_id, provider)
        assert order_of(two, made)["provider"] == provider
        assert repeat(two, made)["provider"] == made["provider"] == provider
        assert by_service(two, "get_payment", p_reference=made["reference"])["provider"] == provider
    let_pass(two, 121)
    claimed = all_by_service(two, "claim_verifications", p_limit=10)
    assert sorted(one["provider"] for one in claimed) == ["other", "other", "paystack", "paystack"]


def test_two_providers_may_use_the_same_ids(two: Connection, user_id: UUID) -> None:
    mine, theirs = order_at(two, user_id, "paystack"), order_at(two, user_id, "other")
    for one in (mine, theirs):
        assert credit(two, one, p_provider_id=7, p_borne_fee=0)["credited"] is True
        dispute = {"id": 5, "resolved": False, "resolution": None, "refund_amount": None}
        by_service(
            two, "record_reversals", p_reference=one["reference"], p_refunded=0, p_disputes=Jsonb([dispute])
        )
        assert payment(two, one["reference"])["withheld_credits"] == 500
    assert rows(two, "select provider, id from keyfund.disputes order by provider") == [
        {"provider": "other", "id": 5},
        {"provider": "paystack", "id": 5},
    ]
    with pytest.raises(psycopg.errors.UniqueViolation):
        credit(two, order_at(two, user_id, "other"), p_provider_id=7)


def test_a_provider_s_list_changes_its_own_payments_alone(two: Connection, user_id: UUID) -> None:
    mine, theirs = order_at(two, user_id, "paystack"), order_at(two, user_id, "other")
    for one in (mine, theirs):
        credit(two, one, p_provider_id=7)
    refunds = Jsonb([{"provider_id": 7, "amount": 100, "in_disputes": 0, "refunding": 0}])
    disputes = Jsonb([{"id": 5, "reference": one["reference"], "resolved": False} for one in (mine, theirs)])
    for given in (
        {"p_refunds": refunds, "p_disputes": Jsonb([])},
        {"p_refunds": Jsonb([]), "p_disputes": disputes},
    ):
        changed = by_service(two, "list_changed_reversals", p_provider="other", **given)
        assert changed == [theirs["reference"]]
    window = {"p_from": "2020-01-01", "p_until": "2100-01-01", "p_after": None, "p_limit": 10}
    paid = by_service(two, "list_paid", p_provider="other", **window)
    assert paid == {"references": [theirs["reference"]], "total": 1}


def test_the_same_event_of_two_providers_is_two(two: Connection, user_id: UUID) -> None:
    made = order_at(two, user_id, "paystack")
    assert [receive(two, one, made["reference"])["new"] for one in ("other", "paystack", "other")] == [
        True, True, False,
    ]  # fmt: skip
    assert rows(two, "select provider, deliveries from keyfund.events order by id") == [
        {"provider": "other", "deliveries": 2},
        {"provider": "paystack", "deliveries": 1},
    ]


def test_an_event_is_about_an_order_of_its_own_provider(two: Connection, user_id: UUID) -> None:
    two.execute(
        "create or replace function keyfund.kind_of(p_provider text, p_event text) returns text "
        "language sql immutable set search_path = '' as $$ select 'payment' $$"
    )
    made = order_at(two, user_id, "paystack")
    assert receive(two, "other", made["reference"])["order"] is None
    assert payment(two, made["reference"])["webhook_at"] is None
    (claimed,) = all_by_service(two, "claim_events", p_limit=10, p_lease_seconds=60)
    assert (claimed["provider"], claimed["order"]) == ("other", None)


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ("charge.success", "payment"),
        ("refund.processed", "reversal"),
        ("refund.pending", "reversal"),
        ("charge.dispute.create", "reversal"),
        ("charge.dispute.resolve", "reversal"),
        ("charge.succeeded", "other"),
        ("charge.success.late", "other"),
        ("refund", "other"),
        ("transfer.success", "other"),
    ],
)
def test_what_paystack_s_events_are_about(db: Connection, event: str, kind: str) -> None:
    one = {"fingerprint": "f", "event": event, "reference": None, "body": "{}", "lease_seconds": 0}
    told = by_service(db, "receive_events", p_provider="paystack", p_events=Jsonb([one]))
    assert told["f"]["kind"] == kind
    (claimed,) = all_by_service(db, "claim_events", p_limit=10, p_lease_seconds=60)
    assert (claimed["kind"], claimed["event"]) == (kind, event)


def test_who_has_no_address_leaves_no_order(db: Connection) -> None:
    with refused(409, "email_missing"):
        open_order(db, sign_up(db, None, phone="2348012345678"))
    assert value(db, "select count(*) from keyfund.orders") == 0
