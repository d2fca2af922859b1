-- What failed, pushed once more: an account, or everything in batches.

set local check_function_bodies = off; -- a function may name what a later file makes

create table keyfund.resyncs (
  id bigint generated always as identity primary key,
  started_by uuid not null,
  started_at timestamptz not null default now(),
  continued_at timestamptz not null default now(),
  ended_at timestamptz,
  reached uuid not null default '00000000-0000-0000-0000-000000000000',
  accounts integer not null default 0,
  keys integer not null default 0
);
comment on table keyfund.resyncs is 'Each time an administrator had everything that failed pushed again.';
comment on column keyfund.resyncs.continued_at is
  'When the last batch was made due; one that stood still for a minute is not continued.';
comment on column keyfund.resyncs.ended_at is 'When all that had failed was due again; not: when it was pushed.';
comment on column keyfund.resyncs.reached is 'The account that the last batch ended with: batches go by account id.';
alter table keyfund.resyncs enable row level security;

create table keyfund.resynced_accounts (
  account_id uuid primary key references keyfund.accounts (id),
  resync_id bigint not null references keyfund.resyncs (id),
  revision bigint not null,
  key_ids uuid[] not null
);
comment on table keyfund.resynced_accounts is
  'What the last resync of an account made due: outstanding until its revision is confirmed.';
alter table keyfund.resynced_accounts enable row level security;
create index resynced_accounts_resync_id_idx on keyfund.resynced_accounts (resync_id);

create function keyfund.list_failing_accounts(p_after uuid, p_limit integer) returns setof uuid
language sql stable set search_path = '' as $$
  (select a.account_id from keyfund.pushes a
  where a.revision > a.confirmed_revision and (a.next_attempt_at is null or a.attempts > 0) and a.account_id > p_after
  order by a.account_id limit p_limit)
  union
  (select distinct k.account_id from public.virtual_keys k join keyfund.pushes a on a.account_id = k.account_id
  where k.sync_status = 'failed' and k.state <> 'placeholder' and k.account_id > p_after
  order by k.account_id limit p_limit)
  order by 1 limit p_limit;
$$;
comment on function keyfund.list_failing_accounts(uuid, integer) is
  'Accounts whose wallet is parked or failed at the last attempt, or which have a key that failed, by id.';

create function keyfund.resync_failing(p_account_id uuid, p_resync_id bigint) returns integer
language plpgsql set search_path = '' as $$
declare
  v_revision bigint := keyfund.touch_account(p_account_id);
  v_keys integer;
begin
  with due as (
    update public.virtual_keys
    set revision = v_revision, sync_status = 'pending', next_attempt_at = now(), last_error = null, attempts = 0,
      refusals = 0
    where account_id = p_account_id and sync_status = 'failed' and state <> 'placeholder'
    returning id
  )
  insert into keyfund.resynced_accounts as r (account_id, resync_id, revision, key_ids)
  select p_account_id, p_resync_id, v_revision, coalesce(array_agg(due.id), '{}') from due
  on conflict (account_id) do update
  set resync_id = excluded.resync_id, revision = excluded.revision, key_ids = excluded.key_ids
  returning cardinality(r.key_ids) into v_keys;
  return v_keys;
end;
$$;
comment on function keyfund.resync_failing(uuid, bigint) is
  'Makes an account that is locked, and those of its keys that failed, due now. Returns how many keys.';

create function keyfund.describe_resync(p_resync keyfund.resyncs) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'id', p_resync.id, 'started_at', p_resync.started_at, 'ended_at', p_resync.ended_at,
    'accounts', coalesce(p_resync.accounts, 0), 'keys', coalesce(p_resync.keys, 0));
$$;

create function public.resync_failed(resync_id bigint default null, batch_size integer default 200) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_resync keyfund.resyncs;
  v_limit integer := least(greatest(coalesce(resync_failed.batch_size, 200), 1), 1000);
  v_account_id uuid;
  v_handled integer := 0;
  v_more boolean := false;
