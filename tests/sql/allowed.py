"""Who may do what in the exposed schema. A new table or function without its line here fails a test."""

OWNER, SERVICE = "owner", "service"
CALLERS = ("owner", "stranger", "anon", "service")
"""owner: whose row it is. stranger: anyone else signed in. service: the holder of the service key."""

VERBS = ("select", "insert", "update", "delete", "truncate", "references", "trigger")

TABLES: dict[str, dict[str, set[str]]] = {
    # What a stranger is let to select, row-level security empties.
    "profiles": {"select": {"owner", "stranger", "service"}},
    "virtual_keys": {"select": {"owner", "stranger", "service"}},
    "transactions": {"select": {"owner", "stranger", "service"}},
    "credit_ledger": {"select": {"owner", "stranger", "service"}},
    "credit_packages": {"select": {"owner", "stranger", "service"}},
    "audit_log": {"select": {"owner", "stranger", "service"}},
    "teams": {"select": {"owner", "stranger", "service"}},
    "members": {"select": {"owner", "stranger", "service"}},
    "invitations": {"select": {"owner", "stranger", "service"}},
}
"""By table: each verb that anyone may use, and who. Everything else is refused."""

SIGNED_IN = {"owner", "stranger"}
SERVICE_ALONE = {"service"}
NOBODY: set[str] = set()

