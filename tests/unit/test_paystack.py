"""Paystack's signatures, events and API, as recorded."""

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx

from core.domain.payments import Dispute
from core.errors import RefusedError, TransientError
from core.payments.paystack import Paystack, is_signed, parse_event
from core.settings import Settings

FIXTURES = Path(__file__).parent.parent / "fixtures" / "paystack"
VECTORS = json.loads((FIXTURES / "signature_vectors.json").read_text())
EVENTS = sorted(path for path in FIXTURES.glob("*.json") if "event" in json.loads(path.read_text()))
BASE = "http://paystack.test"


def sign(raw: bytes, secret: str) -> str:
    return hmac.new(secret.encode(), raw, hashlib.sha512).hexdigest()


def read(name: str) -> dict[str, object]:
    document: dict[str, object] = json.loads((FIXTURES / name).read_text())
    return document


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_recorded_signatures_fit_the_raw_bytes(vector: dict[str, str]) -> None:
    raw, signature = vector["raw_body"].encode(), vector["x_paystack_signature"]
    assert is_signed(raw, signature, [vector["secret"]])
    assert is_signed(raw, signature, ["sk_test_new", vector["secret"]])
    assert not is_signed(raw + b" ", signature, [vector["secret"]])
    assert not is_signed(raw, signature, ["sk_test_other"])


@pytest.mark.parametrize(
    "signature", [None, "", "ü" * 128, "0" * 127, "0" * 129, "G" * 128, "0" * 128 + "\n"]
)
def test_a_signature_of_another_form_is_refused_without_an_error(signature: str | None) -> None:
    assert not is_signed(b"{}", signature, ["sk_test_a1"])


def test_an_empty_secret_signs_nothing() -> None:
    assert not is_signed(b"{}", sign(b"{}", ""), [""])
    assert not is_signed(b"{}", sign(b"{}", ""), [])


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.stem)
def test_every_recorded_event_is_read(path: Path) -> None:
    raw = path.read_bytes()
    event = parse_event(raw)
    assert event.name == json.loads(raw)["event"]
    assert event.body == raw.decode()


def test_an_event_names_its_payment_wherever_paystack_puts_it() -> None:
    def reference_in(name: str) -> str | None:
        return parse_event((FIXTURES / name).read_bytes()).reference

    assert reference_in("charge.success.card.json") == "cr-01jb7m3q9e5x4k8t2v6n"
    assert reference_in("refund.processed.json") is not None
    assert reference_in("charge.dispute.create.json") is not None
    assert reference_in("dedicatedaccount.assign.success.json") is None


def test_spacing_and_order_of_keys_do_not_make_another_event() -> None:
    document = read("charge.success.card.json")
    plain = parse_event(json.dumps(document).encode())
    other = parse_event(json.dumps(dict(reversed(document.items())), indent=3, ensure_ascii=False).encode())
    assert plain.fingerprint == other.fingerprint
    assert plain.body != other.body


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"nope", b"[]", b"null", b'"charge.success"', b"{}", b'{"event": 7}', b'{"event": ""}',
        b'{"event": "a b"}', b'{"event": NaN}', b"\xff\xfe{}", b"[" * 100_000,
        b'{"event": "x", "n": 1' + b"0" * 5000 + b"}",
    ],
    ids=range(13),
)  # fmt: skip
def test_what_is_no_event_is_refused(raw: bytes) -> None:
    with pytest.raises(RefusedError):
        parse_event(raw)


@pytest.fixture
def paystack(monkeypatch: pytest.MonkeyPatch) -> Paystack:
    settings = Settings.model_validate(
        {
            "supabase_url": "http://supabase.test",
            "supabase_service_role_key": "sb_secret_x1234",
            "supabase_anon_key": "sb_publishable_x",
            "paystack_secret_key": "sk_test_a1",
            "paystack_base_url": BASE,
            "paystack_timeout_seconds": 2,
        }
    )
    return Paystack(settings, httpx.AsyncClient())


@pytest.mark.parametrize(
    ("name", "status"),
    [("success", "success"), ("abandoned", "abandoned"), ("failed", "failed"), ("ongoing", "ongoing"),
     ("pending", "pending"), ("reversed", "reversed")],
)  # fmt: skip
async def test_a_recorded_verification_is_read(paystack: Paystack, name: str, status: str) -> None:
    with respx.mock:
        answer: Any = read(f"api.verify.200.{name}.json")
        reference = answer["data"]["reference"]
        respx.get(f"{BASE}/transaction/verify/{reference}").respond(json=answer)
        verified = await paystack.verify(reference)
    assert verified is not None
    assert verified.status == status
    assert verified.provider_id == 5_612_903_388
    assert verified.amount_subunits == 500_000
    assert verified.currency == "NGN"
    assert verified.domain == "test"


