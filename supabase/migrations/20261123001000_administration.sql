-- What administrators see and do about payments and events. Each function looks the caller up itself.

-- ------------------------------------------------------------------ packages

create function public.save_package(id text, name text, credits bigint, amount bigint, currency text, active boolean default true)
returns public.credit_packages
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_package public.credit_packages;
begin
  perform keyfund.check_administrator();
  insert into public.credit_packages (id, name, credits, amount, currency, active)
  values (save_package.id, save_package.name, save_package.credits, save_package.amount, save_package.currency, save_package.active)
  on conflict (id) do update
  set name = excluded.name, credits = excluded.credits, amount = excluded.amount, currency = excluded.currency,
      active = excluded.active
  returning * into v_package;
  perform keyfund.note('package_saved', null, null, to_jsonb(v_package) - 'created_at');
  return v_package;
exception when check_violation or not_null_violation then
  perform keyfund.refuse(400, 'invalid_package',
    'id: small letters, digits, hyphens; credits and amount (in subunits): above 0; currency: three capital letters.');
end;
$$;
comment on function public.save_package(text, text, bigint, bigint, text, boolean) is
  'Adds a package or changes one; active false retires it. Orders that were made keep their price and credits.';

-- ------------------------------------------------------------------ payments

create function keyfund.describe_payment(p_payment public.transactions) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'reference', p_payment.reference, 'order_id', p_payment.order_id, 'user_id', p_payment.user_id,
    'email', p.email, 'account_status', p.status, 'package_id', p_payment.package_id,
    'status', p_payment.status, 'review_reason', p_payment.review_reason, 'decided_at', p_payment.decided_at,
    'credits', p_payment.credits, 'amount', p_payment.amount, 'currency', p_payment.currency,
    'provider_id', p_payment.provider_id, 'provider_status', p_payment.provider_status,
    'paid_amount', p_payment.paid_amount, 'paid_currency', p_payment.paid_currency, 'paid_at', p_payment.paid_at,
    'refunded_amount', p_payment.refunded_amount, 'withheld_credits', p_payment.withheld_credits,
    'next_verify_at', p_payment.next_verify_at,
    'timeline', jsonb_build_object(
      'ordered', p_payment.created_at, 'webhook', p_payment.webhook_at, 'verified', p_payment.verified_at,
      'credited', p_payment.credited_at, 'pushed', p_payment.pushed_at, 'effective', p_payment.effective_at))
  from public.profiles p where p.id = p_payment.user_id;
$$;

create index transactions_created_at_idx on public.transactions (created_at, id);
create index transactions_needs_review_idx on public.transactions (created_at) where status = 'needs_review';
create index transactions_refused_idx on public.transactions (decided_at) where decided_at is not null and credited_at is null;

create function public.find_payments(
  search text default null, status text default null, before_reference text default null, page_size integer default 50
) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_search text := nullif(btrim(find_payments.search), '');
begin
  perform keyfund.check_administrator();
  return coalesce((
    select jsonb_agg(keyfund.describe_payment(found.payment) order by (found.payment).created_at desc, (found.payment).id desc)
    from (
      select t as payment from public.transactions t
      where (v_search is null or t.reference = v_search or t.provider_id::text = v_search or t.user_id in (
          select p.id from public.profiles p where p.id::text = lower(v_search) or p.email = lower(v_search)))
        and (find_payments.status is null or t.status = find_payments.status)
        and (find_payments.before_reference is null or (t.created_at, t.id) < (
          select last.created_at, last.id from public.transactions last where last.reference = find_payments.before_reference))
      order by t.created_at desc, t.id desc
      limit least(greatest(find_payments.page_size, 1), 200)
    ) found), '[]');
end;
$$;
comment on function public.find_payments(text, text, text, integer) is
  'For administrators: payments, newest first, by reference, Paystack''s id, e-mail or account id. before_reference: the last one of the page before.';

create function public.read_payment(reference text) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_payment public.transactions;
begin
  perform keyfund.check_administrator();
  select t.* into v_payment from public.transactions t where t.reference = read_payment.reference;
  if v_payment.id is null then
    perform keyfund.refuse(404, 'payment_not_found', 'No order of ours has this reference.');
  end if;
  return keyfund.describe_payment(v_payment) || jsonb_build_object(
    'attempts', (
      select jsonb_agg(jsonb_build_object('reference', t.reference, 'status', t.status) order by t.created_at)
      from public.transactions t where t.order_id = v_payment.order_id),
    'events', coalesce((
      select jsonb_agg(keyfund.describe_event(e) order by e.id)
      from keyfund.paystack_events e where e.reference = v_payment.reference), '[]'),
    'disputes', coalesce((
      select jsonb_agg(to_jsonb(d) - 'transaction_id' order by d.id)
      from keyfund.disputes d where d.transaction_id = v_payment.id), '[]'),
    'ledger', coalesce((
      select jsonb_agg(jsonb_build_object('delta', l.delta, 'kind', l.kind, 'reason', l.reason, 'created_at', l.created_at) order by l.id)
      from public.credit_ledger l
      where l.user_id = v_payment.user_id and l.kind in ('purchase', 'withheld') and split_part(l.cause, ':', 2) = v_payment.reference), '[]'));
