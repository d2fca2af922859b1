// PostgREST over HTTP: what a request asks for, done as the caller's role in a transaction of its own.
import { Catalog } from "./catalog.mjs";
import { Failure, noMedia, notSingular, ofDatabase } from "./failure.mjs";
import { Pool } from "./pool.mjs";
import { preferences } from "./prefer.mjs";
import { condition, ident, isFilter, parseQuery } from "./query.mjs";
import { Reader, Values, bodies, returned } from "./read.mjs";
import { claimsOf } from "./token.mjs";
import { call, insert, readBody, remove, update } from "./write.mjs";

const READS = new Set(["GET", "HEAD"]);
const MEDIA = {
  "*/*": "json", "application/*": "json", "application/json": "json", "application/vnd.pgrst.array+json": "json",
  "application/vnd.pgrst.object+json": "one", "application/vnd.pgrst.object": "one", "text/csv": "csv",
};
const TYPES = {
  json: "application/json; charset=utf-8", csv: "text/csv; charset=utf-8",
  one: "application/vnd.pgrst.object+json; charset=utf-8",
};
const EXPOSED = "Content-Encoding, Content-Location, Content-Range, Content-Type, Date, Location, Server, Transfer-Encoding, Range-Unit";

export class Rest {
  constructor(settings, publicKey) {
    Object.assign(this, { settings, publicKey, pool: new Pool(settings.restDatabase) });
    this.catalog = new Catalog(settings.catalogDatabase, settings.api.schemas, () => this.pool.flush());
  }

  async answer(request) {
    let isKnown = false;
    let response;
    try {
      const claims = claimsOf(request, this.settings, this.publicKey);
      isKnown = claims.role !== "anon";
      response = await this.handle(request, claims);
    } catch (error) {
      response = ofDatabase(error, isKnown).response();
    }
    response.headers.set("access-control-allow-origin", "*");
    response.headers.set("access-control-expose-headers", EXPOSED);
    return request.method === "HEAD" ? new Response(null, response) : response;
  }

  async handle(request, claims) {
    const url = new URL(request.url);
    const [, first, name, ...more] = decodeURIComponent(url.pathname.slice("/rest/v1".length)).split("/");
    const asked = {
      request, claims, schema: this.schemaOf(request), pairs: [...url.searchParams], prefer: preferences(request),
      media: mediaOf(request), range: rangeOf(request), isHead: request.method === "HEAD", catalog: await this.catalog.read(),
    };
    if (!first) return describe(asked);
    if (more.length > 0 || (name !== undefined && first !== "rpc")) {
      throw new Failure(404, "PGRST125", "Invalid path specified in request URL");
    }
    return first === "rpc" ? this.callFunction(asked, name ?? "") : this.useTable(asked, first);
  }

  schemaOf(request) {
    const header = READS.has(request.method) ? "accept-profile" : "content-profile";
    const { schemas } = this.settings.api;
    const given = request.headers.get(header) ?? schemas[0];
    if (schemas.includes(given)) return given;
    throw new Failure(406, "PGRST106", `Invalid schema: ${given}`, {
      hint: `Only the following schemas are exposed: ${schemas.join(", ")}`,
    });
  }

  // --- tables ---------------------------------------------------------------------------------------------------

  useTable(asked, name) {
    const table = asked.catalog.tables.get(`${asked.schema}.${name}`);
    if (!table) throw new Failure(404, "PGRST205", `Could not find the table '${asked.schema}.${name}' in the schema cache`);
    const query = parseQuery(asked.pairs);
    const { method } = asked.request;
    if (READS.has(method)) return this.readTable(asked, table, query);
    if (["POST", "PATCH", "PUT", "DELETE"].includes(method)) return this.changeTable(asked, table, query, method);
    throw new Failure(405, "PGRST117", `Unsupported HTTP method: ${method}`);
  }

  async readTable(asked, table, { root }) {
    const values = new Values();
    const reader = new Reader(asked.catalog, asked.schema, values);
    const from = { from: `${ident(table.schema)}.${ident(table.name)}`, alias: ident(table.name), table: table.name };
    return this.showRows(asked, root, values, (node, most) => reader.query(node, { ...from, most }));
  }

