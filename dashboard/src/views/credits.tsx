import { useState } from "preact/hooks";
import { useAction } from "../action";
import { useApp, usePart } from "../app-context";
import type { Payment } from "../api/types";
import { count, fullTime, price, shownDay } from "../format";
import { isUnderWay, isUnopened } from "../live";
import { Loaded } from "../ui/loaded";
import { Badge, Card, Empty, Failure } from "../ui/parts";
import { Ledger } from "./ledger";
import { Packages } from "./packages";
import { Receipt } from "./receipt";
import { Timeline } from "./timeline";
import { Wallet } from "./wallet";

export function CreditsView() {
  const { live, config } = useApp();
  const payments = usePart("payments");
  const current = payments.data?.find(isUnderWay);
  return (
    <>
      <div class="view-head">
        <h1 tabIndex={-1}>Credits</h1>
      </div>
      <Wallet onCredits />
      {current && <CurrentPayment payment={current} />}
      {config.payments ? <Packages /> : <Empty title="Payments are switched off on this installation." />}
      <Card heading="Payments">
        <Loaded asked={payments} what="your payments">
          {(found) => <PaymentList payments={found} />}
        </Loaded>
      </Card>
      <Ledger balance={live.picture?.balance.data?.credits} />
    </>
  );
}

function CurrentPayment({ payment }: { payment: Payment }) {
  return (
    <Card heading="Payment under way" kind="current">
      <p>
        {count(payment.credits)} credits for {price(payment.amount, payment.currency)}.{" "}
        {!payment.timeline.webhook && <CheckoutLink payment={payment} />}
      </p>
      <Timeline payment={payment} />
    </Card>
  );
}

const CheckoutLink = ({ payment: { authorization_url: url } }: { payment: Payment }) =>
  url ? (
    <a href={url} target="_blank" rel="noopener noreferrer">
      Go to the checkout
    </a>
  ) : null;

type State = ["good" | "wait" | "bad" | "plain", string];

const STATES: Record<string, State> = {
  pending: ["wait", "Not paid yet"],
  credited: ["good", "Paid"],
  failed: ["bad", "Failed"],
  abandoned: ["plain", "Abandoned"],
  under_review: ["wait", "Being looked at"],
  declined: ["bad", "Not accepted: to be refunded"],
  refund_under_way: ["wait", "Refund on its way"],
  refunded: ["plain", "Refunded"],
};

function stateOf(payment: Payment): State {
  if (isUnopened(payment)) return ["plain", "Not opened"];
  if (payment.standing === "refunded" && payment.refunded_at) return ["plain", `Refunded on ${shownDay(payment.refunded_at)}`];
  return STATES[payment.standing] ?? ["plain", payment.standing];
}

const PAGE = 100;

/** What comes after the latest payments, a page at a time. */
function useOlder(latest: Payment[]) {
  const { api } = useApp();
  const { busy, error, run } = useAction();
  const [older, setOlder] = useState<{ payments: Payment[]; next: string | null }>();
  const next = older ? older.next : latest.length < PAGE ? null : (latest.at(-1)?.reference ?? null);
  const load = () =>
    run(async () => {
      const page = await api.get<{ transactions: Payment[]; next: string | null }>(`/api/credits/transactions?after=${next}`);
      setOlder({ payments: [...(older?.payments ?? []), ...page.transactions], next: page.next });
    });
  const known = new Set(latest.map((payment) => payment.reference));
  const payments = (older?.payments ?? []).filter((payment) => !known.has(payment.reference));
  return { payments, busy, error, load: next === null ? undefined : load };
}

function PaymentList({ payments }: { payments: Payment[] }) {
  const [receipt, setReceipt] = useState<Payment | null>(null);
  const older = useOlder(payments);
  if (payments.length === 0) return <Empty title="No payments yet" />;
  return (
    <>
      <ul class="payments">
        {[...payments, ...older.payments].map((payment) => {
          const [tone, word] = stateOf(payment);
          return (
            <li key={payment.reference}>
              <details>
                <summary>
                  <span class="grow">
                    <strong>{count(payment.granted_credits ?? payment.credits)} credits</strong> <span class="hint">{price(payment.amount, payment.currency)}</span>
                  </span>
                  {payment.timeline.ordered && <time dateTime={payment.timeline.ordered} title={fullTime(payment.timeline.ordered)}>{shownDay(payment.timeline.ordered)}</time>}
                  <Badge tone={tone}>{word}</Badge>
                </summary>
                {isUnopened(payment) ? <p>Its checkout has not opened, so nothing was paid. Buy again for another.</p> : <Timeline payment={payment} />}
                <p class="hint">
                  Reference {payment.reference} {payment.status === "pending" && <CheckoutLink payment={payment} />}
                </p>
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
      <Failure error={older.error} />
      {older.load && (
        <p class="more">
          <button type="button" disabled={older.busy} onClick={older.load}>
            Show older payments
          </button>
        </p>
      )}
      {receipt && <Receipt payment={receipt} onClose={() => setReceipt(null)} />}
    </>
  );
}
