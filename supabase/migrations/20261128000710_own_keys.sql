-- What people do with their keys, and owners and admins with their team's: create, change, block, unblock, revoke,
-- push again.

set local check_function_bodies = off; -- a function may name what a later file makes

-- ---------------------------------------------------------- what they may ask

create function keyfund.may_change(p_key public.virtual_keys) returns boolean
language sql stable set search_path = '' as $$
  select p_key.account_id in (select public.own_accounts(
    case when p_key.user_id = (select auth.uid()) then 'member' else 'admin' end));
$$;
comment on function keyfund.may_change(public.virtual_keys) is
  'Whether the caller holds the key and is still in its account, or is an owner or admin there.';

create function keyfund.shown(p_key public.virtual_keys) returns public.virtual_keys
language plpgsql stable set search_path = '' as $$
begin
  if p_key.user_id is distinct from (select auth.uid()) then
    p_key.litellm_key_id := null;
  end if;
  return p_key;
end;
$$;
comment on function keyfund.shown(public.virtual_keys) is 'A key as the caller may see it: whole to its holder alone.';

create function keyfund.own_key(p_key_id uuid) returns public.virtual_keys
language plpgsql set search_path = '' as $$
declare
  v_key public.virtual_keys;
begin
  perform keyfund.refuse_gone((select auth.uid()));
  -- account before key, everywhere
  perform keyfund.lock_account(k.account_id) from public.virtual_keys k
  where k.id = p_key_id and keyfund.may_change(k);
  select * into v_key from public.virtual_keys k
  where k.id = p_key_id and keyfund.may_change(k) and k.state <> 'placeholder' for update;
  if v_key.id is null then
    -- The same answer for a stranger's key and for none at all.
    perform keyfund.refuse('key_not_found');
  end if;
  if v_key.state = 'revoked' then
    perform keyfund.refuse('key_revoked');
  end if;
  return v_key;
end;
$$;
comment on function keyfund.own_key(uuid) is
  'A key that the caller may change, locked after its account; refuses a stranger''s and a revoked one.';

create function keyfund.own_current_key(p_key_id uuid) returns public.virtual_keys
language plpgsql set search_path = '' as $$
declare
  v_key public.virtual_keys := keyfund.own_key(p_key_id);
begin
  if v_key.successor_id is not null then
    perform keyfund.refuse('key_retiring');
  end if;
  return v_key;
end;
$$;

create function keyfund.check_limits(
  p_name text, p_max_budget integer, p_rpm_limit integer, p_tpm_limit integer
) returns void
language plpgsql set search_path = '' as $$
begin
  if p_name is not null and length(btrim(p_name)) not between 1 and 100 then
    perform keyfund.refuse('invalid_name');
  end if;
  if (select auth.uid()) is not null and keyfund.is_no_text(p_name) then
    perform keyfund.refuse('invalid_name');
  end if;
  if p_max_budget < 0 then
    perform keyfund.refuse('invalid_max_budget');
  end if;
  if p_rpm_limit < 1 then
    perform keyfund.refuse('invalid_rpm_limit');
  end if;
  if p_tpm_limit < 1 then
    perform keyfund.refuse('invalid_tpm_limit');
  end if;
end;
$$;

create function keyfund.check_ceilings(
  p_max_budget integer, p_rpm_limit integer, p_tpm_limit integer, p_key public.virtual_keys default null
) returns void
language plpgsql set search_path = '' as $$
declare
  v_settings keyfund.settings;
  v_beyond text;
begin
  select * into strict v_settings from keyfund.settings;
  v_beyond := concat_ws(', ',
    case when p_max_budget > least(p_key.most_max_budget, v_settings.most_max_budget)
      then 'a cap of $' || to_char(least(p_key.most_max_budget, v_settings.most_max_budget) / 100.0, 'FM999999990.00')
      end,
    case when p_rpm_limit > least(p_key.most_rpm_limit, v_settings.most_rpm_limit)
      then least(p_key.most_rpm_limit, v_settings.most_rpm_limit) || ' requests per minute' end,
    case when p_tpm_limit > least(p_key.most_tpm_limit, v_settings.most_tpm_limit)
      then least(p_key.most_tpm_limit, v_settings.most_tpm_limit) || ' tokens per minute' end);
  if v_beyond <> '' then
    perform keyfund.refuse('beyond_ceiling', v_beyond);
  end if;
end;
$$;
comment on function keyfund.check_ceilings(integer, integer, integer, public.virtual_keys) is
  'Says which limit is beyond what the operator, or an administrator for this key, allows.';

