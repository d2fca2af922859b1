-- While LiteLLM is away it is probed by one process at a time; nobody looks at its settings besides.

create or replace function public.claim_watch(p_name text, p_every_seconds integer default 60) returns boolean
language plpgsql security definer set search_path = '' as $$
begin
  update keyfund.gateways set watched_at = now()
  where name = p_name and opened_at is null
    and coalesce(watched_at, '-infinity') <= now() - make_interval(secs => p_every_seconds);
  return found;
end;
$$;
comment on function public.claim_watch(text, integer) is
  'True for the one process that may have a look now; again after so many seconds, and not while the breaker is open.';
