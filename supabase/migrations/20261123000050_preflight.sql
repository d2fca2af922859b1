-- Looks before anything is made. Where something is in the way this file fails, names all of it with what to do about
-- each, and leaves nothing behind.
--
-- The lists of names are what the files after this one make: `.venv/bin/python -m dev names` writes them anew.

do $$
declare
  v_schema constant text := (parse_ident('public.profiles'))[1];
  v_tables constant text[] := array[
    'audit_log', 'credit_ledger', 'credit_packages', 'invitations', 'members', 'profiles', 'teams', 'transactions',
    'virtual_keys'];
  v_relations constant text[] := array[
    'audit_log', 'audit_log_account_id_idx', 'audit_log_administrators_idx', 'audit_log_key_id_idx', 'credit_ledger',
    'credit_ledger_account_id_idx', 'credit_ledger_cause_key', 'credit_ledger_payment_idx',
    'credit_ledger_top_ups_idx', 'credit_ledger_user_id_idx', 'credit_packages', 'invitations',
    'invitations_accepted_by_idx', 'invitations_account_id_idx', 'invitations_invited_by_idx', 'members',
    'members_user_id_idx', 'profiles', 'profiles_banned_until_idx', 'profiles_created_at_idx', 'profiles_deleted_idx',
    'profiles_email_prefix_idx', 'teams', 'teams_created_at_idx', 'teams_deleted_idx', 'teams_name_prefix_idx',
    'transactions', 'transactions_account_id_idx', 'transactions_created_at_idx', 'transactions_needs_review_idx',
    'transactions_next_verify_idx', 'transactions_on_their_way_idx', 'transactions_order_id_idx',
    'transactions_provider_id_key', 'transactions_reference_key', 'transactions_refused_idx',
    'transactions_user_id_idx', 'virtual_keys', 'virtual_keys_account_id_idx', 'virtual_keys_key_hash_key',
    'virtual_keys_litellm_key_id_key', 'virtual_keys_one_placeholder', 'virtual_keys_outstanding_idx',
    'virtual_keys_periods_idx', 'virtual_keys_retiring_idx', 'virtual_keys_successor_id_idx',
    'virtual_keys_successor_id_key', 'virtual_keys_to_delete_idx', 'virtual_keys_to_forget_idx',
    'virtual_keys_uncounted_idx', 'virtual_keys_unsynced_idx', 'virtual_keys_user_id_idx'];
  v_functions constant text[] := array[
    'accept_invitation', 'adjust_credits', 'adopt_key', 'block_virtual_key', 'cancel_invitation', 'change_role',
    'check_installation', 'claim_chore', 'claim_drift_slice', 'claim_events', 'claim_invitation_mails', 'claim_probe',
    'claim_push', 'claim_pushes', 'claim_rollups', 'claim_verifications', 'count_share', 'create_team',
    'create_virtual_key', 'credit_payment', 'decide_review', 'fail_event', 'fail_invitation_mail', 'fail_push',
    'find_accounts', 'find_adoptee', 'find_payments', 'finish_chore', 'finish_deletions', 'finish_drift_slice',
    'finish_event', 'finish_invitation_mail', 'finish_push', 'forget_keys', 'get_payment', 'handle_new_user',
    'heal_accounts', 'hold_virtual_key', 'invite_member', 'is_administrator', 'leave_team', 'limit_virtual_key',
    'list_account_keys', 'list_changed_reversals', 'list_deletions', 'list_events', 'list_failing_keys',
    'list_missing_triggers', 'list_packages', 'list_paid', 'list_paid_after_deletion', 'list_rates', 'list_uncounted',
    'list_uncredited', 'list_unmeasured', 'look_for_work', 'mend_drift', 'note_refund', 'observe_payment',
    'observe_spend', 'open_books', 'open_drift', 'open_order', 'own_accounts', 'read_balance', 'read_book',
    'read_books', 'read_concerns', 'read_daily_balances', 'read_drift', 'read_drift_key', 'read_drift_report',
    'read_key', 'read_key_periods', 'read_limits', 'read_own_backlog', 'read_packages', 'read_payment',
    'read_payments', 'read_receipt', 'read_reconciliation', 'read_resync', 'read_routes', 'read_status', 'read_usage',
    'receive_events', 'recheck_keys', 'record_checkout', 'record_drift', 'record_key_spend', 'record_litellm',
    'record_rate', 'record_reconciliation', 'record_reversals', 'record_route_proof', 'record_usage',
    'record_warnings', 'redact_events', 'refuse_checkout', 'reinstate_account', 'release_push', 'release_virtual_key',
    'remove_member', 'repeat_order', 'replay_events', 'replay_inbox', 'report_gateway', 'resync_account',
    'resync_any_key', 'resync_failed', 'resync_virtual_key', 'retire_keys', 'review_payment', 'revoke_virtual_key',
    'rotate_virtual_key', 'save_package', 'set_rate', 'settle_usage', 'suspend_account', 'unblock_virtual_key',
    'update_virtual_key', 'was_payment_heard_of'];
  v_is_home constant boolean := v_schema = 'public';
  v_found record;
  v_name text;
  v_source text;
  v_is_shadowed boolean;
  v_failures text[] := array[null, null];
  v_problems text[] := '{}';
