"""What requests and answers look like, for /openapi.json. Nothing here is anybody's."""

from typing import Any

Json = dict[str, Any]

KEY_ID = "6b0f6f0e-3c57-4a3a-9d8b-5f6f8f0e1a2b"
USER_ID = "0d4f4c7e-9a51-4b8e-8f0a-2c1d3e4f5a6b"
REFERENCE = "kf-1f2e3d4c5b6a79880716253443526170"
AT = "2026-11-24T09:30:00+00:00"

SYNC: Json = {
    "id": KEY_ID,
    "account_id": USER_ID,
    "user_id": USER_ID,
    "name": "laptop",
    "state": "active",
    "sync_status": "synced",
    "last_synced_at": AT,
    "last_error": None,
    "next_attempt_at": None,
}
FAILED: Json = SYNC | {
    "sync_status": "failed",
    "last_synced_at": None,
    "last_error": "litellm_unreachable: LiteLLM cannot be reached.",
    "next_attempt_at": AT,
}
LIMITS: Json = {
    "blocked_by": None,
    "cap": "fixed",
    "max_budget": 500,
    "budget_duration": "30d",
    "rpm_limit": 60,
    "tpm_limit": 10_000,
    "models": ["gpt-4o-mini"],
    "expires_at": "2027-01-01T00:00:00+00:00",
}
OTHERS_KEY: Json = FAILED | LIMITS
KEY: Json = SYNC | LIMITS | {"litellm_key_id": "sk-kf-an-example-that-opens-nothing", "former": None}
LISTED_KEY: Json = KEY | {"period": {"spent_cents": 120, "resets_at": "2026-12-01T00:00:00+00:00"}}
PENDING: Json = KEY | {"sync_status": "pending", "last_synced_at": None, "next_attempt_at": AT}
REVOKED: Json = PENDING | {"state": "revoked"}
INSTALLATION: Json = {
    "key_rpm_limit": 100,
    "key_tpm_limit": 10_000,
    "key_budget_duration": "30d",
    "key_max_parallel": 10,
    "most_rpm_limit": None,
    "most_tpm_limit": 100_000,
    "most_max_budget": None,
    "allowed_models": None,
    "account_rpm_limit": None,
    "account_tpm_limit": None,
    "account_max_parallel": 20,
    "keys_per_account": 20,
    "key_creations_per_hour": 100,
    "key_rotations_per_hour": 60,
    "key_changes_per_hour": 120,
    "key_unblocks_per_hour": 60,
    "key_resyncs_per_hour": 60,
    "open_orders_per_hour": 20,
}
LITELLM: Json = {"status": "connected", "base_url": "https://litellm.example.com"}

PACKAGE: Json = {
    "id": "starter-ngn",
    "name": "Starter",
    "credits": 500,
    "amount": 1_600_000,
    "currency": "NGN",
}
CHECKOUT: Json = {
    "reference": REFERENCE,
    "authorization_url": "https://checkout.paystack.com/0peioxfhpn",
    "access_code": "0peioxfhpn",
    "amount": 1_600_000,
    "currency": "NGN",
    "credits": 500,
}
TIMELINE: Json = {
    "ordered": AT,
    "webhook": AT,
    "verified": AT,
    "credited": AT,
    "pushed": AT,
    "effective": None,
}
PAYMENT: Json = {
    "reference": REFERENCE,
    "status": "success",
    "credits": 500,
    "amount": 1_600_000,
    "currency": "NGN",
    "authorization_url": None,
    "standing": "credited",
    "granted_credits": 500,
    "refunded_amount": 0,
    "refunding_amount": 0,
    "refunded_at": None,
    "refused": False,
    "waiting_for": "effective",
    "timeline": TIMELINE,
}
DETAIL: Json = {
    "reference": REFERENCE,
    "account_id": USER_ID,
    "user_id": USER_ID,
    "status": "success",
    "timeline": TIMELINE,
    "provider_id": 4_099_260_516,
    "paid_amount": 1_600_000,
    "refunded_amount": 0,
    "withheld_credits": 0,
    "attempts": [{"reference": REFERENCE, "status": "success"}],
    "events": [],
    "disputes": [],
    "ledger": [{"delta": 500, "kind": "purchase", "reason": None, "created_at": AT}],
}
USED: Json = {
    "requests": 3,
    "prompt_tokens": 24,
    "completion_tokens": 60,
    "spend_micros": 1440,
    "credits": 0.072,
}
USAGE: Json = {
    "source": "litellm",
    "as_of": AT,
    "time_zone": "UTC",
    "start_date": "2026-10-26",
    "end_date": "2026-11-24",
    "days": [{"date": "2026-11-24", "model": "mock-small", **USED}],
    "keys": [{"key_id": KEY_ID, "name": "laptop", **USED}],
    "total": USED,
}
USAGE_CSV = (
    "date,model,key_id,key_name,requests,prompt_tokens,completion_tokens,spend_micros,credits\r\n"
    f"2026-11-24,mock-small,{KEY_ID},laptop,3,24,60,1440,0.072\r\n"
)
ESTIMATE: Json = {
    "model": "mock-small",
    "prompt_tokens": 8,
    "completion_tokens": 20,
    "spend_micros": 480,
    "credits": 0.024,
    "source": {"tokens": "litellm", "cost": "litellm"},
    "rough": False,
    "cached": False,
}
BALANCE: Json = {
    "credits": 120,
    "after_top_up": 1000,
    "left_percent": 12,
    "notice": 20,
    "topped_up_at": AT,
}
RESYNC: Json = {
    "id": 7,
    "started_at": AT,
    "ended_at": AT,
    "accounts": 120,
    "keys": 340,
    "outstanding_accounts": 35,
    "outstanding_keys": 90,
    "failing_accounts": 2,
}
STATUS: Json = {
    "litellm": {
        "configured": True,
        "connected": True,
        "breaker": "closed",
        "last_ok_at": AT,
        "warnings": [],
    },
    "supabase": {"missing_triggers": []},
    "paystack": {"configured": True},
    "backlog": {"keys": 0, "events": 0, "parked": 0, "oldest_seconds": 0},
    "backlog_of": "account",
    "worker": {"last_seen": AT},
}
EVENT: Json = {"event": "charge.success", "data": {"reference": REFERENCE, "status": "success"}}
PAGE = '<!doctype html>\n<html lang="en"><head><title>Receipt</title></head><body>…</body></html>\n'
