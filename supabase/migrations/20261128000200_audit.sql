-- Who did what to which account or key, who changed what the operator sets, and when. Append-only; owners see
-- their own, administrators all.

set local check_function_bodies = off; -- a function may name what a later file makes

create table public.audit_log (
  id bigint generated always as identity primary key,
  at timestamptz not null default now(),
  actor text not null constraint audit_log_actor_check
    check (actor in ('owner', 'member', 'administrator', 'system')),
  actor_id uuid,
  action text not null,
  account_id uuid,
  key_id uuid,
  details jsonb not null default '{}'
);
comment on table public.audit_log is
  'What people and the system did to accounts, keys, settings, administrators, packages and rates. Never a key '
  'string, never a person''s name or address.';
comment on column public.audit_log.actor_id is
  'The Supabase user who called; null: nobody did, a trigger or an operator''s SQL.';
comment on column public.audit_log.actor is
  'owner: of the personal account. member: of the team, whatever their role there.';
comment on column public.audit_log.account_id is
  'Null: it is about no account. No foreign key: checking it would lock the profile, after locks that come later '
  'in line.';
comment on column public.audit_log.details is 'What changed: the new limits, the reason, the ids.';
alter table public.audit_log enable row level security;
revoke all on public.audit_log from public, anon, authenticated, service_role;
grant select on public.audit_log to authenticated, service_role;
revoke all on sequence public.audit_log_id_seq from public, anon, authenticated, service_role;
create index audit_log_account_id_idx on public.audit_log (account_id, id);
create index audit_log_key_id_idx on public.audit_log (key_id, id) where key_id is not null;
create index audit_log_administrators_idx on public.audit_log (at) where actor = 'administrator';

create function keyfund.refuse_audit_change() returns trigger
language plpgsql set search_path = '' as $$
begin
  raise exception 'the audit log is append-only';
end;
$$;
create trigger audit_log_is_append_only before update or delete or truncate on public.audit_log
  for each statement execute function keyfund.refuse_audit_change();

create function keyfund.write_down(p_action text, p_account_id uuid, p_key_id uuid, p_details jsonb) returns void
language sql set search_path = '' as $$
  insert into public.audit_log (actor, actor_id, action, account_id, key_id, details)
  select case
      when (select auth.uid()) is null then 'system'
      when current_setting('keyfund.administrator', true) = (select auth.uid())::text then 'administrator'
      when (select auth.uid()) = p_account_id then 'owner'
      when keyfund.role_in(p_account_id, (select auth.uid())) is not null then 'member'
      else 'administrator' end,
    (select auth.uid()), p_action, p_account_id, p_key_id,
    jsonb_strip_nulls(jsonb_build_object('reason', nullif(current_setting('keyfund.reason', true), ''))) || p_details;
$$;

create function keyfund.note(
  p_action text, p_account_id uuid, p_key_id uuid default null, p_details jsonb default '{}'
) returns void
language sql set search_path = '' as $$
  select keyfund.write_down(p_action, p_account_id, p_key_id, jsonb_strip_nulls(p_details));
$$;
comment on function keyfund.note(text, uuid, uuid, jsonb) is
  'Writes down what the caller does, in the transaction in which it is done.';

create function keyfund.note_reading(
  p_action text, p_shown integer, p_account_id uuid default null, p_details jsonb default '{}'
)
returns void
language sql set search_path = '' as $$
  select keyfund.note(p_action, p_account_id, null, jsonb_build_object('shown', p_shown) || p_details);
$$;
comment on function keyfund.note_reading(text, integer, uuid, jsonb) is
  'That the caller was shown so many things of other people.';

create function keyfund.give_reason(p_reason text) returns void
language plpgsql set search_path = '' as $$
begin
  if coalesce(btrim(p_reason), '') = '' or length(p_reason) > 500 then
    perform keyfund.refuse('reason_missing');
  end if;
  perform set_config('keyfund.reason', btrim(p_reason), true);
end;
$$;
comment on function keyfund.give_reason(text) is
  'Why an administrator does what follows in this transaction: it goes into the audit log.';

create function keyfund.refuse_list() returns trigger
language plpgsql set search_path = '' as $$
begin
  -- The words of PostgREST's call: it unpacks a list with json_to_recordset and takes one of it; an object otherwise.
  if current_query() like '%json_to_recordset(pgrst_payload.json_data)%LIMIT 1%' then
    perform keyfund.refuse('one_at_a_time');
  end if;
  return null;
end;
$$;
comment on function keyfund.refuse_list() is
  'Takes back what was done for the first of a list. Whatever people change is written down here, so here it is '
  'refused.';
create trigger audit_log_refuses_lists before insert on public.audit_log
  for each statement execute function keyfund.refuse_list();

-- ----------------------------------------------- what the operator has changed
-- Settings, administrators, packages and rates: each change leaves a line with the old and the new value of every
-- column that changed, whether a function made it or SQL. These lines belong to no account.