create function keyfund.choose_period(p_duration text, p_key public.virtual_keys default null) returns text
language plpgsql stable set search_path = '' as $$
begin
  if p_duration not in ('1h', '1d', '7d', '30d', 'lifetime') then
    perform keyfund.refuse('invalid_budget_duration');
  elsif keyfund.is_too_short(nullif(p_duration, 'lifetime'), p_key.most_max_budget) then
    perform keyfund.refuse('duration_beyond_ceiling', (select key_budget_duration from keyfund.settings));
  end if;
  return nullif(p_duration, 'lifetime');
end;
$$;
comment on function keyfund.choose_period(text, public.virtual_keys) is
  'How often an owner has a cap begin anew, as it is stored: null for life.';

create function keyfund.choose_models(p_models text[]) returns text[]
language plpgsql stable set search_path = '' as $$
declare
  v_chosen text[] := array(select distinct model from unnest(p_models) model order by model);
  v_allowed text[] := (select allowed_models from keyfund.settings);
  v_refused text;
begin
  if array_ndims(p_models) is distinct from 1 or cardinality(v_chosen) not between 1 and 100
      or exists (select from unnest(v_chosen) model
        where model is null or length(model) not between 1 and 200 or keyfund.is_no_text(model)) then
    perform keyfund.refuse('invalid_models');
  elsif '*' = any (v_chosen) then
    return null;
  end if;
  select string_agg(model, ', ' order by model) into v_refused from unnest(v_chosen) model
  where model in ('all-team-models', 'all-proxy-models', 'no-default-models')
    or case when model like '%*%' then not coalesce(model = any (v_allowed), false)
      else v_allowed is not null and not keyfund.covers(v_allowed, model) end;
  if v_refused is not null then
    perform keyfund.refuse('model_not_allowed', v_refused);
  end if;
  return v_chosen;
end;
$$;
comment on function keyfund.choose_models(text[]) is
  'The models that an owner chooses, as they are stored: null for all. A name with an asterisk is a choice only '
  'where the operator allows that very name; LiteLLM''s own words for all models are none.';

create function keyfund.choose_expiry(p_expires_at timestamptz) returns timestamptz
language plpgsql stable set search_path = '' as $$
begin
  if p_expires_at = 'infinity' then
    return null;
  elsif p_expires_at <= now() or p_expires_at > now() + interval '10 years' then
    perform keyfund.refuse('invalid_expires_at');
  end if;
  return p_expires_at;
end;
$$;
comment on function keyfund.choose_expiry(timestamptz) is
  'When an owner lets a key expire, as it is stored: null for never.';

create function keyfund.limits_of(p_key public.virtual_keys) returns jsonb
language sql immutable set search_path = '' as $$
  select jsonb_build_object('cap', p_key.cap, 'max_budget', case when p_key.cap = 'fixed' then p_key.max_budget end,
    'budget_duration', coalesce(p_key.budget_duration, 'lifetime'), 'rpm_limit', p_key.rpm_limit,
    'tpm_limit', p_key.tpm_limit, 'models', p_key.models, 'expires_at', p_key.expires_at);
$$;

create function keyfund.set_state(
  p_key public.virtual_keys, p_state text, p_blocked_by text, p_action text
) returns public.virtual_keys
language plpgsql set search_path = '' as $$
declare
  v_key public.virtual_keys;
begin
  -- A key is one thing to its owner, however many strings of it are alive.
  update public.virtual_keys
  set state = p_state, blocked_by = p_blocked_by,
      revoked_at = case when p_state = 'revoked' then coalesce(revoked_at, now()) else revoked_at end
  where p_key.id in (id, successor_id) and state <> 'revoked';
  select * into strict v_key from public.virtual_keys where id = p_key.id;
  if (p_key.state, p_key.blocked_by) is distinct from (v_key.state, v_key.blocked_by) then
    perform keyfund.note(p_action, v_key.account_id, v_key.id);
  end if;
  return v_key;
end;
$$;
comment on function keyfund.set_state(public.virtual_keys, text, text, text) is
  'Blocks, unblocks or revokes a key with its former string, and writes it down.';

create function keyfund.resync_key(p_key public.virtual_keys) returns public.virtual_keys
language plpgsql set search_path = '' as $$
declare
  v_key public.virtual_keys;
