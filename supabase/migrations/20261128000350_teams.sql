-- Teams: accounts that several people share. Who is in one, as what, and how one gets in.
--
-- A team has a wallet, a balance and a user in LiteLLM as everybody's personal account has. A member makes keys of
-- their own there; an owner or admin also sees everybody's keys, masked, limits, blocks and revokes them, invites
-- members, buys credits, and reads ledger, payments and usage. Only owners make or change owners and admins. There
-- is always an owner. Whoever leaves, is removed or deleted has their keys there revoked; after the last owner was
-- deleted the oldest admin owns the team, else the oldest member, else the team is closed as a deleted account is.

set local check_function_bodies = off; -- a function may name what a later file makes

create table public.teams (
  id uuid primary key references keyfund.accounts (id),
  name text not null constraint teams_name_check check (length(name) between 1 and 100),
  credits bigint not null default 0,
  status text not null default 'active'
    constraint teams_status_check check (status in ('active', 'suspended', 'deleted')),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  suspended_at timestamptz,
  deleted_at timestamptz
);
comment on table public.teams is 'One row per team account. Its id is the account''s.';
comment on column public.teams.credits is
  'Sum of the account''s ledger entries, changed only together with one. May be negative after a refund.';
comment on column public.teams.status is
  'suspended: an administrator says so. deleted: nobody is left in it. As with a person''s account.';
alter table public.teams enable row level security;
revoke all on public.teams from public, anon, authenticated, service_role;
grant select on public.teams to authenticated, service_role;
create policy "members see their teams" on public.teams
  for select to authenticated using (id = any (array(select public.own_accounts())));
create index teams_deleted_idx on public.teams (id) where status = 'deleted';
-- How administrators find a team, as they find a person.
create index teams_name_prefix_idx on public.teams (lower(name) text_pattern_ops);
create index teams_created_at_idx on public.teams (created_at, id);

create table public.members (
  account_id uuid references public.teams (id),
  user_id uuid references public.profiles (id),
  role text not null constraint members_role_check check (role in ('owner', 'admin', 'member')),
  created_at timestamptz not null default now(),
  primary key (account_id, user_id)
);
comment on table public.members is 'Who is in which team, as what.';
alter table public.members enable row level security;
revoke all on public.members from public, anon, authenticated, service_role;
grant select on public.members to authenticated, service_role;
create policy "members see who is in their teams" on public.members
  for select to authenticated using (account_id = any (array(select public.own_accounts())));
create index members_user_id_idx on public.members (user_id);

create table public.invitations (
  id uuid primary key default gen_random_uuid(),
  account_id uuid not null references public.teams (id),
  email text not null constraint invitations_email_check check (length(email) between 3 and 320),
  role text not null constraint invitations_role_check check (role in ('owner', 'admin', 'member')),
  invited_by uuid not null references public.profiles (id),
  created_at timestamptz not null default now(),
  expires_at timestamptz not null default now() + interval '7 days',
  accepted_at timestamptz,
  accepted_by uuid references public.profiles (id)
);
comment on table public.invitations is
  'Who was asked into a team. Good for whoever has confirmed that address, once, until it expires.';
alter table public.invitations enable row level security;
revoke all on public.invitations from public, anon, authenticated, service_role;
grant select on public.invitations to authenticated, service_role;
create policy "owners and admins see whom their team invited" on public.invitations
  for select to authenticated using (account_id = any (array(select public.own_accounts('admin'))));
create index invitations_account_id_idx on public.invitations (account_id, created_at);
create index invitations_invited_by_idx on public.invitations (invited_by);
create index invitations_accepted_by_idx on public.invitations (accepted_by);

