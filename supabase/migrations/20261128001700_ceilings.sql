-- A key's cap over all of its strings: while a former string lives the cap is divided, and what former strings spent
-- in a period counts until the period ends.
--
-- LiteLLM counts each string of a key on its own. So the max_budgets of all strings of a key together never exceed its
-- cap, in this order:
--   rotate_virtual_key   The former string keeps what it spent and half of what is left: its share. The new string waits.
--   push                 The former string's max_budget becomes its share, and is read back.
--   count_share          spend_settles_seconds later LiteLLM shows all that it had spent before that. The new string is
--                        pushed, with what the share, or the spend where it is more, leaves of the cap.
--   retire, revoke       The former string is blocked, and is read back. Its share stays taken.
--   count_share          spend_settles_seconds later its spend is final, but for calls that still run: it takes the place
--                        of the share, and the living string gets the rest. An hour later it is looked at once more.
--   retire_keys          The period has ended: it counts no longer.
-- A cap that follows the wallet is not divided, because the wallet is one for all strings, unless there is a ceiling.

alter table keyfund.settings add column spend_settles_seconds integer not null default 30
  check (spend_settles_seconds between 1 and 3600);
comment on column keyfund.settings.spend_settles_seconds is
  'After so many seconds LiteLLM shows all that a string had spent: its proxy_batch_write_at, and some more. Rotations of keys with a cap of their own wait for it.';

alter table public.virtual_keys add column share_cents integer
  constraint virtual_keys_share_cents_check check (share_cents >= 0);
alter table public.virtual_keys add column uncounted boolean not null default false;
alter table public.virtual_keys add column count_at timestamptz;
comment on column public.virtual_keys.share_cents is
  'US cents of the key''s cap that this former string takes: its share while it lives, later what it spent. Null: nothing of this period''s.';
comment on column public.virtual_keys.uncounted is 'This former string may have spent more than its share, until LiteLLM shows what it spent.';
comment on column public.virtual_keys.count_at is
  'When LiteLLM is asked what this former string spent; null while uncounted: a push has to confirm its share or its block first.';
comment on column public.virtual_keys.period_ends_at is 'Until when this former string''s spend counts against the key''s cap.';
comment on column public.virtual_keys.previous_hash is 'The former string, while this one waits until what former strings spent is counted. Null: it does not wait.';
create index virtual_keys_uncounted_idx on public.virtual_keys (count_at) where count_at is not null;

-- --------------------------------------------------------------------- shares

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
comment on function keyfund.taken_cents(public.virtual_keys) is 'What the other, former strings of the key take of its cap, in US cents.';

create function keyfund.known_cents(p_key_hash text) returns integer
language sql stable set search_path = '' as $$
  select coalesce((
    select ceil(s.spend_micros / 10000.0)::integer from keyfund.key_spend s
    where s.key_hash = p_key_hash and coalesce(s.resets_at > now(), true)), 0);
$$;
comment on function keyfund.known_cents(text) is 'What a string spent in this period as far as it is known, in US cents, rounded up.';

create function keyfund.divide_cap(p_former public.virtual_keys) returns integer
language sql stable set search_path = '' as $$
  select whole.cents - greatest(0, whole.cents - keyfund.known_cents(p_former.key_hash) + 1) / 2
  from (select greatest(0, keyfund.bound_cents(p_former) - keyfund.taken_cents(p_former)) as cents) whole;
$$;
comment on function keyfund.divide_cap(public.virtual_keys) is
  'The former string''s share: what it spent and half of what is left, in US cents; the odd cent is the new string''s.';

create or replace function keyfund.cap_cents(p_key public.virtual_keys) returns integer
language sql stable set search_path = '' as $$
  -- least() passes over nulls: a current string has no share.
  select case when keyfund.bound_cents(p_key) is null then p_key.max_budget
    else least(p_key.max_budget, p_key.share_cents, greatest(0, keyfund.bound_cents(p_key) - keyfund.taken_cents(p_key))) end;
$$;
comment on function keyfund.cap_cents(public.virtual_keys) is
  'The max_budget that LiteLLM must hold for the key''s string: the cap less what its other strings take of it.';

