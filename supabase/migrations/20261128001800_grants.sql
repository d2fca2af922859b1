-- Which role may call which function. Nobody else may: each file has taken the right from everybody.

-- The closed schema: API roles have no usage on it, and no rights in it besides.
revoke all on all tables in schema keyfund from public, anon, authenticated, service_role;
revoke all on all sequences in schema keyfund from public, anon, authenticated, service_role;
revoke all on all functions in schema keyfund from public, anon, authenticated, service_role;

-- Signed in: each function looks at who calls it.
grant execute on function public.is_administrator, public.own_accounts, public.create_team,
  public.invite_member, public.cancel_invitation, public.accept_invitation, public.change_role,
  public.remove_member, public.leave_team, public.list_account_keys, public.read_balance, public.read_daily_balances,
  public.create_virtual_key, public.update_virtual_key, public.block_virtual_key, public.unblock_virtual_key,
  public.revoke_virtual_key, public.resync_virtual_key, public.read_limits, public.read_key_periods,
  public.rotate_virtual_key, public.set_rate, public.list_rates, public.save_package, public.list_packages,
  public.replay_events, public.resync_failed,
  public.read_resync, public.resync_account, public.list_failing_keys, public.read_usage,
  public.read_reconciliation, public.read_drift_report, public.find_accounts, public.suspend_account,
  public.reinstate_account, public.adjust_credits, public.find_payments, public.read_payment,
  public.read_receipt,
  public.decide_review, public.note_refund, public.read_key, public.hold_virtual_key,
  public.release_virtual_key, public.limit_virtual_key, public.resync_any_key, public.list_events,
  public.read_concerns, public.list_paid_after_deletion, public.read_own_backlog to authenticated;

-- The processes of Keyfund, with the secret key.
grant execute on function public.claim_probe, public.report_gateway, public.record_warnings,
  public.look_for_work, public.check_installation, public.claim_chore, public.finish_chore, public.record_litellm,
  public.record_route_proof, public.read_routes, public.read_limits, public.list_deletions,
  public.finish_deletions, public.forget_keys, public.record_key_spend, public.retire_keys,
  public.list_uncounted, public.count_share, public.heal_accounts, public.list_missing_triggers,
  public.record_rate, public.read_packages,
  public.open_order, public.repeat_order, public.record_checkout, public.refuse_checkout, public.get_payment,
  public.credit_payment, public.observe_payment, public.review_payment, public.claim_verifications,
  public.receive_events, public.claim_events, public.finish_event, public.fail_event, public.replay_inbox,
  public.redact_events, public.record_reversals, public.was_payment_heard_of, public.list_uncredited,
  public.list_changed_reversals, public.list_unmeasured, public.claim_pushes, public.claim_push,
  public.observe_spend, public.recheck_keys, public.finish_push, public.fail_push, public.release_push,
  public.settle_usage, public.claim_rollups, public.record_usage,
  public.open_books, public.read_books, public.read_book, public.read_payments, public.list_paid,
  public.record_reconciliation, public.open_drift, public.read_drift, public.read_drift_key, public.mend_drift,
  public.claim_drift_slice, public.finish_drift_slice, public.record_drift, public.find_adoptee,
  public.adopt_key, public.claim_invitation_mails, public.finish_invitation_mail,
  public.fail_invitation_mail, public.read_status to service_role;
