import { useEffect, useState } from "preact/hooks";
import { asApiError, type ApiError } from "../api/api";
import type { Payment } from "../api/types";
import { useApp } from "../app-context";
import { Dialog } from "../ui/dialog";
import { Failure, Skeleton } from "../ui/parts";

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
  const [shown, setShown] = useState<Shown>();
  const [error, setError] = useState<ApiError>();
  useEffect(() => {
    api.text(`/api/credits/transactions/${encodeURIComponent(payment.reference)}/receipt`).then(
      (page) => setShown(read(page)),
      (thrown) => setError(asApiError(thrown)),
    );
  }, [api, payment.reference]);
  return (
    <Dialog title="Receipt" onClose={onClose} wide>
      {shown ? (
        <div class="receipt">
          {shown.seller && <p>{shown.seller}</p>}
          <table class="plain">
            <tbody>
              {shown.rows.map(([name, value]) => (
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
      ) : error ? (
        <Failure error={error} />
      ) : (
        <Skeleton label="the receipt" lines={6} />
      )}
    </Dialog>
  );
}
