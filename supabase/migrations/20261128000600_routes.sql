-- What keys may call in LiteLLM, and what was proved of routes that are not open by default.

set local check_function_bodies = off; -- a function may name what a later file makes

create function keyfund.route_names() returns text[]
language sql immutable set search_path = '' as $$
  select array['chat', 'completions', 'embeddings', 'responses', 'messages', 'images', 'speech', 'transcriptions',
    'rerank',
    'moderations'];
$$;
comment on function keyfund.route_names() is 'All names of routes, as in core/domain/routes.py.';

create function keyfund.needs_proof(p_route text) returns boolean
language sql immutable set search_path = '' as $$
  select p_route <> all (array['chat', 'completions', 'embeddings']);
$$;

create table keyfund.litellm_release (
  id boolean primary key default true check (id),
  version text not null check (version <> ''),
  guard_version text check (guard_version <> ''),
  recorded_at timestamptz not null default now()
);
comment on table keyfund.litellm_release is
  'One row: the LiteLLM version that the doctor last saw, and the guard in it.';
comment on column keyfund.litellm_release.guard_version is 'Null: no guard answered.';
alter table keyfund.litellm_release enable row level security;

create table keyfund.route_proofs (
  route text not null check (route = any (keyfund.route_names()) and keyfund.needs_proof(route)),
  model text not null check (model <> ''),
  litellm_version text not null check (litellm_version <> ''),
  guard_version text check (guard_version <> ''),
  proved_at timestamptz not null default now(),
  primary key (route, model, litellm_version),
  -- These two are proved as a whole, the others for each model.
  constraint route_proofs_whole_check check ((model = '*') = (route in ('responses', 'messages')))
);
comment on table keyfund.route_proofs is
  'What the doctor proved of a route with a model: that a call is charged, bounded before it is made, and '
  'private.';
comment on column keyfund.route_proofs.model is 'LiteLLM''s public name; * for the route as a whole.';
comment on column keyfund.route_proofs.guard_version is
  'The guard that it was proved with; null: it holds without one.';
alter table keyfund.route_proofs enable row level security;

create function keyfund.counts(p_proof keyfund.route_proofs) returns boolean
language sql stable set search_path = '' as $$
  select exists (
    select from keyfund.litellm_release r
    where r.version = p_proof.litellm_version and (p_proof.guard_version is null or r.guard_version is not null));
$$;
comment on function keyfund.counts(keyfund.route_proofs) is
  'Whether a proof is one for the LiteLLM version in use: made without a guard, or with one while one is loaded.';

create function keyfund.is_proved(p_route text) returns boolean
language sql stable set search_path = '' as $$
  select not keyfund.needs_proof(p_route)
    or exists (select from keyfund.route_proofs p where p.route = p_route and keyfund.counts(p));
$$;

create function keyfund.check_routes() returns trigger
language plpgsql set search_path = '' as $$
declare
  v_route text;
begin
  new.open_routes := array(select distinct route from unnest(new.open_routes) route order by route);
  for v_route in select unnest(new.open_routes) except select unnest(old.open_routes) loop
    if v_route is null or v_route <> all (keyfund.route_names()) then
      raise exception 'open_routes: there is no route named %. Names are %.',
        coalesce(v_route, 'null'), array_to_string(keyfund.route_names(), ', ');
    elsif not keyfund.is_proved(v_route) then
      raise exception 'open_routes: % is not proved for %. Run "python -m operate doctor": it tries and records it.',
        v_route, coalesce((select 'LiteLLM ' || version from keyfund.litellm_release),
          'this LiteLLM, whose version is not recorded yet');
    end if;
    -- It opens for the models that are proved now, not for those that once were.
    delete from keyfund.route_proofs p where p.route = v_route and not keyfund.counts(p);
  end loop;
  return new;
end;
$$;
comment on function keyfund.check_routes() is
  'Opens a route only where the doctor proved it for the LiteLLM version in use.';
create trigger settings_routes_are_proved before update of open_routes on keyfund.settings
  for each row execute function keyfund.check_routes();

create function public.record_litellm(p_version text, p_guard_version text) returns void
language sql security definer set search_path = '' as $$
  insert into keyfund.litellm_release as r (version, guard_version) values (p_version, p_guard_version)
  on conflict (id) do update set version = excluded.version, guard_version = excluded.guard_version,
    recorded_at = now();
$$;
comment on function public.record_litellm(text, text) is
  'Records which LiteLLM, and which guard in it (null: none), was seen. Proofs for another version then open '
  'nothing.';

create function public.record_route_proof(
  p_route text, p_model text, p_litellm_version text, p_guard_version text
) returns void
language plpgsql security definer set search_path = '' as $$
declare
  v_before jsonb := keyfund.fences();
begin
  if p_route is null or p_route <> all (keyfund.route_names()) or not keyfund.needs_proof(p_route) then
    perform keyfund.refuse('unknown_route', (
      select string_agg(name, ', ') from unnest(keyfund.route_names()) name where keyfund.needs_proof(name)));
  elsif (p_model = '*') is distinct from (p_route in ('responses', 'messages')) then
    perform keyfund.refuse('invalid_model');
  end if;
  insert into keyfund.route_proofs (route, model, litellm_version, guard_version)
  values (p_route, p_model, p_litellm_version, p_guard_version)
  on conflict (route, model, litellm_version) do update set guard_version = excluded.guard_version, proved_at = now();
  if keyfund.fences() <> v_before then
    perform keyfund.fence_keys(); -- another model of a route that is open
  end if;
end;
$$;
comment on function public.record_route_proof(text, text, text, text) is
  'Records that a route was proved with a model (LiteLLM''s public name; * for responses and messages) on that '
  'LiteLLM, with that guard (null: none).';

create function public.read_routes() returns jsonb
language sql stable security definer set search_path = '' as $$
  select jsonb_build_object(
    'fences', keyfund.fences(), 'litellm_version', r.version, 'guard_version', r.guard_version, 'recorded_at',
      r.recorded_at,
    'proofs', coalesce((
      select jsonb_agg(to_jsonb(p) || jsonb_build_object('counts', keyfund.counts(p)) order by p.route, p.model,
        p.proved_at)
      from keyfund.route_proofs p), '[]'),
    'stale', coalesce((
      select jsonb_agg(route order by route) from unnest(s.open_routes) route where not keyfund.is_proved(route)),
        '[]'))
  from keyfund.settings s left join keyfund.litellm_release r on true;
$$;
comment on function public.read_routes() is
  'The open routes, all proofs and whether each counts for the LiteLLM recorded last; stale: open, but not proved '
  'for it.';

-- --------------------------------------------------------------------- fences

create function keyfund.fences() returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'open_routes', s.open_routes, 'key_max_parallel', s.key_max_parallel, 'account_max_parallel',
      s.account_max_parallel,
    'proved', coalesce((
      select jsonb_object_agg(proved.route, proved.models)
      from (select p.route, jsonb_agg(distinct p.model) as models from keyfund.route_proofs p
        where p.route = any (s.open_routes) group by p.route) proved), '{}'))
  from keyfund.settings s;
$$;
comment on function keyfund.fences() is
  'What LiteLLM must hold of every key besides its limits; proved: the models of each open route that needs a '
  'proof.';

revoke all on function public.record_litellm, public.record_route_proof, public.read_routes from public, anon,
  authenticated, service_role;