begin
  perform keyfund.check_administrator();
  lock table keyfund.resyncs in share row exclusive mode; -- one batch at a time, whoever asks for it
  select * into v_resync from keyfund.resyncs r
  where case when resync_failed.resync_id is null
    then r.ended_at is null and r.continued_at > now() - interval '1 minute' else r.id = resync_failed.resync_id end
  order by r.id desc limit 1;
  if v_resync.id is null and resync_failed.resync_id is not null then
    perform keyfund.refuse('resync_not_found');
  elsif v_resync.id is null then
    insert into keyfund.resyncs (started_by) values ((select auth.uid())) returning * into v_resync;
  elsif v_resync.ended_at is not null then
    return keyfund.describe_resync(v_resync);
  end if;
  for v_account_id in select keyfund.list_failing_accounts(v_resync.reached, v_limit + 1) loop
    v_more := v_handled = v_limit;
    if v_handled = 0 then
      perform from keyfund.pushes where account_id = v_account_id for no key update;
    elsif not v_more then
      -- Never wait while holding another account: the next batch begins with this one.
      perform from keyfund.pushes where account_id = v_account_id for no key update skip locked;
      v_more := not found;
    end if;
    exit when v_more;
    v_resync.keys := v_resync.keys + keyfund.resync_failing(v_account_id, v_resync.id);
    v_resync.accounts := v_resync.accounts + 1;
    v_resync.reached := v_account_id;
    v_handled := v_handled + 1;
  end loop;
  update keyfund.resyncs r
  set accounts = v_resync.accounts, keys = v_resync.keys, reached = v_resync.reached, continued_at = now(),
      ended_at = case when v_more then null else now() end
  where r.id = v_resync.id returning * into v_resync;
  return keyfund.describe_resync(v_resync);
end;
$$;
comment on function public.resync_failed(bigint, integer) is
  'For administrators: makes the next batch of what failed or is parked due now, each account once per resync; '
  'ended_at null: there is more. Without an id: the resync under way, or a new one.';

create function public.read_resync() returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  v_resync keyfund.resyncs;
begin
  perform keyfund.check_administrator();
  select * into v_resync from keyfund.resyncs order by id desc limit 1;
  return keyfund.describe_resync(v_resync) || (
    select jsonb_build_object(
      'outstanding_accounts', count(*),
      'outstanding_keys', coalesce(sum((
        select count(*) from public.virtual_keys k where k.id = any(r.key_ids)
          and k.confirmed_revision < r.revision)), 0),
      'failing_accounts', count(*) filter (where a.next_attempt_at is null or a.attempts > 0 or exists (
        select from public.virtual_keys k
        where k.account_id = a.account_id and k.sync_status = 'failed' and k.state <> 'placeholder')))
    from keyfund.resynced_accounts r join keyfund.pushes a on a.account_id = r.account_id
    where r.resync_id = v_resync.id and a.confirmed_revision < r.revision);
end;
$$;
comment on function public.read_resync() is
  'For administrators: the last resync, how much of it LiteLLM has not confirmed yet, and how many accounts of '
  'that failed again.';

create function public.resync_account(account_id uuid) returns void
language plpgsql security definer set search_path = '' as $$
declare
  v_revision bigint;
begin
  perform keyfund.check_administrator();
  perform keyfund.lock_account(account_id);
  v_revision := keyfund.touch_account(account_id);
  if v_revision is null then
    perform keyfund.refuse('account_not_found');
  end if;
  update public.virtual_keys k
  set revision = v_revision, sync_status = 'pending', next_attempt_at = now(), last_error = null, refusals = 0
  where k.account_id = resync_account.account_id and sync_status = 'failed' and state <> 'placeholder';
  perform keyfund.note('account_resynced', account_id);
end;
$$;
comment on function public.resync_account(uuid) is
  'For administrators: has an account''s wallet and its failed keys pushed again, parked or not.';

create function public.list_failing_keys(after_key uuid default null, page_size integer default 50) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_found jsonb;
begin
  perform keyfund.check_administrator();
  v_found := coalesce((
    select jsonb_agg(keyfund.describe_key(found.key) order by (found.key).account_id, (found.key).id)
    from (
      select k as key from public.virtual_keys k
      where k.sync_status = 'failed' and k.state <> 'placeholder'
        and (after_key is null or (k.account_id, k.id) > (
          select last.account_id, last.id from public.virtual_keys last where last.id = after_key))
      order by k.account_id, k.id
      limit keyfund.page_size(page_size)
    ) found), '[]');
  perform keyfund.note_reading('keys_read', jsonb_array_length(v_found));
  return v_found;
end;
$$;
comment on function public.list_failing_keys(uuid, integer) is
  'For administrators: everybody''s keys whose last push failed, by account. after_key: the last one of the page '
  'before.';

revoke all on function public.resync_failed, public.read_resync, public.resync_account, public.list_failing_keys
  from public, anon, authenticated, service_role;
