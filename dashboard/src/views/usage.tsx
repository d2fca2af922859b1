import { useCallback, useEffect, useMemo, useState } from "preact/hooks";
import { useAction } from "../action";
import { asApiError, type ApiError } from "../api/api";
import type { LedgerEntry, Usage } from "../api/types";
import { useApp } from "../app-context";
import { addDays, count, isoDay, micros, number, shownDay, worth } from "../format";
import { Badge, Empty, Failure, Missing, SelectField, Skeleton, TableBox, TextField, Time } from "../ui/parts";
import { SERIES } from "../ui/chart";
import { BurnChart, ShareChart, TrendChart } from "./usage-charts";
import { balances, burn, daysBetween, type Measure, measureOf, sumByModel } from "./usage-sums";

const RANGES: [string, string][] = [
  ["7", "Last 7 days"],
  ["30", "Last 30 days"],
  ["90", "Last 90 days"],
  ["own", "Other dates"],
];

export function UsageView() {
  const { api, live } = useApp();
  const today = isoDay(new Date());
  const [range, setRange] = useState("30");
  const [start, setStart] = useState(addDays(today, -29));
  const [end, setEnd] = useState(today);
  const [model, setModel] = useState("");
  const [keyId, setKeyId] = useState("");
  const query = useMemo(() => {
    const asked = new URLSearchParams({ start_date: start, end_date: end });
    if (model) asked.set("model", model);
    if (keyId) asked.set("key_id", keyId);
    return asked.toString();
  }, [start, end, model, keyId]);
  const { usage, error, busy, reload } = useUsage(query);
  const models = useSeenModels(usage);
  const keys = live.picture?.keys.data?.keys ?? [];

  const choose = (days: string) => {
    setRange(days);
    if (days === "own") return;
    setStart(addDays(today, 1 - Number(days)));
    setEnd(today);
  };

  return (
    <>
      <div class="view-head">
        <h1 tabIndex={-1}>Usage</h1>
        <ExportButton query={query} name={`usage-${start}-${end}.csv`} disabled={!usage} api={api} />
      </div>
      <form class="filters" aria-label="What to show" onSubmit={(event) => event.preventDefault()}>
        <SelectField label="Range" value={range} options={RANGES} onChange={choose} />
        {range === "own" && (
          <>
            <TextField label="From" type="date" value={start} max={end} onInput={(day) => day && setStart(day)} />
            <TextField label="To" type="date" value={end} min={start} max={today} onInput={(day) => day && setEnd(day)} />
          </>
        )}
        <SelectField label="Model" value={model} onChange={setModel} options={[["", "All models"], ...models.map((one): [string, string] => [one, one])]} />
        <SelectField label="Key" value={keyId} onChange={setKeyId} options={[["", "All keys"], ...keys.map((key): [string, string] => [key.id, key.name])]} />
      </form>
      {usage ? (
        <div aria-busy={busy} class={busy ? "stale" : undefined}>
          <p class="as-of">
            {usage.source === "local" ? (
              <>
                <Badge tone="wait">Local data</Badge>{" "}
                {usage.as_of ? (
                  <>
                    LiteLLM was not asked just now; this is what it said <Time at={usage.as_of} />.
                  </>
                ) : (
                  "LiteLLM was not asked yet."
                )}
              </>
            ) : (
              <>
                From LiteLLM{usage.as_of && <>, as of <Time at={usage.as_of} /></>}.
              </>
            )}{" "}
            Days begin at midnight, {usage.time_zone || "UTC"}.
          </p>
          {error && <Failure error={error} />}
          <Figures usage={usage} />
        </div>
      ) : error ? (
        <Missing error={error} what="Usage figures" retry={reload} />
      ) : (
        <Skeleton label="your usage" lines={8} />
      )}
    </>
  );
}

