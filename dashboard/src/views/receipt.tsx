import { useCallback } from "preact/hooks";
import type { Payment } from "../api/types";
import { useApp } from "../app-context";
import { useAsked } from "../asked";
import { Dialog } from "../ui/dialog";
import { Loaded } from "../ui/loaded";

interface Shown {
  seller: string;
  rows: [name: string, value: string][];
}

/** The receipt that the service writes, as text in our own table, so that its page runs nothing here. */
function read(page: string): Shown {
  // Its style is not ours, and our policy would complain of it.
  const parsed = new DOMParser().parseFromString(page.replace(/<style>[^]*?<\/style>/, ""), "text/html");
  const text = (element: Element | null) => element?.textContent?.trim() ?? "";
  return {
    seller: text(parsed.querySelector("header p")),
    rows: [...parsed.querySelectorAll("table tr")].map((row) => [text(row.querySelector("th")), text(row.querySelector("td"))]),
  };
}

export function Receipt({ payment, onClose }: { payment: Payment; onClose: () => void }) {
  const { api } = useApp();
  const load = useCallback(
    async () => read(await api.text(`/api/credits/transactions/${encodeURIComponent(payment.reference)}/receipt`)),
    [api, payment.reference],
  );
  return (
    <Dialog title="Receipt" onClose={onClose} wide>
      <Loaded asked={useAsked(load)} what="the receipt" lines={6}>
        {({ seller, rows }) => (
          <div class="receipt">
            {seller && <p>{seller}</p>}
            <table class="plain">
              <tbody>
                {rows.map(([name, value]) => (
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
        )}
      </Loaded>
    </Dialog>
  );
}
