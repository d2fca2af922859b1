import { useMemo, useState } from "preact/hooks";
import { useAction } from "../action";
import type { Usage } from "../api/types";
import { useApp } from "../app-context";
import { addDays, capital, count, isoDay, micros, number, shownDay, worth } from "../format";
import { SERIES } from "../ui/chart";
import { Loaded } from "../ui/loaded";
import { Badge, Card, Empty, Failure, Notice, SelectField, TextField, Time } from "../ui/parts";
import { Table } from "../ui/table";
import { BurnCard } from "./usage-budget";
import { ShareChart, TrendChart } from "./usage-charts";
import { useSeenModels, useUsage } from "./usage-data";
import { type Measure, measureOf, sumByModel } from "./usage-sums";

const RANGES: [string, string][] = [
  ["7", "Last 7 days"],
  ["30", "Last 30 days"],
  ["90", "Last 90 days"],
  ["own", "Other dates"],
];
const MOST_DAYS = 366;

function problemOf(start: string, end: string): string | undefined {
  if (start > end) return "The first day is after the last.";
  return addDays(start, MOST_DAYS - 1) < end ? `At most ${MOST_DAYS} days are shown at once.` : undefined;
}

export function UsageView() {
  const { live } = useApp();
  const today = isoDay(new Date());
  const [range, setRange] = useState("30");
  const [own, setOwn] = useState({ start: today, end: today });
  const [model, setModel] = useState("");
  const [keyId, setKeyId] = useState("");
  const { start, end } = range === "own" ? own : { start: addDays(today, 1 - Number(range)), end: today };
  const problem = problemOf(start, end);
  const query = new URLSearchParams({ start_date: start, end_date: end, ...(model && { model }), ...(keyId && { key_id: keyId }) }).toString();
  const asked = useUsage(problem ? undefined : query, !model && !keyId);
  const models = useSeenModels(asked.data);
  const keys = live.picture?.keys.data?.keys ?? [];

  const choose = (chosen: string) => {
    setOwn({ start, end });
    setRange(chosen);
  };

  return (
    <>
      <div class="view-head">
        <h1 tabIndex={-1}>Usage</h1>
        <ExportButton query={query} name={`usage-${start}-${end}.csv`} disabled={!asked.data || Boolean(problem)} />
      </div>
      <form class="filters" aria-label="What to show" onSubmit={(event) => event.preventDefault()}>
        <SelectField label="Range" value={range} options={RANGES} onChange={choose} />
        {range === "own" && (
          <>
            <TextField label="From" type="date" value={start} max={end} onInput={(day) => day && setOwn({ start: day, end })} />
            <TextField label="To" type="date" value={end} min={start} max={today} onInput={(day) => day && setOwn({ start, end: day })} />
          </>
        )}
        <SelectField label="Model" value={model} onChange={setModel} options={[["", "All models"], ...models.map((one): [string, string] => [one, one])]} />
        <SelectField label="Key" value={keyId} onChange={setKeyId} options={[["", "All keys"], ...keys.map((key): [string, string] => [key.id, key.name])]} />
      </form>
      {problem && <Notice>{problem}</Notice>}
      <Loaded asked={asked} what="your usage" lines={8}>
        {(usage) => (
          <>
            <Source usage={usage} />
            <Figures usage={usage} hasBudget={usage.isWhole && usage.end_date === today} />
          </>
        )}
      </Loaded>
    </>
  );
}

const Source = ({ usage }: { usage: Usage }) => (
  <p class="as-of">
    {usage.source === "litellm" ? (
      <>From LiteLLM{usage.as_of && <>, as of <Time at={usage.as_of} /></>}.</>
    ) : (
      <>
        <Badge tone="wait">Local data</Badge>{" "}
        {usage.as_of ? <>LiteLLM was not asked just now; this is what it said <Time at={usage.as_of} />.</> : "LiteLLM was not asked yet."}
      </>
    )}{" "}
    Days begin at midnight, {usage.time_zone}.
  </p>
);

function Figures({ usage, hasBudget }: { usage: Usage; hasBudget: boolean }) {
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
  const { total } = usage;
  const totals = [
    ["Spent", micros(total.spend_micros)],
    ["Credits", number(total.credits)],
    ["Requests", count(total.requests)],
    ["Tokens", count(measureOf(total, "tokens"))],
  ];
  return (
    <div class="figures">
      <dl class="totals card">
        {totals.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      <Card heading="By day" aside={<MeasureChoice measure={measure} onChange={setMeasure} />}>
        <TrendChart usage={usage} sums={sums} measure={measure} />
        <details>
          <summary>As a table</summary>
          <Table
            label="Usage by day and model"
            rows={usage.days}
            keyOf={(row) => `${row.date} ${row.model}`}
            columns={[
              { head: "Day", cell: (row) => shownDay(row.date), isHead: true },
              { head: "Model", cell: (row) => row.model },
              { head: "Requests", cell: (row) => count(row.requests), right: true },
              { head: "Tokens", cell: (row) => count(measureOf(row, "tokens")), right: true },
              { head: "Credits", cell: (row) => number(row.credits), right: true },
              { head: "Spent", cell: (row) => micros(row.spend_micros), right: true },
            ]}
          />
        </details>
      </Card>
      <div class="columns">
        <Card heading="By model">
          <ShareChart sums={sums} />
          <Table
            label="Usage by model"
            rows={sums}
            keyOf={(sum) => sum.model}
            columns={[
              {
                head: "Model",
                isHead: true,
                cell: (sum) => (
                  <>
                    <span class={`swatch s${(sums.indexOf(sum) % SERIES) + 1}`} aria-hidden="true" /> {sum.model}
                  </>
                ),
              },
              { head: "Share", cell: (sum) => `${total.credits > 0 ? Math.round((100 * sum.total.credits) / total.credits) : 0} %`, right: true },
              { head: "Spent", cell: (sum) => micros(sum.total.spend_micros), right: true },
            ]}
          />
        </Card>
        {hasBudget && <BurnCard usage={usage} />}
      </div>
      {usage.keys.length > 0 && (
        <Card heading="By key">
          <Table
            label="Usage by key"
            rows={usage.keys}
            keyOf={(key) => key.key_id ?? "none"}
            columns={[
              { head: "Key", cell: (key) => key.name, isHead: true },
              { head: "Requests", cell: (key) => count(key.requests), right: true },
              { head: "Tokens", cell: (key) => count(measureOf(key, "tokens")), right: true },
              { head: "Credits", cell: (key) => number(key.credits), right: true },
              { head: "Worth", cell: (key) => worth(key.credits, config), right: true },
            ]}
          />
        </Card>
      )}
    </div>
  );
}

const MeasureChoice = ({ measure, onChange }: { measure: Measure; onChange: (measure: Measure) => void }) => (
  <div role="group" aria-label="What to count" class="choice">
    {(["credits", "requests", "tokens"] as const).map((one) => (
      <button key={one} type="button" aria-pressed={one === measure} onClick={() => onChange(one)}>
        {capital(one)}
      </button>
    ))}
  </div>
);

function ExportButton({ query, name, disabled }: { query: string; name: string; disabled: boolean }) {
  const { api } = useApp();
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
