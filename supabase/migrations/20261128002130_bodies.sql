-- What PostgREST makes of a body that is not what a function asks for.
--
-- A text argument given as JSON arrives as its JSON text: {"name": []} would make a key called []. And of a body that is a
-- list PostgREST calls the function for the first element alone, without a word about the others.

create function keyfund.is_no_text(p_text text) returns boolean
language plpgsql immutable set search_path = '' as $$
begin
  return coalesce(json_typeof(p_text::json) in ('array', 'object'), false);
exception when invalid_text_representation then
  return false;
end;
$$;
comment on function keyfund.is_no_text(text) is
  'Whether a text is a JSON list or object: what a caller gives who means no text. A number is a name like any other.';

create or replace function keyfund.check_limits(p_name text, p_max_budget integer, p_rpm_limit integer, p_tpm_limit integer) returns void
language plpgsql set search_path = '' as $$
begin
  if p_name is not null and length(btrim(p_name)) not between 1 and 100 then
    perform keyfund.refuse(400, 'invalid_name', 'A name has between 1 and 100 characters.');
  end if;
  if (select auth.uid()) is not null and keyfund.is_no_text(p_name) then
    perform keyfund.refuse(400, 'invalid_name', 'A name is text: not a list and not an object.');
  end if;
  if p_max_budget < 0 then
    perform keyfund.refuse(400, 'invalid_max_budget', 'max_budget is a number of US cents, 0 or more.');
  end if;
  if p_rpm_limit < 1 then
    perform keyfund.refuse(400, 'invalid_rpm_limit', 'rpm_limit is a number of requests per minute, 1 or more.');
  end if;
  if p_tpm_limit < 1 then
    perform keyfund.refuse(400, 'invalid_tpm_limit', 'tpm_limit is a number of tokens per minute, 1 or more.');
  end if;
end;
$$;

create function keyfund.refuse_list() returns trigger
language plpgsql set search_path = '' as $$
begin
  -- The words of PostgREST's call: it unpacks a list with json_to_recordset and takes one of it; an object otherwise.
  if current_query() like '%json_to_recordset(pgrst_payload.json_data)%LIMIT 1%' then
    perform keyfund.refuse(400, 'one_at_a_time', 'Send one object: of a list only the first would be done.');
  end if;
  return null;
end;
$$;
comment on function keyfund.refuse_list() is
  'Takes back what was done for the first of a list. Whatever people change is written down here, so here it is refused.';
create trigger audit_log_refuses_lists before insert on public.audit_log
  for each statement execute function keyfund.refuse_list();

revoke all on all functions in schema keyfund from public, anon, authenticated, service_role;