begin
  if current_setting('server_version_num')::integer < 150000 then
    v_problems := v_problems || 'PostgreSQL is older than 15: upgrade the project.'::text;
  end if;
  if to_regclass('auth.users') is null then
    raise exception 'Keyfund cannot be installed: there is no table auth.users, so this is no Supabase project.';
  end if;

  -- ------------------------------------------------------------------ rights
  foreach v_name in array array['anon', 'authenticated', 'service_role'] loop
    if not exists (select from pg_catalog.pg_roles where rolname = v_name) then
      v_problems := v_problems || format('The role %s does not exist: install into a Supabase project.', v_name);
    end if;
  end loop;
  foreach v_name in array array['select', 'insert', 'trigger'] loop
    if not has_table_privilege('auth.users', v_name) then
      v_problems := v_problems || format(
        'The role %I lacks the right to %s on auth.users: install as the role postgres.', current_user, v_name);
    end if;
  end loop;
  if not has_database_privilege(current_database(), 'create') then
    v_problems := v_problems || format(
      'The role %I may not create schemas in this database: install as the role postgres.', current_user);
  end if;
  foreach v_name in array array['email', 'phone', 'email_confirmed_at', 'phone_confirmed_at', 'is_anonymous',
    'deleted_at', 'banned_until', 'raw_user_meta_data'] loop
    if not exists (select from pg_catalog.pg_attribute
        where attrelid = 'auth.users'::regclass and attname = v_name and not attisdropped) then
      v_problems := v_problems || format('auth.users has no column %I: update Supabase Auth.', v_name);
    end if;
  end loop;

  -- ------------------------------------------------------------------- names
  if to_regnamespace('keyfund') is not null then
    v_problems := v_problems || ('The schema keyfund exists already: remove an earlier installation with '
      || '"keyfund uninstall", or rename the schema if it is something else.')::text;
  end if;
  if not v_is_home and exists (select from pg_catalog.pg_namespace where nspname = v_schema) then
    v_problems := v_problems || format('The schema %I exists already: choose a name that nothing has.', v_schema);
  elsif v_is_home and not has_schema_privilege(v_schema, 'create') then
    v_problems := v_problems || format(
      'The role %I may not create tables in the schema %I: install as the role postgres.', current_user, v_schema);
  end if;
  for v_found in
    select case c.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'i' then 'index'
        when 'I' then 'index' when 'S' then 'sequence' when 'c' then 'type' when 'f' then 'foreign table'
        else 'table' end as kind, c.relname::text as name
      from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
      where n.nspname = v_schema and c.relname = any (v_relations)
    union all
    select 'function', format('%I(%s)', p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid))
      from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
      where n.nspname = v_schema and p.proname = any (v_functions)
    union all
    select 'type', t.typname::text
      from pg_catalog.pg_type t join pg_catalog.pg_namespace n on n.oid = t.typnamespace
      where n.nspname = v_schema and t.typrelid = 0 and t.typname = any (v_relations)
    order by 1 desc, 2
  loop
    v_problems := v_problems || format(
      'There is a %s %s in the schema %I already: rename it, or choose another schema.',
      v_found.kind, v_found.name, v_schema);
  end loop;

  -- ------------------------------------------------- triggers on auth.users
  for v_found in
    select t.tgname, p.oid::regprocedure as function, p.prosrc, l.lanname
    from pg_catalog.pg_trigger t join pg_catalog.pg_proc p on p.oid = t.tgfoid
      join pg_catalog.pg_language l on l.oid = p.prolang
    where t.tgrelid = 'auth.users'::regclass and not t.tgisinternal
    order by t.tgname
  loop
    if starts_with(v_found.tgname, 'keyfund_') then
      v_problems := v_problems || format('There is a trigger %I on auth.users already: drop its function %s, '
        || 'with cascade.', v_found.tgname, v_found.function);
    elsif not v_is_home then
      null; -- what a name means in their function, another schema does not change
    elsif v_found.lanname in ('c', 'internal') then
      v_problems := v_problems || format('The trigger %I on auth.users calls %s, whose source cannot be read, so '
        || 'nobody can tell whether it meets our tables: choose another schema.', v_found.tgname, v_found.function);
    else
      v_source := regexp_replace(v_found.prosrc, '/\*.*?\*/', ' ', 'g');
      v_source := regexp_replace(v_source, '--[^\n]*', ' ', 'g');
      v_source := regexp_replace(v_source, '\s*\.\s*', '.', 'g');
      foreach v_name in array v_tables loop
        if v_source ~* format(
            '(^|[^[:alnum:]_$."]|[^[:alnum:]_$]"?%s"?\.)"?%s"?($|[^[:alnum:]_$"])', v_schema, v_name) then
          v_problems := v_problems || format('The trigger %I on auth.users calls %s, which names %s without another '
            || 'schema, so that every sign-up would meet our table: change the function, or choose another schema.',
            v_found.tgname, v_found.function, v_name);
        end if;
      end loop;
    end if;
  end loop;

  -- ----------------------------------------------------------- trial sign-up
  if v_problems = '{}' then
    foreach v_is_shadowed in array array[false, true] loop -- as things are, then with tables of our names
      begin
        if v_is_shadowed then
          execute format('create schema if not exists %I', v_schema);
          foreach v_name in array v_tables loop
            execute format('create table %I.%I ()', v_schema, v_name);
          end loop;
          discard plans; -- or what a function's statements meant before, they go on meaning
        end if;
        insert into auth.users (id, aud, role, email, raw_app_meta_data, raw_user_meta_data)
        values (gen_random_uuid(), 'authenticated', 'authenticated', gen_random_uuid() || '@keyfund.invalid', '{}',
          '{"name": "Trial", "full_name": "Trial", "username": "keyfund_trial"}');
        set constraints all immediate;
        raise exception using errcode = 'KF000'; -- nothing of it is kept
      exception
        when sqlstate 'KF000' then null;
        when lock_not_available then raise;
        when others then v_failures[1 + v_is_shadowed::integer] := sqlerrm;
      end;
    end loop;
    if v_failures[1] is not null then
      raise notice 'Nobody could be signed up for a trial (%), so nobody knows whether sign-up goes on working.',
        v_failures[1];
    elsif v_failures[2] is not null then
      v_problems := v_problems || format('A sign-up works now, and fails once there are tables of our names (%s): '
        || 'name the schema in what the triggers on auth.users do, or choose another schema.', v_failures[2]);
    end if;
  end if;

  if v_problems <> '{}' then
    raise exception using message =
      format('Keyfund cannot be installed into the schema %I. Nothing was changed.', v_schema)
      || E'\n- ' || array_to_string(v_problems, E'\n- ')
      || E'\nInto a schema of its own: keyfund migrations --into supabase/migrations --schema keyfund_api';
  end if;
end;
$$;