  async showRows(asked, root, values, build) {
    const node = within(root, asked.range);
    const most = this.settings.api.max_rows;
    const source = build(node, most);
    const count = asked.prefer.count && build({ ...root, limit: undefined, offset: undefined, order: [] }, undefined);
    const statement = shown(`(${source})`, source, asked.media, counted(asked.prefer.count, count));
    const row = await this.run(asked, "read only", statement, values, async (ask, row) => {
      if (asked.media === "one" && Number(row.rows) !== 1) throw notSingular(row.rows);
      return { ...row, total: await total(asked.prefer.count, row, count, values, ask, most) };
    });
    return pageOf(asked, row, node.offset ?? 0);
  }

  async changeTable(asked, table, query, method) {
    const { prefer, media } = asked;
    const values = new Values();
    const reader = new Reader(asked.catalog, asked.schema, values);
    const where = method === "POST" ? [] : query.root.filters.map((one) => condition(nameOf(table), one, values.give));
    if ((method === "PATCH" || method === "DELETE") && where.length === 0) {
      throw new Failure(400, "21000", `${method === "PATCH" ? "UPDATE" : "DELETE"} requires a WHERE clause`);
    }
    const isShown = prefer.return === "representation";
    const names = isShown ? returned(query.root, reader, table.name) : prefer.return === "headers-only" ? table.key : [];
    const more = { columns: query.columns, onConflict: query.onConflict, missing: prefer.missing, names, where };
    const change = await this.changed(asked, table, method, more, values);
    const root = { ...query.root, filters: [], limit: undefined, offset: undefined };
    const source = isShown
      ? `(${reader.query(root, { from: "pgrst_source", alias: "pgrst_source", table: table.name })})`
      : "pgrst_source";
    const statement = shown(source, change, isShown ? media : "none");
    const row = await this.run(asked, "read write", statement, values, (_, row) => {
      if (isShown && media === "one" && Number(row.rows) !== 1) throw notSingular(row.rows);
      if (prefer.isStrict && prefer.most !== undefined && row.rows > prefer.most) throw tooMany(row.rows);
      return row;
    });
    return changeOf(asked, table, method, row);
  }

  async changed(asked, table, method, more, values) {
    if (method === "DELETE") return remove(table, more);
    const body = await readBody(asked.request, { isCall: false });
    if (method === "PATCH") return update(table, body, more, values);
    const resolution = method === "PUT" ? "merge-duplicates" : asked.prefer.resolution;
    return insert(table, body, { ...more, resolution, where: [] }, values);
  }

  // --- functions ------------------------------------------------------------------------------------------------

  async callFunction(asked, name) {
    const { request, pairs, isHead } = asked;
    const isRead = READS.has(request.method);
    if (!isRead && request.method !== "POST") {
      throw new Failure(405, "PGRST101", `Cannot use the ${request.method} method on RPC`);
    }
    const named = asked.catalog.functions.filter((one) => one.schema === asked.schema && one.name === name);
    const body = isRead ? undefined : await readBody(request, { isCall: true });
    const given = isRead ? argumentsOf(pairs, named) : { body, names: body.names };
    const proc = chosen(named, given, asked.schema, name);
    if (isHead && !proc.is_volatile) return pageOf(asked, { rows: 1, body: "" }, 0); // it runs nothing
    const { root } = parseQuery(pairs, new Set(isRead ? given.names : []));
    return this.callAnd(asked, proc, given, root);
  }

  async callAnd(asked, proc, given, root) {
    const values = new Values();
    const reader = new Reader(asked.catalog, asked.schema, values);
    const change = call(proc, given, values);
    const isScalar = !proc.is_composite;
    const node = isScalar ? { ...root, fields: [{ name: "pgrst_scalar" }], embeds: [] } : root;
    const ranged = within(node, proc.is_set ? asked.range : {});
    const build = (one, most) => reader.query(one, { from: "pgrst_source", alias: "pgrst_source", table: proc.name, most });
    const source = build(ranged, this.settings.api.max_rows);
    const count = asked.prefer.count && build({ ...node, limit: undefined, offset: undefined, order: [] });
    const row = isScalar ? "_postgrest_t.pgrst_scalar" : "_postgrest_t";
    const media = !proc.is_set && asked.media !== "csv" ? "one" : asked.media;
    const statement = shown(`(${source})`, change, media, counted(asked.prefer.count && "exact", count), row);
    const isReading = READS.has(asked.request.method) || !proc.is_volatile;
    const found = await this.run(asked, isReading ? "read only" : "read write", statement, values, (_, row) => {
      if (proc.is_set && asked.media === "one" && Number(row.rows) !== 1) throw notSingular(row.rows);
      return row;
    });
    if (proc.is_void) return new Response(null, { status: 204, headers: { ...applied(asked.prefer), "content-range": "0-0/*" } });
    return pageOf(asked, found, ranged.offset ?? 0);
  }

