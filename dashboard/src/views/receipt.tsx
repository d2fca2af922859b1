import { useCallback } from "preact/hooks";
import type { Payment, Receipt as Facts } from "../api/types";
import { useApp } from "../app-context";
import { useAsked } from "../asked";
import { capital, count, price, shownDay } from "../format";
import { Dialog } from "../ui/dialog";
import { Loaded } from "../ui/loaded";
import { Empty } from "../ui/parts";

type Row = [name: string, value: string];

const LINES: Record<Facts["lines"][number]["what"], string> = {
  credits: "Price",
  fee: "Payment fee",
  beyond: "Paid beyond the price",
};

function rowsOf(receipt: Facts): Row[] {
  const money = (amount: number) => price(amount, receipt.currency);
  const rows: (Row | false)[] = [
    ["Reference", receipt.reference],
    ["Paid on", `${shownDay(receipt.paid_at)} (UTC)`],
    receipt.email !== null && ["Paid by", receipt.email],
    ["Paid through", `${capital(receipt.provider)}, transaction ${receipt.provider_id}`],
    ["Credits", count(receipt.credits)],
    ...(receipt.lines.length > 1 ? receipt.lines.map((line): Row => [LINES[line.what], money(line.amount)]) : []),
    ["Amount paid", money(receipt.paid_amount)],
    receipt.refunded_amount > 0 && ["Given back", `−${money(receipt.refunded_amount)}`],
    receipt.withheld_credits > 0 && ["Credits taken back", count(receipt.withheld_credits)],
    ["Total", money(receipt.total)],
  ];
  return rows.filter((row) => row !== false);
}

export function Receipt({ payment, onClose }: { payment: Payment; onClose: () => void }) {
  const { api, config } = useApp();
  const load = useCallback(() => api.read<Facts | null>("read_receipt", { reference: payment.reference }), [api, payment.reference]);
  return (
    <Dialog title="Receipt" onClose={onClose} wide>
      <Loaded asked={useAsked(load)} what="the receipt" lines={6}>
        {(receipt) =>
          receipt === null ? (
            <Empty title="The payment has not arrived yet." />
          ) : (
            <div class="receipt">
              {config.seller && <p>{config.seller}</p>}
              <table class="plain">
                <tbody>
                  {rowsOf(receipt).map(([name, value]) => (
                    <tr key={name}>
                      <th scope="row">{name}</th>
                      <td class="right">{value}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
              <div class="actions end">
                <button type="button" onClick={onClose}>
                  Close
                </button>
                <button type="button" class="main" onClick={() => print()}>
                  Print
                </button>
              </div>
            </div>
          )
        }
      </Loaded>
    </Dialog>
  );
}