@pytest.mark.parametrize("status", [404, 400])
async def test_an_unknown_reference_is_none_however_it_is_told(paystack: Paystack, status: int) -> None:
    with respx.mock:
        respx.get(f"{BASE}/transaction/verify/r1").respond(status, json=read("api.verify.404.not_found.json"))
        assert await paystack.verify("r1") is None


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(500), httpx.Response(429, headers={"retry-after": "1"}),
        httpx.Response(200, text="<html>"), httpx.Response(200, json=[]),
        httpx.Response(200, json={"status": True, "data": "x"}), httpx.Response(302),
        httpx.Response(200, json={"status": True, "data": {"reference": "r2", "status": "success"}}),
        httpx.Response(401, json={"status": False, "message": "Invalid key"}),
    ],
)  # fmt: skip
async def test_rubbish_and_outages_are_transient(paystack: Paystack, answer: httpx.Response) -> None:
    with respx.mock:
        respx.get(f"{BASE}/transaction/verify/r1").mock(return_value=answer)
        with pytest.raises(TransientError):
            await paystack.verify("r1")


@pytest.mark.parametrize(
    ("fault", "unknown"),
    [(httpx.ConnectError("x"), False), (httpx.ReadTimeout("x"), True), (httpx.ReadError("x"), True)],
)
async def test_only_a_request_that_was_never_sent_has_a_known_outcome(
    paystack: Paystack, fault: Exception, unknown: bool
) -> None:
    with respx.mock:
        respx.post(f"{BASE}/transaction/initialize").mock(side_effect=fault)
        with pytest.raises(TransientError) as caught:
            await paystack.initialize(
                reference="r1", email="a@b.example", amount_subunits=1, currency="NGN", callback_url=None
            )
    assert caught.value.outcome_unknown is unknown


async def test_a_refusal_is_named_and_never_quotes_paystack(paystack: Paystack) -> None:
    with respx.mock:
        respx.post(f"{BASE}/transaction/initialize").respond(
            400, json=read("api.initialize.400.duplicate_reference.json")
        )
        with pytest.raises(RefusedError) as caught:
            await paystack.initialize(
                reference="r1", email="a@b.example", amount_subunits=1, currency="NGN", callback_url=None
            )
    assert caught.value.code == "paystack_duplicate_reference"
    assert "Duplicate Transaction" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:text/html,x", "//x.test", "https://x.test/\n", ""]
)
async def test_a_checkout_is_an_address_of_the_web(paystack: Paystack, url: str) -> None:
    told = {"status": True, "message": "", "data": {"authorization_url": url, "access_code": "a"}}
    with respx.mock:
        respx.post(f"{BASE}/transaction/initialize").respond(json=told)
        with pytest.raises(TransientError):
            await paystack.initialize(
                reference="r1", email="a@b.example", amount_subunits=1, currency="NGN", callback_url=None
            )


@pytest.mark.parametrize(
    ("change", "complete"),
    [
        ({}, True),
        ({"requested_amount": None}, True),
        ({"amount": None}, True),
        ({"amount": 500_000.5}, False),
        ({"amount": 500_000.0}, False),
        ({"amount": "5e5"}, False),
        ({"amount": True}, False),
        ({"requested_amount": 499_999.9}, False),
        ({"requested_amount": "much"}, False),
    ],
)
async def test_an_amount_that_is_no_whole_number_of_subunits_makes_the_answer_incomplete(
    paystack: Paystack, change: dict[str, object], complete: bool
) -> None:
    answer = read("api.verify.200.success.json")
    data = answer["data"]
    assert isinstance(data, dict)
    with respx.mock(base_url=BASE) as mock:
        mock.route().respond(200, json=answer | {"data": data | change})
        verified = await paystack.verify(str(data["reference"]))
    assert verified is not None
    assert verified.complete is complete


@pytest.mark.parametrize("shape", [11, {"id": 11}, "11"])
async def test_a_refund_belongs_to_a_dispute_that_the_payment_has(paystack: Paystack, shape: object) -> None:
    answer = read("api.refund.list.200.json")
    rows = answer["data"]
    assert isinstance(rows, list)
    row = rows[0]
    with respx.mock(base_url=BASE) as mock:
        mock.route().respond(200, json=answer | {"data": [row, row | {"dispute": shape, "amount": 70_000}]})
        ours = await paystack.sum_refunds(row["transaction"], [Dispute(11, None, True, "declined", 0)])
        others = await paystack.sum_refunds(row["transaction"])
    assert (ours.processed, ours.in_disputes) == (570_000, 70_000)
    assert (others.processed, others.in_disputes) == (570_000, 0)
