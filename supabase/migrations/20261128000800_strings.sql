-- A key's strings. Rotation gives a key a new string; the former one lives on for a while, in a row of its own.
--
-- A cap holds over all strings of a key: while a former string lives the cap is divided, and what former strings
-- spent in a period counts until the period ends. LiteLLM counts each string on its own. So the max_budgets of all
-- strings of a key together never exceed its cap, in this order:
--   rotate_virtual_key   The former string keeps what it spent and half of what is left: its share. The new one waits.
--   push                 The former string's max_budget becomes its share, and is read back.
--   count_share          spend_settles_seconds later LiteLLM shows all that it had spent before that. The new
--                        string is pushed, with what the share, or the spend where it is more, leaves of the cap.
--   retire, revoke       The former string is blocked, and is read back. Its share stays taken.
--   count_share          spend_settles_seconds later its spend is final, but for calls that still run: it takes the
--                        place of the share, and the living string gets the rest. An hour later it is looked at again.
--   retire_keys          The period has ended: it counts no longer.
-- A cap that follows the wallet is not divided, because the wallet is one for all strings, unless there is a
-- ceiling.

set local check_function_bodies = off; -- a function may name what a later file makes

-- ----------------------------------------- what a string spent in this period

create table keyfund.key_spend (
  key_hash text primary key,
  spend_micros bigint not null,
  resets_at timestamptz
);
comment on table keyfund.key_spend is
  'What LiteLLM showed of a key string when its account''s spend was last settled. For people to see; nothing is '
  'decided by it.';
comment on column keyfund.key_spend.key_hash is
  'No foreign key: a rotation takes the string from its row before another row has it.';
comment on column keyfund.key_spend.spend_micros is 'Since the last reset of its cap.';
alter table keyfund.key_spend enable row level security;

create function keyfund.known_cents(p_key_hash text) returns integer
language sql stable set search_path = '' as $$
  select coalesce((
    select ceil(s.spend_micros / 10000.0)::integer from keyfund.key_spend s
    where s.key_hash = p_key_hash and coalesce(s.resets_at > now(), true)), 0);
$$;
comment on function keyfund.known_cents(text) is
  'What a string spent in this period as far as it is known, in US cents, rounded up.';

create function public.record_key_spend(p_keys jsonb) returns integer
language plpgsql security definer set search_path = '' as $$
declare
  v_changed integer;
begin
  insert into keyfund.key_spend as s (key_hash, spend_micros, resets_at)
  select distinct on (k.key_hash) k.key_hash, k.spend_micros, k.resets_at
  from jsonb_to_recordset(p_keys) as k (key_hash text, spend_micros bigint, resets_at timestamptz)
  join public.virtual_keys v on v.key_hash = k.key_hash
  order by k.key_hash
  on conflict (key_hash) do update set spend_micros = excluded.spend_micros, resets_at = excluded.resets_at
  where (s.spend_micros, s.resets_at) is distinct from (excluded.spend_micros, excluded.resets_at);
  get diagnostics v_changed = row_count;
  return v_changed;
end;
$$;
comment on function public.record_key_spend(jsonb) is
  'Keeps what LiteLLM showed of keys of ours; returns of how many it was new.';

create function public.read_key_periods() returns jsonb
language sql stable security definer set search_path = '' as $$
  -- Once a reset is due, what was spent before it says nothing any more.
  select coalesce(jsonb_object_agg(k.id, jsonb_build_object(
    'spent_cents', round(s.spend_micros / 10000.0)::bigint + (
      select coalesce(sum(f.share_cents), 0) from public.virtual_keys f
      where f.successor_id = k.id and f.period_ends_at is not null),
    'resets_at', s.resets_at)), '{}')
  from public.virtual_keys k join keyfund.key_spend s on s.key_hash = k.key_hash
  where k.user_id = (select auth.uid()) and k.state in ('active', 'blocked') and coalesce(s.resets_at > now(), true);
$$;
comment on function public.read_key_periods() is
  'What the caller''s keys have spent of their caps (US cents) as far as it is known, and when the caps begin '
  'anew, by key id.';

-- ----------------------------------------------------- the cap and its shares

create function keyfund.bound_cents(p_key public.virtual_keys) returns integer
language sql stable set search_path = '' as $$
  select case when p_key.cap = 'fixed' then p_key.max_budget
    else (select least(p_key.most_max_budget, s.most_max_budget) from keyfund.settings s) end;
$$;
comment on function keyfund.bound_cents(public.virtual_keys) is
  'What all strings of the key together may spend in a period, in US cents; null: the wallet alone bounds them.';

create function keyfund.taken_cents(p_key public.virtual_keys) returns integer
language sql stable set search_path = '' as $$
  select coalesce(sum(f.share_cents), 0)::integer from public.virtual_keys f
  where f.successor_id = coalesce(p_key.successor_id, p_key.id) and f.id <> p_key.id;
$$;
comment on function keyfund.taken_cents(public.virtual_keys) is
  'What the other, former strings of the key take of its cap, in US cents.';

