-- How often in an hour an account may do what it could repeat without end.
--
-- Each such act writes a line into the audit log; the pace is kept there, whichever function it was. Stopping a key is
-- never refused: blocks are bounded by unblocks, revocations by creations. Orders have a limit of their own.

alter table keyfund.settings
  add column key_creations_per_hour integer default 100
    constraint settings_key_creations_per_hour_check check (key_creations_per_hour between 1 and 1000000),
  add column key_rotations_per_hour integer default 60
    constraint settings_key_rotations_per_hour_check check (key_rotations_per_hour between 1 and 1000000),
  add column key_changes_per_hour integer default 120
    constraint settings_key_changes_per_hour_check check (key_changes_per_hour between 1 and 1000000),
  add column key_unblocks_per_hour integer default 60
    constraint settings_key_unblocks_per_hour_check check (key_unblocks_per_hour between 1 and 1000000),
  add column key_resyncs_per_hour integer default 60
    constraint settings_key_resyncs_per_hour_check check (key_resyncs_per_hour between 1 and 1000000);
comment on column keyfund.settings.key_creations_per_hour is
  'How many keys an account may make in an hour, revoked ones included; as with the others, null: any number.';
comment on column keyfund.settings.key_unblocks_per_hour is 'How often an account may unblock keys in an hour, and so block them again.';

create table keyfund.paces (
  account_id uuid not null,
  action text not null,
  rested_at timestamptz not null,
  primary key (account_id, action)
);
comment on table keyfund.paces is 'How much of an hour''s allowance an account has used up, by what it does.';
comment on column keyfund.paces.account_id is 'No foreign key: checking it would lock the profile, after locks that come later in line.';
comment on column keyfund.paces.rested_at is 'When the whole allowance is there again. Each act moves it on by an hour over the limit; an hour from now is the end.';
alter table keyfund.paces enable row level security;

create function keyfund.limit_of(p_action text) returns integer
language sql stable set search_path = '' as $$
  select case p_action when 'key_created' then s.key_creations_per_hour when 'key_rotated' then s.key_rotations_per_hour
    when 'key_changed' then s.key_changes_per_hour when 'key_unblocked' then s.key_unblocks_per_hour
    when 'key_resynced' then s.key_resyncs_per_hour end
  from keyfund.settings s;
$$;
comment on function keyfund.limit_of(text) is 'How often in an hour an account may do this; null: as often as it likes.';

create function keyfund.refuse_haste(p_action text) returns void
language plpgsql set search_path = '' as $$
begin
  case p_action
    when 'key_created' then
      perform keyfund.refuse(429, 'too_many_creations', 'Too many keys were made within an hour. Try again later.');
    when 'key_rotated' then
      perform keyfund.refuse(429, 'too_many_rotations', 'Keys were rotated too often within an hour. Try again later.');
    when 'key_changed' then
      perform keyfund.refuse(429, 'too_many_changes', 'Keys were changed too often within an hour. Try again later.');
    when 'key_unblocked' then
      perform keyfund.refuse(429, 'too_many_unblocks', 'Keys were unblocked too often within an hour. Try again later.');
    else
      perform keyfund.refuse(429, 'too_many_resyncs', 'Keys were synced again too often within an hour. Try again later.');
  end case;
end;
$$;

create function keyfund.keep_pace() returns trigger
language plpgsql set search_path = '' as $$
declare
  v_step interval := interval '1 hour' / keyfund.limit_of(new.action);
  v_rested_at timestamptz;
begin
  if v_step is null then
    return new;
  end if;
  insert into keyfund.paces as p (account_id, action, rested_at) values (new.account_id, new.action, now() + v_step)
  on conflict (account_id, action) do update set rested_at = greatest(p.rested_at, now()) + v_step
  returning p.rested_at into v_rested_at;
  if v_rested_at > now() + interval '1 hour 1 millisecond' then -- steps are rounded
    perform keyfund.refuse_haste(new.action);
  end if;
  return new;
end;
$$;
comment on function keyfund.keep_pace() is 'Refuses what an account does too often, before it is written down; all of it is then undone.';
create trigger audit_log_keeps_pace before insert on public.audit_log
  for each row when (new.actor_id = new.account_id) execute function keyfund.keep_pace();

create or replace function public.resync_virtual_key(key_id uuid) returns public.virtual_keys
language plpgsql security definer set search_path = '' as $$
declare
  v_key public.virtual_keys;
begin
  perform keyfund.refuse_gone((select auth.uid()));
  perform keyfund.lock_account((select auth.uid()));
  select * into v_key from public.virtual_keys
  where id = key_id and user_id = (select auth.uid()) and state <> 'placeholder' for update;
  if v_key.id is null then
    perform keyfund.refuse(404, 'key_not_found', 'There is no such key.');
  end if;
  perform keyfund.note('key_resynced', v_key.user_id, v_key.id);
  return keyfund.resync_key(v_key);
end;
$$;

-- ------------------------------------------------------------------ retention

alter table keyfund.settings add column keep_revoked_days integer not null default 30
  constraint settings_keep_revoked_days_check check (keep_revoked_days between 1 and 36500);
comment on column keyfund.settings.keep_revoked_days is
  'So many days after a revoked key was deleted from LiteLLM its row goes. The audit log and the usage by day stay.';
create index virtual_keys_to_forget_idx on public.virtual_keys (deleted_at) where state = 'revoked' and deleted_at is not null;

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
comment on function public.forget_keys(integer) is 'Removes rows of keys that LiteLLM has not had for long. Returns how many.';
revoke all on function public.forget_keys(integer) from public, anon, authenticated, service_role;
grant execute on function public.forget_keys(integer) to service_role;

revoke all on all tables in schema keyfund from public, anon, authenticated, service_role;
revoke all on all functions in schema keyfund from public, anon, authenticated, service_role;