create function keyfund.describe_change(p_old jsonb, p_new jsonb, p_hidden text[]) returns jsonb
language sql immutable set search_path = '' as $$
  select jsonb_object_agg(name, case
    when p_old is null then jsonb_build_object('new', p_new -> name)
    when p_new is null then jsonb_build_object('old', p_old -> name)
    else jsonb_build_object('old', p_old -> name, 'new', p_new -> name) end)
  from jsonb_object_keys(coalesce(p_new, p_old)) name
  where p_old -> name is distinct from p_new -> name and name <> all (p_hidden);
$$;
comment on function keyfund.describe_change(jsonb, jsonb, text[]) is
  'By column: its old and its new value, where they differ. Null: nothing changed but what is hidden.';

create function keyfund.audit_change() returns trigger
language plpgsql set search_path = '' as $$
declare
  v_old jsonb := to_jsonb(old);
  v_new jsonb := to_jsonb(new);
  v_changes jsonb := keyfund.describe_change(v_old, v_new, tg_argv[2:]);
  v_deed text := case tg_op when 'INSERT' then 'added' when 'UPDATE' then 'changed' else 'removed' end;
begin
  if v_changes is not null then
    perform keyfund.write_down(tg_argv[0] || '_' || v_deed, null, null,
      jsonb_build_object('changes', v_changes)
        || jsonb_strip_nulls(jsonb_build_object(tg_argv[0], coalesce(v_new, v_old) -> tg_argv[1])));
  end if;
  return null;
end;
$$;
comment on function keyfund.audit_change() is
  'Writes down a change of this row. Arguments: what a row is, the column that names it, and the columns whose '
  'values nobody may read.';

create function keyfund.refuse_truncate() returns trigger
language plpgsql set search_path = '' as $$
begin
  raise exception 'delete the rows of % instead: each is written down then', tg_table_name;
end;
$$;

create trigger settings_changes_are_audited after insert or update or delete on keyfund.settings
  for each row execute function keyfund.audit_change('settings', '', 'id', 'installation_id');
create trigger settings_are_not_truncated before truncate on keyfund.settings
  for each statement execute function keyfund.refuse_truncate();
create trigger administrators_changes_are_audited after insert or update or delete on keyfund.administrators
  for each row execute function keyfund.audit_change('administrator', 'user_id', 'created_at');
create trigger administrators_are_not_truncated before truncate on keyfund.administrators
  for each statement execute function keyfund.refuse_truncate();

-- ------------------------------------------------------- how often in an hour
-- How often in an hour a person may do what they could repeat without end: each such act writes a line here, and
-- the pace is kept here, whichever function it was. Stopping a key is never refused: blocks are bounded by
-- unblocks, revocations by creations. Orders have a limit of their own.

create table keyfund.paces (
  user_id uuid not null,
  action text not null,
  rested_at timestamptz not null,
  primary key (user_id, action)
);
comment on table keyfund.paces is 'How much of an hour''s allowance a person has used up, by what they do.';
comment on column keyfund.paces.rested_at is
  'When the whole allowance is there again. Each act moves it on by an hour over the limit; an hour from now is '
  'the end.';
alter table keyfund.paces enable row level security;

create function keyfund.limit_of(p_action text) returns integer
language sql stable set search_path = '' as $$
  select case p_action when 'key_created' then s.key_creations_per_hour when 'key_rotated'
    then s.key_rotations_per_hour
    when 'key_changed' then s.key_changes_per_hour when 'key_unblocked' then s.key_unblocks_per_hour
    when 'key_resynced' then s.key_resyncs_per_hour when 'team_created' then s.team_creations_per_hour
    when 'member_invited' then s.invitations_per_hour end
  from keyfund.settings s;
$$;
comment on function keyfund.limit_of(text) is
  'How often in an hour a person may do this; null: as often as they like.';

create function keyfund.refuse_haste(p_action text) returns void
language plpgsql set search_path = '' as $$
begin
  case p_action
    when 'key_created' then
      perform keyfund.refuse('too_many_creations');
    when 'key_rotated' then
      perform keyfund.refuse('too_many_rotations');
    when 'key_changed' then
      perform keyfund.refuse('too_many_changes');
    when 'key_unblocked' then
      perform keyfund.refuse('too_many_unblocks');
    when 'team_created' then
      perform keyfund.refuse('too_many_teams');
    when 'member_invited' then
      perform keyfund.refuse('too_many_invitations');
    else
      perform keyfund.refuse('too_many_resyncs');
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
  insert into keyfund.paces as p (user_id, action, rested_at) values (new.actor_id, new.action, now() + v_step)
  on conflict (user_id, action) do update set rested_at = greatest(p.rested_at, now()) + v_step
  returning p.rested_at into v_rested_at;
  if v_rested_at > now() + interval '1 hour 1 millisecond' then -- steps are rounded
    perform keyfund.refuse_haste(new.action);
  end if;
  return new;
end;
$$;
comment on function keyfund.keep_pace() is
  'Refuses what a person does too often, before it is written down; all of it is then undone.';
create trigger audit_log_keeps_pace before insert on public.audit_log
  for each row when (new.actor in ('owner', 'member')) execute function keyfund.keep_pace();