FUNCTIONS: dict[str, set[str]] = {
    "handle_new_user": NOBODY,  # a trigger
    # What people do with their own keys; each looks for the caller's own row.
    "create_virtual_key": SIGNED_IN,
    "update_virtual_key": SIGNED_IN,
    "block_virtual_key": SIGNED_IN,
    "unblock_virtual_key": SIGNED_IN,
    "revoke_virtual_key": SIGNED_IN,
    "resync_virtual_key": SIGNED_IN,
    "rotate_virtual_key": SIGNED_IN,
    "is_administrator": SIGNED_IN,
    "own_accounts": SIGNED_IN,
    # What members do in their teams; each looks at what the caller is there.
    "create_team": SIGNED_IN,
    "invite_member": SIGNED_IN,
    "cancel_invitation": SIGNED_IN,
    "accept_invitation": SIGNED_IN,
    "change_role": SIGNED_IN,
    "remove_member": SIGNED_IN,
    "leave_team": SIGNED_IN,
    "list_account_keys": SIGNED_IN,
    "claim_invitation_mails": SERVICE_ALONE,
    "finish_invitation_mail": SERVICE_ALONE,
    "fail_invitation_mail": SERVICE_ALONE,
    # What people see of their own.
    "read_balance": SIGNED_IN,
    "read_daily_balances": SIGNED_IN,
    "read_key_periods": SIGNED_IN,
    "read_limits": SIGNED_IN | SERVICE_ALONE,
    "read_usage": SIGNED_IN,
    "read_own_backlog": SIGNED_IN,
    "read_receipt": SIGNED_IN,
    # Checkout and payments.
    "open_order": SERVICE_ALONE,
    "repeat_order": SERVICE_ALONE,
    "record_checkout": SERVICE_ALONE,
    "refuse_checkout": SERVICE_ALONE,
    "get_payment": SERVICE_ALONE,
    "credit_payment": SERVICE_ALONE,
    "observe_payment": SERVICE_ALONE,
    "review_payment": SERVICE_ALONE,
    "claim_verifications": SERVICE_ALONE,
    # The inbox of Paystack's events.
    "receive_events": SERVICE_ALONE,
    "claim_events": SERVICE_ALONE,
    "finish_event": SERVICE_ALONE,
    "fail_event": SERVICE_ALONE,
    # Pushes to LiteLLM.
    "claim_pushes": SERVICE_ALONE,
    "claim_push": SERVICE_ALONE,
    "observe_spend": SERVICE_ALONE,
    "recheck_keys": SERVICE_ALONE,
    "finish_push": SERVICE_ALONE,
    "fail_push": SERVICE_ALONE,
    "release_push": SERVICE_ALONE,
    "list_uncounted": SERVICE_ALONE,
    "count_share": SERVICE_ALONE,
    "retire_keys": SERVICE_ALONE,
    "claim_probe": SERVICE_ALONE,
    "report_gateway": SERVICE_ALONE,
    "record_warnings": SERVICE_ALONE,
    # Booking what was spent.
    "settle_usage": SERVICE_ALONE,
    "record_key_spend": SERVICE_ALONE,
    # What was used, by day.
    "claim_rollups": SERVICE_ALONE,
    "record_usage": SERVICE_ALONE,
    # Refunds, disputes, and what Paystack's lists show.
    "record_reversals": SERVICE_ALONE,
    "list_uncredited": SERVICE_ALONE,
    "list_changed_reversals": SERVICE_ALONE,
    "was_payment_heard_of": SERVICE_ALONE,
    "list_unmeasured": SERVICE_ALONE,
    # What administrators decide; each asks whether the caller is one.
    "decide_review": SIGNED_IN,
    "adjust_credits": SIGNED_IN,
    "save_package": SIGNED_IN,
    "list_packages": SIGNED_IN,
    "set_rate": SIGNED_IN,
    "list_rates": SIGNED_IN,
    "find_accounts": SIGNED_IN,
    "find_payments": SIGNED_IN,
    "read_payment": SIGNED_IN,
    "list_events": SIGNED_IN,
    "replay_events": SIGNED_IN,
    "hold_virtual_key": SIGNED_IN,
    "release_virtual_key": SIGNED_IN,
    "limit_virtual_key": SIGNED_IN,
    "suspend_account": SIGNED_IN,
    "reinstate_account": SIGNED_IN,
    "note_refund": SIGNED_IN,
    "resync_account": SIGNED_IN,
    "read_key": SIGNED_IN,
    "resync_any_key": SIGNED_IN,
    "list_failing_keys": SIGNED_IN,
    "resync_failed": SIGNED_IN,
    "read_resync": SIGNED_IN,
    "read_concerns": SIGNED_IN,
    "list_paid_after_deletion": SIGNED_IN,
    "read_reconciliation": SIGNED_IN,
    "read_drift_report": SIGNED_IN,
    # The operator's commands, and the books.
    "record_rate": SERVICE_ALONE,
    "read_packages": SERVICE_ALONE,
    "replay_inbox": SERVICE_ALONE,
    "claim_chore": SERVICE_ALONE,
    "finish_chore": SERVICE_ALONE,
    "open_books": SERVICE_ALONE,
    "read_books": SERVICE_ALONE,
    "read_book": SERVICE_ALONE,
    "read_payments": SERVICE_ALONE,
    "list_paid": SERVICE_ALONE,
    "record_reconciliation": SERVICE_ALONE,
    # Drift, and keys from before Keyfund.
    "open_drift": SERVICE_ALONE,
    "read_drift": SERVICE_ALONE,
    "read_drift_key": SERVICE_ALONE,
    "mend_drift": SERVICE_ALONE,
    "claim_drift_slice": SERVICE_ALONE,
    "finish_drift_slice": SERVICE_ALONE,
    "record_drift": SERVICE_ALONE,
    "find_adoptee": SERVICE_ALONE,
    "adopt_key": SERVICE_ALONE,
    # Which routes are open, and on which proofs.
    "record_litellm": SERVICE_ALONE,
    "record_route_proof": SERVICE_ALONE,
    "read_routes": SERVICE_ALONE,
    # Tidying up.
    "list_deletions": SERVICE_ALONE,
    "finish_deletions": SERVICE_ALONE,
    "redact_events": SERVICE_ALONE,
    "forget_keys": SERVICE_ALONE,
    # Running the thing.
    "heal_accounts": SERVICE_ALONE,
    "list_missing_triggers": SERVICE_ALONE,
    "look_for_work": SERVICE_ALONE,
    "check_installation": SERVICE_ALONE,
    "read_status": SERVICE_ALONE,
}
"""By function of `public`: who may execute it. No overloads: PostgREST could not tell them apart."""

