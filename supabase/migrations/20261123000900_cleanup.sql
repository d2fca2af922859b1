-- What is tidied up later: revoked keys leave LiteLLM after a day, personal data leaves the inbox after a month.

alter table keyfund.settings add column redact_events_after_days integer not null default 30
  check (redact_events_after_days > 0);
comment on column keyfund.settings.redact_events_after_days is
  'After so many days a handled event keeps its name, reference and amounts; card authorisations and personal data go.';

alter table public.virtual_keys add column deleted_at timestamptz;
comment on column public.virtual_keys.deleted_at is 'When the revoked key was deleted from LiteLLM, a day after it was blocked there.';
create index virtual_keys_to_delete_idx on public.virtual_keys (revoked_at) where state = 'revoked' and deleted_at is null;

create function public.list_deletions(p_limit integer) returns table (id uuid, key_hash text)
language sql stable security definer set search_path = '' as $$
  -- Not sooner: a create whose answer was lost may still land, and would bring a deleted key back to life.
  select k.id, k.key_hash from public.virtual_keys k
  where k.state = 'revoked' and k.deleted_at is null and k.sync_status = 'synced'
    and k.revoked_at < now() - interval '1 day' and k.last_synced_at < now() - interval '1 minute'
  order by k.revoked_at limit p_limit;
$$;
comment on function public.list_deletions(integer) is 'Keys that have been blocked in LiteLLM for a day.';

create function public.finish_deletions(p_ids uuid[]) returns void
language sql security definer set search_path = '' as $$
  update public.virtual_keys set deleted_at = now() where id = any(p_ids) and state = 'revoked' and deleted_at is null;
$$;
comment on function public.finish_deletions(uuid[]) is 'These are not in LiteLLM any more.';

create function keyfund.facts_of(p_body text) returns jsonb
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
      'id', 'status', 'domain', 'channel', 'amount', 'requested_amount', 'currency', 'fees', 'paid_at', 'paidAt', 'created_at',
      'refund_reference', 'refund_amount', 'resolution', 'transaction_id'));
exception when others then
  return '{}'; -- what Paystack signed need not be what jsonb takes: a NUL, for one
end;
$$;
comment on function keyfund.facts_of(text) is 'What an event says of the money: never of the person or the card.';

create function public.redact_events(p_limit integer) returns integer
language plpgsql security definer set search_path = '' as $$
declare
  v_redacted integer;
begin
  with old as (
    select e.id from keyfund.paystack_events e, keyfund.settings s
    where e.handled_at < now() - make_interval(days => s.redact_events_after_days) and e.redacted_at is null
    order by e.handled_at limit p_limit for update of e skip locked
  )
  update keyfund.paystack_events e
  set body = json_build_object('event', e.event, 'reference', e.reference, 'data', keyfund.facts_of(e.body))::text,
      redacted_at = now()
  from old where e.id = old.id;
  get diagnostics v_redacted = row_count;
  return v_redacted;
end;
$$;
comment on function public.redact_events(integer) is 'Takes personal data out of events that were handled long ago. Returns of how many.';

alter table keyfund.paystack_events add column redacted_at timestamptz;
create index paystack_events_to_redact_idx on keyfund.paystack_events (handled_at) where redacted_at is null;

revoke all on function public.list_deletions(integer) from public, anon, authenticated, service_role;
revoke all on function public.finish_deletions(uuid[]) from public, anon, authenticated, service_role;
revoke all on function public.redact_events(integer) from public, anon, authenticated, service_role;
grant execute on function public.list_deletions(integer) to service_role;
grant execute on function public.finish_deletions(uuid[]) to service_role;
grant execute on function public.redact_events(integer) to service_role;
