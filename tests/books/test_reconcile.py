"""Reconciliation over a ledger of thousands: zeros when all is well, the very row when it is not."""

import json
from datetime import UTC, datetime, timedelta

from tests.books.ledger import PRICE, PURCHASE_EVERY, Json, Ledger


def named(report: Json) -> dict[str, str]:
    """The subject of each difference, and its check."""
    return {one["subject"]: one["check"] for one in report["named"]}


def compared(report: Json) -> dict[str, int]:
    return {check: tally["compared"] for check, tally in report["checks"].items()}


def test_a_healthy_ledger_prints_zeros_and_exits_0(ledger: Ledger) -> None:
    report = ledger.report(0)
    purchases = -(-ledger.accounts // PURCHASE_EVERY)
    assert report["complete"]
    assert compared(report) == {
        "paystack": purchases,
        "ledger": purchases,
        "credits": ledger.accounts,
        "wallet": ledger.accounts,
        "usage": ledger.accounts,
    }
    assert {tally["differences"] for tally in report["checks"].values()} == {0}
    assert {tally["waiting"] for tally in report["checks"].values()} == {0}
    refunds = -(-purchases // 4) * (PRICE // 3)
    assert report["checks"]["paystack"]["totals"] == {"NGN": purchases * PRICE - refunds}
    assert report["others_at_paystack"] == {"payments": 1, "totals": {"NGN": 4_000}}
    text = ledger.reconcile().stdout
    assert text.count(" 0 differences in ") == 5
    assert "NOT COMPARED" not in text


def test_one_row_of_the_ledger_broken_by_hand_is_named(ledger: Ledger) -> None:
    row = f"user_id = '{ledger.id(1234)}' and kind = 'signup_grant'"
    with ledger.broken((f"update public.credit_ledger set delta = 501 where {row}",
                        f"update public.credit_ledger set delta = 500 where {row}")):  # fmt: skip
        report = ledger.report(1)
        text = ledger.reconcile()
    assert set(named(report)) == {f"account {ledger.id(1234)}", f"wallet of account {ledger.id(1234)}"}
    assert report["differences"] == 2
    assert text.returncode == 1
    assert f"ledger = credits: account {ledger.id(1234)}: found" in text.stdout


def test_each_kind_of_broken_row_is_named_and_nothing_else(ledger: Ledger) -> None:
    """One break per system and direction, all at once."""
    credits, wallet, usage, entry = (ledger.id(number) for number in (101 + 1, 102 + 1, 103 + 1, 104 + 1))
    lost, refunded, unseen = ledger.references[5], ledger.references[6], ledger.references[7]
    seller = "user_id = (select user_id from public.transactions where reference = '{}')"
    with ledger.broken(
        (f"update public.profiles set credits = credits + 7 where id = '{credits}'",
         f"update public.profiles set credits = credits - 7 where id = '{credits}'"),
        (f"update keyfund.wallets set wallet_credits = wallet_credits + 1 where account_id = '{wallet}'",
         f"update keyfund.wallets set wallet_credits = wallet_credits - 1 where account_id = '{wallet}'"),
        (f"update keyfund.wallets set booked_micros = booked_micros + 20000 where account_id = '{usage}'",
         f"update keyfund.wallets set booked_micros = booked_micros - 20000 where account_id = '{usage}'"),
        (f"update public.credit_ledger set cause = 'purchase:kf-{'0' * 32}', kind = 'purchase'"
         f" where user_id = '{entry}' and kind = 'signup_grant'",
         f"update public.credit_ledger set cause = 'signup_grant:' || user_id, kind = 'signup_grant'"
         f" where user_id = '{entry}' and kind = 'purchase'"),
        (f"update public.credit_ledger set cause = 'purchase:x' where cause = 'purchase:{lost}'",
         f"update public.credit_ledger set cause = 'purchase:{lost}' where cause = 'purchase:x'"
         f" and {seller.format(lost)}"),
        (f"update public.transactions set refunded_amount = {PRICE // 2} where reference = '{refunded}'",
         f"update public.transactions set refunded_amount = 0 where reference = '{refunded}'"),
        (f"update public.transactions set reference = 'kf-unseen' where reference = '{unseen}'",
         f"update public.transactions set reference = '{unseen}' where reference = 'kf-unseen'"),
    ):  # fmt: skip
        report = ledger.report(1)
    found = named(report)
    changed = {  # what the database alone shows
        f"account {credits}": "credits",
        f"wallet of account {wallet}": "credits",
        f"usage of account {usage}": "credits",
        f"payment {lost}": "ledger",
        f"withheld of payment {refunded}": "ledger",
        "payment kf-unseen": "ledger",
    }
    assert changed.items() <= found.items()
    assert found[f"payment {refunded}"] == "paystack"
    wallets = {f"account {one}" for one in (wallet, usage)}  # LiteLLM holds what these should not have
    assert {found[one] for one in wallets} == {"wallet"}
    entries = {subject for subject in found if subject.startswith("entry ")}
    assert len(entries) == 3
    known = {*changed, f"payment {refunded}", *wallets, *entries}
    assert set(found) == known
    assert report["differences"] == len(report["named"])
    ledger.report(0)


def test_what_litellm_lost_or_was_given_by_hand_is_named(ledger: Ledger) -> None:
    raised, emptied, gone = (ledger.id(number) for number in (201 + 1, 202 + 1, 203 + 1))
    before = ledger.litellm.execute(
        'select user_id, max_budget, spend from "LiteLLM_UserTable" where user_id = any(%s) for update',
        [[raised, emptied, gone]],
    ).fetchall()
    ledger.litellm.execute('update "LiteLLM_UserTable" set max_budget = 1000 where user_id = %s', [raised])
    ledger.litellm.execute('update "LiteLLM_UserTable" set spend = 0 where user_id = %s', [emptied])
    ledger.litellm.execute('delete from "LiteLLM_UserTable" where user_id = %s', [gone])
    report = ledger.report(1)
    ledger.litellm.execute(
        'delete from "LiteLLM_UserTable" where user_id = any(%s)', [[raised, emptied, gone]]
    )
    with ledger.litellm.cursor() as cursor:
        cursor.executemany(
            'insert into "LiteLLM_UserTable" (user_id, max_budget, spend) values (%s, %s, %s)', before
        )
    assert named(report) == {
        f"account {raised}": "wallet",
        f"account {emptied}": "usage",
        f"account {gone}": "wallet",
    }
    with ledger.by_hand():  # the walk has made those accounts due
        ledger.db.execute("update keyfund.pushes set next_attempt_at = null")
        ledger.db.execute("update keyfund.wallets set lower_micros = null")
    ledger.report(0)


def test_a_payment_that_nobody_credited_is_named_once_it_is_late(ledger: Ledger) -> None:
    fresh, late = ledger.order(4000), ledger.order(4001)
    early = (datetime.now(UTC) - timedelta(minutes=20)).isoformat()
    ledger.paystack(f"/sandbox/transactions/{fresh}/pay", deliver=False)
    ledger.paystack(f"/sandbox/transactions/{late}/pay", deliver=False, paid_at=early)
    report = ledger.report(1)
    assert named(report) == {f"payment {late}": "paystack"}
    assert report["named"][0]["found"] == "not paid (pending)"
    assert report["checks"]["paystack"]["waiting"] == 1


def test_money_that_was_never_credited_and_asks_for_nothing_is_no_difference(ledger: Ledger) -> None:
    """Given back before anybody credited it; and refused because it came in another currency."""
    before = named(ledger.report(0, 1))
    returned, odd = ledger.order(4010), ledger.order(4011)
    ledger.paystack(f"/sandbox/transactions/{returned}/pay", deliver=False)
    ledger.paystack(f"/sandbox/transactions/{returned}/refund", amount=PRICE, deliver=False)
    ledger.call("select public.observe_payment(%s, 'reversed')", returned)
    paid = ledger.paystack(f"/sandbox/transactions/{odd}/pay", deliver=False, currency="USD")["event"]["data"]
    ledger.call("select public.review_payment(%s, 'other_currency', %s, %s, 'USD')", odd, paid["id"], PRICE)
    report = ledger.report(0, 1)
    assert named(report) == before
    assert report["checks"]["paystack"]["totals"]["USD"] == PRICE


def test_a_parked_wallet_is_named_and_one_on_its_way_is_counted(ledger: Ledger) -> None:
    before = named(ledger.report(0, 1))
    parked = ledger.id(4020)
    change = "update keyfund.pushes set revision = revision + {0}, refusals = {1} where account_id = '{2}'"
    with ledger.broken((change.format(1, 5, parked), change.format(-1, 0, parked))):
        report = ledger.report(1)
    assert set(named(report)) - set(before) == {f"account {parked}"}
    assert next(one["found"] for one in report["named"] if parked in one["subject"]).endswith("parked")


def test_credits_that_litellm_was_never_told_of_are_named(ledger: Ledger) -> None:
    before = set(named(ledger.report(0, 1)))
    ledger.buy(4002)
    report = ledger.report(0, 1)
    assert set(named(report)) == before
    assert report["checks"]["wallet"]["waiting"] == 1
    with ledger.by_hand():  # as if a push had recorded what never happened
        ledger.db.execute("update keyfund.pushes set confirmed_revision = revision")
    assert set(named(ledger.report(1))) - before == {f"account {ledger.id(4002)}"}


def test_what_could_not_be_compared_is_never_a_zero(ledger: Ledger) -> None:
    ledger.stack.stop_part("paystack")
    ledger.stack.stop_part("litellm")
    ended = ledger.reconcile()
    assert ended.returncode == 2
    assert ended.stdout.count("NOT COMPARED: LiteLLM cannot be reached.") == 2
    assert "Paystack = transactions          NOT COMPARED: Paystack cannot be reached." in ended.stdout
    assert json.loads(ledger.reconcile("--json").stdout)["complete"] is False
    kept = ledger.call("select to_jsonb(r) from keyfund.reconciliations r order by id desc limit 1")
    assert kept["complete"] is False
