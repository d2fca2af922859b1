-- Drift: whether LiteLLM still holds our keys and wallets as they should be; and taking over keys from before
-- Keyfund.

set local check_function_bodies = off; -- a function may name what a later file makes

create function keyfund.is_resting(p_push keyfund.pushes) returns boolean
language sql immutable set search_path = '' as $$
  -- Nothing due, or nothing but parked keys; then the last push ended with the wallet read as wanted.
  select p_push.confirmed_at is not null and p_push.lease_token is null and p_push.unsettled_until is null
    and p_push.refusals = 0
    and (p_push.revision = p_push.confirmed_revision or p_push.next_attempt_at is null);
$$;
comment on function keyfund.is_resting(keyfund.pushes) is
  'Whether LiteLLM should show this account''s wallet as wanted: nobody is pushing it, nothing is unsettled or on '
  'its way.';

create function keyfund.describe_drift(p_key public.virtual_keys, p_push keyfund.pushes) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'id', p_key.id, 'of_key', coalesce(p_key.successor_id, p_key.id), 'user_id', p_key.account_id, 'key_hash',
      p_key.key_hash, 'state', p_key.state,
    'budget_cents', keyfund.cap_cents(p_key), 'models', keyfund.models_of(p_key), 'expires_at', p_key.expires_at,
    'budget_duration', p_key.budget_duration,
    'rpm_limit', p_key.rpm_limit, 'tpm_limit', p_key.tpm_limit, 'revision', p_key.revision,
    'confirmed', p_key.confirmed_at is not null,
    'settled', p_key.confirmed_revision >= p_key.revision and p_key.confirmed_at is not null
      and p_key.unsettled_until is null,
    'parked', p_key.sync_status = 'failed' and p_key.next_attempt_at is null,
    'account_revision', p_push.revision, 'resting', keyfund.is_resting(p_push),
    'seen_micros', w.seen_micros, 'suspended', keyfund.is_suspended(p_key.account_id), 'fences',
      keyfund.fences(),
    'installation_id', s.installation_id, 'account_rpm_limit', s.account_rpm_limit, 'account_tpm_limit',
      s.account_tpm_limit)
  -- The account's wallet is compared once: at the first of its keys that LiteLLM should show.
  || case when p_key.state in ('active', 'blocked') and p_key.confirmed_at is not null and not exists (
      select from public.virtual_keys o
      where o.account_id = p_key.account_id and o.key_hash < p_key.key_hash and o.state in ('active', 'blocked')
        and o.confirmed_at is not null)
    then jsonb_build_object('leads', true, 'budget_micros', keyfund.budget_micros(w))
    else jsonb_build_object('leads', false, 'budget_micros', 0) end
  from keyfund.settings s, keyfund.wallets w where w.account_id = p_key.account_id;
$$;

create function public.open_drift() returns jsonb
language sql stable security definer set search_path = '' as $$
  select jsonb_build_object('at', clock_timestamp(),
    'installation_id', (select installation_id from keyfund.settings),
    'keys', (select count(*) from public.virtual_keys k
      where k.key_hash is not null and k.created_at <= now()));
$$;
comment on function public.open_drift() is
  'Now, our mark in LiteLLM, and how many keys there are: what a comparison must have seen at its end.';

create function public.read_drift(p_after text, p_limit integer, p_before timestamptz) returns jsonb
language sql stable security definer set search_path = '' as $$
  -- One value, not a set of rows: a limit on rows anywhere on the way could cut a set short unseen.
  select coalesce(jsonb_agg(keyfund.describe_drift(page.k, page.p) order by (page.k).key_hash), '[]')
  from (
    select k, p from public.virtual_keys k join keyfund.pushes p using (account_id)
    where k.key_hash > coalesce(p_after, '') and k.created_at <= p_before
    order by k.key_hash limit p_limit) page;
$$;
comment on function public.read_drift(text, integer, timestamptz) is
  'A page of keys after that hash, in the order of their hashes: what LiteLLM should show of each, and of its '
  'account''s wallet.';

