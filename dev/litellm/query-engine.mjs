#!/usr/bin/env node
// Prisma's query engine for LiteLLM, without Prisma's native binary.
//
// LiteLLM keeps keys, budgets and spend in Postgres through prisma-client-py, which starts
// the program named by PRISMA_QUERY_ENGINE_BINARY and talks to it over loopback HTTP. The
// native binary comes from a download site; the npm package @prisma/client carries the same
// engine as WebAssembly. This program puts that build behind the binary's HTTP interface.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { parseArgs } from 'node:util';

const parent = process.ppid; // read first: it changes when the proxy dies
const require = createRequire(import.meta.url);
const { values: flags } = parseArgs({
  strict: false, // the client passes more than is read here
  options: { port: { type: 'string', short: 'p' }, version: { type: 'boolean' } },
});

if (flags.version) { // asked before every start
  console.log(`query-engine ${require('@prisma/engines-version').enginesVersion.split('.').pop()}`);
  process.exit(0);
}
process.title = 'query-engine'; // what LiteLLM looks for when it tidies up after itself

const { readModels, toAnswer, toRequest } = await import('./graphql.mjs');
const { failure, openDatabase } = await import('./postgres.mjs');

const NO_TRACE = '{}';
const schema = readFileSync(process.env.PRISMA_DML_PATH, 'utf8');
const models = readModels(schema);
const database = openDatabase(databaseUrl());
const engine = loadEngine();

/** LiteLLM gives an override when it reconnects; otherwise the schema reads DATABASE_URL. */
function databaseUrl() {
  const [override] = JSON.parse(process.env.OVERWRITE_DATASOURCES ?? '[]');
  return override?.url ?? process.env.DATABASE_URL;
}

function loadEngine() {
  const build = '@prisma/client/runtime/query_engine_bg.postgresql';
  const wasm = require(`${build}.js`);
  const module = new WebAssembly.Module(readFileSync(require.resolve(`${build}.wasm`)));
  wasm.__wbg_set_wasm(new WebAssembly.Instance(module, { './query_engine_bg.js': wasm }).exports);
  const options = {
    datamodel: schema, datasourceOverrides: {}, env: process.env, configDir: process.cwd(),
    ignoreEnvVarErrors: true, logQueries: false, logLevel: 'error', engineProtocol: 'json',
  };
  return new wasm.QueryEngine(options, (line) => console.error(`[query-engine] ${line}`), database.adapter);
}

async function answer(body, transactionId) {
  const ask = async (request) =>
    JSON.parse(await engine.query(JSON.stringify(request), NO_TRACE, transactionId));
  const finish = (result, question) =>
    (result.errors ? { errors: result.errors.map(database.explain) } : toAnswer(result.data, question));
  if (!body.batch) {
    const question = toRequest(body.query, models);
    return finish(await ask(question.request), question);
  }
  const questions = body.batch.map(({ query }) => toRequest(query, models));
  const transaction = body.transaction ? { isolationLevel: body.isolationLevel ?? null } : null;
  const result = await ask({ batch: questions.map(({ request }) => request), transaction });
  if (result.errors) return finish(result);
  return { batchResult: result.batchResult.map((item, i) => finish(item, questions[i])) };
}

/** start answers {id}, commit and rollback {}; a failure is told by the HTTP status. */
async function transact(action, id, body) {
  const result = JSON.parse(await (
    action === 'start' ? engine.startTransaction(JSON.stringify(body), NO_TRACE)
      : action === 'commit' ? engine.commitTransaction(id, NO_TRACE)
        : engine.rollbackTransaction(id, NO_TRACE)));
  if (!result.error_code) return [200, result];
  const { user_facing_error: refusal } = database.explain({ user_facing_error: result });
  return [/already closed/i.test(refusal.message) ? 422 : 500, refusal];
}

async function route(request) {
  const { pathname } = new URL(request.url, 'http://localhost');
  if (pathname === '/status') return [200, { status: 'ok' }];
  const chunks = await Array.fromAsync(request);
  const body = chunks.length ? JSON.parse(Buffer.concat(chunks)) : {};
  if (pathname === '/') return [200, await answer(body, request.headers['x-transaction-id'])];
  const [, id, action] = /^\/transaction\/(?:([^/]+)\/)?(start|commit|rollback)$/.exec(pathname) ?? [];
  return action ? transact(action, id, body) : [404, { error: `no ${pathname} here` }];
}

/** What was thrown: the engine's own refusal, as JSON text, or a fault of this program. */
function toErrors(error) {
  if (error instanceof WebAssembly.RuntimeError) {
    console.error(`[query-engine] panicked: ${error.stack}`);
    setTimeout(() => process.exit(1), 100); // its memory can't be trusted; LiteLLM starts another
  }
  const message = String(error?.message ?? error);
  try {
    const refusal = JSON.parse(message);
    if (refusal.error_code) return [database.explain({ error: refusal.message, user_facing_error: refusal })];
  } catch { /* not the engine's */ }
  return [failure('ENGINE', message)];
}

const server = createServer(async (request, response) => {
  const [status, body] = await route(request).catch((error) => [200, { errors: toErrors(error) }]);
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
});
server.keepAliveTimeout = 120_000; // longer than the client keeps idle connections

let stopping = false;
async function stop() {
  if (stopping) return;
  stopping = true;
  setTimeout(() => process.exit(0), 2000); // whatever the database is still doing
  server.close();
  server.closeAllConnections();
  await database.close();
  process.exit(0);
}
process.on('SIGINT', stop);
process.on('SIGTERM', stop);
setInterval(() => process.ppid !== parent && stop(), 500); // a proxy killed outright says no goodbye

await engine.connect(NO_TRACE);
server.listen(Number(flags.port), '127.0.0.1');
