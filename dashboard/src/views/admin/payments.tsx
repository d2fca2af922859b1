import { useCallback, useEffect, useId, useState } from "preact/hooks";
import { useAction } from "../../action";
import { asApiError, type ApiError } from "../../api/api";
import type { FoundPayment, PaymentDetail } from "../../api/types";
import { useApp } from "../../app-context";
import { useAsked } from "../../asked";
import { count, fullTime, price, sentence } from "../../format";
import { Dialog } from "../../ui/dialog";
import { Badge, Empty, Failure, Missing, Skeleton, TableBox, TextField, Time } from "../../ui/parts";
import { Reason } from "./reason";

interface Props {
  heading: string;
  status?: string;
  turn: number;
  onChange: () => void;
}

const PAGE = 20;

/** Those of one status, or all, to be searched. */
export function Payments({ heading, status, turn, onChange }: Props) {
  const { api } = useApp();
  const id = useId();
  const [typed, setTyped] = useState("");
  const [search, setSearch] = useState("");
  const [before, setBefore] = useState<string | null>(null);
  const [open, setOpen] = useState<string | null>(null);
  const load = useCallback(
    () => api.read<FoundPayment[]>("find_payments", { search, status: status ?? null, before_reference: before, page_size: PAGE }),
    [api, search, status, before, turn],
  );
  const { data: payments, error, reload } = useAsked(load);
  const last = payments?.length === PAGE ? payments[PAGE - 1] : undefined;
  return (
    <section class="card" aria-labelledby={id}>
      <h2 id={id}>{heading}</h2>
      {!status && (
        <form
          class="search"
          role="search"
          onSubmit={(event) => {
            event.preventDefault();
            setBefore(null);
            setSearch(typed.trim());
          }}
        >
          <TextField label="Reference, Paystack’s id, e-mail or account id" value={typed} onInput={setTyped} autoComplete="off" />
          <button type="submit">Search</button>
        </form>
      )}
      {payments ? (
        payments.length === 0 ? (
          <Empty title="None" />
        ) : (
          <TableBox wide label={heading}>
            <thead>
              <tr>
                <th scope="col">Reference</th>
                <th scope="col">Who</th>
                <th scope="col">Ordered</th>
                <th scope="col" class="right">Amount</th>
                <th scope="col" class="right">Credits</th>
                <th scope="col">Status</th>
                <th scope="col">
                  <span class="hidden">Actions</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {payments.map((payment) => (
                <tr key={payment.reference}>
                  <th scope="row">
                    <code class="id">{payment.reference}</code>
                  </th>
                  <td>{payment.email ?? payment.user_id}</td>
                  <td>{payment.timeline.ordered && <Time at={payment.timeline.ordered} />}</td>
                  <td class="right">{price(payment.amount, payment.currency)}</td>
                  <td class="right">{count(payment.credits)}</td>
                  <td>
                    {payment.status} {payment.review_reason && <Badge tone="wait">{payment.review_reason}</Badge>}
                  </td>
                  <td class="right">
                    <button type="button" aria-label={`Open ${payment.reference}`} onClick={() => setOpen(payment.reference)}>
                      Open
                    </button>
                  </td>
                </tr>
              ))}
            </tbody>
          </TableBox>
        )
      ) : error ? (
        <Missing error={error} what="Payments" retry={reload} />
      ) : (
        <Skeleton label="payments" lines={3} />
      )}
      {last && (
        <button type="button" onClick={() => setBefore(last.reference)}>
          Older
        </button>
      )}
      {open && <PaymentDialog reference={open} onClose={() => setOpen(null)} onChange={onChange} />}
    </section>
  );
}

type Ask = "accept" | "refuse" | "refund" | null;

