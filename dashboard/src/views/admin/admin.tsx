import { useCallback, useState } from "preact/hooks";
import type { Concerns } from "../../api/types";
import { useApp, usePart } from "../../app-context";
import { useAsked } from "../../asked";
import { plural } from "../../format";
import { Loaded } from "../../ui/loaded";
import { Card, Time } from "../../ui/parts";
import { Accounts } from "./accounts";
import { Audit } from "./audit";
import { FailingKeys } from "./failing-keys";
import { Inbox } from "./inbox";
import { FindPayments, WaitingPayments } from "./payments";
import { Reports } from "./reports";

export interface Section {
  /** Read anew when it changes. */
  turn: number;
  onChange: () => void;
}

/** What waits for a person comes first. */
export function AdminView() {
  const { api } = useApp();
  const [turn, setTurn] = useState(0);
  const load = useCallback(() => api.read<Concerns>("read_concerns"), [api]);
  const concerns = useAsked(load, turn);
  const onChange = () => setTurn((before) => before + 1);
  return (
    <>
      <div class="view-head">
        <h1 tabIndex={-1}>Admin</h1>
        <button type="button" onClick={onChange}>
          Look again
        </button>
      </div>
      <Loaded asked={concerns} what="what waits" lines={2}>
        {(found) => <Waiting concerns={found} />}
      </Loaded>
      <FailingKeys turn={turn} onChange={onChange} />
      <Inbox turn={turn} onChange={onChange} />
      <WaitingPayments turn={turn} onChange={onChange} />
      <FindPayments turn={turn} onChange={onChange} />
      <Accounts turn={turn} onChange={onChange} />
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
  ["waiting_grants", "sign-up grant waits for the hour’s ceiling", "sign-up grants wait for the hour’s ceiling"],
  ["missing_triggers", "trigger on Supabase’s users is missing", "triggers on Supabase’s users are missing"],
  ["refused_not_returned", "refused payment is not given back", "refused payments are not given back"],
  ["paid_after_deletion", "payment came for a deleted account", "payments came for deleted accounts"],
  ["self_dealings", "deed of an administrator for their own account, in the audit log", "deeds of administrators for their own accounts, in the audit log"],
  ["large_adjustments", "large adjustment of credits, in the audit log", "large adjustments of credits, in the audit log"],
  ["unknown_payments", "payment of an unknown order", "payments of unknown orders"],
];

function Waiting({ concerns }: { concerns: Concerns }) {
  const waiting = KINDS.filter(([kind]) => concerns[kind] > 0);
  const differences = (concerns.reconciliation?.differences ?? 0) + (concerns.drift?.differences ?? 0);
  const some = waiting.length + differences > 0;
  return (
    <Card heading={some ? "This waits for a person" : "Nothing waits for a person"} kind={some ? "concerns some" : "concerns"}>
      {some && (
        <ul>
          {waiting.map(([kind, one, many]) => (
            <li key={kind}>{plural(concerns[kind], one, many)}</li>
          ))}
          {differences > 0 && <li>{plural(differences, "difference")} in the last comparisons, below</li>}
        </ul>
      )}
    </Card>
  );
}

const Health = () => (
  <Card heading="How things are">
    <Loaded asked={usePart("status")} what="the status" lines={4}>
      {({ litellm, paystack, worker, backlog }) => (
        <dl class="facts">
          <dt>LiteLLM</dt>
          <dd>{litellm.configured ? (litellm.connected ? "connected" : "not reachable") : "not configured"}</dd>
          <dt>Breaker</dt>
          <dd>{litellm.breaker}</dd>
          <dt>Last answer</dt>
          <dd>{litellm.last_ok_at ? <Time at={litellm.last_ok_at} /> : "none yet"}</dd>
          <dt>Paystack</dt>
          <dd>{paystack.configured ? "configured" : "not configured"}</dd>
          <dt>Worker</dt>
          <dd>{worker.last_seen ? <>seen <Time at={worker.last_seen} /></> : "never seen"}</dd>
          <dt>Backlog</dt>
          <dd>
            {plural(backlog.keys, "key")}, {plural(backlog.events, "event")}, {plural(backlog.parked, "account")} parked; the oldest waits {plural(Math.round(backlog.oldest_seconds), "second")}
          </dd>
          {litellm.warnings.length > 0 && (
            <>
              <dt>Warnings</dt>
              <dd>{litellm.warnings.join(" ")}</dd>
            </>
          )}
        </dl>
      )}
    </Loaded>
  </Card>
);