  // --- transactions ---------------------------------------------------------------------------------------------

  run(asked, mode, statement, values, judge) {
    return this.pool.transact(`isolation level read committed ${mode}`, async (ask) => {
      const settings = this.settingsFor(asked);
      const calls = settings.map((_, at) => `set_config($${2 * at + 1}, $${2 * at + 2}, true)`);
      await ask(`select ${calls.join(", ")}`, settings.flat());
      const [row] = await ask(statement, values.list);
      return judge(ask, row);
    });
  }

  settingsFor({ request, claims, catalog }) {
    const path = [...this.settings.api.schemas, "extensions"].map(ident).join(", ");
    return [
      ["search_path", path],
      ...(catalog.roles.get(claims.role) ?? []),
      ["request.jwt.claims", JSON.stringify(claims)],
      ["request.method", request.method],
      ["request.path", new URL(request.url).pathname.slice("/rest/v1".length)],
      ["request.headers", JSON.stringify(Object.fromEntries(request.headers))],
      ["role", claims.role],
    ];
  }
}

const nameOf = (table) => `${ident(table.schema)}.${ident(table.name)}`;
const tooMany = (rows) =>
  new Failure(400, "PGRST124", "Query result exceeds max-affected preference constraint", { details: `The query affects ${rows} rows` });

// --- choosing ---------------------------------------------------------------------------------------------------

function mediaOf(request) {
  const accept = request.headers.get("accept") ?? "*/*";
  for (const one of accept.split(",")) {
    const media = MEDIA[one.split(";")[0].trim().toLowerCase()];
    if (media) return media;
  }
  throw noMedia(accept);
}

function rangeOf(request) {
  const found = READS.has(request.method) && /^(\d+)-(\d*)$/.exec((request.headers.get("range") ?? "").replace(/^items=/, ""));
  if (!found) return {};
  const [offset, last] = [Number(found[1]), found[2] === "" ? Infinity : Number(found[2])];
  if (last >= offset) return { offset, limit: last === Infinity ? undefined : last - offset + 1 };
  throw new Failure(416, "PGRST103", "Requested range not satisfiable", {
    details: "The lower boundary must be lower than or equal to the upper boundary in the Range header.",
  });
}

const within = (node, range) => ({ ...node, limit: node.limit ?? range.limit, offset: node.offset ?? range.offset });

function argumentsOf(pairs, named) {
  const known = new Set(named.flatMap((one) => one.parameters.map((parameter) => parameter.name)));
  const own = new Set(["select", "order", "limit", "offset", "columns", "apikey"]);
  const given = pairs.filter(([key, text]) => known.has(key) || (!own.has(key) && !isFilter(text)));
  return { arguments: Object.fromEntries(given), names: [...new Set(given.map(([key]) => key))] };
}

/** The function that takes what is given: all names are its, and none is missing that it needs. */
function chosen(named, given, schema, name) {
  const fits = named.filter(({ parameters }) =>
    given.names.every((one) => parameters.some((parameter) => parameter.name === one)) &&
    parameters.every((parameter) => !parameter.is_required || given.names.includes(parameter.name)));
  if (fits.length === 1) return fits[0];
  if (fits.length > 1) throw ambiguous(fits);
  const whole = given.body && named.filter(({ parameters: [one, ...more] }) => one?.name === "" && more.length === 0 && /^jsonb?$/.test(one.type));
  if (whole?.length === 1) {
    given.single = given.body.text;
    return whole[0];
  }
  const names = [...given.names].sort();
  const list = names.length === 0 ? " without parameters" : `(${names.join(", ")})`;
  const searched = names.length === 0 ? list : ` with parameter${names.length > 1 ? "s" : ""} ${names.join(", ")}`;
  const single = given.body ? " or with a single unnamed json/jsonb parameter" : "";
  throw new Failure(404, "PGRST202", `Could not find the function ${schema}.${name}${list} in the schema cache`, {
    details: `Searched for the function ${schema}.${name}${searched}${single}, but no matches were found in the schema cache.`,
  });
}

