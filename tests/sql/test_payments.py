"""Orders freeze what was agreed; a payment is credited once, and only if it fits."""

from datetime import timedelta

import psycopg
import pytest

from tests.sql.acting import (
    Row,
    account,
    all_by_service,
    at_once,
    by_service,
    credit,
    delete_user,
    key,
    ledger,
    let_pass,
    open_order,
    payment,
    profile,
    refused,
    rows,
    sign_up,
    synced_key,
    value,
)
from tests.support import Connection, Database


def observe(db: Connection, order: Row, status: str) -> None:
    by_service(db, "observe_payment", p_reference=order["reference"], p_status=status)


def review(db: Connection, order: Row, reason: str = "amount_differs") -> None:
    by_service(
        db,
        "review_payment",
        p_reference=order["reference"],
        p_reason=reason,
        p_provider_id=7,
        p_paid_amount=1,
        p_currency="NGN",
    )


# --- orders -------------------------------------------------------------------------------------------------


def test_an_order_freezes_price_and_credits(db: Connection) -> None:
    user_id = sign_up(db, "ana@example.com")
    order = open_order(db, user_id)
    assert (order["amount"], order["currency"], order["credits"]) == (1_600_000, "NGN", 500)
    assert (order["status"], order["email"]) == ("pending", "ana@example.com")
    db.execute(
        "update public.credit_packages set amount = 1, credits = 9, active = false where id = 'starter-ngn'"
    )
    assert credit(db, order)["credited"] is True
    assert ledger(db, user_id)[-1]["delta"] == 500
    assert profile(db, user_id)["credits"] == 1000


@pytest.mark.parametrize(
    "change",
    ["amount = 1", "credits = 9", "currency = 'USD'", "reference = 'kf-2'", "user_id = gen_random_uuid()"],
)
def test_nobody_changes_what_was_agreed(db: Connection, change: str) -> None:
    open_order(db, sign_up(db))
    with pytest.raises(psycopg.errors.RaiseException, match="frozen"):
        db.execute(f"update public.transactions set {change} where true".encode())


def test_a_suspended_account_opens_no_order(db: Connection) -> None:
    user_id = sign_up(db)
    db.execute("update public.profiles set status = 'suspended' where id = %s", [user_id])
    with refused(403, "account_suspended"):
        open_order(db, user_id)
    assert rows(db, "select from public.transactions") == []


def test_an_order_needs_an_address_for_the_receipt(db: Connection) -> None:
    user_id = sign_up(db, None, phone="2348012345678")
    with refused(409, "email_missing"):
        open_order(db, user_id)


@pytest.mark.parametrize("package", ["gold", ""])
def test_a_package_that_does_not_exist_is_not_sold(db: Connection, package: str) -> None:
    with refused(404, "package_not_found"):
        open_order(db, sign_up(db), package)


def test_a_package_that_is_not_on_sale_is_not_sold(db: Connection) -> None:
    db.execute("update public.credit_packages set active = false where id = 'starter-ngn'")
    with refused(404, "package_not_found"):
        open_order(db, sign_up(db))


def test_a_deleted_account_opens_no_order(db: Connection) -> None:
    user_id = sign_up(db)
    delete_user(db, user_id)
    with refused(403, "account_deleted"):
        open_order(db, user_id)


def test_another_attempt_of_an_order_is_watched_beside_the_first_and_credited_as_its_own(
    db: Connection,
) -> None:
    user_id = sign_up(db)
    first = open_order(db, user_id)
    db.execute("update public.credit_packages set amount = 1, credits = 9 where id = 'starter-ngn'")
    second = by_service(db, "repeat_order", p_reference=first["reference"])
    assert second["reference"] != first["reference"]
    for column in ("order_id", "amount", "currency", "credits", "email"):
        assert second[column] == first[column]
    assert payment(db, first["reference"])["next_verify_at"] is not None
    assert credit(db, second)["credited"]
    assert credit(db, first)["credited"]
    assert profile(db, user_id)["credits"] == 1500


def test_a_checkout_that_paystack_refused_is_not_watched(db: Connection) -> None:
    order = open_order(db, sign_up(db))
    by_service(db, "refuse_checkout", p_reference=order["reference"], p_reason="paystack_refused")
    after = payment(db, order["reference"])
    assert (after["status"], after["next_verify_at"]) == ("failed", None)