begin
  update public.virtual_keys
  set revision = keyfund.touch_account(p_key.account_id), sync_status = 'pending', next_attempt_at = now(),
      last_error = null, refusals = 0
  where id = p_key.id returning * into v_key;
  return v_key;
end;
$$;

-- --------------------------------------------------------------- what they do

create function public.create_virtual_key(
  name text default 'Key', max_budget integer default null, budget_duration text default null,
  rpm_limit integer default null, tpm_limit integer default null, models text[] default null,
  expires_at timestamptz default null, account_id uuid default null
) returns public.virtual_keys
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_user_id uuid := (select auth.uid());
  v_account_id uuid;
  v_name text := coalesce(btrim(create_virtual_key.name), 'Key');
  v_settings keyfund.settings;
  v_duration text;
  v_models text[];
  v_expires_at timestamptz := keyfund.choose_expiry(create_virtual_key.expires_at);
  v_key public.virtual_keys;
begin
  perform keyfund.check_limits(
    v_name, create_virtual_key.max_budget, create_virtual_key.rpm_limit, create_virtual_key.tpm_limit);
  perform keyfund.check_ceilings(create_virtual_key.max_budget, create_virtual_key.rpm_limit,
    create_virtual_key.tpm_limit);
  v_account_id := keyfund.open_account(v_user_id, create_virtual_key.account_id);
  select * into strict v_settings from keyfund.settings;
  v_duration := case when create_virtual_key.budget_duration is null then v_settings.key_budget_duration
    else keyfund.choose_period(create_virtual_key.budget_duration) end;
  v_models := case when create_virtual_key.models is not null
    then keyfund.choose_models(create_virtual_key.models) end;
  if (select count(*) from public.virtual_keys
      where account_id = v_account_id and state in ('active', 'blocked') and successor_id is null)
      >= v_settings.keys_per_account then
    perform keyfund.refuse('too_many_keys', v_settings.keys_per_account::text);
  end if;
  -- The profile is locked: of two first creates at once, one takes the placeholder and the other adds a row.
  update public.virtual_keys
  set state = 'active', name = v_name, created_at = now(),
      cap = case when create_virtual_key.max_budget is null then 'wallet' else 'fixed' end,
      max_budget = create_virtual_key.max_budget, budget_duration = v_duration,
      rpm_limit = coalesce(create_virtual_key.rpm_limit, v_settings.key_rpm_limit),
      tpm_limit = coalesce(create_virtual_key.tpm_limit, v_settings.key_tpm_limit),
      models = v_models, expires_at = v_expires_at
  where account_id = v_account_id and state = 'placeholder'
  returning * into v_key;
  if v_key.id is null then
    insert into public.virtual_keys (account_id, user_id, name, max_budget, budget_duration, rpm_limit, tpm_limit,
      models, expires_at)
    values (v_account_id, v_user_id, v_name, create_virtual_key.max_budget, v_duration,
      coalesce(create_virtual_key.rpm_limit, v_settings.key_rpm_limit),
      coalesce(create_virtual_key.tpm_limit, v_settings.key_tpm_limit), v_models, v_expires_at)
    returning * into v_key;
  end if;
  perform keyfund.note('key_created', v_account_id, v_key.id, keyfund.limits_of(v_key));
  return v_key;
end;
$$;
comment on function public.create_virtual_key(text, integer, text, integer, integer, text[], timestamptz, uuid) is
  'Creates a key for the caller, in their personal account or in a team. Without max_budget (US cents) its cap is '
  'the wallet. budget_duration: 1h, 1d, 7d, 30d or lifetime. Without models it may use all that are allowed; '
  'without expires_at it never expires. It works once sync_status is synced.';

create function public.update_virtual_key(
  key_id uuid, name text default null, max_budget integer default null, budget_duration text default null,
  rpm_limit integer default null, tpm_limit integer default null, models text[] default null,
  expires_at timestamptz default null, cap text default null
) returns public.virtual_keys
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_expires_at timestamptz := keyfund.choose_expiry(update_virtual_key.expires_at);
  v_key public.virtual_keys;
