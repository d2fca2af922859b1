// Reading in SQL: what is selected, embedded and counted.
import { Failure } from "./failure.mjs";
import { column, condition, ident } from "./query.mjs";

/** Values on their way into a query, by their places in it. */
export class Values {
  list = [];
  give = (value) => `$${this.list.push(value)}`;
}

export class Reader {
  constructor(catalog, schema, values) {
    Object.assign(this, { catalog, schema, values, aliases: 0 });
  }

  /** `select …` from a table, or from what a function or a change returned. */
  query(node, { from, alias, table, extra = [], most }) {
    const fields = node.fields.map((one) => this.field(alias, one, node.embeds.length > 0));
    const joins = node.embeds.map((one) => this.join(alias, table, one));
    const selected = [...fields, ...joins.flatMap(({ selects }) => selects)].join(", ") || "1";
    const where = [...extra, ...node.filters.map((one) => condition(alias, one, this.values.give))];
    return [
      `select ${selected} from ${from}`,
      ...joins.map(({ lateral }) => lateral),
      where.length > 0 ? `where ${where.join(" and ")}` : "",
      this.order(alias, node, joins),
      limits(node, most),
    ].filter(Boolean).join(" ");
  }

  field(alias, { name, path, cast, alias: called }) {
    const value = cast ? `cast(${column(alias, { name, path })} as ${cast})` : column(alias, { name, path });
    const as = called ?? (path ? path.split(/->>?/).at(-1).replaceAll('"', "") : cast ? name : undefined);
    return as === undefined ? value : `${value} as ${ident(as)}`;
  }

  order(alias, node, joins) {
    const terms = node.order.map(({ relation, direction, nulls, ...field }) => {
      const joined = relation && joins.find(({ name }) => name === relation);
      if (relation && !joined) throw new Failure(400, "PGRST108", `'${relation}' is not an embedded resource in this request`);
      if (relation && !joined.isOne) {
        throw new Failure(400, "PGRST118", `A related order on '${relation}' is not possible`);
      }
      const where = nulls ? ` nulls ${nulls.slice(5)}` : "";
      return `${column(joined ? joined.alias : alias, field)} ${direction}${where}`;
    });
    return terms.length > 0 ? `order by ${terms.join(", ")}` : "";
  }

  join(parent, table, embed) {
    const { one, isOne, target, pairs } = this.relationship(table, embed);
    const alias = ident(`${target}_${(this.aliases += 1)}`);
    const result = ident(`${embed.alias ?? embed.name}_${this.aliases}`);
    const inner = this.query(embed, {
      from: `${ident(this.schema)}.${ident(target)} as ${alias}`,
      alias,
      table: target,
      extra: pairs.map(([own, others]) => `${alias}.${ident(others)} = ${parent}.${ident(own)}`),
    });
    const kind = embed.isInner ? "inner" : "left";
    const name = ident(embed.alias ?? embed.name);
    if (isOne) {
      const selects = embed.isSpread ? [`${result}.*`] : [`row_to_json(${result}.*)::jsonb as ${name}`];
      return { name: embed.alias ?? one, isOne, alias: result, selects, lateral: `${kind} join lateral (${inner}) as ${result} on true` };
    }
    const all = `select json_agg(${result})::jsonb as ${result} from (${inner}) as ${result}`;
    return {
      name: embed.alias ?? one, isOne, alias: result, selects: [`coalesce(${result}.${result}, '[]') as ${name}`],
      lateral: `${kind} join lateral (${all}) as ${result} on ${embed.isInner ? `${result} is not null` : "true"}`,
    };
  }

  relationship(table, { name, hint }) {
    const found = this.catalog.references.filter(({ schema }) => schema === this.schema).flatMap((one) => {
      const zip = (left, right) => left.map((each, at) => [each, right[at]]);
      const ways = [];
      const isNamed = (other) => other === name || one.name === name;
      if (one.source === table && (isNamed(one.target) || (one.columns.length === 1 && one.columns[0] === name))) {
        ways.push({ one: name, isOne: true, target: one.target, reference: one, pairs: zip(one.columns, one.target_columns) });
      }
      if (one.target === table && isNamed(one.source)) {
        ways.push({ one: name, isOne: one.is_unique, target: one.source, reference: one, pairs: zip(one.target_columns, one.columns) });
      }
      return ways;
    }).filter(({ reference, target }) =>
      hint === undefined || [reference.name, target, ...reference.columns, ...reference.target_columns].includes(hint));
    if (found.length === 1) return found[0];
    if (found.length > 1) {
      throw new Failure(300, "PGRST201", `Could not embed because more than one relationship was found for '${table}' and '${name}'`, {
        hint: `Try changing '${name}' to one of the following: ${found.map(({ reference }) => `'${name}!${reference.name}'`).join(", ")}. Find the desired relationship in the 'details' key.`,
        details: found.map(({ reference, isOne }) => ({
          cardinality: isOne ? "many-to-one" : "one-to-many",
          embedding: `${table} with ${name}`,
          relationship: `${reference.name} using ${reference.source}(${reference.columns}) and ${reference.target}(${reference.target_columns})`,
        })),
      });
    }
    const using = hint === undefined ? "" : `using the hint '${hint}' `;
    throw new Failure(400, "PGRST200", `Could not find a relationship between '${table}' and '${name}' in the schema cache`, {
      details: `Searched for a foreign key relationship between '${table}' and '${name}' ${using}in the schema '${this.schema}', but no matches were found.`,
    });
  }
}

function limits({ limit, offset }, most) {
  const rows = [limit, most].filter((one) => one !== undefined);
  return [rows.length > 0 ? `limit ${Math.min(...rows)}` : "", offset ? `offset ${offset}` : ""].filter(Boolean).join(" ");
}

/** The columns of a changed table that must come back for what is selected of it. */
export function returned(root, reader, table) {
  if (root.fields.some(({ name }) => name === "*")) return ["*"];
  const own = root.embeds.flatMap((embed) => reader.relationship(table, embed).pairs.map(([name]) => name));
  const fields = [...root.fields, ...root.order.filter(({ relation }) => !relation)].map(({ name }) => name);
  return [...new Set([...fields, ...own])];
}

export const bodies = {
  json: (row) => `coalesce(json_agg(${row}), '[]')::text`,
  one: (row) => `coalesce(json_agg(${row})->0, 'null')::text`,
  csv: (row) =>
    `(select coalesce(string_agg(a.k, ','), '') from (select json_object_keys(r)::text as k from (
        select row_to_json(hh) as r from pgrst_source as hh limit 1) s) a) || e'\\n' ||
      coalesce(string_agg(substring(${row}::text, 2, length(${row}::text) - 2), e'\\n'), '')`,
  none: () => "''::text",
};