create or replace function keyfund.stamp_key() returns trigger
language plpgsql set search_path = '' as $$
declare
  v_changed boolean;
  v_settings keyfund.settings;
begin
  select * into strict v_settings from keyfund.settings;
  if new.cap is null then
    new.cap := case when new.max_budget is null then 'wallet' else 'fixed' end;
  end if;
  if new.cap = 'wallet' and new.state <> 'revoked' then
    select keyfund.wallet_cents(a) into new.max_budget from keyfund.accounts a where a.user_id = new.user_id;
  end if;
  -- Ceilings hold whoever writes, and whenever they were set; functions refuse what is beyond them first.
  new.max_budget := least(new.max_budget, new.most_max_budget, v_settings.most_max_budget);
  new.rpm_limit := least(new.rpm_limit, new.most_rpm_limit, v_settings.most_rpm_limit);
  new.tpm_limit := least(new.tpm_limit, new.most_tpm_limit, v_settings.most_tpm_limit);
  new.models := case when new.models is null and v_settings.allowed_models is null then null
    else coalesce(v_settings.allowed_models, '{}') end;
  if new.state <> 'placeholder' and new.key_hash is null then
    new.litellm_key_id := coalesce(new.litellm_key_id, keyfund.new_key_string());
    new.key_hash := encode(sha256(convert_to(new.litellm_key_id, 'UTF8')), 'hex');
    new.key_preview := 'sk-...' || right(new.litellm_key_id, 4);
  end if;
  if new.successor_id is null and keyfund.bound_cents(new) is null then
    new.previous_hash := null; -- the wallet bounds both strings: it waits for none
  elsif new.successor_id is not null and new.state <> 'revoked' and keyfund.bound_cents(new) is null then
    new.share_cents := null;
    new.uncounted := false;
    new.count_at := null;
  elsif new.successor_id is not null and new.state <> 'revoked' and new.share_cents is null then
    new.share_cents := keyfund.divide_cap(new);
    new.uncounted := true;
  end if;
  if tg_op = 'UPDATE' then
    if old.state = 'revoked' and new.state <> 'revoked' then
      raise exception 'a revoked key stays revoked';
    end if;
    if old.key_hash is not null and new.rotations = old.rotations and (new.key_hash is distinct from old.key_hash
        or (new.litellm_key_id is not null and new.litellm_key_id is distinct from old.litellm_key_id)) then
      raise exception 'a key string is never replaced but by a rotation';
    end if;
    if new.state = 'revoked' and old.state <> 'revoked' and new.share_cents is not null then
      new.uncounted := true; -- what it spent is final some time after it is blocked
      new.count_at := null;
    end if;
    -- Of a revoked string LiteLLM only has to know that it is blocked.
    v_changed := (old.state, old.max_budget, old.budget_duration, old.rpm_limit, old.tpm_limit, old.models, old.rotations,
        old.cap, old.most_max_budget, old.previous_hash)
      is distinct from (new.state, new.max_budget, new.budget_duration, new.rpm_limit, new.tpm_limit, new.models, new.rotations,
        new.cap, new.most_max_budget, new.previous_hash)
      or (new.state <> 'revoked' and new.share_cents is distinct from old.share_cents);
  else
    v_changed := new.sync_status <> 'synced';
  end if;
  if v_changed and new.state <> 'placeholder' then
    new.revision := keyfund.touch_account(new.user_id, new.state in ('blocked', 'revoked'));
    new.sync_status := 'pending';
    new.next_attempt_at := now();
    new.last_error := null;
    new.attempts := 0;
    new.refusals := 0;
    new.updated_at := now();
  end if;
  return new;
end;
$$;

-- ------------------------------------------------------------------- rotation

create or replace function public.rotate_virtual_key(key_id uuid, overlap_seconds integer default 3600) returns public.virtual_keys
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_old public.virtual_keys;
  v_new public.virtual_keys;
  v_is_bounded boolean;
