import { useState } from "preact/hooks";
import { useApp } from "../app-context";
import type { Payment } from "../api/types";
import { count, fullTime, price, shownDay } from "../format";
import { isUnderWay, isUnopened } from "../live";
import { Badge, Empty, Missing, Skeleton } from "../ui/parts";
import { Ledger } from "./ledger";
import { Packages } from "./packages";
import { Receipt } from "./receipt";
import { Timeline } from "./timeline";
import { Wallet } from "./wallet";

export function CreditsView() {
  const { live, config } = useApp();
  const part = live.picture?.payments;
  const payments = part?.data;
  const current = payments?.find(isUnderWay);
  return (
    <>
      <div class="view-head">
        <h1 tabIndex={-1}>Credits</h1>
      </div>
      <Wallet onCredits />
      {current && <CurrentPayment payment={current} />}
      {config.payments ? <Packages /> : <Empty title="Payments are switched off on this installation." />}
      <section class="card" aria-labelledby="payments">
        <h2 id="payments">Payments</h2>
        {payments ? (
          <PaymentList payments={payments} />
        ) : part?.error ? (
          <Missing error={part.error} what="Your payments" retry={live.refresh} />
        ) : (
          <Skeleton label="your payments" lines={3} />
        )}
      </section>
      <Ledger balance={live.picture?.balance.data?.credits} />
    </>
  );
}

function CurrentPayment({ payment }: { payment: Payment }) {
  return (
    <section class="card current" aria-labelledby="current">
      <h2 id="current">Payment under way</h2>
      <p>
        {count(payment.credits)} credits for {price(payment.amount, payment.currency)}.{" "}
        {payment.authorization_url && !payment.timeline.webhook && (
          <a href={payment.authorization_url} target="_blank" rel="noopener noreferrer">
            Go to the checkout
          </a>
        )}
      </p>
      <Timeline payment={payment} />
    </section>
  );
}

type State = ["good" | "wait" | "bad" | "plain", string];

const STATES: Record<string, State> = {
  pending: ["wait", "Not paid yet"],
  success: ["good", "Paid"],
  failed: ["bad", "Failed"],
  abandoned: ["plain", "Abandoned"],
  needs_review: ["wait", "Being looked at"],
  reversed: ["plain", "Given back"],
};

function stateOf(payment: Payment): State {
  if (isUnopened(payment)) return ["plain", "Not opened"];
  if (payment.status === "failed" && payment.refused) return ["bad", "Not accepted: your money is given back"];
  return STATES[payment.status] ?? ["plain", payment.status];
}

function PaymentList({ payments }: { payments: Payment[] }) {
  const [receipt, setReceipt] = useState<Payment | null>(null);
  if (payments.length === 0) return <Empty title="No payments yet" />;
  return (
    <>
      <ul class="payments">
        {payments.map((payment) => {
          const [tone, word] = stateOf(payment);
          return (
            <li key={payment.reference}>
              <details>
                <summary>
                  <span class="grow">
                    <strong>{count(payment.credits)} credits</strong> <span class="hint">{price(payment.amount, payment.currency)}</span>
                  </span>
                  {payment.timeline.ordered && <time dateTime={payment.timeline.ordered} title={fullTime(payment.timeline.ordered)}>{shownDay(payment.timeline.ordered)}</time>}
                  <Badge tone={tone}>{word}</Badge>
                </summary>
                {isUnopened(payment) ? <p>Its checkout has not opened, so nothing was paid. Buy again for another.</p> : <Timeline payment={payment} />}
                {payment.status === "pending" && payment.authorization_url && (
                  <p>
                    <a href={payment.authorization_url} target="_blank" rel="noopener noreferrer">
                      Go to the checkout
                    </a>
                  </p>
                )}
                <p class="hint">Reference {payment.reference}</p>
              </details>
              {payment.timeline.credited && (
                <button type="button" class="link" aria-label={`Receipt for ${payment.reference}`} onClick={() => setReceipt(payment)}>
                  Receipt
                </button>
              )}
            </li>
          );
        })}
      </ul>
      {receipt && <Receipt payment={receipt} onClose={() => setReceipt(null)} />}
    </>
  );
}