create function keyfund.cap_cents(p_key public.virtual_keys) returns integer
language sql stable set search_path = '' as $$
  -- least() passes over nulls: a current string has no share.
  select case when keyfund.bound_cents(p_key) is null then p_key.max_budget
    else least(p_key.max_budget, p_key.share_cents, greatest(0,
      keyfund.bound_cents(p_key) - keyfund.taken_cents(p_key))) end;
$$;
comment on function keyfund.cap_cents(public.virtual_keys) is
  'The max_budget that LiteLLM must hold for the key''s string: the cap less what its other strings take of it.';

create function keyfund.divide_cap(p_former public.virtual_keys) returns integer
language sql stable set search_path = '' as $$
  select whole.cents - greatest(0, whole.cents - keyfund.known_cents(p_former.key_hash) + 1) / 2
  from (select greatest(0, keyfund.bound_cents(p_former) - keyfund.taken_cents(p_former)) as cents) whole;
$$;
comment on function keyfund.divide_cap(public.virtual_keys) is
  'The former string''s share: what it spent and half of what is left, in US cents; the odd cent is the new '
  'string''s.';

create function keyfund.repush_key(p_key_id uuid) returns void
language sql set search_path = '' as $$
  update public.virtual_keys k
  set revision = keyfund.touch_account(k.account_id), sync_status = 'pending', next_attempt_at = now()
  where k.id = p_key_id and k.state in ('active', 'blocked') and keyfund.bound_cents(k) is not null;
$$;
comment on function keyfund.repush_key(uuid) is
  'What its former strings take of a key''s cap has changed: LiteLLM must learn what is left.';

-- ------------------------------------------------------------------- rotation

create function public.rotate_virtual_key(
  key_id uuid, overlap_seconds integer default 3600
) returns public.virtual_keys
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_old public.virtual_keys;
  v_new public.virtual_keys;
  v_is_bounded boolean;
begin
  perform keyfund.open_account((select auth.uid()), (
    select k.account_id from public.virtual_keys k
    where k.id = rotate_virtual_key.key_id and k.user_id = (select auth.uid()))); -- before the key
  v_old := keyfund.own_current_key(key_id);
  if v_old.user_id <> (select auth.uid()) then
    perform keyfund.refuse('key_of_another');
  end if;
  if rotate_virtual_key.overlap_seconds is null or rotate_virtual_key.overlap_seconds not between 0 and 604800 then
    perform keyfund.refuse('invalid_overlap');
  end if;
  if v_old.confirmed_at is null then
    perform keyfund.refuse('key_not_synced');
  end if;
  if exists (select from public.virtual_keys where successor_id = v_old.id and state <> 'revoked') then
    perform keyfund.refuse('rotation_under_way');
  end if;
  v_is_bounded := keyfund.bound_cents(v_old) is not null;
  -- The row keeps its id and history and gets a new string (its own trigger makes it); the old string gets a row
  -- that lives as long as the overlap, and, where the cap is divided, is told its share first.
  update public.virtual_keys
  set rotations = rotations + 1, key_hash = null, litellm_key_id = null, confirmed_at = null, create_sent_at = null,
      unsettled_until = null, previous_hash = v_old.key_hash, updated_at = now()
  where id = v_old.id;
  insert into public.virtual_keys (account_id, user_id, name, litellm_key_id, key_hash, key_preview, state,
    blocked_by, cap, max_budget, budget_duration, rpm_limit, tpm_limit, models, expires_at,
    most_rpm_limit, most_tpm_limit, most_max_budget, sync_status,
      last_synced_at,
    revision, confirmed_revision, confirmed_at, create_sent_at, unsettled_until, created_at, successor_id, retires_at)
  values (v_old.account_id, v_old.user_id, v_old.name, v_old.litellm_key_id, v_old.key_hash, v_old.key_preview,
    v_old.state,
    v_old.blocked_by,
    v_old.cap, v_old.max_budget, v_old.budget_duration, v_old.rpm_limit, v_old.tpm_limit, v_old.models,
      v_old.expires_at, v_old.most_rpm_limit,
    v_old.most_tpm_limit, v_old.most_max_budget, case when v_is_bounded then 'pending' else v_old.sync_status end,
    v_old.last_synced_at, v_old.revision, v_old.confirmed_revision, v_old.confirmed_at, v_old.create_sent_at,
    v_old.unsettled_until, v_old.created_at, v_old.id,
      now() + make_interval(secs => rotate_virtual_key.overlap_seconds));
  if rotate_virtual_key.overlap_seconds = 0 then
    update public.virtual_keys set state = 'revoked', revoked_at = now() where successor_id = v_old.id
      and state <> 'revoked';
  end if;
  perform keyfund.note('key_rotated', v_old.account_id, v_old.id,
    jsonb_build_object('overlap_seconds', rotate_virtual_key.overlap_seconds));
  select * into strict v_new from public.virtual_keys where id = v_old.id;
  return v_new;