create table keyfund.invitation_mails (
  invitation_id uuid primary key references public.invitations (id) on delete cascade,
  token_hash text not null constraint invitation_mails_token_hash_key unique,
  token text,
  attempts integer not null default 0,
  next_attempt_at timestamptz default now(),
  lease_token uuid,
  last_error text
);
comment on table keyfund.invitation_mails is 'The mail of each invitation, and the token that is in it alone.';
comment on column keyfund.invitation_mails.token is 'Null once the mail is sent, or the invitation is over.';
comment on column keyfund.invitation_mails.token_hash is 'sha256 of the token, hex: what an acceptance is found by.';
comment on column keyfund.invitation_mails.next_attempt_at is
  'When it is sent (again); while it is being sent, when its lease ends; null: done.';
alter table keyfund.invitation_mails enable row level security;
create index invitation_mails_due_idx on keyfund.invitation_mails (next_attempt_at) where next_attempt_at is not null;

create policy "owners and admins see what was done to their account, administrators everything" on public.audit_log
  for select to authenticated using (
    account_id = any (array(select public.own_accounts('admin'))) or (select public.is_administrator()));

-- --------------------------------------------------------- who may do what in

create function keyfund.rank(p_role text) returns integer
language sql immutable set search_path = '' as $$
  select array_position(array['member', 'admin', 'owner'], p_role);
$$;
comment on function keyfund.rank(text) is 'The higher, the more a role may do.';

create function keyfund.role_in(p_account_id uuid, p_user_id uuid) returns text
language sql stable set search_path = '' as $$
  select case when p_account_id = p_user_id then 'owner' else (
    select m.role from public.members m where m.account_id = p_account_id and m.user_id = p_user_id) end;
$$;
comment on function keyfund.role_in(uuid, uuid) is 'What somebody is in an account; null: nothing.';

create function keyfund.check_role(p_account_id uuid, p_user_id uuid, p_least_role text) returns uuid
language plpgsql stable set search_path = '' as $$
declare
  v_account_id uuid := coalesce(p_account_id, p_user_id);
  v_role text := keyfund.role_in(v_account_id, p_user_id);
begin
  if p_user_id is null then
    perform keyfund.refuse('not_signed_in');
  elsif v_role is null then
    -- The same answer for a stranger's account and for none at all.
    perform keyfund.refuse('account_not_found');
  elsif keyfund.rank(v_role) < keyfund.rank(p_least_role) then
    perform keyfund.refuse('role_too_low');
  end if;
  return v_account_id;
end;
$$;

create function keyfund.act_in(p_account_id uuid, p_least_role text default 'member') returns uuid
language sql stable set search_path = '' as $$
  select keyfund.check_role(p_account_id, (select auth.uid()), p_least_role);
$$;
comment on function keyfund.act_in(uuid, text) is
  'The account that the caller acts in: their personal one where none is named. Refused where they are nothing, as '
  'if it did not exist, or less than this role.';

create function keyfund.check_team(p_account_id uuid) returns void
language plpgsql stable set search_path = '' as $$
begin
  if not exists (select from public.teams where id = p_account_id) then
    perform keyfund.refuse('account_not_found');
  end if;
end;
$$;
comment on function keyfund.check_team(uuid) is 'Refuses personal accounts: nobody else gets into those.';

create function keyfund.check_rank(p_account_id uuid, p_roles text[]) returns void
language plpgsql stable set search_path = '' as $$
begin
  if p_roles <> array_fill('member'::text, array[cardinality(p_roles)]) then
    perform keyfund.act_in(p_account_id, 'owner');
  end if;
end;
$$;
comment on function keyfund.check_rank(uuid, text[]) is 'Owners and admins are made and changed by owners alone.';

create function keyfund.check_role_name(p_role text) returns void
language plpgsql set search_path = '' as $$
begin
  if keyfund.rank(p_role) is null then
    perform keyfund.refuse('invalid_role');
  end if;
end;
$$;

create function keyfund.member_of(p_account_id uuid, p_user_id uuid) returns public.members
language plpgsql stable set search_path = '' as $$
declare
  v_member public.members;
begin
  select * into v_member from public.members where account_id = p_account_id and user_id = p_user_id;
  if v_member.user_id is null then
    perform keyfund.refuse('member_not_found');
  end if;
  return v_member;
end;
$$;

