"""The signature, held against vectors that were computed elsewhere."""

import hashlib
import hmac
import json
from pathlib import Path

import pytest

from dev.paystack import Sandbox
from dev.paystack.signature import sign

from .merchant import SECRET_KEY, Merchant, Receiver

VECTORS = json.loads(
    (Path(__file__).parents[1] / "fixtures" / "paystack" / "signature_vectors.json").read_text()
)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_a_known_body_gets_its_known_signature(vector: dict[str, str]) -> None:
    assert sign(vector["raw_body"].encode(), vector["secret"]) == vector["x_paystack_signature"]


async def test_a_delivery_carries_paystacks_headers_and_a_signature_over_its_bytes(
    merchant: Merchant, receiver: Receiver
) -> None:
    await merchant.paid()

    request = receiver.requests[0]
    expected = hmac.new(SECRET_KEY.encode(), request.content, hashlib.sha512).hexdigest()
    assert request.headers["x-paystack-signature"] == expected
    assert request.headers["user-agent"] == "Paystack/2.0"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["accept"] == "application/json, text/plain, */*"


async def test_a_control_answers_the_exact_text_that_was_sent(merchant: Merchant, receiver: Receiver) -> None:
    answer = await merchant.pay(await merchant.open())

    request = receiver.requests[0]
    assert answer["raw"].encode() == request.content
    assert answer["signature"] == request.headers["x-paystack-signature"]
    assert answer["event"] == json.loads(request.content)


async def test_a_reserialised_body_no_longer_fits_its_signature(merchant: Merchant) -> None:
    answer = await merchant.pay(await merchant.open(metadata={"referrer": "https://app.example/p"}))

    again = json.dumps(answer["event"], separators=(",", ":"), ensure_ascii=False).encode()
    assert sign(again, SECRET_KEY) != answer["signature"]


async def test_a_rotated_key_signs_what_comes_after(merchant: Merchant, sandbox: Sandbox) -> None:
    reference = await merchant.open()
    await merchant.post("/sandbox/rotate", secret_key="sk_test_next")

    answer = await merchant.pay(reference)

    assert answer["signature"] == sign(answer["raw"].encode(), "sk_test_next")
    assert (await merchant.http.get("/transaction")).status_code == 401
    assert sandbox.outbox.secret_key == "sk_test_next"