end;
$$;
comment on function public.read_payment(text) is 'For administrators: all that is known of one payment: times, events, disputes, ledger entries.';

-- --------------------------------------------------------------------- inbox

create function keyfund.describe_event(p_event keyfund.paystack_events) returns jsonb
language sql stable set search_path = '' as $$
  -- Never the body: it holds card authorisations and other people's data.
  select to_jsonb(p_event) - 'body' - 'lease_token' - 'fingerprint'
    || jsonb_build_object('facts', keyfund.facts_of(p_event.body));
$$;

create index paystack_events_outcome_idx on keyfund.paystack_events (outcome, id) where outcome = 'not_ours';

create function public.list_events(
  only_kind text default null, reference text default null, before_id bigint default null, page_size integer default 50
) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
begin
  perform keyfund.check_administrator();
  if list_events.only_kind not in ('waiting', 'failing', 'unknown') then
    perform keyfund.refuse(400, 'invalid_kind', 'only_kind is waiting, failing or unknown.');
  end if;
  return coalesce((
    select jsonb_agg(keyfund.describe_event(found.event) order by (found.event).id desc)
    from (
      select e as event from keyfund.paystack_events e
      where (list_events.reference is null or e.reference = list_events.reference)
        and (list_events.before_id is null or e.id < list_events.before_id)
        and case list_events.only_kind
          when 'waiting' then e.handled_at is null
          when 'failing' then e.handled_at is null and e.attempts > 0
          when 'unknown' then e.outcome = 'not_ours'
          else true end
      order by e.id desc
      limit least(greatest(list_events.page_size, 1), 200)
    ) found), '[]');
end;
$$;
comment on function public.list_events(text, text, bigint, integer) is
  'For administrators: Paystack''s events, newest first. waiting: not handled; failing: tried in vain; unknown: about no order of ours.';

create function keyfund.replay_events(
  p_ids bigint[], p_reference text, p_from timestamptz, p_until timestamptz, p_failing boolean
) returns integer
language plpgsql set search_path = '' as $$
declare
  v_replayed integer;
begin
  if p_ids is null and p_reference is null and p_from is null and p_until is null and not coalesce(p_failing, false) then
    perform keyfund.refuse(400, 'nothing_chosen', 'Name events, a payment, a time range, or all that fail.');
  end if;
  -- One that is being handled right now is left to whoever handles it, and not counted.
  update keyfund.paystack_events
  set handled_at = null, outcome = null, next_attempt_at = now(), lease_token = null
  where (p_ids is null or id = any(p_ids)) and (p_reference is null or reference = p_reference)
    and (p_from is null or received_at >= p_from) and (p_until is null or received_at < p_until)
    and (not coalesce(p_failing, false) or (handled_at is null and attempts > 0))
    and (handled_at is not null or lease_token is null or next_attempt_at <= now());
  get diagnostics v_replayed = row_count;
  return v_replayed;
end;
$$;
comment on function keyfund.replay_events(bigint[], text, timestamptz, timestamptz, boolean) is
  'Has stored events handled again. That is always safe: an event is a reason to ask Paystack, never an amount.';

create function public.replay_events(
  event_ids bigint[] default null, reference text default null, received_from timestamptz default null,
  received_until timestamptz default null, only_failing boolean default false
) returns integer
language plpgsql security definer set search_path = '' as $$
declare
  v_replayed integer;
begin
  perform keyfund.check_administrator();
  v_replayed := keyfund.replay_events(event_ids, reference, received_from, received_until, only_failing);
  perform keyfund.note('events_replayed', null, null, jsonb_build_object('events', v_replayed));
  return v_replayed;
end;
$$;
comment on function public.replay_events(bigint[], text, timestamptz, timestamptz, boolean) is
  'For administrators: has these events handled again; returns how many. All conditions that are given must hold.';

create function public.replay_inbox(
  p_ids bigint[], p_reference text, p_from timestamptz, p_until timestamptz, p_failing boolean
) returns integer
language sql security definer set search_path = '' as $$
  select keyfund.replay_events(p_ids, p_reference, p_from, p_until, p_failing);
