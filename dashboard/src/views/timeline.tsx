import type { Payment, Step } from "../api/types";
import { Time } from "../ui/parts";

export const STEPS: [Step, string, string][] = [
  ["ordered", "Ordered", "Making the order."],
  ["webhook", "Paystack told us", "Waiting for your payment at Paystack."],
  ["verified", "Payment verified", "Asking Paystack whether it is paid."],
  ["credited", "Credits booked", "Booking the credits."],
  ["pushed", "Wallet raised", "Waiting for LiteLLM to take the new budget."],
  ["effective", "Ready to spend", "Waiting until every call sees it."],
];

const LOOKED_AT = "Somebody is looking at this payment, because it does not fit its order.";
const ENDED = new Set(["failed", "abandoned", "reversed"]);

/** Where a payment is, and what it is waiting for. */
export function Timeline({ payment }: { payment: Payment }) {
  const reached = STEPS.findLastIndex(([step]) => payment.timeline[step]);
  // A payment may be found without Paystack's event: then that step is passed over, not waited for.
  const next = payment.waiting_for === null || ENDED.has(payment.status) ? -1 : reached + 1;
  return (
    <ol class="timeline">
      {STEPS.map(([step, done, waiting], index) => {
        const at = payment.timeline[step];
        const state = at ? "done" : index === next ? "next" : index < reached ? "skipped" : "later";
        return (
          <li key={step} class={state} aria-current={state === "next" ? "step" : undefined}>
            <span>{state !== "next" ? done : payment.status === "needs_review" ? LOOKED_AT : waiting}</span>
            {at ? <Time at={at} /> : state === "skipped" ? <span class="hint">not needed</span> : null}
          </li>
        );
      })}
    </ol>
  );
}