begin
  perform keyfund.open_account((select auth.uid())); -- the profile first: a row is added
  v_old := keyfund.own_current_key(key_id);
  if rotate_virtual_key.overlap_seconds is null or rotate_virtual_key.overlap_seconds not between 0 and 604800 then
    perform keyfund.refuse(400, 'invalid_overlap', 'overlap_seconds is a number of seconds up to a week, 0 or more.');
  end if;
  if v_old.confirmed_at is null then
    perform keyfund.refuse(409, 'key_not_synced', 'LiteLLM does not know this key yet: there is nothing to replace.');
  end if;
  if exists (select from public.virtual_keys where successor_id = v_old.id and state <> 'revoked') then
    perform keyfund.refuse(409, 'rotation_under_way', 'A former string of this key is still alive: revoke it, or wait until it retires.');
  end if;
  v_is_bounded := keyfund.bound_cents(v_old) is not null;
  -- The row keeps its id and history and gets a new string (its own trigger makes it); the old string gets a row
  -- that lives as long as the overlap, and, where the cap is divided, is told its share first.
  update public.virtual_keys
  set rotations = rotations + 1, key_hash = null, litellm_key_id = null, confirmed_at = null, create_sent_at = null,
      unsettled_until = null, previous_hash = v_old.key_hash, updated_at = now()
  where id = v_old.id;
  insert into public.virtual_keys (user_id, name, litellm_key_id, key_hash, key_preview, state, blocked_by, cap, max_budget,
    budget_duration, rpm_limit, tpm_limit, models, most_rpm_limit, most_tpm_limit, most_max_budget, sync_status, last_synced_at,
    revision, confirmed_revision, confirmed_at, create_sent_at, unsettled_until, created_at, successor_id, retires_at)
  values (v_old.user_id, v_old.name, v_old.litellm_key_id, v_old.key_hash, v_old.key_preview, v_old.state, v_old.blocked_by,
    v_old.cap, v_old.max_budget, v_old.budget_duration, v_old.rpm_limit, v_old.tpm_limit, v_old.models, v_old.most_rpm_limit,
    v_old.most_tpm_limit, v_old.most_max_budget, case when v_is_bounded then 'pending' else v_old.sync_status end,
    v_old.last_synced_at, v_old.revision, v_old.confirmed_revision, v_old.confirmed_at, v_old.create_sent_at,
    v_old.unsettled_until, v_old.created_at, v_old.id, now() + make_interval(secs => rotate_virtual_key.overlap_seconds));
  if rotate_virtual_key.overlap_seconds = 0 then
    update public.virtual_keys set state = 'revoked', revoked_at = now() where successor_id = v_old.id and state <> 'revoked';
  end if;
  perform keyfund.note('key_rotated', v_old.user_id, v_old.id,
    jsonb_build_object('overlap_seconds', rotate_virtual_key.overlap_seconds));
  select * into strict v_new from public.virtual_keys where id = v_old.id;
  return v_new;
end;
$$;
comment on function public.rotate_virtual_key(uuid, integer) is
  'Gives the caller''s key a new string; the old one works on for the overlap (seconds). Switch to the new one once it is synced: with a cap of its own, some settings.spend_settles_seconds later.';

drop function public.record_period(uuid, text, integer, timestamptz);

create function keyfund.repush_key(p_key_id uuid) returns void
language sql set search_path = '' as $$
  update public.virtual_keys k
  set revision = keyfund.touch_account(k.user_id), sync_status = 'pending', next_attempt_at = now()
  where k.id = p_key_id and k.state in ('active', 'blocked') and keyfund.bound_cents(k) is not null;
$$;
comment on function keyfund.repush_key(uuid) is 'What its former strings take of a key''s cap has changed: LiteLLM must learn what is left.';

create function public.list_uncounted(p_limit integer) returns jsonb
language sql stable security definer set search_path = '' as $$
  select coalesce(jsonb_agg(due.key_hash), '[]') from (
    select k.key_hash from public.virtual_keys k
    where k.count_at <= now()
      and not exists (select from keyfund.gateways g where g.name = 'litellm' and g.opened_at is not null)
    order by k.count_at limit p_limit) due;
$$;
comment on function public.list_uncounted(integer) is 'Hashes of former strings whose spend is to be read now. None while the breaker is open.';

create function public.count_share(
  p_key_hash text, p_is_there boolean, p_is_blocked boolean, p_budget_cents integer, p_spent_cents integer, p_resets_at timestamptz
) returns boolean
language plpgsql security definer set search_path = '' as $$
declare
  v_former public.virtual_keys;
  v_share integer;
  v_ends_at timestamptz;