$$;
comment on function public.replay_inbox(bigint[], text, timestamptz, timestamptz, boolean) is 'The service''s door to the same, for python -m operate replay.';

-- -------------------------------------------------------------------- pushes

create function public.resync_account(account_id uuid) returns void
language plpgsql security definer set search_path = '' as $$
begin
  perform keyfund.check_administrator();
  perform from public.profiles where id = account_id for update;
  if not found then
    perform keyfund.refuse(404, 'account_not_found', 'There is no such account.');
  end if;
  perform keyfund.touch_account(account_id);
  update public.virtual_keys
  set revision = (select a.revision from keyfund.accounts a where a.user_id = account_id), sync_status = 'pending',
      next_attempt_at = now(), last_error = null, refusals = 0
  where user_id = account_id and sync_status = 'failed' and state <> 'placeholder';
  perform keyfund.note('account_resynced', account_id);
end;
$$;
comment on function public.resync_account(uuid) is
  'For administrators: has an account''s wallet and its failed keys pushed again, parked or not.';

-- --------------------------------------------------------- accounts and keys

create function keyfund.any_key(p_key_id uuid) returns public.virtual_keys
language plpgsql set search_path = '' as $$
declare
  v_key public.virtual_keys;
begin
  perform keyfund.check_administrator();
  perform keyfund.lock_account((select user_id from public.virtual_keys where id = p_key_id));
  select * into v_key from public.virtual_keys where id = p_key_id and state <> 'placeholder' for update;
  if v_key.id is null then
    perform keyfund.refuse(404, 'key_not_found', 'There is no such key.');
  elsif v_key.state = 'revoked' then
    perform keyfund.refuse(409, 'key_revoked', 'This key is revoked for good.');
  elsif v_key.successor_id is not null then
    perform keyfund.refuse(409, 'key_retiring', 'This is the former string of a rotated key: choose the key itself.');
  end if;
  return v_key;
end;
$$;

create function keyfund.describe_key(p_key public.virtual_keys) returns jsonb
language sql stable set search_path = '' as $$
  -- Nothing of the key itself: that is its owner's.
  select jsonb_build_object(
    'id', p_key.id, 'user_id', p_key.user_id, 'name', p_key.name, 'state', p_key.state, 'blocked_by', p_key.blocked_by,
    'cap', p_key.cap, 'max_budget', p_key.max_budget, 'budget_duration', p_key.budget_duration,
    'rpm_limit', p_key.rpm_limit, 'tpm_limit', p_key.tpm_limit, 'most_max_budget', p_key.most_max_budget,
    'most_rpm_limit', p_key.most_rpm_limit, 'most_tpm_limit', p_key.most_tpm_limit, 'successor_id', p_key.successor_id,
    'retires_at', p_key.retires_at, 'sync_status', p_key.sync_status,
    'last_synced_at', p_key.last_synced_at, 'last_error', p_key.last_error, 'next_attempt_at', p_key.next_attempt_at,
    'created_at', p_key.created_at, 'updated_at', p_key.updated_at, 'revoked_at', p_key.revoked_at);
$$;
comment on function keyfund.describe_key(public.virtual_keys) is 'A key as administrators see it.';

create function public.hold_virtual_key(key_id uuid, reason text) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_key public.virtual_keys := keyfund.any_key(key_id);
begin
  perform keyfund.give_reason(reason);
  return keyfund.describe_key(keyfund.set_state(v_key, 'blocked', 'administrator', 'key_blocked'));
end;
$$;
comment on function public.hold_virtual_key(uuid, text) is 'For administrators: stops anybody''s key until an administrator releases it.';

create function public.release_virtual_key(key_id uuid, reason text) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_key public.virtual_keys := keyfund.any_key(key_id);
begin
  perform keyfund.give_reason(reason);
  return keyfund.describe_key(keyfund.set_state(v_key, 'active', null, 'key_unblocked'));
end;
$$;
comment on function public.release_virtual_key(uuid, text) is 'For administrators: lets a blocked key work again, whoever blocked it.';

create function public.limit_virtual_key(
  key_id uuid, reason text, max_budget integer default null, rpm_limit integer default null, tpm_limit integer default null
) returns jsonb
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_key public.virtual_keys := keyfund.any_key(key_id);
begin
  perform keyfund.check_limits(null, limit_virtual_key.max_budget, limit_virtual_key.rpm_limit, limit_virtual_key.tpm_limit);
  perform keyfund.give_reason(reason);
  update public.virtual_keys
  set most_max_budget = limit_virtual_key.max_budget, most_rpm_limit = limit_virtual_key.rpm_limit,
      most_tpm_limit = limit_virtual_key.tpm_limit
  where v_key.id in (id, successor_id);
  select * into strict v_key from public.virtual_keys where id = v_key.id;
  perform keyfund.note('key_limited', v_key.user_id, v_key.id, jsonb_build_object('max_budget', v_key.most_max_budget,
    'rpm_limit', v_key.most_rpm_limit, 'tpm_limit', v_key.most_tpm_limit));
  return keyfund.describe_key(v_key);