def test_a_checkout_that_was_opened_cannot_be_refused_any_more(db: Connection) -> None:
    order = open_order(db, sign_up(db))
    by_service(
        db,
        "record_checkout",
        p_reference=order["reference"],
        p_authorization_url="https://checkout.example/1",
        p_access_code="1",
    )
    by_service(db, "refuse_checkout", p_reference=order["reference"], p_reason="paystack_refused")
    assert payment(db, order["reference"])["status"] == "pending"


def test_a_reference_that_is_not_ours_is_nobody_s_payment(db: Connection) -> None:
    assert by_service(db, "get_payment", p_reference="kf-nobody") is None
    with refused(404, "payment_not_found"):
        credit(db, {"reference": "kf-nobody", "amount": 1, "currency": "NGN"})


# --- credit once --------------------------------------------------------------------------------------------


def test_a_payment_is_credited_exactly_once_from_twenty_connections(
    database: Database, db: Connection
) -> None:
    user_id = sign_up(db)
    order = open_order(db, user_id)
    answers = at_once(database, 20, lambda connection, _: credit(connection, order, p_provider_id=7))
    assert [answer["credited"] for answer in answers].count(True) == 1
    assert [one["delta"] for one in ledger(db, user_id)] == [500, 500]
    assert profile(db, user_id)["credits"] == 1000


def test_a_purchase_raises_wallet_caps_and_makes_the_account_due(db: Connection) -> None:
    user_id = sign_up(db)
    follows, fixed = synced_key(db, user_id), synced_key(db, user_id, max_budget=300)
    order = open_order(db, user_id)
    credit(db, order)
    assert (key(db, follows["id"])["max_budget"], key(db, fixed["id"])["max_budget"]) == (2000, 300)
    after = account(db, user_id)
    assert (
        payment(db, order["reference"])["account_revision"] == after["revision"] > after["confirmed_revision"]
    )


def test_more_than_the_price_is_credited_as_ordered(db: Connection) -> None:
    user_id = sign_up(db)
    order = open_order(db, user_id)
    assert credit(db, order, p_paid_amount=order["amount"] + 1)["credits"] == 500
    assert profile(db, user_id)["credits"] == 1000


@pytest.mark.parametrize(
    "change",
    [{"p_currency": "GHS"}, {"p_currency": None}, {"p_paid_amount": 1_599_999}, {"p_paid_amount": None}],
)
def test_what_does_not_fit_the_order_is_not_credited(db: Connection, change: Row) -> None:
    user_id = sign_up(db)
    order = open_order(db, user_id)
    with refused(409, "payment_does_not_fit"):
        credit(db, order, **change)
    assert profile(db, user_id)["credits"] == 500
    assert payment(db, order["reference"])["status"] == "pending"


def test_one_payment_of_paystack_s_pays_one_order(db: Connection) -> None:
    user_id = sign_up(db)
    credit(db, open_order(db, user_id), p_provider_id=7)
    with pytest.raises(psycopg.errors.UniqueViolation):
        credit(db, open_order(db, user_id), p_provider_id=7)
    assert profile(db, user_id)["credits"] == 1000


# --- only success is final ----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["failed", "abandoned", "reversed", "ongoing"])
def test_what_was_observed_unpaid_is_credited_when_it_turns_out_paid_at_any_age(
    db: Connection, status: str
) -> None:
    user_id = sign_up(db)
    order = open_order(db, user_id)
    observe(db, order, status)
    assert payment(db, order["reference"])["status"] == ("pending" if status == "ongoing" else status)
    let_pass(db, 400 * 86_400)
    assert credit(db, order)["credited"] is True
    after = payment(db, order["reference"])
    assert (after["status"], after["next_verify_at"]) == ("success", None)
    assert profile(db, user_id)["credits"] == 1000


@pytest.mark.parametrize("status", ["failed", "abandoned", "reversed", "pending"])
def test_an_observation_never_lowers_a_success(db: Connection, status: str) -> None:
    order = open_order(db, sign_up(db))
    credit(db, order)
    before = payment(db, order["reference"])
    observe(db, order, status)
    review(db, order)
    assert payment(db, order["reference"]) == before


def test_a_late_payment_that_was_refused_at_checkout_is_credited_all_the_same(db: Connection) -> None:
    user_id = sign_up(db)
    order = open_order(db, user_id)
    by_service(db, "refuse_checkout", p_reference=order["reference"], p_reason="paystack_refused")
    assert credit(db, order)["credited"] is True
    assert payment(db, order["reference"])["review_reason"] is None


