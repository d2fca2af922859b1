import { useCallback, useState } from "preact/hooks";
import type { Concerns } from "../../api/types";
import { useApp } from "../../app-context";
import { useAsked } from "../../asked";
import { plural } from "../../format";
import { Missing, Skeleton, Time } from "../../ui/parts";
import { Accounts } from "./accounts";
import { Audit } from "./audit";
import { FailingKeys } from "./failing-keys";
import { Inbox } from "./inbox";
import { Payments } from "./payments";
import { Reports } from "./reports";

/** What waits for a person comes first. */
export function AdminView() {
  const { api } = useApp();
  const [turn, setTurn] = useState(0);
  const load = useCallback(() => api.read<Concerns>("read_concerns"), [api, turn]);
  const { data: concerns, error, reload } = useAsked(load);
  const changed = () => setTurn(turn + 1);
  return (
    <>
      <div class="view-head">
        <h1 tabIndex={-1}>Admin</h1>
        <button type="button" onClick={changed}>
          Look again
        </button>
      </div>
      {concerns ? <Waiting concerns={concerns} /> : error ? <Missing error={error} what="The concerns" retry={reload} /> : <Skeleton label="what waits" lines={2} />}
      <FailingKeys turn={turn} onChange={changed} />
      <Inbox turn={turn} onChange={changed} />
      <Payments heading="Payments that wait for a decision" status="needs_review" turn={turn} onChange={changed} />
      <Payments heading="Find payments" turn={turn} onChange={changed} />
      <Accounts turn={turn} onChange={changed} />
      <Health />
      <Reports turn={turn} />
      <Audit turn={turn} />
    </>
  );
}

const KINDS: [Exclude<keyof Concerns, "reconciliation" | "drift">, string, string][] = [
  ["needs_review", "payment waits for a decision", "payments wait for a decision"],
  ["failing_events", "event of Paystack’s fails", "events of Paystack’s fail"],
  ["parked_accounts", "wallet is parked", "wallets are parked"],
  ["parked_keys", "key is parked", "keys are parked"],
  ["refused_not_returned", "refused payment is not given back", "refused payments are not given back"],
  ["paid_after_deletion", "payment came for a deleted account", "payments came for deleted accounts"],
  ["unknown_payments", "payment of an unknown order", "payments of unknown orders"],
];

function Waiting({ concerns }: { concerns: Concerns }) {
  const waiting = KINDS.filter(([kind]) => concerns[kind] > 0);
  const differences = (concerns.reconciliation?.differences ?? 0) + (concerns.drift?.differences ?? 0);
  return (
    <section class={`card concerns ${waiting.length + differences ? "some" : ""}`} aria-labelledby="concerns">
      <h2 id="concerns">{waiting.length + differences ? "This waits for a person" : "Nothing waits for a person"}</h2>
      {waiting.length + differences > 0 && (
        <ul>
          {waiting.map(([kind, one, many]) => (
            <li key={kind}>{plural(concerns[kind], one, many)}</li>
          ))}
          {differences > 0 && <li>{plural(differences, "difference")} in the last comparisons, below</li>}
        </ul>
      )}
    </section>
  );
}

function Health() {
  const { live } = useApp();
  const status = live.picture?.status.data;
  return (
    <section class="card" aria-labelledby="health">
      <h2 id="health">How things are</h2>
      {status ? (
        <dl class="facts">
          <dt>LiteLLM</dt>
          <dd>{status.litellm.configured ? (status.litellm.connected ? "connected" : "not reachable") : "not configured"}</dd>
          <dt>Breaker</dt>
          <dd>{status.litellm.breaker}</dd>
          <dt>Last answer</dt>
          <dd>{status.litellm.last_ok_at ? <Time at={status.litellm.last_ok_at} /> : "none yet"}</dd>
          <dt>Paystack</dt>
          <dd>{status.paystack.configured ? "configured" : "not configured"}</dd>
          <dt>Worker</dt>
          <dd>{status.worker.last_seen ? <>seen <Time at={status.worker.last_seen} /></> : "never seen"}</dd>
          <dt>Backlog</dt>
          <dd>
            {plural(status.backlog.keys, "key")}, {plural(status.backlog.events, "event")}, {plural(status.backlog.parked, "account")} parked; the oldest waits {plural(Math.round(status.backlog.oldest_seconds), "second")}
          </dd>
          {status.litellm.warnings.length > 0 && (
            <>
              <dt>Warnings</dt>
              <dd>{status.litellm.warnings.join(" ")}</dd>
            </>
          )}
        </dl>
      ) : (
        <Skeleton label="the status" lines={4} />
      )}
    </section>
  );
}