begin
  perform keyfund.lock_account((select user_id from public.virtual_keys where key_hash = p_key_hash));
  select * into v_former from public.virtual_keys where key_hash = p_key_hash for update;
  if v_former.count_at is null or v_former.count_at > now() then
    return false; -- another worker was faster, or it has changed
  end if;
  if p_is_there and (v_former.confirmed_revision < v_former.revision or v_former.unsettled_until is not null
      or not (p_is_blocked or (v_former.state <> 'revoked' and coalesce(p_budget_cents <= v_former.share_cents, false)))) then
    update public.virtual_keys set count_at = null, uncounted = true where id = v_former.id; -- a push has to confirm it again
    return false;
  end if;
  -- A string that LiteLLM lost spends no more; what it had spent is what was last seen of it.
  v_share := case when p_is_there then p_spent_cents else keyfund.known_cents(p_key_hash) end;
  if p_is_there and v_former.state <> 'revoked' or v_former.period_ends_at is not null then
    v_share := greatest(v_share, v_former.share_cents);
  end if;
  if v_former.state = 'revoked' then
    -- LiteLLM begins a period anew some ten minutes late; a cap without a period is for life.
    select coalesce(v_former.period_ends_at, coalesce(p_resets_at, s.resets_at) + interval '15 minutes', now() + interval '100 years')
    into v_ends_at from (select 1) one left join keyfund.key_spend s on s.key_hash = p_key_hash;
  end if;
  update public.virtual_keys
  set share_cents = v_share, period_ends_at = v_ends_at, uncounted = false,
      -- A call that was still running when its string was blocked is booked when it ends.
      count_at = case when state = 'revoked' and period_ends_at is null and p_is_there then now() + interval '1 hour' end
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
  'What LiteLLM shows of a former string, in US cents: its spend takes the place of its share once nothing more can come. False: not yet.';

create or replace function public.retire_keys(p_limit integer) returns integer
language plpgsql security definer set search_path = '' as $$
declare
  v_key record;
  v_done integer := 0;
begin
  for v_key in
    (select user_id, id, successor_id, true as retires from public.virtual_keys
    where successor_id is not null and state <> 'revoked' and retires_at <= now() order by retires_at limit p_limit)
    union all
    (select user_id, id, successor_id, false from public.virtual_keys
    where period_ends_at <= now() order by period_ends_at limit p_limit)
    order by 1, 2
  loop
    perform keyfund.lock_account(v_key.user_id);
    if v_key.retires then
      update public.virtual_keys set state = 'revoked', revoked_at = now() where id = v_key.id and state <> 'revoked';
      perform keyfund.note('key_retired', v_key.user_id, v_key.successor_id);
    else
      update public.virtual_keys set share_cents = null, period_ends_at = null, uncounted = false, count_at = null where id = v_key.id;
      perform keyfund.repush_key(v_key.successor_id);
    end if;
    v_done := v_done + 1;
  end loop;
  return v_done;
end;
$$;

-- ----------------------------------------------------------- how a push went

create or replace function keyfund.finish_key(p_user_id uuid, p_result jsonb, p_unsettled_until timestamptz) returns void
language plpgsql set search_path = '' as $$
declare
  v_key public.virtual_keys;
  v_outcome text := p_result ->> 'outcome';
  v_until timestamptz;
