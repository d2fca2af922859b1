// The schema cache: tables with their columns and keys, relationships, functions, and the roles' settings.
import { connect } from "./pool.mjs";
import { noSchemaCache } from "./failure.mjs";

const TABLES = `
  select n.nspname as schema, c.relname as name, coalesce((
      select json_agg(json_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod),
        'fallback', pg_get_expr(d.adbin, d.adrelid)) order by a.attnum)
      from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum and a.attgenerated = ''
      where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped), '[]') as columns,
    coalesce((select json_agg(a.attname) from pg_index i join pg_attribute a on a.attrelid = c.oid and a.attnum = any(i.indkey)
      where i.indrelid = c.oid and i.indisprimary), '[]') as key
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('r', 'v', 'm', 'f', 'p') and n.nspname = any($1::text[])`;

const REFERENCES = `
  select k.conname as name, s.relname as source, t.relname as target, sn.nspname as schema,
    array(select a.attname::text from unnest(k.conkey) with ordinality u(n, i)
      join pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.n order by u.i) as columns,
    array(select a.attname::text from unnest(k.confkey) with ordinality u(n, i)
      join pg_attribute a on a.attrelid = k.confrelid and a.attnum = u.n order by u.i) as target_columns,
    exists (select from pg_index i where i.indrelid = k.conrelid and i.indisunique and i.indpred is null
      and i.indkey::int2[]::text = k.conkey::text) as is_unique
  from pg_constraint k join pg_class s on s.oid = k.conrelid join pg_class t on t.oid = k.confrelid
  join pg_namespace sn on sn.oid = s.relnamespace join pg_namespace tn on tn.oid = t.relnamespace
  where k.contype = 'f' and sn.nspname = any($1::text[]) and tn.nspname = sn.nspname`;

const FUNCTIONS = `
  select n.nspname as schema, p.proname as name, p.provolatile = 'v' as is_volatile, p.proretset as is_set,
    p.prorettype = 'void'::regtype as is_void,
    (coalesce(b.typtype, t.typtype) = 'c' or p.prorettype = 'record'::regtype or p.proargmodes::text[] && '{t,o,b}') as is_composite,
    coalesce((
      select json_agg(json_build_object('name', coalesce(p.proargnames[u.i], ''), 'type', format_type(u.type, null),
        'is_required', u.i <= p.pronargs - p.pronargdefaults) order by u.i)
      from unnest(p.proargtypes) with ordinality u(type, i)), '[]') as parameters
  from pg_proc p join pg_namespace n on n.oid = p.pronamespace join pg_type t on t.oid = p.prorettype
  left join pg_type b on b.oid = t.typbasetype
  where p.prokind = 'f' and n.nspname = any($1::text[]) and p.prorettype <> 'trigger'::regtype
    and p.prorettype <> 'event_trigger'::regtype`;

const ROLES = "select rolname as name, rolconfig as settings from pg_roles where rolconfig is not null";
const UNSET = new Set(["search_path"]); // PostgREST sets its own

export class Catalog {
  cached = undefined;
  client = undefined;
  wasAway = false;

  constructor(url, schemas, onReturn) {
    Object.assign(this, { url, schemas, onReturn });
  }

  /** What is known, read anew when something may have changed. */
  async read() {
    this.cached ??= this.load();
    const asked = this.cached;
    try {
      return await asked;
    } catch (error) {
      if (this.cached === asked) this.cached = undefined;
      this.wasAway = true;
      console.error("schema cache:", error.message);
      throw noSchemaCache();
    }
  }

  async load() {
    this.client ??= await this.follow();
    const schemas = `{${this.schemas.join(",")}}`;
    const [tables, references, functions, roles] = [
      await this.ask(TABLES, schemas), await this.ask(REFERENCES, schemas), await this.ask(FUNCTIONS, schemas), await this.ask(ROLES),
    ];
    if (this.wasAway) this.onReturn();
    this.wasAway = false;
    return {
      tables: new Map(tables.map((table) => [`${table.schema}.${table.name}`, table])),
      references,
      functions,
      roles: new Map(roles.map(({ name, settings }) => [name, pairs(settings)])),
    };
  }

  async ask(query, ...values) {
    const { rows } = await this.client.query(`select coalesce(json_agg(t), '[]')::text as found from (${query}) t`, values);
    return JSON.parse(rows[0].found);
  }

  /** A connection that hears of changes; when it ends, what is known is old. */
  async follow() {
    const client = await connect(this.url, "postgrest-schema-cache");
    client.on("notification", () => (this.cached = undefined));
    client.on("end", () => {
      this.cached = this.client = undefined;
      this.wasAway = true; // with the listener, PostgREST renews its pool
    });
    await client.query("listen pgrst");
    return client;
  }
}

const pairs = (settings) => settings.map((pair) => pair.split(/=(.*)/s).slice(0, 2)).filter(([name]) => !UNSET.has(name));