function Figures({ usage }: { usage: Usage }) {
  const { config } = useApp();
  const [measure, setMeasure] = useState<Measure>("credits");
  const sums = useMemo(() => sumByModel(usage), [usage]);
  if (usage.days.length === 0) {
    return (
      <Empty title="No calls in these days">
        <p>Call a model with one of your keys, and it shows up here within a minute.</p>
        <a href="#/keys">How to call a model</a>
      </Empty>
    );
  }
  return (
    <div class="figures">
      <dl class="totals card">
        <div>
          <dt>Spent</dt>
          <dd>{micros(usage.total.spend_micros)}</dd>
        </div>
        <div>
          <dt>Credits</dt>
          <dd>{number(usage.total.credits)}</dd>
        </div>
        <div>
          <dt>Requests</dt>
          <dd>{count(usage.total.requests)}</dd>
        </div>
        <div>
          <dt>Tokens</dt>
          <dd>{count(measureOf(usage.total, "tokens"))}</dd>
        </div>
      </dl>
      <section class="card" aria-labelledby="trend">
        <div class="section-head">
          <h2 id="trend">By day</h2>
          <div role="group" aria-label="What to count" class="choice">
            {(["credits", "requests", "tokens"] as const).map((one) => (
              <button key={one} type="button" aria-pressed={one === measure} onClick={() => setMeasure(one)}>
                {one[0]?.toUpperCase() + one.slice(1)}
              </button>
            ))}
          </div>
        </div>
        <TrendChart usage={usage} sums={sums} measure={measure} />
        <details>
          <summary>As a table</summary>
          <TableBox label="Usage by day and model">
            <thead>
              <tr>
                <th scope="col">Day</th>
                <th scope="col">Model</th>
                <th scope="col" class="right">Requests</th>
                <th scope="col" class="right">Tokens</th>
                <th scope="col" class="right">Credits</th>
                <th scope="col" class="right">Spent</th>
              </tr>
            </thead>
            <tbody>
              {usage.days.map((row) => (
                <tr key={`${row.date} ${row.model}`}>
                  <th scope="row">{shownDay(row.date)}</th>
                  <td>{row.model}</td>
                  <td class="right">{count(row.requests)}</td>
                  <td class="right">{count(measureOf(row, "tokens"))}</td>
                  <td class="right">{number(row.credits)}</td>
                  <td class="right">{micros(row.spend_micros)}</td>
                </tr>
              ))}
            </tbody>
          </TableBox>
        </details>
      </section>
      <div class="columns">
        <section class="card" aria-labelledby="share">
          <h2 id="share">By model</h2>
          <ShareChart sums={sums} />
          <table class="plain">
            <thead>
              <tr>
                <th scope="col">Model</th>
                <th scope="col" class="right">Share</th>
                <th scope="col" class="right">Spent</th>
              </tr>
            </thead>
            <tbody>
              {sums.map((sum, index) => (
                <tr key={sum.model}>
                  <th scope="row">
                    <span class={`swatch s${(index % SERIES) + 1}`} aria-hidden="true" /> {sum.model}
                  </th>
                  <td class="right">{usage.total.credits > 0 ? Math.round((100 * sum.total.credits) / usage.total.credits) : 0} %</td>
                  <td class="right">{micros(sum.total.spend_micros)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </section>
        <BurnCard usage={usage} />
      </div>
      {usage.keys && usage.keys.length > 0 && (
        <section class="card" aria-labelledby="by-key">
          <h2 id="by-key">By key</h2>
          <TableBox label="Usage by key">
            <thead>
              <tr>
                <th scope="col">Key</th>
                <th scope="col" class="right">Requests</th>
                <th scope="col" class="right">Tokens</th>
                <th scope="col" class="right">Credits</th>
                <th scope="col" class="right">Worth</th>
              </tr>
            </thead>
            <tbody>
              {usage.keys.map((key) => (
                <tr key={key.key_id ?? "none"}>
                  <th scope="row">{key.name}</th>
                  <td class="right">{count(key.requests)}</td>
                  <td class="right">{count(measureOf(key, "tokens"))}</td>
                  <td class="right">{number(key.credits)}</td>
                  <td class="right">{worth(key.credits, config)}</td>
                </tr>
              ))}
            </tbody>
          </TableBox>
        </section>
      )}
    </div>
  );
}

function BurnCard({ usage }: { usage: Usage }) {
  const { live, config } = useApp();
  const left = live.picture?.balance.data?.credits;
  const ledger = useLedger();
  const rate = left === undefined ? null : burn(usage, left);
  return (
    <section class="card" aria-labelledby="burn">
      <h2 id="burn">Budget</h2>
      {rate && left !== undefined ? (
        <>
          <p>
            {rate.creditsPerDay === 0 ? (
              "Nothing was spent lately, so nothing runs out."
            ) : (
              <>
                {worth(rate.creditsPerDay, config)} a day over the last {rate.overDays} days.{" "}
                {rate.runsOutOn ? (
                  <strong>
                    At this rate the {worth(left, config)} that you have left are used up on {shownDay(rate.runsOutOn)}.
                  </strong>
                ) : (
                  "At this rate your wallet lasts for years."
                )}
              </>
            )}
          </p>
          {ledger && <BurnChart usage={usage} ledger={ledger} left={left} rate={rate} />}
          {ledger && <BalanceTable usage={usage} ledger={ledger} />}
        </>
      ) : (
        <Skeleton label="your budget" lines={4} />
      )}
    </section>
  );
}

function BalanceTable({ usage, ledger }: { usage: Usage; ledger: LedgerEntry[] }) {
  const days = daysBetween(usage.start_date, usage.end_date);
  const known = balances(days, ledger);
  return (
    <details>
      <summary>As a table</summary>
      <TableBox label="Credits left by day">
        <thead>
          <tr>
            <th scope="col">Day</th>
            <th scope="col" class="right">Credits left at its end</th>
          </tr>
        </thead>
        <tbody>
          {days.map((day, index) => {
            const credits = known[index];
            return credits === null || credits === undefined ? null : (
              <tr key={day}>
                <th scope="row">{shownDay(day)}</th>
                <td class="right">{count(credits)}</td>
              </tr>
            );
          })}
        </tbody>
      </TableBox>
    </details>
  );
}

function ExportButton({ query, name, disabled, api }: { query: string; name: string; disabled: boolean; api: { text: (path: string) => Promise<string> } }) {
  const { busy, error, run } = useAction();
  const save = () =>
    run(async () => {
      const text = await api.text(`/api/analytics/usage?${query}&format=csv`);
      const url = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
      const link = Object.assign(document.createElement("a"), { href: url, download: name });
      link.click();
      setTimeout(() => URL.revokeObjectURL(url), 10_000);
    });
  return (
    <div>
      <button type="button" disabled={busy || disabled} onClick={save}>
        {busy ? "Exporting …" : "Export CSV"}
      </button>
      <Failure error={error} />
    </div>
  );
}

/** The usage for a query; what was shown before stays until the next is there. */
function useUsage(query: string) {
  const { api } = useApp();
  const [usage, setUsage] = useState<Usage>();
  const [error, setError] = useState<ApiError>();
  const [busy, setBusy] = useState(false);
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    const abort = new AbortController();
    setBusy(true);
    api
      .get<Usage>(`/api/analytics/usage?${query}`)
      .then(
        (answer) => {
          if (abort.signal.aborted) return;
          setUsage(answer);
          setError(undefined);
        },
        (thrown) => !abort.signal.aborted && setError(asApiError(thrown)),
      )
      .finally(() => !abort.signal.aborted && setBusy(false));
    return () => abort.abort();
  }, [api, query, turn]);
  const reload = useCallback(() => setTurn((before) => before + 1), []);
  useEffect(() => {
    const timer = setInterval(() => !document.hidden && reload(), 60_000);
    return () => clearInterval(timer);
  }, [reload]);
  return { usage, error, busy, reload };
}

/** Every model that was seen, so that choosing one does not hide the others from the choice. */
function useSeenModels(usage: Usage | undefined): string[] {
  const [seen, setSeen] = useState<string[]>([]);
  useEffect(() => {
    if (usage) setSeen((before) => [...new Set([...before, ...usage.days.map((row) => row.model)])].sort());
  }, [usage]);
  return seen;
}

const LEDGER_ENTRIES = 1000;

function useLedger(): LedgerEntry[] | undefined {
  const { api } = useApp();
  const [entries, setEntries] = useState<LedgerEntry[]>();
  useEffect(() => {
    const asked = api.supabase.from("credit_ledger").select("id,delta,kind,reason,balance_after,created_at");
    asked.order("id", { ascending: false }).limit(LEDGER_ENTRIES).then(({ data }) => setEntries((data ?? []) as LedgerEntry[]));
  }, [api]);
  return entries;
}