begin
  -- By the string, not the row: a key that was rotated meanwhile has another, of which this says nothing.
  select * into v_key from public.virtual_keys where key_hash = p_result ->> 'key_hash' and user_id = p_user_id for update;
  if v_key.id is null then
    return;
  end if;
  if v_outcome = 'unknown' then
    v_key.unsettled_until := now() + interval '30 seconds';
  end if;
  v_until := greatest(p_unsettled_until, v_key.unsettled_until);
  if (p_result ->> 'revision')::bigint <> v_key.revision then
    -- It changed while it was pushed: pushed again, but never created again.
    update public.virtual_keys set unsettled_until = v_key.unsettled_until,
      confirmed_at = case when v_outcome = 'synced' then coalesce(confirmed_at, now()) else confirmed_at end
    where id = v_key.id;
  elsif v_outcome = 'synced' and (v_until is null or v_until <= now()) then
    update public.virtual_keys
    set confirmed_revision = v_key.revision, confirmed_at = coalesce(confirmed_at, now()), unsettled_until = null,
        sync_status = 'synced', last_synced_at = now(), last_error = null, next_attempt_at = null, refusals = 0, attempts = 0,
        litellm_key_id = case when state = 'revoked' then null else litellm_key_id end,
        -- From now on it spends no more than its share; what it had spent before shows a little later.
        count_at = case when uncounted and count_at is null then now() + make_interval(
          secs => (select spend_settles_seconds from keyfund.settings)) else count_at end
    where id = v_key.id;
  elsif v_outcome in ('synced', 'unknown') then
    update public.virtual_keys
    set confirmed_at = case when v_outcome = 'synced' then coalesce(confirmed_at, now()) else confirmed_at end,
        unsettled_until = v_key.unsettled_until, sync_status = 'pending', next_attempt_at = v_until,
        last_error = 'unsettled: LiteLLM did not answer a request in time; it is read again before this counts as synced.'
    where id = v_key.id;
  elsif v_outcome = 'waits' then
    -- count_share makes it due; the minute is for when that is late.
    update public.virtual_keys
    set sync_status = 'pending', next_attempt_at = now() + interval '1 minute',
        last_error = 'cap_is_counted: What the former string spent of the cap is being counted; this string works in about a minute.'
    where id = v_key.id;
  elsif v_outcome = 'refused' then
    update public.virtual_keys
    set sync_status = 'failed', refusals = refusals + 1, last_error = p_result ->> 'error',
        next_attempt_at = case when refusals + 1 >= (select parking_refusals from keyfund.settings) then null
          else now() + keyfund.backoff(refusals + 1) end,
        -- Nothing is there to be confirmed, nor to spend.
        count_at = case when uncounted and p_result ->> 'error' like 'litellm_key_vanished:%' then now() else count_at end
    where id = v_key.id;
  else -- transient
    update public.virtual_keys
    set sync_status = 'failed', last_error = p_result ->> 'error', attempts = attempts + 1,
        next_attempt_at = now() + keyfund.pause((p_result ->> 'retry_after_seconds')::integer, attempts + 1)
    where id = v_key.id;
  end if;
end;
$$;

create or replace function public.read_key_periods() returns jsonb
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

-- ------------------------------------------------------------ what was before

-- What former strings spent was kept with the key: now with the latest of them.
update public.virtual_keys f
set share_cents = k.period_spent, period_ends_at = k.period_ends_at
from public.virtual_keys k
where k.period_spent > 0 and k.period_ends_at is not null and f.id = (
  select l.id from public.virtual_keys l where l.successor_id = k.id and l.state = 'revoked' order by l.retires_at desc limit 1);
update public.virtual_keys set period_ends_at = null where successor_id is null and period_ends_at is not null;
alter table public.virtual_keys drop column period_spent;
-- New strings that wait: for a former one that is revoked, or for none where the wallet is the bound.
update public.virtual_keys f set share_cents = 0, uncounted = true, count_at = now()
where f.state = 'revoked' and exists (
  select from public.virtual_keys k where k.id = f.successor_id and k.previous_hash = f.key_hash and keyfund.bound_cents(k) is not null);
update public.virtual_keys k set previous_hash = null where k.previous_hash is not null and keyfund.bound_cents(k) is null;
-- Former strings that live now: their own trigger divides the cap.
update public.virtual_keys set updated_at = updated_at where successor_id is not null and state <> 'revoked';

revoke all on function public.list_uncounted(integer) from public, anon, authenticated, service_role;
revoke all on function public.count_share(text, boolean, boolean, integer, integer, timestamptz) from public, anon, authenticated, service_role;
grant execute on function public.list_uncounted(integer) to service_role;
grant execute on function public.count_share(text, boolean, boolean, integer, integer, timestamptz) to service_role;

revoke all on all tables in schema keyfund from public, anon, authenticated, service_role;
revoke all on all functions in schema keyfund from public, anon, authenticated, service_role;
