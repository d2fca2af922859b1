-- A key's new string, and how long the old one lives.

create function public.rotate_virtual_key(key_id uuid, overlap_seconds integer default 3600) returns public.virtual_keys
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_old public.virtual_keys;
  v_new public.virtual_keys;
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
  -- The row keeps its id and history and gets a new string (its own trigger makes it); the old string gets a row
  -- that lives as long as the overlap.
  update public.virtual_keys
  set rotations = rotations + 1, key_hash = null, litellm_key_id = null, confirmed_at = null, create_sent_at = null,
      unsettled_until = null, previous_hash = v_old.key_hash, updated_at = now()
  where id = v_old.id returning * into v_new;
  insert into public.virtual_keys (user_id, name, litellm_key_id, key_hash, key_preview, state, blocked_by, cap, max_budget,
    budget_duration, rpm_limit, tpm_limit, models, most_rpm_limit, most_tpm_limit, most_max_budget, sync_status, last_synced_at,
    revision, confirmed_revision, confirmed_at, create_sent_at, unsettled_until, created_at, successor_id, retires_at,
    period_spent, period_ends_at)
  values (v_old.user_id, v_old.name, v_old.litellm_key_id, v_old.key_hash, v_old.key_preview, v_old.state, v_old.blocked_by,
    v_old.cap, v_old.max_budget, v_old.budget_duration, v_old.rpm_limit, v_old.tpm_limit, v_old.models, v_old.most_rpm_limit,
    v_old.most_tpm_limit, v_old.most_max_budget, v_old.sync_status, v_old.last_synced_at, v_old.revision,
    v_old.confirmed_revision, v_old.confirmed_at, v_old.create_sent_at, v_old.unsettled_until, v_old.created_at, v_old.id,
    now() + make_interval(secs => rotate_virtual_key.overlap_seconds), v_old.period_spent, v_old.period_ends_at);
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
  'Gives the caller''s key a new string; the old one works on for the overlap (seconds). Switch to the new one once it is synced.';

create function public.record_period(p_key_id uuid, p_previous_hash text, p_spent_cents integer, p_ends_at timestamptz)
returns integer
language plpgsql security definer set search_path = '' as $$
declare
  v_key public.virtual_keys;
begin
  perform keyfund.lock_account((select user_id from public.virtual_keys where id = p_key_id));
  select * into v_key from public.virtual_keys where id = p_key_id for update;
  if v_key.previous_hash = p_previous_hash then
    update public.virtual_keys
    set previous_hash = null,
        period_spent = greatest(0, p_spent_cents) + case when period_ends_at > now() then period_spent else 0 end,
        period_ends_at = coalesce(p_ends_at, now() + interval '100 years') -- a cap without a period is for life
    where id = p_key_id returning * into v_key;
  end if;
  return keyfund.cap_cents(v_key);
end;
$$;
comment on function public.record_period(uuid, text, integer, timestamptz) is
  'What the string before had spent of this period''s cap; counted once. Returns the cap that is left for the new one (US cents).';

create function public.retire_keys(p_limit integer) returns integer
language plpgsql security definer set search_path = '' as $$
declare
  v_key record;
  v_done integer := 0;
begin
  for v_key in
    (select user_id, id, true as retires from public.virtual_keys
    where successor_id is not null and state <> 'revoked' and retires_at <= now() order by retires_at limit p_limit)
    union all
    (select user_id, id, false from public.virtual_keys
    where period_ends_at <= now() order by period_ends_at limit p_limit)
    order by 1, 2
  loop
    perform keyfund.lock_account(v_key.user_id);
    if v_key.retires then
      update public.virtual_keys set state = 'revoked', revoked_at = now() where id = v_key.id and state <> 'revoked';
      perform keyfund.note('key_retired', v_key.user_id, (select successor_id from public.virtual_keys where id = v_key.id));
    else
      update public.virtual_keys set period_spent = 0, period_ends_at = null where id = v_key.id;
    end if;
    v_done := v_done + 1;
  end loop;
  return v_done;
end;
$$;
comment on function public.retire_keys(integer) is 'Former strings whose overlap is over, and periods that have ended. Returns how many.';

revoke all on function public.rotate_virtual_key(uuid, integer) from public, anon, authenticated, service_role;
revoke all on function public.record_period(uuid, text, integer, timestamptz) from public, anon, authenticated, service_role;
revoke all on function public.retire_keys(integer) from public, anon, authenticated, service_role;
grant execute on function public.rotate_virtual_key(uuid, integer) to authenticated;
grant execute on function public.record_period(uuid, text, integer, timestamptz) to service_role;
grant execute on function public.retire_keys(integer) to service_role;