begin
  perform keyfund.check_limits(
    update_virtual_key.name, update_virtual_key.max_budget, update_virtual_key.rpm_limit,
      update_virtual_key.tpm_limit);
  if update_virtual_key.cap not in ('wallet', 'fixed')
      or (update_virtual_key.cap = 'wallet' and update_virtual_key.max_budget is not null) then
    perform keyfund.refuse('invalid_cap');
  end if;
  v_key := keyfund.own_current_key(key_id);
  if num_nonnulls(update_virtual_key.max_budget, update_virtual_key.budget_duration, update_virtual_key.rpm_limit,
      update_virtual_key.tpm_limit, update_virtual_key.models, update_virtual_key.expires_at,
      update_virtual_key.cap) > 0 then
    perform keyfund.act_in(v_key.account_id, 'admin'); -- a team's limits are not its members' own
  end if;
  perform keyfund.check_ceilings(
    update_virtual_key.max_budget, update_virtual_key.rpm_limit, update_virtual_key.tpm_limit, v_key);
  update public.virtual_keys
  set name = coalesce(btrim(update_virtual_key.name), name),
      cap = coalesce(update_virtual_key.cap, case when update_virtual_key.max_budget is null then cap
        else 'fixed' end),
      max_budget = coalesce(update_virtual_key.max_budget, max_budget),
      budget_duration = case when update_virtual_key.budget_duration is null then budget_duration
        else keyfund.choose_period(update_virtual_key.budget_duration, v_key) end,
      rpm_limit = coalesce(update_virtual_key.rpm_limit, rpm_limit),
      tpm_limit = coalesce(update_virtual_key.tpm_limit, tpm_limit),
      models = case when update_virtual_key.models is null then models
        else keyfund.choose_models(update_virtual_key.models) end,
      expires_at = case when update_virtual_key.expires_at is null then expires_at else v_expires_at end
  where v_key.id in (id, successor_id);
  select * into strict v_key from public.virtual_keys where id = v_key.id;
  perform keyfund.note('key_changed', v_key.account_id, v_key.id, keyfund.limits_of(v_key));
  return keyfund.shown(v_key);
end;
$$;
comment on function public.update_virtual_key(uuid, text, integer, text, integer, integer, text[], timestamptz, text)
is
  'Changes what is given of the caller''s key. max_budget (US cents) makes its cap fixed; cap wallet makes it '
  'follow the wallet again. What it has spent stays spent, whatever the period. To take a choice back: '
  'budget_duration lifetime, models {*}, expires_at infinity.';

create function public.block_virtual_key(key_id uuid) returns public.virtual_keys
language plpgsql security definer set search_path = '' as $$
declare
  v_key public.virtual_keys := keyfund.own_current_key(key_id);
begin
  return keyfund.shown(keyfund.set_state(v_key, 'blocked',
    case when v_key.blocked_by in ('administrator', 'suspension') then v_key.blocked_by
      when v_key.user_id <> (select auth.uid()) then 'team' else coalesce(v_key.blocked_by, 'owner') end,
    'key_blocked'));
end;
$$;
comment on function public.block_virtual_key(uuid) is
  'Stops a key of the caller''s, or of a team that they own or administer, until it is unblocked.';

create function public.unblock_virtual_key(key_id uuid) returns public.virtual_keys
language plpgsql security definer set search_path = '' as $$
declare
  v_key public.virtual_keys := keyfund.own_current_key(key_id);
begin
  if v_key.blocked_by = 'administrator' then
    perform keyfund.refuse('blocked_by_administrator');
  elsif v_key.blocked_by = 'suspension' then
    perform keyfund.refuse('holder_suspended');
  elsif v_key.blocked_by = 'team' then
    perform keyfund.act_in(v_key.account_id, 'admin');
  end if;
  return keyfund.shown(keyfund.set_state(v_key, 'active', null, 'key_unblocked'));
end;
$$;
comment on function public.unblock_virtual_key(uuid) is
  'Lets a blocked key work again, unless somebody with more to say blocked it.';

create function public.revoke_virtual_key(key_id uuid) returns public.virtual_keys
language plpgsql security definer set search_path = '' as $$
declare
  v_key public.virtual_keys := keyfund.own_key(key_id);
begin
  return keyfund.shown(keyfund.set_state(v_key, 'revoked', v_key.blocked_by, 'key_revoked'));
end;
$$;
comment on function public.revoke_virtual_key(uuid) is
  'Stops the caller''s key for good; of a rotated key''s former string, that string alone.';

create function public.resync_virtual_key(key_id uuid) returns public.virtual_keys
language plpgsql security definer set search_path = '' as $$
declare
  v_key public.virtual_keys;