def test_a_payment_in_review_is_not_credited_by_itself(db: Connection) -> None:
    user_id = sign_up(db)
    order = open_order(db, user_id)
    review(db, order)
    with refused(409, "payment_needs_review"):
        credit(db, order)
    observe(db, order, "abandoned")
    after = payment(db, order["reference"])
    assert (after["status"], after["review_reason"]) == ("needs_review", "amount_differs")
    assert profile(db, user_id)["credits"] == 500


# --- what is asked about again ------------------------------------------------------------------------------


def claim_verifications(db: Connection, limit: int = 10) -> list[str]:
    return [one["reference"] for one in all_by_service(db, "claim_verifications", p_limit=limit)]


def test_an_order_is_asked_about_two_minutes_after_it_was_made(db: Connection) -> None:
    order = open_order(db, sign_up(db))
    let_pass(db, 119)
    assert claim_verifications(db) == []
    let_pass(db, 2)
    assert claim_verifications(db) == [order["reference"]]


def test_who_asks_and_dies_is_followed_by_another(db: Connection) -> None:
    order = open_order(db, sign_up(db))
    let_pass(db, 121)
    assert claim_verifications(db) == [order["reference"]]
    assert claim_verifications(db) == []
    let_pass(db, 121)
    assert claim_verifications(db) == [order["reference"]]


def test_workers_that_ask_at_once_ask_about_each_order_once(database: Database, db: Connection) -> None:
    user_id = sign_up(db)
    made = {open_order(db, user_id)["reference"] for _ in range(20)}
    let_pass(db, 121)
    claimed = at_once(database, 8, lambda connection, _: claim_verifications(connection, 5))
    everything = [reference for one in claimed for reference in one]
    assert len(everything) == len(set(everything))
    assert set(everything) | set(claim_verifications(db, 100)) == made


def test_an_unpaid_order_is_asked_about_ever_less_often_and_after_a_year_no_more(db: Connection) -> None:
    order = open_order(db, sign_up(db))
    waits = []

    def wait() -> timedelta:
        """Until it is asked about again, after Paystack just said that it is not paid."""
        observe(db, order, "abandoned")
        found: timedelta = value(
            db,
            "select next_verify_at - now() from public.transactions where reference = %s",
            order["reference"],
        )
        return found

    for _ in range(4):
        let_pass(db, 3_600 * 8)
        waits.append(wait())
    assert waits == sorted(waits)
    assert 0 < waits[0].total_seconds() < waits[-1].total_seconds() <= 86_400
    let_pass(db, 300 * 86_400)
    assert 86_400 < wait().total_seconds() <= 14 * 86_400
    let_pass(db, 101 * 86_400)
    observe(db, order, "abandoned")
    after = payment(db, order["reference"])
    assert (after["next_verify_at"], after["verified_at"], after["verify_attempts"]) == (None, None, 6)


def test_a_credited_order_is_not_asked_about(db: Connection) -> None:
    credit(db, open_order(db, sign_up(db)))
    let_pass(db, 86_400)
    assert claim_verifications(db) == []


def test_an_account_opens_so_many_orders_an_hour_without_paying_them(db: Connection) -> None:
    user_id, other = sign_up(db), sign_up(db)
    db.execute("update keyfund.settings set open_orders_per_hour = 3")
    credit(db, open_order(db, user_id))
    orders = [open_order(db, user_id) for _ in range(3)]
    with refused(429, "too_many_orders"):
        open_order(db, user_id)
    open_order(db, other)
    credit(db, orders[0])
    open_order(db, user_id)
    db.execute("update public.transactions set created_at = created_at - interval '2 hours'")
    open_order(db, user_id)


def test_what_an_administrator_refused_no_late_answer_of_paystack_s_changes(db: Connection) -> None:
    order = open_order(db, sign_up(db))
    review(db, order)
    db.execute(
        "update public.transactions set status = 'failed', decided_at = now() where reference = %s",
        [order["reference"]],
    )
    observe(db, order, "pending")
    review(db, order)
    with refused(409, "payment_refused"):
        credit(db, order)
    row = db.execute(
        "select status, credited_at, next_verify_at from public.transactions where reference = %s",
        [order["reference"]],
    ).fetchone()
    assert row == ("failed", None, None)
