// Ten connections as `authenticator`, as PostgREST holds them: who finds none free waits ten seconds, one that was
// killed while it was idle fails the next request, and what collided with others is done again.
import pg from "pg";
import { killed, poolIsFull } from "./failure.mjs";

const SIZE = 10;
const WAIT_MS = 10_000;
const AGAIN_MS = 30_000; // PostgREST itself would go on for ever
const COLLISIONS = new Set(["40001", "40P01"]);

/** A connection; all values go in and come out as PostgreSQL writes them. */
export async function connect(url, name) {
  const client = new pg.Client({
    connectionString: url,
    application_name: name,
    connectionTimeoutMillis: 5000,
    options: "-c TimeZone=UTC",
    types: { getTypeParser: () => (text) => text },
  });
  client.on("error", () => {}); // it ended while nothing was asked of it: `end` follows
  await client.connect();
  return client;
}

class Slot {
  client = undefined;
  wasKilled = false;
  isBusy = false;

  async open(url) {
    if (this.client) return this.client;
    const client = await connect(url, "postgrest");
    this.client = client;
    client.on("end", () => {
      if (this.client !== client) return;
      this.client = undefined;
      this.wasKilled = !this.isBusy;
    });
    return client;
  }
}

export class Pool {
  waiting = [];

  constructor(url) {
    this.url = url;
    this.slots = Array.from({ length: SIZE }, () => new Slot());
    this.free = [...this.slots];
  }

  /** The database was away and is back: its connections are all new. */
  flush() {
    for (const slot of this.slots) slot.wasKilled = false;
  }

  /** Do some work in a transaction, again and again while it collides with others. */
  async transact(mode, work) {
    const slot = await this.take();
    try {
      if (slot.wasKilled) {
        slot.wasKilled = false;
        throw killed();
      }
      return await again(async () => once(await slot.open(this.url), mode, work));
    } finally {
      this.giveBack(slot);
    }
  }

  take() {
    const slot = this.free.shift();
    if (slot) {
      slot.isBusy = true;
      return slot;
    }
    return new Promise((resolve, reject) => {
      const one = { resolve };
      one.timer = setTimeout(() => {
        this.waiting.splice(this.waiting.indexOf(one), 1);
        reject(poolIsFull());
      }, WAIT_MS);
      this.waiting.push(one);
    });
  }

  giveBack(slot) {
    const next = this.waiting.shift();
    if (next) {
      clearTimeout(next.timer);
      next.resolve(slot);
      return;
    }
    slot.isBusy = false;
    this.free.push(slot);
  }
}

async function once(client, mode, work) {
  const ask = async (text, values) => (await client.query(text, values)).rows;
  try {
    await client.query(`begin ${mode}`);
    const result = await work(ask);
    await client.query("commit");
    return result;
  } catch (error) {
    await client.query("rollback").catch(() => client.end().catch(() => {}));
    throw error;
  }
}

async function again(attempt) {
  const until = Date.now() + AGAIN_MS;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (!COLLISIONS.has(error.code) || Date.now() > until) throw error;
    }
  }
}
