// The engine's way to Postgres: a node-postgres pool behind Prisma's own adapter.
import { PrismaPg } from '@prisma/adapter-pg';
import { bindAdapter } from '@prisma/driver-adapter-utils';
import pg from 'pg';

/** oids the native engine reads as text and the adapter refuses: "char", name, name[], unknown, void. */
const [TEXT, TEXT_ARRAY, NAME_ARRAY] = [25, 1009, 1003];
const READ_AS = new Map([[18, TEXT], [19, TEXT], [NAME_ARRAY, TEXT_ARRAY], [705, TEXT], [2278, TEXT]]);

/** An error in the form prisma-client-py maps to its exceptions by code. */
export const failure = (error_code, message, meta = {}) => ({
  error: message,
  user_facing_error: { is_panic: false, message, error_code, meta },
});

/** Opens the database; `explain` turns what node-postgres threw into Prisma's words for it. */
export function openDatabase(text) {
  const url = new URL(text);
  const limit = Number(url.searchParams.get('connection_limit')) || 10;
  const poolTimeoutSeconds = Number(url.searchParams.get('pool_timeout')) || 10;
  url.search = ''; // all of them are Prisma's, not Postgres's
  const pool = new pg.Pool({
    connectionString: url.href,
    max: limit,
    connectionTimeoutMillis: poolTimeoutSeconds * 1000,
    options: '-c TimeZone=UTC', // the adapter drops the offset of a timestamptz
  });
  const complain = (error) => console.error(`[query-engine] connection lost: ${error.message}`);
  pool.on('error', complain); // an idle connection died: the pool replaces it
  pool.on('connect', (client) => client.on('error', complain)); // or one in use; unheard, it would end us

  const adapter = bindAdapter(readingMoreTypes(new PrismaPg(pool)));
  const explain = (error) => {
    if (error.user_facing_error?.error_code !== 'P2036') return error; // Postgres's own answer
    const cause = takeError(adapter.errorRegistry, error.user_facing_error.meta.id);
    const reason = `${cause?.code ?? ''} ${cause?.message ?? cause}`.trim();
    if (reason.includes('timeout exceeded when trying to connect')) {
      return failure('P2024', 'Timed out fetching a new connection from the connection pool. '
        + `(Current connection pool timeout: ${poolTimeoutSeconds}, connection limit: ${limit})`);
    }
    return failure('P1001', `Can't reach database server at \`${url.host}\` (${reason})`);
  };
  return { adapter, explain, close: () => pool.end() };
}

/** Prisma keeps each thrown error for ever under a number; take it out, or an outage fills the memory. */
function takeError(registry, id) {
  const cause = registry.consumeError(id)?.error;
  delete registry.registeredErrors[id];
  return cause;
}

function readingMoreTypes(queryable) {
  pg.types.setTypeParser(NAME_ARRAY, pg.types.getTypeParser(TEXT_ARRAY));
  const perform = queryable.performIO.bind(queryable);
  queryable.performIO = async (query) => {
    const result = await perform(query);
    for (const field of (result.ok && result.value.fields) || []) {
      field.dataTypeID = READ_AS.get(field.dataTypeID) ?? field.dataTypeID;
    }
    return result;
  };
  const begin = queryable.startTransaction?.bind(queryable); // a transaction has none
  if (begin) queryable.startTransaction = async () => (await begin()).map(readingMoreTypes);
  return queryable;
}
