-- No list is cut short unseen: a page is as long as was asked for, or refused; what is leased is what is handed over.

create function keyfund.page_size(p_size integer) returns integer
language plpgsql immutable set search_path = '' as $$
begin
  -- Cut down in silence, a page would look like the last one to whoever counts its rows.
  if p_size is null or p_size not between 1 and 200 then
    perform keyfund.refuse(400, 'invalid_page_size', 'page_size is between 1 and 200.');
  end if;
  return p_size;
end;
$$;
comment on function keyfund.page_size(integer) is 'How many rows a page has. A page with fewer is the last one.';

create or replace function public.find_payments(
  search text default null, status text default null, before_reference text default null, page_size integer default 50
) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_search text := nullif(btrim(find_payments.search), '');
  v_found jsonb;
begin
  perform keyfund.check_administrator();
  v_found := coalesce((
    select jsonb_agg(keyfund.describe_payment(found.payment) order by (found.payment).created_at desc, (found.payment).id desc)
    from (
      select t as payment from public.transactions t
      where (v_search is null or t.reference = v_search or t.provider_id::text = v_search or t.user_id in (
          select p.id from public.profiles p where p.id::text = lower(v_search) or p.email = lower(v_search)))
        and (find_payments.status is null or t.status = find_payments.status)
        and (find_payments.before_reference is null or (t.created_at, t.id) < (
          select last.created_at, last.id from public.transactions last where last.reference = find_payments.before_reference))
      order by t.created_at desc, t.id desc
      limit keyfund.page_size(find_payments.page_size)
    ) found), '[]');
  perform keyfund.note_reading('payments_read', jsonb_array_length(v_found));
  return v_found;
end;
$$;

create or replace function public.list_events(
  only_kind text default null, reference text default null, before_id bigint default null, page_size integer default 50
) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_found jsonb;
begin
  perform keyfund.check_administrator();
  if list_events.only_kind not in ('waiting', 'failing', 'unknown') then
    perform keyfund.refuse(400, 'invalid_kind', 'only_kind is waiting, failing or unknown.');
  end if;
  v_found := coalesce((
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
      limit keyfund.page_size(list_events.page_size)
    ) found), '[]');
  perform keyfund.note_reading('events_read', jsonb_array_length(v_found));
  return v_found;
end;
$$;

create or replace function public.list_failing_keys(after_key uuid default null, page_size integer default 50) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_found jsonb;
begin
  perform keyfund.check_administrator();
  v_found := coalesce((
    select jsonb_agg(keyfund.describe_key(found.key) order by (found.key).user_id, (found.key).id)
    from (
      select k as key from public.virtual_keys k
      where k.sync_status = 'failed' and k.state <> 'placeholder'
        and (after_key is null or (k.user_id, k.id) > (
          select last.user_id, last.id from public.virtual_keys last where last.id = after_key))
      order by k.user_id, k.id
      limit keyfund.page_size(page_size)
    ) found), '[]');
  perform keyfund.note_reading('keys_read', jsonb_array_length(v_found));
  return v_found;
end;
$$;

drop function public.find_accounts(text, integer);

create function public.find_accounts(
  search text default null, page_size integer default 50, after_account uuid default null
) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_search text := lower(nullif(btrim(find_accounts.search), ''));
  v_id uuid := case when v_search ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then v_search::uuid end;
  v_found jsonb;