end;
$$;
comment on function public.rotate_virtual_key(uuid, integer) is
  'Gives the caller''s key a new string; the old one works on for the overlap (seconds). Switch to the new one '
  'once it is synced: with a cap of its own, some settings.spend_settles_seconds later.';

create function public.retire_keys(p_limit integer) returns integer
language plpgsql security definer set search_path = '' as $$
declare
  v_key record;
  v_done integer := 0;
begin
  for v_key in
    (select account_id, id, successor_id, true as retires from public.virtual_keys
    where successor_id is not null and state <> 'revoked' and retires_at <= now() order by retires_at limit p_limit)
    union all
    (select account_id, id, successor_id, false from public.virtual_keys
    where period_ends_at <= now() order by period_ends_at limit p_limit)
    order by 1, 2
  loop
    perform keyfund.lock_account(v_key.account_id);
    if v_key.retires then
      update public.virtual_keys set state = 'revoked', revoked_at = now() where id = v_key.id and state <> 'revoked';
      perform keyfund.note('key_retired', v_key.account_id, v_key.successor_id);
    else
      update public.virtual_keys set share_cents = null, period_ends_at = null, uncounted = false, count_at = null
        where id = v_key.id;
      perform keyfund.repush_key(v_key.successor_id);
    end if;
    v_done := v_done + 1;
  end loop;
  return v_done;
end;
$$;
comment on function public.retire_keys(integer) is
  'Former strings whose overlap is over, and periods that have ended. Returns how many.';

create function public.list_uncounted(p_limit integer) returns jsonb
language sql stable security definer set search_path = '' as $$
  select coalesce(jsonb_agg(due.key_hash), '[]') from (
    select k.key_hash from public.virtual_keys k
    where k.count_at <= now()
      and not exists (select from keyfund.gateways g where g.name = 'litellm' and g.opened_at is not null)
    order by k.count_at limit p_limit) due;
$$;
comment on function public.list_uncounted(integer) is
  'Hashes of former strings whose spend is to be read now. None while the breaker is open.';

create function public.count_share(
  p_key_hash text, p_is_there boolean, p_is_blocked boolean, p_budget_cents integer, p_spent_cents integer,
    p_resets_at timestamptz
) returns boolean
language plpgsql security definer set search_path = '' as $$
declare
  v_former public.virtual_keys;
  v_share integer;
  v_ends_at timestamptz;
begin
  perform keyfund.lock_account((select account_id from public.virtual_keys where key_hash = p_key_hash));
  select * into v_former from public.virtual_keys where key_hash = p_key_hash for update;
  if v_former.count_at is null or v_former.count_at > now() then
    return false; -- another worker was faster, or it has changed
  end if;
  if p_is_there and (v_former.confirmed_revision < v_former.revision or v_former.unsettled_until is not null
      or not (p_is_blocked or (v_former.state <> 'revoked' and coalesce(p_budget_cents <= v_former.share_cents,
        false)))) then
    -- a push has to confirm it again
    update public.virtual_keys set count_at = null, uncounted = true where id = v_former.id;
    return false;
  end if;
  -- A string that LiteLLM lost spends no more; what it had spent is what was last seen of it.
  v_share := case when p_is_there then p_spent_cents else keyfund.known_cents(p_key_hash) end;
  if p_is_there and v_former.state <> 'revoked' or v_former.period_ends_at is not null then
    v_share := greatest(v_share, v_former.share_cents);
  end if;
  if v_former.state = 'revoked' then
    -- LiteLLM begins a period anew some ten minutes late; a cap without a period is for life.
    select coalesce(v_former.period_ends_at, case when v_former.budget_duration is not null
        then coalesce(p_resets_at, s.resets_at) + interval '15 minutes' end, now() + interval '100 years')
    into v_ends_at from (select 1) one left join keyfund.key_spend s on s.key_hash = p_key_hash;
  end if;
  update public.virtual_keys
  set share_cents = v_share, period_ends_at = v_ends_at, uncounted = false,
      -- A call that was still running when its string was blocked is booked when it ends.
      count_at = case when state = 'revoked' and period_ends_at is null and p_is_there
        then now() + interval '1 hour' end
  where id = v_former.id;
  update public.virtual_keys k set previous_hash = null
  where k.id = v_former.successor_id and k.previous_hash is not null
    and not exists (select from public.virtual_keys f where f.successor_id = k.id and f.uncounted);
  if v_share <> v_former.share_cents or found then
    perform keyfund.repush_key(v_former.successor_id);
  end if;
  return true;
end;
$$;
comment on function public.count_share(text, boolean, boolean, integer, integer, timestamptz) is
  'What LiteLLM shows of a former string, in US cents: its spend takes the place of its share once nothing more '
  'can come. False: not yet.';

revoke all on function public.record_key_spend, public.read_key_periods, public.rotate_virtual_key,
  public.retire_keys, public.list_uncounted, public.count_share from public, anon, authenticated, service_role;