create function keyfund.keep_an_owner(p_member public.members) returns void
language plpgsql stable set search_path = '' as $$
begin
  if p_member.role = 'owner' and not exists (
      select from public.members m
      where m.account_id = p_member.account_id and m.role = 'owner' and m.user_id <> p_member.user_id) then
    perform keyfund.refuse('last_owner');
  end if;
end;
$$;

-- ------------------------------------------------------------ what members do

create function public.create_team(name text) returns public.teams
language plpgsql security definer set search_path = '' as $$
declare
  v_id uuid := gen_random_uuid();
  v_name text := btrim(create_team.name);
  v_team public.teams;
begin
  if v_name is null or length(v_name) not between 1 and 100 or keyfund.is_no_text(v_name) then
    perform keyfund.refuse('invalid_name');
  end if;
  perform keyfund.open_account((select auth.uid()));
  perform keyfund.make_account(v_id, 'team');
  insert into public.teams (id, name) values (v_id, v_name) returning * into v_team;
  insert into public.members (account_id, user_id, role) values (v_id, (select auth.uid()), 'owner');
  perform keyfund.note('team_created', v_id);
  return v_team;
end;
$$;
comment on function public.create_team(text) is 'Makes a team that the caller owns. It has no credits yet.';

create function public.invite_member(account_id uuid, email text, role text default 'member')
returns public.invitations
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_email text := lower(btrim(invite_member.email));
  v_token text := replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '');
  v_made public.invitations;
begin
  perform keyfund.check_role_name(invite_member.role);
  if coalesce(v_email !~ '^[^@\s]+@[^@\s]+$' or length(v_email) > 320, true) then
    perform keyfund.refuse('invalid_email');
  end if;
  perform keyfund.open_account((select auth.uid()), invite_member.account_id, 'admin');
  perform keyfund.check_team(invite_member.account_id);
  perform keyfund.check_rank(invite_member.account_id, array[invite_member.role]);
  if exists (
      select from public.members m join public.profiles p on p.id = m.user_id
      where m.account_id = invite_member.account_id and lower(p.email) = v_email) then
    perform keyfund.refuse('already_member');
  end if;
  delete from public.invitations i
  where i.account_id = invite_member.account_id and i.email = v_email and i.accepted_at is null;
  insert into public.invitations (account_id, email, role, invited_by)
  values (invite_member.account_id, v_email, invite_member.role, (select auth.uid())) returning * into v_made;
  insert into keyfund.invitation_mails (invitation_id, token_hash, token)
  values (v_made.id, encode(sha256(convert_to(v_token, 'UTF8')), 'hex'), v_token);
  perform keyfund.note('member_invited', v_made.account_id, null,
    jsonb_build_object('invitation_id', v_made.id, 'role', v_made.role));
  return v_made;
end;
$$;
comment on function public.invite_member(uuid, text, text) is
  'Asks somebody into a team, by a mail to that address. It takes the place of an earlier invitation.';

create function public.cancel_invitation(invitation_id uuid) returns void
language plpgsql security definer set search_path = '' as $$
declare
  v_found public.invitations;
begin
  select i.* into v_found from public.invitations i
  where i.id = cancel_invitation.invitation_id and i.account_id in (select public.own_accounts('admin'));
  if v_found.id is null then
    perform keyfund.refuse('invitation_not_found');
  end if;
  perform keyfund.open_account((select auth.uid()), v_found.account_id, 'admin');
  perform keyfund.check_rank(v_found.account_id, array[v_found.role]);
  delete from public.invitations i where i.id = v_found.id and i.accepted_at is null;
  perform keyfund.note('invitation_cancelled', v_found.account_id, null,
    jsonb_build_object('invitation_id', v_found.id));
end;
$$;
comment on function public.cancel_invitation(uuid) is 'Takes an invitation back that nobody has accepted.';

create function keyfund.has_confirmed(p_user_id uuid, p_email text) returns boolean
language sql stable set search_path = '' as $$
  -- auth.users gains columns over time: they are read by name.
  select exists (
    select from auth.users u
    where u.id = p_user_id and lower(u.email) = p_email and to_jsonb(u) ->> 'email_confirmed_at' is not null);