begin
  perform keyfund.refuse_gone((select auth.uid()));
  perform keyfund.lock_account(k.account_id) from public.virtual_keys k
  where k.id = resync_virtual_key.key_id and keyfund.may_change(k);
  select * into v_key from public.virtual_keys k
  where k.id = resync_virtual_key.key_id and keyfund.may_change(k) and k.state <> 'placeholder' for update;
  if v_key.id is null then
    perform keyfund.refuse('key_not_found');
  end if;
  perform keyfund.note('key_resynced', v_key.account_id, v_key.id);
  return keyfund.shown(keyfund.resync_key(v_key));
end;
$$;
comment on function public.resync_virtual_key(uuid) is
  'Has the caller''s key compared with LiteLLM again, parked or not.';

create function public.read_limits(account_id uuid default null) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  if read_limits.account_id is not null then
    perform keyfund.act_in(read_limits.account_id);
  end if;
  return (select jsonb_build_object(
    'key_rpm_limit', least(s.key_rpm_limit, s.most_rpm_limit), 'key_tpm_limit',
      least(s.key_tpm_limit, s.most_tpm_limit),
    'key_budget_duration', s.key_budget_duration, 'key_max_parallel', s.key_max_parallel,
    'allowed_models', s.allowed_models,
    'most_rpm_limit', s.most_rpm_limit, 'most_tpm_limit', s.most_tpm_limit, 'most_max_budget', s.most_max_budget,
    'account_rpm_limit', s.account_rpm_limit, 'account_tpm_limit', s.account_tpm_limit,
    'account_max_parallel', s.account_max_parallel, 'keys_per_account', s.keys_per_account,
    'key_creations_per_hour', s.key_creations_per_hour, 'key_rotations_per_hour', s.key_rotations_per_hour,
    'key_changes_per_hour', s.key_changes_per_hour, 'key_unblocks_per_hour', s.key_unblocks_per_hour,
    'key_resyncs_per_hour', s.key_resyncs_per_hour, 'open_orders_per_hour', s.open_orders_per_hour)
  from keyfund.settings s);
end;
$$;
comment on function public.read_limits(uuid) is
  'What a new key may do a minute, the highest that one may be set to (null: any), the models that keys may use '
  '(null: all), what an account may do over all of its keys, and so many an hour.';

-- --------------------------------------------------------- revoked keys leave

create function public.list_deletions(p_limit integer) returns table (id uuid, key_hash text)
language sql stable security definer set search_path = '' as $$
  -- Not sooner: a create whose answer was lost may still land, and would bring a deleted key back to life.
  select k.id, k.key_hash from public.virtual_keys k
  where k.state = 'revoked' and k.deleted_at is null and k.sync_status = 'synced'
    and k.revoked_at < now() - interval '1 day' and k.last_synced_at < now() - interval '1 minute'
  order by k.revoked_at limit least(p_limit, 1000);
$$;
comment on function public.list_deletions(integer) is 'Keys that have been blocked in LiteLLM for a day.';

create function public.finish_deletions(p_ids uuid[]) returns void
language sql security definer set search_path = '' as $$
  update public.virtual_keys set deleted_at = now() where id = any(p_ids) and state = 'revoked'
    and deleted_at is null;
$$;
comment on function public.finish_deletions(uuid[]) is 'These are not in LiteLLM any more.';

create function public.forget_keys(p_limit integer) returns integer
language plpgsql security definer set search_path = '' as $$
declare
  v_forgotten integer;
begin
  with old as (
    select k.id, k.key_hash from public.virtual_keys k
    left join public.virtual_keys later on later.id = k.successor_id
    cross join keyfund.settings s
    where k.state = 'revoked' and k.deleted_at < now() - make_interval(days => s.keep_revoked_days)
      -- What a former string spent counts against its key's cap until the period ends; a key goes after its strings.
      and (later.state = 'revoked' or (k.period_ends_at is null and not k.uncounted and k.count_at is null))
      and not exists (select from public.virtual_keys former where former.successor_id = k.id)
    order by k.deleted_at limit p_limit for update of k skip locked
  ), spend as (
    delete from keyfund.key_spend s using old where s.key_hash = old.key_hash
  )
  delete from public.virtual_keys k using old where k.id = old.id;
  get diagnostics v_forgotten = row_count;
  return v_forgotten;
end;
$$;
comment on function public.forget_keys(integer) is
  'Removes rows of keys that LiteLLM has not had for long. Returns how many.';

revoke all on function public.create_virtual_key, public.update_virtual_key, public.block_virtual_key,
  public.unblock_virtual_key, public.revoke_virtual_key, public.resync_virtual_key, public.read_limits,
  public.list_deletions, public.finish_deletions, public.forget_keys from public, anon, authenticated,
  service_role;