end;
$$;
comment on function public.limit_virtual_key(uuid, text, integer, integer, integer) is
  'For administrators: ceilings for one key, beyond which its owner cannot go; what is left out has none.';

create function keyfund.set_status(p_account_id uuid, p_status text, p_reason text) returns void
language plpgsql set search_path = '' as $$
begin
  perform keyfund.check_administrator();
  perform keyfund.give_reason(p_reason);
  update public.profiles set status = p_status, updated_at = now() where id = p_account_id and status <> 'deleted';
  if not found then
    perform keyfund.refuse(404, 'account_not_found', 'There is no such account.');
  end if;
end;
$$;

create function public.suspend_account(account_id uuid, reason text) returns void
language sql security definer set search_path = '' as $$
  select keyfund.set_status(account_id, 'suspended', reason);
$$;
comment on function public.suspend_account(uuid, text) is
  'For administrators: the wallet in LiteLLM becomes 0, no keys, no checkout, until the account is reinstated.';

create function public.reinstate_account(account_id uuid, reason text) returns void
language sql security definer set search_path = '' as $$
  select keyfund.set_status(account_id, 'active', reason);
$$;
comment on function public.reinstate_account(uuid, text) is 'For administrators: lifts a suspension.';

create function public.note_refund(reference text, reason text) returns void
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
begin
  perform keyfund.check_administrator();
  perform keyfund.give_reason(note_refund.reason);
  perform keyfund.note('refund_asked', t.user_id, null, jsonb_build_object('reference', t.reference))
  from public.transactions t where t.reference = note_refund.reference;
end;
$$;
comment on function public.note_refund(text, text) is 'For administrators: writes down that a refund is asked of Paystack, before it is.';

revoke all on function public.find_payments(text, text, text, integer) from public, anon, authenticated, service_role;
revoke all on function public.read_payment(text) from public, anon, authenticated, service_role;
revoke all on function public.list_events(text, text, bigint, integer) from public, anon, authenticated, service_role;
revoke all on function public.replay_events(bigint[], text, timestamptz, timestamptz, boolean) from public, anon, authenticated, service_role;
revoke all on function public.replay_inbox(bigint[], text, timestamptz, timestamptz, boolean) from public, anon, authenticated, service_role;
revoke all on function public.resync_account(uuid) from public, anon, authenticated, service_role;
grant execute on function public.resync_account(uuid) to authenticated;
revoke all on function public.hold_virtual_key(uuid, text) from public, anon, authenticated, service_role;
grant execute on function public.hold_virtual_key(uuid, text) to authenticated;
revoke all on function public.release_virtual_key(uuid, text) from public, anon, authenticated, service_role;
grant execute on function public.release_virtual_key(uuid, text) to authenticated;
revoke all on function public.limit_virtual_key(uuid, text, integer, integer, integer) from public, anon, authenticated, service_role;
grant execute on function public.limit_virtual_key(uuid, text, integer, integer, integer) to authenticated;
revoke all on function public.suspend_account(uuid, text) from public, anon, authenticated, service_role;
grant execute on function public.suspend_account(uuid, text) to authenticated;
revoke all on function public.reinstate_account(uuid, text) from public, anon, authenticated, service_role;
grant execute on function public.reinstate_account(uuid, text) to authenticated;
revoke all on function public.note_refund(text, text) from public, anon, authenticated, service_role;
grant execute on function public.note_refund(text, text) to authenticated;
revoke all on function public.save_package(text, text, bigint, bigint, text, boolean) from public, anon, authenticated, service_role;
grant execute on function public.find_payments(text, text, text, integer) to authenticated;
grant execute on function public.read_payment(text) to authenticated;
grant execute on function public.list_events(text, text, bigint, integer) to authenticated;
grant execute on function public.replay_events(bigint[], text, timestamptz, timestamptz, boolean) to authenticated;
grant execute on function public.replay_inbox(bigint[], text, timestamptz, timestamptz, boolean) to service_role;
grant execute on function public.save_package(text, text, bigint, bigint, text, boolean) to authenticated;

revoke all on all tables in schema keyfund from public, anon, authenticated, service_role;
revoke all on all functions in schema keyfund from public, anon, authenticated, service_role;