CHANGED_BY_ADMINISTRATORS = (
    "for administrators, whom it looks up itself: no API role may write what it changes"
)
FOR_ADMINISTRATORS = "for administrators, whom it looks up itself: it shows what no API role may read"

CALLED_BY_PEOPLE = {
    "create_virtual_key": "makes the caller's own key",
    "update_virtual_key": "the caller's own keys alone",
    "block_virtual_key": "the caller's own keys alone",
    "unblock_virtual_key": "the caller's own keys alone",
    "revoke_virtual_key": "the caller's own keys alone",
    "rotate_virtual_key": "the caller's own keys alone",
    "resync_virtual_key": "the caller's own keys alone",
    "read_key_periods": "the caller's own keys alone",
    "read_limits": "the installation's limits, nothing of anybody",
    "read_balance": "the caller's accounts alone",
    "read_daily_balances": "accounts that the caller owns or administers alone",
    "read_own_backlog": "the caller's accounts alone",
    "read_usage": "the caller's accounts, as far as their role goes; another's for administrators",
    "own_accounts": "says what the caller is, nothing of anyone else",
    "create_team": "makes the caller's own team",
    "invite_member": "teams that the caller owns or administers alone",
    "cancel_invitation": "teams that the caller owns or administers alone",
    "accept_invitation": "for whoever has the token and has confirmed its address",
    "change_role": "teams that the caller owns or administers alone",
    "remove_member": "teams that the caller owns or administers alone",
    "leave_team": "the caller's own teams alone",
    "list_account_keys": "accounts that the caller owns or administers, without any key itself",
    "decide_review": CHANGED_BY_ADMINISTRATORS,
    "adjust_credits": CHANGED_BY_ADMINISTRATORS,
    "save_package": CHANGED_BY_ADMINISTRATORS,
    "list_packages": FOR_ADMINISTRATORS,
    "set_rate": CHANGED_BY_ADMINISTRATORS,
    "list_rates": FOR_ADMINISTRATORS,
    "find_accounts": FOR_ADMINISTRATORS,
    "find_payments": FOR_ADMINISTRATORS,
    "read_payment": FOR_ADMINISTRATORS,
    "list_events": FOR_ADMINISTRATORS,
    "replay_events": FOR_ADMINISTRATORS,
    "hold_virtual_key": CHANGED_BY_ADMINISTRATORS,
    "release_virtual_key": CHANGED_BY_ADMINISTRATORS,
    "limit_virtual_key": CHANGED_BY_ADMINISTRATORS,
    "suspend_account": CHANGED_BY_ADMINISTRATORS,
    "reinstate_account": CHANGED_BY_ADMINISTRATORS,
    "note_refund": CHANGED_BY_ADMINISTRATORS,
    "resync_account": CHANGED_BY_ADMINISTRATORS,
    "resync_failed": CHANGED_BY_ADMINISTRATORS,
    "read_key": FOR_ADMINISTRATORS,
    "resync_any_key": CHANGED_BY_ADMINISTRATORS,
    "list_failing_keys": FOR_ADMINISTRATORS,
    "read_resync": FOR_ADMINISTRATORS,
    "read_concerns": FOR_ADMINISTRATORS,
    "list_paid_after_deletion": FOR_ADMINISTRATORS,
    "read_reconciliation": FOR_ADMINISTRATORS,
    "read_drift_report": FOR_ADMINISTRATORS,
    "is_administrator": "says what the caller is, nothing of anyone else",
}
"""SECURITY DEFINER functions that signed-in people may call, of which Supabase's advisors warn (0029)."""

WITHOUT_INDEX = {
    "public.credit_packages.active": "a dozen rows that fit in one page",
    "keyfund.orders.rate_id": "rates are never deleted, and nobody looks orders up by their rate",
}
"""Columns of policies and foreign keys that need no index, and why."""
