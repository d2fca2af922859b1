-- How administrators find an account.

-- Text patterns: what begins with a prefix is one stretch of it, whatever the database's collation.
create index profiles_email_prefix_idx on public.profiles (email text_pattern_ops);
create index profiles_created_at_idx on public.profiles (created_at, id);

create function public.find_accounts(search text default null, page_size integer default 50) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  v_search text := lower(nullif(btrim(find_accounts.search), ''));
  v_id uuid := case when v_search ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then v_search::uuid end;
begin
  perform keyfund.check_administrator();
  return coalesce((
    select jsonb_agg(jsonb_build_object(
      'user_id', found.id, 'email', found.email, 'status', found.status, 'credits', found.credits,
      'created_at', found.created_at,
      'keys', (
        select count(*) from public.virtual_keys k
        where k.user_id = found.id and k.state in ('active', 'blocked') and k.successor_id is null),
      'failing_keys', (
        select count(*) from public.virtual_keys k
        where k.user_id = found.id and k.sync_status = 'failed' and k.state <> 'placeholder'),
      'wallet_confirmed', coalesce((
        select a.revision <= a.confirmed_revision from keyfund.accounts a where a.user_id = found.id), false))
      order by found.created_at desc, found.id desc)
    from (
      select p.* from public.profiles p
      where v_search is null or p.id = v_id
        or (v_id is null and p.email ~>=~ v_search and p.email ~<~ (v_search || chr(1114111)))
      order by p.created_at desc, p.id desc
      limit least(greatest(find_accounts.page_size, 1), 200)
    ) found), '[]');
end;
$$;
comment on function public.find_accounts(text, integer) is
  'For administrators: accounts, newest first, by id or by how their e-mail address begins. wallet_confirmed: LiteLLM showed all that is wanted.';

revoke all on function public.find_accounts(text, integer) from public, anon, authenticated, service_role;
grant execute on function public.find_accounts(text, integer) to authenticated;