$$;

create function public.accept_invitation(token text) returns public.members
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_user_id uuid := (select auth.uid());
  v_id uuid;
  v_invitation public.invitations;
  v_member public.members;
begin
  perform keyfund.open_account(v_user_id);
  select m.invitation_id into v_id from keyfund.invitation_mails m
  where m.token_hash = encode(sha256(convert_to(accept_invitation.token, 'UTF8')), 'hex');
  perform keyfund.lock_account(i.account_id) from public.invitations i where i.id = v_id;
  select * into v_invitation from public.invitations where id = v_id for update;
  if v_invitation.id is null or v_invitation.accepted_at is not null or v_invitation.expires_at <= now()
      or keyfund.status_of(v_invitation.account_id) <> 'active' then
    perform keyfund.refuse('invitation_not_found');
  elsif not keyfund.has_confirmed(v_user_id, v_invitation.email) then
    perform keyfund.refuse('invitation_of_another');
  end if;
  insert into public.members (account_id, user_id, role)
  values (v_invitation.account_id, v_user_id, v_invitation.role) on conflict (account_id, user_id) do nothing;
  update public.invitations set accepted_at = now(), accepted_by = v_user_id where id = v_id;
  update keyfund.invitation_mails set token = null, next_attempt_at = null where invitation_id = v_id;
  perform keyfund.note('member_joined', v_invitation.account_id, null,
    jsonb_build_object('invitation_id', v_id, 'role', v_invitation.role));
  select * into strict v_member from public.members
  where account_id = v_invitation.account_id and user_id = v_user_id;
  return v_member;
end;
$$;
comment on function public.accept_invitation(text) is
  'Takes the caller into the team that invited the address which they have confirmed.';

create function public.change_role(account_id uuid, user_id uuid, role text) returns public.members
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_member public.members;
begin
  perform keyfund.check_role_name(change_role.role);
  perform keyfund.open_account((select auth.uid()), change_role.account_id, 'admin');
  v_member := keyfund.member_of(change_role.account_id, change_role.user_id);
  perform keyfund.check_rank(change_role.account_id, array[v_member.role, change_role.role]);
  if change_role.role <> 'owner' then
    perform keyfund.keep_an_owner(v_member);
  end if;
  update public.members m set role = change_role.role
  where m.account_id = v_member.account_id and m.user_id = v_member.user_id returning * into v_member;
  if v_member.role = 'member' then
    perform keyfund.withdraw_invitations(v_member.account_id, v_member.user_id);
  end if;
  perform keyfund.note('role_changed', v_member.account_id, null,
    jsonb_build_object('user_id', v_member.user_id, 'role', v_member.role));
  return v_member;
end;
$$;
comment on function public.change_role(uuid, uuid, text) is
  'Makes a member owner, admin or member. The last owner stays one.';

create function keyfund.withdraw_invitations(p_account_id uuid, p_user_id uuid) returns void
language sql set search_path = '' as $$
  delete from public.invitations
  where account_id = p_account_id and invited_by = p_user_id and accepted_at is null;
$$;
comment on function keyfund.withdraw_invitations(uuid, uuid) is
  'Nobody gets in on the word of somebody who may not ask them any more.';

create function keyfund.end_membership(p_member public.members, p_action text) returns void
language plpgsql set search_path = '' as $$
begin
  perform keyfund.note(p_action, p_member.account_id, null, jsonb_build_object('user_id', p_member.user_id));
  perform keyfund.withdraw_invitations(p_member.account_id, p_member.user_id);
  delete from public.members where account_id = p_member.account_id and user_id = p_member.user_id;
  update public.virtual_keys set state = 'revoked', revoked_at = coalesce(revoked_at, now())
  where account_id = p_member.account_id and user_id = p_member.user_id and state <> 'revoked';
end;
$$;
comment on function keyfund.end_membership(public.members, text) is
  'Of a team that is locked: the member goes, and their keys there are revoked.';