begin
  perform keyfund.check_administrator();
  v_found := coalesce((
    select jsonb_agg(jsonb_build_object(
      'user_id', found.id, 'email', found.email, 'status', found.status, 'credits', found.credits,
      'suspended_at', found.suspended_at, 'banned_until', found.banned_until, 'created_at', found.created_at,
      'keys', (
        select count(*) from public.virtual_keys k
        where k.user_id = found.id and k.state in ('active', 'blocked') and k.successor_id is null),
      'failing_keys', (
        select count(*) from public.virtual_keys k
        where k.user_id = found.id and k.sync_status = 'failed' and k.state <> 'placeholder'),
      'wallet_confirmed', coalesce((
        select a.revision <= a.confirmed_revision from keyfund.accounts a where a.user_id = found.id), false))
      order by found.created_at desc, found.id desc)
    from (
      select p.* from public.profiles p
      where (v_search is null or p.id = v_id
          or (v_id is null and p.email ~>=~ v_search and p.email ~<~ (v_search || chr(1114111))))
        and (find_accounts.after_account is null or (p.created_at, p.id) < (
          select last.created_at, last.id from public.profiles last where last.id = find_accounts.after_account))
      order by p.created_at desc, p.id desc
      limit keyfund.page_size(find_accounts.page_size)
    ) found), '[]');
  perform keyfund.note_reading('accounts_read', jsonb_array_length(v_found), v_id);
  return v_found;
end;
$$;
comment on function public.find_accounts(text, integer, uuid) is
  'For administrators: accounts, newest first, by id or by how their address begins. after_account: the last of the page before.';

-- PostgREST hands over 1000 rows of a set at most. What it would leave out must not be leased.

create or replace function public.claim_events(p_limit integer, p_lease_seconds integer) returns setof jsonb
language sql security definer set search_path = '' as $$
  with due as (
    select id from keyfund.paystack_events
    where handled_at is null and next_attempt_at <= now()
    order by next_attempt_at limit least(p_limit, 1000) for update skip locked
  )
  update keyfund.paystack_events e
  set lease_token = gen_random_uuid(), next_attempt_at = now() + make_interval(secs => p_lease_seconds)
  from due where e.id = due.id
  returning jsonb_build_object('id', e.id, 'token', e.lease_token, 'event', e.event, 'reference', e.reference,
    'order', case when e.event = 'charge.success' then (
      select to_jsonb(t) from public.transactions t where t.reference = e.reference) end);
$$;

create or replace function public.claim_verifications(p_limit integer) returns setof jsonb
language sql security definer set search_path = '' as $$
  with due as (
    select id from public.transactions
    where next_verify_at <= now() and credited_at is null and status in ('pending', 'failed', 'abandoned', 'reversed')
    order by next_verify_at limit least(p_limit, 1000) for update skip locked
  )
  update public.transactions t set next_verify_at = now() + interval '2 minutes'
  from due where t.id = due.id
  returning to_jsonb(t);
$$;

create or replace function public.list_deletions(p_limit integer) returns table (id uuid, key_hash text)
language sql stable security definer set search_path = '' as $$
  -- Not sooner: a create whose answer was lost may still land, and would bring a deleted key back to life.
  select k.id, k.key_hash from public.virtual_keys k
  where k.state = 'revoked' and k.deleted_at is null and k.sync_status = 'synced'
    and k.revoked_at < now() - interval '1 day' and k.last_synced_at < now() - interval '1 minute'
  order by k.revoked_at limit least(p_limit, 1000);
$$;

revoke all on function public.find_payments(text, text, text, integer) from public, anon, authenticated, service_role;
revoke all on function public.list_events(text, text, bigint, integer) from public, anon, authenticated, service_role;
revoke all on function public.list_failing_keys(uuid, integer) from public, anon, authenticated, service_role;
revoke all on function public.find_accounts(text, integer, uuid) from public, anon, authenticated, service_role;
revoke all on function public.claim_events(integer, integer) from public, anon, authenticated, service_role;
revoke all on function public.claim_verifications(integer) from public, anon, authenticated, service_role;
revoke all on function public.list_deletions(integer) from public, anon, authenticated, service_role;
grant execute on function public.find_payments(text, text, text, integer) to authenticated;
grant execute on function public.list_events(text, text, bigint, integer) to authenticated;
grant execute on function public.list_failing_keys(uuid, integer) to authenticated;
grant execute on function public.find_accounts(text, integer, uuid) to authenticated;
grant execute on function public.claim_events(integer, integer) to service_role;
grant execute on function public.claim_verifications(integer) to service_role;
grant execute on function public.list_deletions(integer) to service_role;

revoke all on all functions in schema keyfund from public, anon, authenticated, service_role;
