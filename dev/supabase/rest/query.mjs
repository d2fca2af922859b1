// The query string as PostgREST reads it: select, filters, order, limits, for the table and for what is embedded.
import { Failure, unparsable } from "./failure.mjs";

const COMPARISONS = {
  eq: "=", neq: "<>", gt: ">", gte: ">=", lt: "<", lte: "<=", like: "like", ilike: "ilike", match: "~", imatch: "~*",
  cs: "@>", cd: "<@", ov: "&&", sl: "<<", sr: ">>", nxr: "&<", nxl: "&>", adj: "-|-", isdistinct: "is distinct from",
};
const SEARCHES = { fts: "to_tsquery", plfts: "plainto_tsquery", phfts: "phraseto_tsquery", wfts: "websearch_to_tsquery" };
const NAMES = [...Object.keys(COMPARISONS), ...Object.keys(SEARCHES), "in", "is"].join("|");
const FILTER = new RegExp(`^(not\\.)?(${NAMES})(?:\\((\\w+)\\))?\\.(.*)$`, "s");
const IS = { null: "null", not_null: "not null", true: "true", false: "false", unknown: "unknown" };
const OWN = new Set(["select", "columns", "on_conflict", "apikey"]);
const LISTS = new Set(["order", "limit", "offset", "and", "or"]);
const AGGREGATE = /\.?(count|sum|avg|min|max)\(\)/;
const EMBED = /^(\.\.\.)?(?:([^:,()!]+?):(?!:))?("[^"]+"|[^!(),:."]+)((?:![^!(),]+)*)\((.*)\)$/s;
const FIELD = /^(?:("[^"]+"|[^:,()"]+?):(?!:))?("[^"]+"|[^:,()"]+?)((?:->>?(?:"[^"]+"|[^:,()>-]+))*)(?:::([A-Za-z][\w ]*(?:\[\])?))?$/;
const ORDER = /^(?:(\w+)\()?("[^"]+"|[^.()]+)\)?(?:\.(asc|desc))?(?:\.(nullsfirst|nullslast))?$/;

export const bare = (name) => name.trim().replace(/^"(.*)"$/s, "$1");
export const isFilter = (text) => FILTER.test(text);

/** Cut at a separator that is neither quoted nor within brackets. */
export function split(text, separator = ",") {
  const parts = [""];
  let depth = 0;
  let quoted = false;
  for (let at = 0; at < text.length; at += 1) {
    const sign = text[at];
    if (sign === "\\" && quoted) parts[parts.length - 1] += sign + text[(at += 1)];
    else {
      if (sign === '"') quoted = !quoted;
      if (!quoted && (sign === "(" || sign === "{")) depth += 1;
      if (!quoted && (sign === ")" || sign === "}")) depth -= 1;
      if (sign === separator && !quoted && depth === 0) parts.push("");
      else parts[parts.length - 1] += sign;
    }
  }
  return parts;
}

export function parseSelect(text) {
  const node = { fields: [], embeds: [], filters: [], order: [], limit: undefined, offset: undefined };
  for (const part of split(text || "*")) {
    if (AGGREGATE.test(part)) throw new Failure(400, "PGRST123", "Use of aggregate functions is not allowed");
    const embed = EMBED.exec(part.trim());
    if (embed) node.embeds.push(embedded(embed));
    else if (part.trim() !== "" || text === "") node.fields.push(field(part.trim()));
    else throw unparsable("select parameter", text.slice(0, 50));
  }
  return node;
}

function embedded([, spread, alias, name, hints, inner]) {
  const marks = hints.split("!").slice(1).map(bare);
  const hint = marks.find((mark) => mark !== "inner" && mark !== "left");
  return { ...parseSelect(inner), name: bare(name), alias: alias && bare(alias), isSpread: Boolean(spread), isInner: marks.includes("inner"), hint };
}

function field(text) {
  const found = FIELD.exec(text);
  if (!found) throw unparsable("select parameter", text.slice(0, 50));
  const [, alias, name, path, cast] = found;
  return { alias: alias && bare(alias), name: bare(name), path, cast };
}

/** All of a query string; `arguments_`: names that are a function's arguments and no filters. */
export function parseQuery(pairs, arguments_ = new Set()) {
  const value = (name) => pairs.findLast(([key]) => key === name)?.[1];
  const root = parseSelect(value("select") ?? "*");
  const columns = value("columns");
  const query = { root, columns: columns === undefined ? undefined : split(columns).map(bare), onConflict: value("on_conflict"), isFiltered: false };
  for (const [key, text] of pairs) {
    if (OWN.has(key) || arguments_.has(key)) continue;
    const path = split(key, ".").map((part) => part.trim());
    const isNot = LISTS.has(path.at(-1)) && path.at(-2) === "not" && path.splice(-2, 1).length > 0;
    apply(find(root, path.slice(0, -1)), path.at(-1), text, isNot);
    query.isFiltered ||= !["order", "limit", "offset"].includes(path.at(-1));
  }
  return query;
}

function find(node, path) {
  let at = node;
  for (const name of path) {
    at = at.embeds.find((one) => (one.alias ?? one.name) === bare(name));
    if (!at) {
      throw new Failure(400, "PGRST108", `'${bare(name)}' is not an embedded resource in this request`, {
        hint: `Verify that '${bare(name)}' is included in the 'select' query parameter.`,
      });
    }
  }
  return at;
}

function apply(node, name, text, isNot) {
  if (name === "order") node.order = text === "" ? [] : split(text).map(orderTerm);
  else if (name === "limit" || name === "offset") node[name] = whole(text);
  else if (name === "and" || name === "or") node.filters.push(logic(name, text, isNot));
  else node.filters.push(filter(name, text));
}

function whole(text) {
  if (/^-\d+$/.test(text)) {
    throw new Failure(416, "PGRST103", "Requested range not satisfiable", { details: "Limit should be greater than or equal to zero." });
  }
  if (!/^\d{1,18}$/.test(text)) throw unparsable("limit parameter", text);
  return Number(text);
}

function orderTerm(text) {
  const found = ORDER.exec(text.trim());
  if (!found) throw unparsable("order", text);
  const [, relation, name, direction = "asc", nulls] = found;
  return { relation, ...field(bare(name)), direction, nulls };
}

function logic(kind, text, isNot) {
  if (!/^\(.+\)$/s.test(text)) throw unparsable("logic tree", text);
  return { kind, isNot, all: split(text.slice(1, -1)).map(branch) };
}

function branch(text) {
  const nested = /^(not\.)?(and|or)(\(.*\))$/s.exec(text.trim());
  if (nested) return logic(nested[2], nested[3], Boolean(nested[1]));
  const [name, ...rest] = split(text.trim(), ".");
  return filter(name, rest.join("."));
}

function filter(column, text) {
  const found = FILTER.exec(text);
  if (!found) throw unparsable("filter", text.slice(0, 50));
  const [, isNot, operator, option, value] = found;
  return { field: field(column), isNot: Boolean(isNot), operator, option, value };
}

// --- filters in SQL ---------------------------------------------------------------------------------------------

export const ident = (name) => `"${name.split("\0")[0].replaceAll('"', '""')}"`;

/** A column of a table, or what is at a path inside of it. */
export function column(table, { name, path }) {
  if (name === "*") return `${table}.*`;
  if (!path) return `${table}.${ident(name)}`;
  const steps = path.replace(/(->>?)("[^"]+"|[^>-]+)/g, (_, arrow, key) =>
    arrow + (/^-?\d+$/.test(key) ? key : `'${bare(key).split("\0")[0].replaceAll("'", "''")}'`));
  return `to_jsonb(${table}.${ident(name)})${steps}`;
}

/** A condition; `give` keeps a value and names its place. */
export function condition(table, one, give) {
  const negated = (text) => (one.isNot ? `not (${text})` : text);
  if (one.kind) return negated(`(${one.all.map((part) => condition(table, part, give)).join(` ${one.kind} `)})`);
  return negated(comparison(column(table, one.field), one, give));
}

function comparison(left, { operator, option, value }, give) {
  if (operator === "is") {
    const word = IS[value.toLowerCase()];
    if (!word) throw unparsable("filter", `is.${value}`);
    return `${left} is ${word}`;
  }
  if (operator === "in") return `${left} = any(${give(arrayOf(value))})`;
  if (SEARCHES[operator]) {
    const language = option ? `${give(option)}, ` : "";
    return `${left} @@ ${SEARCHES[operator]}(${language}${give(value)})`;
  }
  const text = operator.endsWith("like") ? value.replaceAll("*", "%") : value;
  const right = option === "any" || option === "all" ? `${option}(${give(text)})` : give(text);
  return `${left} ${COMPARISONS[operator]} ${right}`;
}

/** `(a,"b,c")` as PostgreSQL writes an array. */
function arrayOf(text) {
  const inner = /^\((.*)\)$/s.exec(text);
  if (!inner) throw unparsable("filter", `in.${text.slice(0, 50)}`);
  const items = inner[1] === "" ? [] : split(inner[1]).map((item) => item.replace(/^"(.*)"$/s, (_, quoted) => quoted.replace(/\\(.)/gs, "$1")));
  return `{${items.map((item) => `"${item.replace(/["\\]/g, "\\$&")}"`).join(",")}}`;
}
