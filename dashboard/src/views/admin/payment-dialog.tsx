import { Fragment } from "preact";
import { useCallback, useState } from "preact/hooks";
import { useAction } from "../../action";
import type { PaymentDetail } from "../../api/types";
import { useApp } from "../../app-context";
import { useAsked } from "../../asked";
import { count, fullTime, price, sentence, signed } from "../../format";
import { Dialog } from "../../ui/dialog";
import { Loaded } from "../../ui/loaded";
import { Failure, Time } from "../../ui/parts";
import { STEPS } from "../timeline";
import { Reason } from "./reason";

interface Props {
  reference: string;
  onClose: () => void;
  onChange: () => void;
}

type Decision = "accept" | "in_part" | "refuse" | "refund";

const QUESTIONS: Record<Decision, [title: string, action: string, hint: string]> = {
  accept: ["Credit it as ordered", "Credit it", "Its credits are booked, whatever was paid."],
  in_part: ["Credit what was paid", "Credit it", "The share of the credits that was paid for is booked, in whole credits."],
  refuse: ["Refuse the payment", "Refuse it", "It is never credited. Give the money back in Paystack’s dashboard, or choose Refund instead."],
  refund: ["Refund the payment", "Refund it", "Paystack gives the whole amount back; its credits go once it has."],
};

/** All that is known of a payment, and what can be done about it. */
export function PaymentDialog({ reference, onClose, onChange }: Props) {
  const { api } = useApp();
  const load = useCallback(() => api.read<PaymentDetail>("read_payment", { reference }), [api, reference]);
  const asked = useAsked(load);
  const [question, setQuestion] = useState<Decision>();
  const [said, say] = useState("");
  const refresh = () => {
    onChange();
    return asked.reload();
  };
  const { busy, error, run } = useAction(refresh);

  const path = `/api/admin/payments/${encodeURIComponent(reference)}`;
  const decide = async (decision: Decision, reason: string) => {
    if (decision === "refund") {
      await api.post(`${path}/refund`, { reason });
      return "Paystack is giving the money back.";
    }
    await api.change("decide_review", { reference, accept: decision !== "refuse", reason, in_part: decision === "in_part" });
    return decision === "refuse" ? "The payment is refused. Its money is not given back yet." : "The payment is credited.";
  };
  const retry = () =>
    run(async () => {
      say("");
      await api.post(`${path}/retry`);
      say("The payment’s steps were done again.");
    });

  if (question) {
    const [title, action, hint] = QUESTIONS[question];
    const dialog = { title, action, danger: question === "refuse" || question === "refund", refresh, say, onClose: () => setQuestion(undefined) };
    return (
      <Reason {...dialog} does={(reason) => decide(question, reason)}>
        <p>{hint}</p>
      </Reason>
    );
  }
  return (
    <Dialog title={`Payment ${reference}`} onClose={onClose} wide>
      <Loaded asked={asked} what="the payment" lines={6}>
        {(payment) => (
          <>
            <Facts payment={payment} />
            <div class="actions end">
              {payment.status === "needs_review" && (
                <>
                  <button type="button" onClick={() => setQuestion("accept")}>
                    Credit as ordered
                  </button>
                  <button type="button" onClick={() => setQuestion("in_part")}>
                    Credit what was paid
                  </button>
                  <button type="button" class="danger" onClick={() => setQuestion("refuse")}>
                    Refuse
                  </button>
                </>
              )}
              {payment.paid_amount !== null && payment.refunded_amount < payment.paid_amount && (
                <button type="button" class="danger" onClick={() => setQuestion("refund")}>
                  Refund
                </button>
              )}
              <button type="button" class="main" disabled={busy} onClick={retry}>
                {busy ? "Trying …" : "Do its steps again"}
              </button>
            </div>
          </>
        )}
      </Loaded>
      <Failure error={error} />
      {/* What the page says lies beneath this dialog. */}
      <p class="hint" role="status">
        {said}
      </p>
    </Dialog>
  );
}

function Facts({ payment }: { payment: PaymentDetail }) {
  const paidIn = payment.paid_currency ?? payment.currency;
  return (
    <>
      <dl class="facts">
        <dt>Who</dt>
        <dd>{payment.email ?? payment.user_id}</dd>
        <dt>Status</dt>
        <dd>
          {payment.standing.replaceAll("_", " ")}
          {payment.review_reason && `: ${payment.review_reason}`}
        </dd>
        <dt>Ordered</dt>
        <dd>
          {count(payment.credits)} credits for {price(payment.amount, payment.currency)}
          {payment.granted_credits !== null && payment.granted_credits !== payment.credits && `, ${count(payment.granted_credits)} of them credited`}
        </dd>
        {payment.paid_amount !== null && (
          <>
            <dt>Paid</dt>
            <dd>
              {price(payment.paid_amount, paidIn)}
              {payment.refunded_amount > 0 && `, ${price(payment.refunded_amount, paidIn)} given back`}
            </dd>
          </>
        )}
        {STEPS.map(([step, done]) => (
          <Fragment key={step}>
            <dt>{done}</dt>
            <dd>{payment.timeline[step] ? fullTime(payment.timeline[step]) : "not yet"}</dd>
          </Fragment>
        ))}
      </dl>
      <h3>Events</h3>
      {payment.events.length === 0 && <p class="hint">None came.</p>}
      <ul class="lines">
        {payment.events.map((event) => (
          <li key={event.id}>
            {event.event} <Time at={event.received_at} /> <span class="hint">{event.last_error ? sentence(event.last_error) : event.outcome}</span>
          </li>
        ))}
      </ul>
      <h3>Ledger</h3>
      {payment.ledger.length === 0 && <p class="hint">Nothing is booked.</p>}
      <ul class="lines">
        {payment.ledger.map((entry) => (
          <li key={entry.created_at + entry.kind}>
            {signed(entry.delta)} {entry.kind} <span class="hint">{fullTime(entry.created_at)}</span>
          </li>
        ))}
      </ul>
    </>
  );
}