create function public.read_drift_key(p_key_hash text) returns jsonb
language sql stable security definer set search_path = '' as $$
  select keyfund.describe_drift(k, p) from public.virtual_keys k join keyfund.pushes p using (account_id)
  where k.key_hash = p_key_hash;
$$;
comment on function public.read_drift_key(text) is 'The same of one key; null: it is none of ours.';

create function public.mend_drift(p_account_id uuid, p_revision bigint, p_key_hash text) returns boolean
language plpgsql security definer set search_path = '' as $$
declare
  v_push keyfund.pushes;
  v_key public.virtual_keys;
begin
  -- account before key, everywhere
  select * into v_push from keyfund.pushes where account_id = p_account_id for no key update;
  if v_push.revision is distinct from p_revision or not keyfund.is_resting(v_push) then
    return false;
  end if;
  select * into v_key from public.virtual_keys where key_hash = p_key_hash and account_id = p_account_id;
  perform keyfund.touch_account(p_account_id, coalesce(v_key.state in ('blocked', 'revoked'), false)
    or keyfund.is_suspended(p_account_id));
  -- Where one thing was changed behind our back others may be: the push reads all keys that were confirmed.
  update public.virtual_keys
  set confirmed_revision = revision - 1, sync_status = 'pending', next_attempt_at = now(),
      deleted_at = case when key_hash = p_key_hash then null else deleted_at end -- it came back: it is deleted again
  where account_id = p_account_id and state <> 'placeholder' and confirmed_at is not null
    and confirmed_revision >= revision;
  return true;
end;
$$;
comment on function public.mend_drift(uuid, bigint, text) is
  'Makes an account due whose key or wallet LiteLLM holds otherwise than wanted; the ordinary push mends it. '
  'False: it has changed since it was read, or is on its way.';

-- --------------------------------------------------------------------- slices
-- All keys are compared with LiteLLM all day, a slice at a time: what LiteLLM lost shows within minutes. The chore
-- compare_keys says where the round stands; it survives restarts, and one worker at a time has it.

