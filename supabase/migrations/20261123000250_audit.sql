-- Who did what to which account or key, and when. Append-only; owners see their own, administrators all.

create table public.audit_log (
  id bigint generated always as identity primary key,
  at timestamptz not null default now(),
  actor text not null constraint audit_log_actor_check check (actor in ('owner', 'administrator', 'system')),
  actor_id uuid,
  action text not null,
  account_id uuid,
  key_id uuid,
  details jsonb not null default '{}'
);
comment on table public.audit_log is 'What people and the system did to accounts and keys. Never a key string, never a name or an address.';
comment on column public.audit_log.actor_id is 'The Supabase user who called; null: nobody did, a trigger or an operator''s SQL.';
comment on column public.audit_log.account_id is 'No foreign key: checking it would lock the profile, after locks that come later in line.';
comment on column public.audit_log.details is 'What changed: the new limits, the reason, the ids.';
create index audit_log_account_id_idx on public.audit_log (account_id, id);
create index audit_log_key_id_idx on public.audit_log (key_id, id) where key_id is not null;

alter table public.audit_log enable row level security;
revoke all on public.audit_log from public, anon, authenticated, service_role;
grant select on public.audit_log to authenticated, service_role;
revoke all on sequence public.audit_log_id_seq from public, anon, authenticated, service_role;
create policy "people see what was done to their account, administrators everything" on public.audit_log
  for select to authenticated using ((select auth.uid()) = account_id or (select public.is_administrator()));

create function keyfund.refuse_audit_change() returns trigger
language plpgsql set search_path = '' as $$
begin
  raise exception 'the audit log is append-only';
end;
$$;
create trigger audit_log_is_append_only before update or delete or truncate on public.audit_log
  for each statement execute function keyfund.refuse_audit_change();

create function keyfund.note(
  p_action text, p_account_id uuid, p_key_id uuid default null, p_details jsonb default '{}'
) returns void
language sql set search_path = '' as $$
  insert into public.audit_log (actor, actor_id, action, account_id, key_id, details)
  select case when (select auth.uid()) is null then 'system' when (select auth.uid()) = p_account_id then 'owner'
    else 'administrator' end, (select auth.uid()), p_action, p_account_id, p_key_id,
    jsonb_strip_nulls(jsonb_build_object('reason', nullif(current_setting('keyfund.reason', true), '')) || p_details);
$$;
create function keyfund.give_reason(p_reason text) returns void
language plpgsql set search_path = '' as $$
begin
  if coalesce(btrim(p_reason), '') = '' or length(p_reason) > 500 then
    perform keyfund.refuse(400, 'reason_missing', 'Say why, in up to 500 characters: the reason is kept.');
  end if;
  perform set_config('keyfund.reason', btrim(p_reason), true);
end;
$$;
comment on function keyfund.give_reason(text) is 'Why an administrator does what follows in this transaction: it goes into the audit log.';

comment on function keyfund.note(text, uuid, uuid, jsonb) is 'Writes down what the caller does, in the transaction in which it is done.';

revoke all on all functions in schema keyfund from public, anon, authenticated, service_role;
