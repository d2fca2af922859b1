-- What payment providers tell: events, stored before the provider is answered, handled afterwards.

set local check_function_bodies = off; -- a function may name what a later file makes

create function keyfund.kind_of(p_provider text, p_event text) returns text
language plpgsql immutable set search_path = '' as $$ -- sql would be planned anew for each event
begin
  return case
    when p_provider = 'paystack' and p_event = 'charge.success' then 'payment'
    when p_provider = 'paystack' and (p_event like 'refund.%' or p_event like 'charge.dispute.%') then 'reversal'
    else 'other' end;
end;
$$;
comment on function keyfund.kind_of(text, text) is
  'What an event is about, by the name that its provider gives it. The providers'' names are known here alone.';

create table keyfund.events (
  id bigint generated always as identity primary key,
  provider keyfund.provider not null,
  fingerprint text not null,
  event text not null,
  kind text not null constraint events_kind_check check (kind in ('payment', 'reversal', 'other')),
  reference text,
  body text not null,
  deliveries integer not null default 1,
  received_at timestamptz not null default now(),
  handled_at timestamptz,
  outcome text,
  attempts integer not null default 0,
  next_attempt_at timestamptz default now(),
  last_error text,
  lease_token uuid,
  redacted_at timestamptz,
  constraint events_fingerprint_key unique (provider, fingerprint)
);
comment on table keyfund.events is
  'Every signed event once: stored before the provider is answered, handled afterwards, kept.';
comment on column keyfund.events.fingerprint is
  'The same for the same event, however often it is sent. Of Paystack''s, which have no id: sha256 of their meaning '
  '(canonical JSON).';
comment on column keyfund.events.event is 'The event''s name, as its provider writes it.';
comment on column keyfund.events.kind is
  'What it is about: a payment, its reversal (a refund or a dispute), or something else.';
comment on column keyfund.events.next_attempt_at is
  'When it is handled (again); while it is being handled, when its lease ends; null: done.';
alter table keyfund.events enable row level security;
create index events_due_idx on keyfund.events (next_attempt_at) where handled_at is null;
create index events_reference_idx on keyfund.events (reference);
create index events_to_redact_idx on keyfund.events (handled_at) where redacted_at is null;
create index events_outcome_idx on keyfund.events (outcome, id) where outcome = 'not_ours';