create function public.claim_drift_slice(p_lease_seconds integer) returns jsonb
language sql security definer set search_path = '' as $$
  select chore - 'asked_at' - 'state' || jsonb_build_object('at', chore -> 'asked_at',
    'page', coalesce((chore #> '{state,page}')::integer, 1), 'after', coalesce(chore #>> '{state,after}', ''),
    'report', nullif(chore #> '{state,report}', 'null'),
    'installation_id', (select installation_id from keyfund.settings))
  from public.claim_chore('compare_keys', p_lease_seconds) chore where chore is not null;
$$;
comment on function public.claim_drift_slice(integer) is
  'Leases the next slice of keys to compare; null: another worker has it, it is not due yet, or the breaker is '
  'open.';

create function public.finish_drift_slice(
  p_token uuid, p_page integer, p_after text, p_report jsonb, p_ends_round boolean, p_pause_seconds double precision
) returns boolean
language plpgsql security definer set search_path = '' as $$
begin
  if not public.finish_chore('compare_keys', p_token, case when p_ends_round then '{}'
    else jsonb_build_object('page', p_page, 'after', p_after, 'report', p_report) end, p_pause_seconds) then
    return false;
  end if;
  if p_ends_round then
    insert into keyfund.drift_reports (began_at, complete, differences, report)
    values ((p_report ->> 'began_at')::timestamptz, true, (p_report ->> 'differences')::integer, p_report);
    -- There are hundreds of rounds a day: of those that found nothing the latest is kept.
    delete from keyfund.drift_reports d
    where d.id < (select max(id) from keyfund.drift_reports) and (d.complete and d.differences = 0
      or d.id <= (select id from keyfund.drift_reports order by id desc offset 100 limit 1));
  end if;
  return true;
end;
$$;
comment on function public.finish_drift_slice(uuid, integer, text, jsonb, boolean, double precision) is
  'Where the next slice begins, and after how long; at a round''s end its report is kept. False: another worker '
  'has the slice now.';

-- -------------------------------------------------------------------- results

create table keyfund.drift_reports (
  id bigint generated always as identity primary key,
  began_at timestamptz not null,
  ended_at timestamptz not null default now(),
  complete boolean not null,
  differences integer not null,
  report jsonb not null
);
comment on table keyfund.drift_reports is
  'What each comparison of keys with LiteLLM found; the last hundred are kept.';
alter table keyfund.drift_reports enable row level security;

create function public.record_drift(p_began_at timestamptz, p_complete boolean, p_differences integer, p_report jsonb)
returns void
language sql security definer set search_path = '' as $$
  insert into keyfund.drift_reports (began_at, complete, differences, report)
  values (p_began_at, p_complete, p_differences, p_report);
  delete from keyfund.drift_reports where id <= (
    select id from keyfund.drift_reports order by id desc offset 100 limit 1);
$$;
comment on function public.record_drift(timestamptz, boolean, integer, jsonb) is
  'Keeps a comparison for administrators.';

create function public.read_drift_report() returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
begin
  perform keyfund.check_administrator();
  perform keyfund.note('drift_report_read', null);
  return (select to_jsonb(r) from keyfund.drift_reports r order by r.id desc limit 1);
end;
$$;
comment on function public.read_drift_report() is
  'For administrators: the last comparison of keys with LiteLLM, and each difference by name.';

-- ----------------------------------------------------------- keys from before

create function public.find_adoptee(p_account text, p_key_hash text, p_owner text) returns jsonb
language sql stable security definer set search_path = '' as $$
  select jsonb_build_object(
    'accounts', coalesce((
      select jsonb_agg(jsonb_build_object('user_id', p.id, 'status', p.status)) from public.profiles p
      where p.email = lower(p_account)
        or p.id = case when p_account ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then p_account::uuid end),
          '[]'),
    'holder', (select k.account_id from public.virtual_keys k where k.key_hash = p_key_hash),
    'owner_is_ours', exists (select from public.profiles p where p.id::text = p_owner),
    'fences', keyfund.fences());
$$;
comment on function public.find_adoptee(text, text, text) is
  'Which accounts have this id or e-mail address, which one has this key, and whether LiteLLM''s owner of it is '
  'an account.';

create function public.adopt_key(
  p_user_id uuid, p_key_hash text, p_key text, p_preview text, p_name text,
  p_max_budget integer, p_budget_duration text, p_rpm_limit integer, p_tpm_limit integer, p_blocked boolean,
  p_models text[] default null, p_expires_at timestamptz default null
) returns boolean
language plpgsql security definer set search_path = '' as $$
begin
  perform keyfund.check_limits(p_name, p_max_budget, p_rpm_limit, p_tpm_limit);
  perform keyfund.open_account(p_user_id);
  -- Confirmed: LiteLLM has it, so it is never created again. Not synced: the push makes it the account's.
  insert into public.virtual_keys (user_id, name, litellm_key_id, key_hash, key_preview, state, blocked_by, cap,
    max_budget, budget_duration, rpm_limit, tpm_limit, models, expires_at, confirmed_at)
  values (p_user_id, btrim(p_name), p_key, p_key_hash, p_preview,
    case when p_blocked then 'blocked' else 'active' end, case when p_blocked then 'administrator' end,
    case when p_max_budget is null then 'wallet' else 'fixed' end, p_max_budget,
    p_budget_duration, p_rpm_limit, p_tpm_limit, p_models, p_expires_at, now())
  on conflict on constraint virtual_keys_key_hash_key do nothing;
  if found then
    return true;
  end if;
  if not exists (select from public.virtual_keys where key_hash = p_key_hash and account_id = p_user_id) then
    perform keyfund.refuse('key_taken');
  end if;
  return false;
end;
$$;
comment on function public.adopt_key(uuid, text, text, text, text, integer, text, integer, integer, boolean, text[],
  timestamptz) is
  'Makes a key that LiteLLM has already one of the account''s. p_key null: only its hash is known. False: it was '
  'one before.';

revoke all on function public.open_drift, public.read_drift, public.read_drift_key, public.mend_drift,
  public.claim_drift_slice, public.finish_drift_slice, public.record_drift, public.read_drift_report,
  public.find_adoptee, public.adopt_key from public, anon, authenticated, service_role;
