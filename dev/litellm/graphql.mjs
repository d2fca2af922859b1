// Prisma has two wire languages. prisma-client-py speaks the older one, GraphQL with bare
// strings; the WebAssembly engine knows only the newer one, JSON with tagged values
// ({"$type": "DateTime", "value": ...}). This file turns questions into the newer and
// answers into the older. It computes only; nothing here does I/O.
import { Kind, parse } from 'graphql';

const OPERATION = new RegExp('^(findUnique|findFirst|findMany|createOne|createMany|updateOne|updateMany|'
  + 'upsertOne|deleteOne|deleteMany|aggregate|groupBy)(\\w+?)(OrThrow)?$');
const RAW_OPERATIONS = ['queryRaw', 'executeRaw'];
const ARGUMENTS_WITH_FIELDS = ['data', 'where', 'create', 'update'];
/** Parts of a Json filter that are plain text, where the rest of it is JSON. */
const TEXT_IN_JSON_FILTERS = ['path', 'mode', 'string_contains', 'string_starts_with', 'string_ends_with'];

const isObject = (value) => value !== null && typeof value === 'object';
const mapValues = (object, change) =>
  Object.fromEntries(Object.entries(object).map(([key, value]) => [key, change(value, key)]));

/** The models of a Prisma schema: name -> (field -> the name of its type). */
export function readModels(schema) {
  const pairs = (text, pattern) => [...text.matchAll(pattern)].map(([, first, second]) => [first, second]);
  return new Map(pairs(schema, /^model\s+(\w+)\s*\{.*\n([\s\S]*?)^\}/gm)
    .map(([name, body]) => [name, new Map(pairs(body, /^\s*(\w+)\s+(\w+)/gm))]));
}

/** One GraphQL document -> the engine's request, and the name its answer must have. */
export function toRequest(source, models) {
  const [field, ...others] = parse(source, { noLocation: true }).definitions[0].selectionSet.selections;
  if (others.length) throw new Error('a query must hold one operation');
  const operation = readOperation(field.name.value, models);
  return {
    alias: (field.alias ?? field.name).value,
    request: { ...operation, query: toQuery(field, operation.modelName, models) },
  };
}

/** 'findUniqueUserOrThrow' -> { action: 'findUniqueOrThrow', modelName: 'User' } */
function readOperation(name, models) {
  if (RAW_OPERATIONS.includes(name)) return { action: name };
  const [, verb, modelName, orThrow = ''] = OPERATION.exec(name) ?? [];
  if (!models.has(modelName)) throw new Error(`unknown operation: ${name}`);
  return { action: verb + orThrow, modelName };
}

function toQuery(field, model, models) {
  const args = toRecord(field.arguments ?? []);
  const fieldTypes = models.get(model);
  const tagged = (value, name) =>
    (ARGUMENTS_WITH_FIELDS.includes(name) ? tagJsonFields(value, model, models) : value);
  const children = (field.selectionSet?.selections ?? []).map((child) => {
    const isLeaf = !child.selectionSet && !child.arguments?.length;
    return [child.name.value, isLeaf || toQuery(child, fieldTypes?.get(child.name.value), models)];
  });
  return { arguments: fieldTypes ? mapValues(args, tagged) : args, selection: Object.fromEntries(children) };
}

const toRecord = (nodes) => Object.fromEntries(nodes.map((node) => [node.name.value, toValue(node.value)]));

function toValue(node) {
  switch (node.kind) {
    case Kind.NULL: return null;
    case Kind.LIST: return node.values.map(toValue);
    case Kind.OBJECT: return toRecord(node.fields);
    case Kind.FLOAT: return Number(node.value);
    case Kind.INT: return Number.isSafeInteger(Number(node.value))
      ? Number(node.value) : { $type: 'BigInt', value: node.value };
    case Kind.STRING: case Kind.BOOLEAN: case Kind.ENUM: return node.value;
    default: throw new Error(`a GraphQL ${node.kind} is not supported`);
  }
}

/**
 * Marks the Json fields of `model` in an argument, however deep: the older language gives
 * them as text, which the newer one would store as a JSON string. A key that is no field is
 * an operator (AND, some, create ...) about the same model; LiteLLM's schema has no field
 * with an operator's name except `data`, in models that no nested write reaches.
 */
function tagJsonFields(value, model, models) {
  if (Array.isArray(value)) return value.map((item) => tagJsonFields(item, model, models));
  if (!isObject(value) || '$type' in value) return value;
  return mapValues(value, (inner, key) => {
    const type = models.get(model).get(key);
    if (type === 'Json') return tagJson(inner);
    if (type && !models.has(type)) return inner;
    return tagJsonFields(inner, type ?? model, models);
  });
}

function tagJson(value) {
  if (typeof value === 'string') return { $type: 'Json', value };
  if (Array.isArray(value)) return value.map(tagJson);
  if (!isObject(value)) return value;
  return mapValues(value, (inner, key) => (TEXT_IN_JSON_FILTERS.includes(key) ? inner : tagJson(inner)));
}

/** The engine's data for one request -> what GraphQL would have answered. */
export function toAnswer(data, { alias, request }) {
  const [value] = Object.values(data);
  return { data: { [alias]: request.action === 'queryRaw' ? toRawRows(value) : untag(value) } };
}

function untag(value) {
  if (Array.isArray(value)) return value.map(untag);
  if (!isObject(value)) return value;
  return '$type' in value ? value.value : mapValues(value, untag);
}

/** { columns, types, rows } -> rows with a type on every cell, as prisma-client-py 0.11 reads them. */
function toRawRows({ columns, types, rows }) {
  const toRow = (cells) => cells.map((value, i) => [columns[i], toRawCell(types[i], value)]);
  return rows.map((cells) => Object.fromEntries(toRow(cells)));
}

function toRawCell(type, value) {
  if (value === null) return { prisma__type: 'null', prisma__value: null };
  if (!type.endsWith('-array')) return { prisma__type: type, prisma__value: value };
  const itemType = type.slice(0, -'-array'.length);
  return { prisma__type: 'array', prisma__value: value.map((item) => toRawCell(itemType, item)) };
}