function PaymentDialog({ reference, onClose, onChange }: { reference: string; onClose: () => void; onChange: () => void }) {
  const { api, say } = useApp();
  const [payment, setPayment] = useState<PaymentDetail>();
  const [missing, setMissing] = useState<ApiError>();
  const [ask, setAsk] = useState<Ask>(null);
  const { busy, error, run } = useAction();
  const load = useCallback(() => {
    api.read<PaymentDetail>("read_payment", { reference }).then(setPayment, (thrown) => setMissing(asApiError(thrown)));
  }, [api, reference]);
  useEffect(load, [load]);

  const path = `/api/admin/payments/${encodeURIComponent(reference)}`;
  const done = (sentenceOfIt: string) => {
    say(sentenceOfIt);
    load();
    onChange();
  };
  const decide = (accept: boolean) => async (reason: string) => {
    await api.change("decide_review", { reference, accept, reason });
    done(accept ? "The payment is credited." : "The payment is refused.");
  };
  const refund = async (reason: string) => {
    await api.post(`${path}/refund`, { reason });
    done("Paystack is giving the money back.");
  };
  const retry = () =>
    run(async () => {
      await api.post(`${path}/retry`);
      done("The payment’s steps were done again.");
    });

  if (ask === "accept") return <Reason title="Credit it as ordered" action="Credit it" does={decide(true)} onClose={() => setAsk(null)} />;
  if (ask === "refuse")
    return (
      <Reason title="Refuse the payment" action="Refuse it" danger does={decide(false)} onClose={() => setAsk(null)}>
        <p>It is never credited. Give the money back in Paystack’s dashboard, or choose Refund instead.</p>
      </Reason>
    );
  if (ask === "refund")
    return (
      <Reason title="Refund the payment" action="Refund it" danger does={refund} onClose={() => setAsk(null)}>
        <p>Paystack gives the whole amount back; its credits go once it has.</p>
      </Reason>
    );
  return (
    <Dialog title={`Payment ${reference}`} onClose={onClose} wide>
      {payment ? (
        <>
          <dl class="facts">
            <dt>Who</dt>
            <dd>{payment.email ?? payment.user_id}</dd>
            <dt>Status</dt>
            <dd>
              {payment.status}
              {payment.review_reason && `: ${payment.review_reason}`}
            </dd>
            <dt>Ordered</dt>
            <dd>
              {count(payment.credits)} credits for {price(payment.amount, payment.currency)}
            </dd>
            {payment.paid_amount !== null && (
              <>
                <dt>Paid</dt>
                <dd>
                  {price(payment.paid_amount, payment.paid_currency ?? payment.currency)}
                  {payment.refunded_amount > 0 && `, ${price(payment.refunded_amount, payment.paid_currency ?? payment.currency)} given back`}
                </dd>
              </>
            )}
            {Object.entries(payment.timeline).map(([step, at]) => (
              <FactTime key={step} name={step} at={at} />
            ))}
          </dl>
          <h3>Events</h3>
          {payment.events.length === 0 ? (
            <p class="hint">None came.</p>
          ) : (
            <ul class="lines">
              {payment.events.map((event) => (
                <li key={event.id}>
                  {event.event} <Time at={event.received_at} /> <span class="hint">{event.last_error ? sentence(event.last_error) : event.outcome}</span>
                </li>
              ))}
            </ul>
          )}
          <h3>Ledger</h3>
          {payment.ledger.length === 0 ? (
            <p class="hint">Nothing is booked.</p>
          ) : (
            <ul class="lines">
              {payment.ledger.map((entry) => (
                <li key={entry.created_at + entry.kind}>
                  {entry.delta > 0 ? "+" : "−"}
                  {count(Math.abs(entry.delta))} {entry.kind} <span class="hint">{fullTime(entry.created_at)}</span>
                </li>
              ))}
            </ul>
          )}
          <Failure error={error} />
          <div class="actions end">
            {payment.status === "needs_review" && (
              <>
                <button type="button" onClick={() => setAsk("accept")}>
                  Credit as ordered
                </button>
                <button type="button" class="danger" onClick={() => setAsk("refuse")}>
                  Refuse
                </button>
              </>
            )}
            {payment.paid_amount !== null && payment.refunded_amount < payment.paid_amount && (
              <button type="button" class="danger" onClick={() => setAsk("refund")}>
                Refund
              </button>
            )}
            <button type="button" class="main" disabled={busy} onClick={retry}>
              {busy ? "Trying …" : "Do its steps again"}
            </button>
          </div>
        </>
      ) : missing ? (
        <Failure error={missing} />
      ) : (
        <Skeleton label="the payment" lines={6} />
      )}
    </Dialog>
  );
}

const FactTime = ({ name, at }: { name: string; at: string | null }) => (
  <>
    <dt>{name[0]?.toUpperCase() + name.slice(1)}</dt>
    <dd>{at ? fullTime(at) : "not yet"}</dd>
  </>
);
