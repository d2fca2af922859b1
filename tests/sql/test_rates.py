"""What a dollar is worth, what the provider keeps, and what is left of a sale."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest

from tests.sql.acting import Row, by_owner, by_service, let_pass, refused, row, rows, sign_up, value
from tests.support import Connection

REASON = "as the bank says"


@pytest.fixture
def administrator(db: Connection) -> UUID:
    user_id = sign_up(db)
    db.execute("insert into keyfund.administrators (user_id) values (%s)", [user_id])
    return user_id


def set_rate(db: Connection, currency: str = "XOF", **rate: object) -> Row:
    named = {f"p_{name}": given for name, given in rate.items()}
    made: Row = by_service(db, "record_rate", p_currency=currency, **{"p_reason": REASON} | named)
    return made


def counting(db: Connection, currency: str = "XOF") -> Row:
    return row(db, "select * from keyfund.rate_of('paystack', %s)", currency)


def fee(db: Connection, amount: int, currency: str = "NGN") -> int | None:
    found = value(db, "select keyfund.fee_of(%s, keyfund.rate_of('paystack', %s))", amount, currency)
    return None if found is None else int(found)


def listed(db: Connection, who: UUID) -> dict[str, Row]:
    return {one["id"]: one for one in by_owner(db, who, "list_packages")}


# --- setting them -------------------------------------------------------------------------------------------


def test_the_rate_that_was_set_last_counts(db: Connection) -> None:
    for worth in (60_000, 61_000, 59_000):
        set_rate(db, subunits_per_dollar=worth)
        assert counting(db)["subunits_per_dollar"] == worth
    assert value(db, "select count(*) from keyfund.rates where currency = 'XOF'") == 3


def test_a_rate_counts_from_when_it_begins(db: Connection) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    set_rate(db, subunits_per_dollar=60_000)
    set_rate(db, subunits_per_dollar=70_000, begins_at=tomorrow)
    assert counting(db)["subunits_per_dollar"] == 60_000
    set_rate(db, subunits_per_dollar=65_000)
    assert counting(db)["subunits_per_dollar"] == 65_000
    let_pass(db, 86_401)
    assert counting(db)["subunits_per_dollar"] == 70_000


def test_one_that_is_to_come_is_replaced_by_another_of_the_same_time(db: Connection) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    for worth in (70_000, 80_000):
        set_rate(db, subunits_per_dollar=worth, begins_at=tomorrow)
    let_pass(db, 86_401)
    assert counting(db)["subunits_per_dollar"] == 80_000


def test_what_is_left_out_stays_as_it_is(db: Connection) -> None:
    set_rate(db, fee_basis_points=320, fee_fixed=5, fee_fixed_from=100, fee_ceiling=900)
    set_rate(db, subunits_per_dollar=60_000)
    kept = counting(db)
    assert (kept["subunits_per_dollar"], kept["fee_basis_points"]) == (60_000, 320)
    assert (kept["fee_fixed"], kept["fee_fixed_from"], kept["fee_ceiling"]) == (5, 100, 900)
    set_rate(db, fee_basis_points=100)  # the fee as a whole
    kept = counting(db)
    assert (kept["subunits_per_dollar"], kept["fee_basis_points"]) == (60_000, 100)
    assert (kept["fee_fixed"], kept["fee_fixed_from"], kept["fee_ceiling"]) == (0, 0, None)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"subunits_per_dollar": 0},
        {"subunits_per_dollar": -1},
        {"subunits_per_dollar": 1, "fee_basis_points": -1},
        {"subunits_per_dollar": 1, "fee_basis_points": 10_000},
        {"subunits_per_dollar": 1, "fee_fixed": 5},
        {"subunits_per_dollar": 1, "fee_ceiling": 5},
        {"subunits_per_dollar": 1, "fee_basis_points": 1, "fee_fixed": -1},
        {"subunits_per_dollar": 1, "fee_basis_points": 1, "fee_ceiling": 0},
        {"subunits_per_dollar": 1, "begins_at": datetime(2020, 1, 1, tzinfo=UTC)},
        {"subunits_per_dollar": 1, "begins_at": "infinity"},
        {"subunits_per_dollar": 1, "provider": "stripe"},
        {"subunits_per_dollar": 1, "provider": None},
    ],
)
def test_what_is_no_rate_is_refused(db: Connection, wrong: Row) -> None:
    with refused(400, "invalid_rate"):
        set_rate(db, **wrong)


@pytest.mark.parametrize("currency", ["xof", "XO", "XOFF", "", None])
def test_what_is_no_currency_is_refused(db: Connection, currency: str) -> None:
    with refused(400, "invalid_rate"):
        set_rate(db, currency, subunits_per_dollar=1)


@pytest.mark.parametrize("reason", ["", "  ", None, "x" * 501])
def test_a_rate_needs_a_reason(db: Connection, administrator: UUID, reason: str) -> None:
    with refused(400, "reason_missing"):
        set_rate(db, subunits_per_dollar=1, reason=reason)
    with refused(400, "reason_missing"):
        by_owner(db, administrator, "set_rate", currency="XOF", reason=reason, subunits_per_dollar=1)


def test_administrators_set_rates_and_others_do_not(db: Connection, administrator: UUID) -> None:
    given: Row = {"currency": "XOF", "reason": REASON, "subunits_per_dollar": 60_000}
    with refused(403, "not_an_administrator"):
        by_owner(db, sign_up(db), "set_rate", **given)
    assert by_owner(db, administrator, "set_rate", **given)["subunits_per_dollar"] == 60_000
    said = row(
        db,
        "select actor, actor_id, account_id, details from public.audit_log where action = 'rate_added'"
        " and actor_id is not null",
    )
    assert (said["actor"], said["actor_id"], said["account_id"]) == ("administrator", administrator, None)
    assert said["details"]["reason"] == REASON
    assert said["details"]["changes"]["subunits_per_dollar"] == {"new": 60_000}


def test_administrators_see_all_rates_and_which_of_them_count(db: Connection, administrator: UUID) -> None:
    old = set_rate(db, subunits_per_dollar=60_000)["id"]
    new = set_rate(db, subunits_per_dollar=61_000)["id"]
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    coming = set_rate(db, subunits_per_dollar=62_000, begins_at=tomorrow)["id"]
    found = by_owner(db, administrator, "list_rates", currency="XOF")
    assert [(one["id"], one["counts"]) for one in found] == [(coming, False), (new, True), (old, False)]
    assert [
        one["id"] for one in by_owner(db, administrator, "list_rates", currency="XOF", before_id=new)
    ] == [old]
    assert {one["currency"] for one in by_owner(db, administrator, "list_rates")} > {"USD", "NGN", "XOF"}
    with refused(403, "not_an_administrator"):
        by_owner(db, sign_up(db), "list_rates")


@pytest.mark.parametrize(
    "statement",
    [
        "update keyfund.rates set subunits_per_dollar = 1",
        "delete from keyfund.rates",
        "truncate keyfund.rates cascade",
    ],
)
def test_nobody_changes_a_rate_that_was_set(db: Connection, statement: str) -> None:
    with pytest.raises(psycopg.Error, match="append-only"):
        db.execute(statement.encode())


# --- what is left of a sale ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "kept"),
    [
        (100, 2),  # rounded up
        (249_999, 3_750),  # 100 naira are waived below 2,500
        (250_000, 13_750),
        (1_600_000, 34_000),
        (12_666_600, 199_999),
        (12_666_700, 200_000),
        (12_700_000, 200_000),  # 2,000 naira at most
        (100_000_000_000, 200_000),
    ],
)
def test_nigeria_s_fee_is_what_paystack_publishes(db: Connection, amount: int, kept: int) -> None:
    assert fee(db, amount) == kept


@pytest.mark.parametrize(
    ("rate", "amount", "kept"),
    [
        ({"fee_basis_points": 0}, 5_000, 0),
        ({"fee_basis_points": 320}, 5_000, 160),
        ({"fee_basis_points": 290, "fee_fixed": 100}, 5_000, 245),
        ({"fee_basis_points": 9_999, "fee_ceiling": 7}, 5_000, 7),
        ({"fee_basis_points": 0, "fee_fixed": 9, "fee_fixed_from": 5_001}, 5_000, 0),
        ({"subunits_per_dollar": 60_000}, 5_000, None),
    ],
)
def test_a_fee_is_a_share_and_a_fixed_part_up_to_a_ceiling(
    db: Connection, rate: Row, amount: int, kept: int | None
) -> None:
    set_rate(db, **rate)
    assert fee(db, amount, "XOF") == kept


def test_packages_are_listed_with_cost_fee_and_margin(db: Connection, administrator: UUID) -> None:
    found = listed(db, administrator)
    assert (
        found["starter-ngn"] | {"cost": 1_450_000, "fee": 34_000, "margin": 116_000} == found["starter-ngn"]
    )
    usd = found["starter-usd"]  # its fee is not known
    assert (usd["cost"], usd["fee"], usd["margin"]) == (1_000, None, None)
    db.execute("update public.credit_packages set active = false, currency = 'XOF' where id = 'plus-ghs'")
    xof = listed(db, administrator)["plus-ghs"]  # nothing is
    assert (xof["active"], xof["cost"], xof["fee"], xof["margin"]) == (False, None, None, None)
    with refused(403, "not_an_administrator"):
        by_owner(db, sign_up(db), "list_packages")


def test_a_sale_at_a_loss_has_a_margin_below_nothing(db: Connection, administrator: UUID) -> None:
    db.execute("update public.credit_packages set amount = 1450000 where id = 'starter-ngn'")
    assert listed(db, administrator)["starter-ngn"]["margin"] == -31_750


def test_a_fee_alone_is_no_rate(db: Connection, administrator: UUID) -> None:
    """As the seed leaves naira, until the operator says what a dollar is worth."""
    set_rate(db, fee_basis_points=320)
    package = {"id": "x", "name": "X", "credits": 500, "amount": 10**9, "currency": "XOF"}
    with refused(409, "rate_missing"):
        by_owner(db, administrator, "save_package", **package)
    by_owner(db, administrator, "save_package", **package, below_cost=True)
    told = listed(db, administrator)["x"]
    assert (told["cost"], told["fee"], told["margin"]) == (None, 32_000_000, None)


def test_the_seed_invents_no_rate(db: Connection) -> None:
    reasons = rows(
        db,
        "select currency, subunits_per_dollar, fee_basis_points from keyfund.rates"
        " where reason not like 'The development%%' order by currency",
    )
    assert reasons == [
        {"currency": "NGN", "subunits_per_dollar": None, "fee_basis_points": 150},
        {"currency": "USD", "subunits_per_dollar": 100, "fee_basis_points": None},
    ]