create function keyfund.receive_event(
  p_provider text, p_fingerprint text, p_event text, p_reference text, p_body text, p_lease_seconds integer
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_id bigint;
  v_kind text := keyfund.kind_of(p_provider, p_event);
  v_token uuid := gen_random_uuid();
  v_order public.transactions;
begin
  insert into keyfund.events (provider, fingerprint, event, kind, reference, body, next_attempt_at, lease_token)
  values (p_provider, p_fingerprint, p_event, v_kind, p_reference, p_body,
    now() + make_interval(secs => p_lease_seconds), v_token)
  on conflict on constraint events_fingerprint_key do nothing
  returning id into v_id;
  if v_id is null then
    -- A repetition: the first is handled, being handled, or due. Never wait for it.
    update keyfund.events set deliveries = deliveries + 1
    where id = (
      select id from keyfund.events where provider = p_provider and fingerprint = p_fingerprint
      for update skip locked);
    return jsonb_build_object('new', false);
  end if;
  if v_kind = 'payment' then
    update public.transactions set webhook_at = now()
    where id = (
      select id from public.transactions
      where reference = p_reference and provider = p_provider and webhook_at is null
      for update skip locked)
    returning * into v_order;
  end if;
  return jsonb_build_object('new', true, 'id', v_id, 'token', v_token, 'kind', v_kind,
    'order', case when v_order.id is not null then to_jsonb(v_order) end);
end;
$$;
comment on function keyfund.receive_event(text, text, text, text, text, integer) is
  'Stores a signed event; its first receiver gets the lease to handle it right away.';

create function public.receive_events(p_provider text, p_events jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_event record;
  v_received jsonb := '{}';
begin
  -- In one order for everybody: two that store the same events would else wait for each other.
  for v_event in
    select * from jsonb_to_recordset(p_events) e(fingerprint text, event text, reference text, body text,
      lease_seconds integer)
    order by fingerprint
  loop
    v_received := v_received || jsonb_build_object(v_event.fingerprint,
      keyfund.receive_event(p_provider, v_event.fingerprint, v_event.event, v_event.reference, v_event.body,
        v_event.lease_seconds));
  end loop;
  return v_received;
end;
$$;
comment on function public.receive_events(text, jsonb) is
  'Stores signed events of a provider that came at the same time, in one transaction; answers with each one''s fate '
  'by fingerprint.';

create function public.claim_events(p_limit integer, p_lease_seconds integer) returns setof jsonb
language sql security definer set search_path = '' as $$
  with due as (
    select id from keyfund.events
    where handled_at is null and next_attempt_at <= now()
    order by next_attempt_at limit least(p_limit, 1000) for update skip locked
  )
  update keyfund.events e
  set lease_token = gen_random_uuid(), next_attempt_at = now() + make_interval(secs => p_lease_seconds)
  from due where e.id = due.id
  returning jsonb_build_object('id', e.id, 'token', e.lease_token, 'provider', e.provider, 'event', e.event,
    'kind', e.kind, 'reference', e.reference, 'order', case when e.kind = 'payment' then (
      select to_jsonb(t) from public.transactions t where t.reference = e.reference and t.provider = e.provider) end);
$$;
comment on function public.claim_events(integer, integer) is 'Leases events that are due.';

create function public.finish_event(p_id bigint, p_token uuid, p_outcome text) returns boolean
language plpgsql security definer set search_path = '' as $$
begin
  update keyfund.events
  set handled_at = now(), outcome = p_outcome, next_attempt_at = null, lease_token = null, last_error = null
  where id = p_id and lease_token = p_token and handled_at is null;
  return found;
end;
$$;
comment on function public.finish_event(bigint, uuid, text) is
  'Handled; outcome says with what effect. False: another process has it now.';

create function public.fail_event(p_id bigint, p_token uuid, p_error text) returns boolean
language plpgsql security definer set search_path = '' as $$
begin
  update keyfund.events
  set attempts = attempts + 1, last_error = p_error, next_attempt_at = now() + keyfund.backoff(attempts + 1, 300),
    lease_token = null
  where id = p_id and lease_token = p_token and handled_at is null;
  return found;
end;
$$;
comment on function public.fail_event(bigint, uuid, text) is
  'Not handled this time; tried again later, for as long as it takes.';

-- ---------------------------------------------------------------------- again

create function keyfund.replay_events(
  p_ids bigint[], p_reference text, p_from timestamptz, p_until timestamptz, p_failing boolean
) returns integer
language plpgsql set search_path = '' as $$
declare
  v_replayed integer;
begin
  if p_ids is null and p_reference is null and p_from is null and p_until is null
    and not coalesce(p_failing, false) then
    perform keyfund.refuse('nothing_chosen');
  end if;
  -- One that is being handled right now is left to whoever handles it, and not counted.
  update keyfund.events
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
  'Has stored events handled again. That is always safe: an event is a reason to ask the provider, never an amount.';

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
comment on function public.replay_inbox(bigint[], text, timestamptz, timestamptz, boolean) is
  'The service''s door to the same, for python -m operate replay.';

-- ------------------------------------------------------- personal data leaves

create function keyfund.paystack_facts(p_body text) returns jsonb
language plpgsql immutable set search_path = '' as $$
declare
  v_data jsonb;
begin
  v_data := p_body::jsonb -> 'data';
  if jsonb_typeof(v_data) <> 'object' then
    return '{}';
  end if;
  -- Plain values alone: whatever is nested may hold a person.
  return (
    select coalesce(jsonb_object_agg(fact.key, fact.value), '{}') from jsonb_each(v_data
      || jsonb_build_object('transaction_id', v_data #> '{transaction,id}')) fact
    where jsonb_typeof(fact.value) in ('number', 'string') and fact.key in (
      'id', 'status', 'domain', 'channel', 'amount', 'requested_amount', 'currency', 'fees', 'paid_at', 'paidAt',
        'created_at',
      'refund_reference', 'refund_amount', 'resolution', 'transaction_id'));
exception when others then
  return '{}'; -- what Paystack signed need not be what jsonb takes: a NUL, for one
end;
$$;
comment on function keyfund.paystack_facts(text) is
  'What an event of Paystack''s says of the money: never of the person or the card.';

create function keyfund.facts_of(p_event keyfund.events) returns jsonb
language sql immutable set search_path = '' as $$
  select case p_event.provider when 'paystack' then keyfund.paystack_facts(p_event.body) else '{}' end;
$$;
comment on function keyfund.facts_of(keyfund.events) is
  'What an event says of the money: never of the person or the card.';

create function public.redact_events(p_limit integer) returns integer
language plpgsql security definer set search_path = '' as $$
declare
  v_redacted integer;
begin
  with old as (
    select e.id from keyfund.events e, keyfund.settings s
    where e.handled_at < now() - make_interval(days => s.redact_events_after_days) and e.redacted_at is null
    order by e.handled_at limit p_limit for update of e skip locked
  )
  update keyfund.events e
  set body = json_build_object('event', e.event, 'reference', e.reference, 'data', keyfund.facts_of(e))::text,
      redacted_at = now()
  from old where e.id = old.id;
  get diagnostics v_redacted = row_count;
  return v_redacted;
end;
$$;
comment on function public.redact_events(integer) is
  'Takes personal data out of events that were handled long ago. Returns of how many.';

revoke all on function public.receive_events, public.claim_events, public.finish_event, public.fail_event,
  public.replay_events, public.replay_inbox, public.redact_events from public, anon, authenticated,
  service_role;