create function public.remove_member(account_id uuid, user_id uuid) returns void
language plpgsql security definer set search_path = '' as $$
declare
  v_member public.members;
begin
  perform keyfund.open_account((select auth.uid()), remove_member.account_id, 'admin');
  v_member := keyfund.member_of(remove_member.account_id, remove_member.user_id);
  perform keyfund.check_rank(remove_member.account_id, array[v_member.role]);
  perform keyfund.keep_an_owner(v_member);
  perform keyfund.end_membership(v_member, 'member_removed');
end;
$$;
comment on function public.remove_member(uuid, uuid) is
  'Takes a member out of a team; their keys there are revoked. The last owner stays.';

create function public.leave_team(account_id uuid) returns void
language plpgsql security definer set search_path = '' as $$
declare
  v_member public.members;
begin
  perform keyfund.open_account((select auth.uid()), leave_team.account_id);
  v_member := keyfund.member_of(leave_team.account_id, (select auth.uid()));
  perform keyfund.keep_an_owner(v_member);
  perform keyfund.end_membership(v_member, 'member_left');
end;
$$;
comment on function public.leave_team(uuid) is
  'Takes the caller out of a team; their keys there are revoked. The last owner makes somebody else one first.';

create function public.list_account_keys(
  account_id uuid default null, after_key uuid default null, page_size integer default 50
) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  v_account_id uuid := keyfund.act_in(list_account_keys.account_id, 'admin');
begin
  return coalesce((
    select jsonb_agg(keyfund.describe_key(page.k) || jsonb_build_object('key_preview', (page.k).key_preview)
      order by (page.k).created_at desc, (page.k).id desc)
    from (
      select k from public.virtual_keys k
      where k.account_id = v_account_id and k.state <> 'placeholder'
        and (list_account_keys.after_key is null or (k.created_at, k.id) < (
          select last.created_at, last.id from public.virtual_keys last
          where last.id = list_account_keys.after_key and last.account_id = v_account_id))
      order by k.created_at desc, k.id desc
      limit keyfund.page_size(list_account_keys.page_size)) page), '[]');
end;
$$;
comment on function public.list_account_keys(uuid, uuid, integer) is
  'For owners and admins: all keys of an account with who holds them, newest first, each without its string. '
  'after_key: the last one of the page before.';

-- ------------------------------------------------- suspended, deleted, closed

create function keyfund.follow_team() returns trigger
language plpgsql set search_path = '' as $$
begin
  perform keyfund.push_status(new.id);
  perform keyfund.note(case new.status when 'active' then 'account_reinstated' when 'suspended'
    then 'account_suspended' else 'account_deleted' end, new.id);
  return null;
end;
$$;
create trigger teams_reason_is_heard before update of status on public.teams
  for each row execute function keyfund.hear_administrator();
create trigger teams_status_is_followed after update on public.teams
  for each row when (old.status <> new.status) execute function keyfund.follow_team();

create function keyfund.hand_over(p_account_id uuid) returns void
language plpgsql set search_path = '' as $$
begin
  if exists (select from public.members where account_id = p_account_id and role = 'owner') then
    return;
  end if;
  update public.members set role = 'owner'
  where account_id = p_account_id and user_id = (
    select heir.user_id from public.members heir where heir.account_id = p_account_id
    order by keyfund.rank(heir.role) desc, heir.created_at, heir.user_id limit 1);
  if not found then
    delete from public.invitations where account_id = p_account_id and accepted_at is null;
    update public.teams set status = 'deleted', deleted_at = now(), updated_at = now(), name = 'Deleted'
    where id = p_account_id;
  end if;
end;
$$;
comment on function keyfund.hand_over(uuid) is
  'A team whose last owner is gone: the oldest admin owns it, else the oldest member; with nobody left it is closed.';

create function keyfund.leave_all_teams(p_user_id uuid) returns void
language plpgsql set search_path = '' as $$
declare
  v_member public.members;
