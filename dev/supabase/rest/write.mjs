// Writing in SQL: rows out of a JSON body, and calls of functions with what a body or a query string gives.
import { Failure } from "./failure.mjs";
import { ident } from "./query.mjs";

const SPACE = /^[ \t\n\r]*/;
const isObject = (text) => text.replace(SPACE, "").startsWith("{");
const badBody = (message) => new Failure(400, "PGRST102", message);

/** A body's text and the names in it: of an object, or of a list whose objects all have the same. */
export async function readBody(request, { isCall }) {
  const kind = (request.headers.get("content-type") ?? "application/json").split(";")[0].trim().toLowerCase();
  const text = decode(await request.arrayBuffer());
  if (kind === "application/x-www-form-urlencoded") return ofObject(Object.fromEntries(new URLSearchParams(text)));
  if (kind === "text/csv" && !isCall) return ofCsv(text);
  if (kind !== "application/json" && kind !== "application/vnd.pgrst.object+json" && kind !== "application/vnd.pgrst.array+json") {
    throw badBody(`Content-Type not acceptable: ${kind}`);
  }
  if (text === "" && isCall) return { text: "{}", names: [], rows: 1 };
  return ofJson(text, parse(text));
}

function decode(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw badBody("Empty or invalid json");
  }
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw badBody("Empty or invalid json");
  }
}

const ofObject = (given) => ({ text: JSON.stringify(given), names: Object.keys(given), rows: 1 });
const isRecord = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

function ofJson(text, given) {
  if (isRecord(given)) return { text, names: Object.keys(given), rows: 1 };
  if (!Array.isArray(given) || given.length === 0) return { text: "[]", names: [], rows: 0 };
  const shape = (value) => JSON.stringify(isRecord(value) ? Object.keys(value).sort() : null);
  if (!isRecord(given[0]) || given.some((one) => shape(one) !== shape(given[0]))) throw badBody("All object keys must match");
  return { text, names: Object.keys(given[0]), rows: given.length };
}

function ofCsv(text) {
  const [head = "", ...lines] = text.replaceAll("\r\n", "\n").replace(/\n$/, "").split("\n");
  const cells = (line) => [...`${line},`.matchAll(/(?:"((?:[^"]|"")*)"|([^,]*)),/g)].map(([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain);
  const names = cells(head);
  const rows = lines.map(cells);
  if (rows.some((row) => row.length !== names.length)) throw badBody("All lines must have same number of fields");
  const told = rows.map((row) => Object.fromEntries(names.map((name, at) => [name, row[at] === "NULL" ? null : row[at]])));
  return ofJson("", told).rows === 0 ? { text: "[]", names, rows: 0 } : { text: JSON.stringify(told), names, rows: told.length };
}

/** PostgreSQL's own unpacking of a body: `fields` are `{name, type, fallback}`. */
function unpacked(body, fields, values, { isOne = false, withDefaults = false } = {}) {
  const single = isObject(body.text);
  const place = `${values.give(body.text)}::${withDefaults ? "jsonb" : "json"}`;
  const names = fields.map(({ name }) => ident(name)).join(", ");
  const prefix = withDefaults ? "jsonb" : "json";
  const payload = `(select ${place} as json_data) pgrst_payload`;
  if (fields.length === 0) {
    const rows = single ? "(values(1)) _ " : `${prefix}_array_elements(pgrst_payload.json_data) _ `;
    return `${payload}, lateral (select from ${rows}) pgrst_body`;
  }
  const usual = fields.filter(({ fallback }) => fallback).map(({ name, fallback }) => `'${name.replaceAll("'", "''")}', ${fallback}`);
  const built = `jsonb_build_object(${usual.join(", ")})`;
  const filled = single ? `${built} || pgrst_payload.json_data` : `(select jsonb_agg(${built} || elem) from jsonb_array_elements(pgrst_payload.json_data) elem)`;
  const source = withDefaults ? "pgrst_json_defs.val" : "pgrst_payload.json_data";
  const defaults = withDefaults ? `, lateral (select ${filled} as val) pgrst_json_defs` : "";
  const typed = fields.map(({ name, type }) => `${ident(name)} ${type}`).join(", ");
  const call = `${prefix}_to_record${single ? "" : "set"}(${source})`;
  return `${payload}${defaults}, LATERAL (SELECT ${names} FROM ${call} AS _(${typed}) ${isOne ? "LIMIT 1" : ""}) pgrst_body`;
}