function ambiguous(fits) {
  const told = fits.map(({ schema, name, parameters }) => `${schema}.${name}(${parameters.map((one) => `${one.name} => ${one.type}`).join(", ")})`);
  return new Failure(300, "PGRST203", `Could not choose the best candidate function between: ${told.join(", ")}`, {
    hint: "Try renaming the parameters or the function itself in the database so function overloading can be resolved",
  });
}

// --- answers ----------------------------------------------------------------------------------------------------

const counted = (how, count) => (how === "exact" && count ? `(select count(*) from (${count}) pgrst_counted)` : "null");

/** One row: the body, how many rows are in it and there are, and what functions said about status and headers. */
const shown = (source, first, media, all = "null", row = "_postgrest_t") =>
  `with pgrst_source as (${first}) select ${all} as total, count(_postgrest_t) as rows, ${bodies[media](row)} as body,
    nullif(current_setting('response.status', true), '') as status,
    nullif(current_setting('response.headers', true), '') as headers
  from (select * from ${source} pgrst_rows) _postgrest_t`;

/** planned asks the planner; estimated counts as far as a page goes, and asks it beyond. */
async function total(how, row, count, values, ask, most) {
  if (how === undefined || how === "exact") return row.total;
  const limited = how === "estimated" ? await ask(`select count(*) as n from (${count} limit ${most + 1}) c`, values.list) : [{ n: Infinity }];
  if (Number(limited[0].n) <= most) return limited[0].n;
  const [{ "QUERY PLAN": plan }] = await ask(`explain (format json) ${count}`, values.list);
  return JSON.parse(plan)[0].Plan["Plan Rows"];
}

const applied = ({ applied: told }) => (told ? { "preference-applied": told } : {});
const said = (row) => Object.assign({}, ...JSON.parse(row.headers ?? "[]"));

function pageOf(asked, row, offset) {
  const rows = Number(row.rows);
  const all = row.total === null || row.total === undefined ? undefined : Number(row.total);
  if (all !== undefined && offset > all) {
    throw new Failure(416, "PGRST103", "Requested range not satisfiable", {
      details: `An offset of ${offset} was requested, but there are only ${all} rows.`,
      headers: { "content-range": `*/${all}` },
    });
  }
  const span = rows === 0 ? "*" : `${offset}-${offset + rows - 1}`;
  return new Response(row.body, {
    status: Number(row.status ?? (all !== undefined && rows < all ? 206 : 200)),
    headers: { "content-type": TYPES[asked.media], "content-range": `${span}/${all ?? "*"}`, ...applied(asked.prefer), ...said(row) },
  });
}

function changeOf({ prefer, media }, table, method, row) {
  const isShown = prefer.return === "representation";
  const all = prefer.count ? row.rows : "*";
  const span = method === "PATCH" && row.rows > 0 ? `0-${row.rows - 1}` : "*";
  const usual = method === "POST" ? 201 : isShown ? 200 : 204;
  return new Response(isShown ? row.body : null, {
    status: Number(row.status ?? usual),
    headers: { "content-range": `${span}/${all}`, ...(isShown && { "content-type": TYPES[media] }), ...applied(prefer), ...said(row) },
  });
}

/** The root: which tables and functions there are. */
function describe({ catalog, schema }) {
  const paths = {};
  for (const table of catalog.tables.values()) if (table.schema === schema) paths[`/${table.name}`] = {};
  for (const one of catalog.functions) if (one.schema === schema) paths[`/rpc/${one.name}`] = {};
  return Response.json({ swagger: "2.0", info: { title: "PostgREST", version: "14" }, paths });
}