begin
  for v_member in select * from public.members where user_id = p_user_id order by account_id loop
    perform keyfund.lock_account(v_member.account_id);
    perform keyfund.end_membership(v_member, 'member_left');
    perform keyfund.hand_over(v_member.account_id);
  end loop;
end;
$$;
comment on function keyfund.leave_all_teams(uuid) is 'What becomes of the teams of somebody who was deleted.';

create function keyfund.follow_holder(p_user_id uuid, p_status text) returns void
language plpgsql set search_path = '' as $$
declare
  v_account_id uuid;
begin
  for v_account_id in
    select distinct k.account_id from public.virtual_keys k
    where k.user_id = p_user_id and k.account_id <> p_user_id and k.state in ('active', 'blocked') order by 1
  loop
    perform keyfund.lock_account(v_account_id);
    update public.virtual_keys
    set state = case p_status when 'suspended' then 'blocked' else 'active' end,
        blocked_by = case p_status when 'suspended' then 'suspension' end
    where account_id = v_account_id and user_id = p_user_id and case p_status
      when 'suspended' then state = 'active' else state = 'blocked' and blocked_by = 'suspension' end;
  end loop;
end;
$$;
comment on function keyfund.follow_holder(uuid, text) is
  'A person who is suspended spends nothing in their teams either: the keys that they hold there are blocked until '
  'they are back.';

-- ---------------------------------------------------------- invitations' mails

create function public.claim_invitation_mails(p_limit integer, p_lease_seconds integer) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_claimed jsonb;
begin
  update keyfund.invitation_mails m set token = null, next_attempt_at = null
  from public.invitations i where i.id = m.invitation_id and i.expires_at <= now() and m.next_attempt_at is not null;
  with due as (
    select invitation_id from keyfund.invitation_mails
    where next_attempt_at <= now() order by next_attempt_at limit least(p_limit, 1000) for update skip locked
  ), claimed as (
    update keyfund.invitation_mails m
    set lease_token = gen_random_uuid(), next_attempt_at = now() + make_interval(secs => p_lease_seconds)
    from due where m.invitation_id = due.invitation_id returning m.*
  )
  select coalesce(jsonb_agg(jsonb_build_object('id', i.id, 'lease_token', c.lease_token, 'token', c.token,
    'email', i.email, 'role', i.role, 'team', t.name, 'expires_at', i.expires_at)), '[]') into v_claimed
  from claimed c join public.invitations i on i.id = c.invitation_id join public.teams t on t.id = i.account_id;
  return v_claimed;
end;
$$;
comment on function public.claim_invitation_mails(integer, integer) is
  'Leases mails that are to be sent, each with the token for its link; those of invitations that expired are none.';

create function public.finish_invitation_mail(p_id uuid, p_lease_token uuid) returns boolean
language plpgsql security definer set search_path = '' as $$
begin
  update keyfund.invitation_mails set token = null, next_attempt_at = null, lease_token = null, last_error = null
  where invitation_id = p_id and lease_token = p_lease_token;
  return found;
end;
$$;
comment on function public.finish_invitation_mail(uuid, uuid) is
  'Sent: its token is erased. False: another process has it now.';

create function public.fail_invitation_mail(p_id uuid, p_lease_token uuid, p_error text) returns boolean
language plpgsql security definer set search_path = '' as $$
begin
  update keyfund.invitation_mails
  set attempts = attempts + 1, last_error = p_error, lease_token = null,
      next_attempt_at = now() + keyfund.backoff(attempts + 1, 300)
  where invitation_id = p_id and lease_token = p_lease_token;
  return found;
end;
$$;
comment on function public.fail_invitation_mail(uuid, uuid, text) is 'Not sent this time; tried again later.';

revoke all on function public.create_team, public.invite_member, public.cancel_invitation,
  public.accept_invitation, public.change_role, public.remove_member, public.leave_team, public.list_account_keys,
  public.claim_invitation_mails, public.finish_invitation_mail, public.fail_invitation_mail from public, anon,
  authenticated, service_role;