function fieldsOf(table, names) {
  return names.map((name) => {
    const found = table.columns.find((one) => one.name === name);
    if (found) return found;
    throw new Failure(400, "PGRST204", `Could not find the '${name}' column of '${table.name}' in the schema cache`);
  });
}

const returning = (names) => `returning ${names.length === 0 ? "1" : names.map((name) => (name === "*" ? "*" : ident(name))).join(", ")}`;
const nameOf = (table) => `${ident(table.schema)}.${ident(table.name)}`;

export function insert(table, body, { columns, onConflict, resolution, missing, names, where = [] }, values) {
  const fields = fieldsOf(table, columns ?? body.names);
  const list = fields.map(({ name }) => ident(name));
  const key = onConflict === undefined ? table.key : onConflict.split(",").map((name) => name.trim());
  const updates = resolution === "merge-duplicates" && fields.length > 0;
  const conflict = resolution && key.length > 0
    ? `on conflict(${key.map(ident).join(", ")}) do ${updates ? `update set ${list.map((name) => `${name} = excluded.${name}`).join(", ")}` : "nothing"}`
    : "";
  const source = unpacked(body, fields, values, { withDefaults: missing === "default" });
  const rows = `select ${list.map((name) => `pgrst_body.${name}`).join(", ")} from ${source}`;
  const filter = where.length > 0 ? `where ${where.join(" and ")}` : "";
  return `insert into ${nameOf(table)}${list.length > 0 ? ` (${list.join(", ")})` : ""} ${rows} ${filter} ${conflict} ${returning(names)}`;
}

export function update(table, body, { columns, missing, names, where }, values) {
  const fields = fieldsOf(table, columns ?? body.names);
  if (fields.length === 0) return `select ${names.length === 0 ? "null" : "*"} from ${nameOf(table)} where false`;
  const sets = fields.map(({ name }) => `${ident(name)} = pgrst_body.${ident(name)}`).join(", ");
  const source = unpacked(body, fields, values, { withDefaults: missing === "default" });
  const rest = names.length === 0 ? "returning 1" : `returning ${names.map((name) => `${nameOf(table)}.${name === "*" ? "*" : ident(name)}`).join(", ")}`;
  return `update ${nameOf(table)} set ${sets} from ${source} ${filtered(where)} ${rest}`;
}

export const remove = (table, { names, where }) => `delete from ${nameOf(table)} ${filtered(where)} ${returning(names)}`;
const filtered = (where) => (where.length > 0 ? `where ${where.join(" and ")}` : "");

/** A function's call as a source of rows; arguments out of a body, or as the query string has them. */
export function call(proc, given, values) {
  const name = `${ident(proc.schema)}.${ident(proc.name)}`;
  const isScalar = !proc.is_composite;
  const wrap = (list) => (isScalar ? `(select ${name}(${list}) pgrst_scalar) pgrst_call` : `${name}(${list}) pgrst_call`);
  const selected = `select ${isScalar ? "pgrst_call.pgrst_scalar" : "pgrst_call.*"} from`;
  if (given.single !== undefined) return `${selected} ${wrap(`${values.give(given.single)}::${proc.parameters[0].type}`)}`;
  const parameters = proc.parameters.filter((one) => given.names.includes(one.name));
  if (parameters.length === 0) return `${selected} ${wrap("")}`;
  if (given.body) {
    const list = parameters.map((one) => `${ident(one.name)} := pgrst_body.${ident(one.name)}`).join(", ");
    return `${selected} ${unpacked(given.body, parameters, values, { isOne: true })}, LATERAL ${wrap(list)}`;
  }
  const list = parameters.map((one) => `${ident(one.name)} := ${values.give(given.arguments[one.name])}::${one.type}`).join(", ");
  return `${selected} ${wrap(list)}`;
}
