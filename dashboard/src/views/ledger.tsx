import { useEffect, useState } from "preact/hooks";
import { asApiError, type ApiError } from "../api/api";
import type { LedgerEntry } from "../api/types";
import { useApp } from "../app-context";
import { count, fullTime, shownDay } from "../format";
import { Empty, Missing, Skeleton, TableBox } from "../ui/parts";

const KINDS: Record<LedgerEntry["kind"], string> = {
  signup_grant: "Welcome credits",
  purchase: "Purchase",
  withheld: "Refund or dispute",
  usage: "Usage",
  adjustment: "Adjustment",
};
const PAGE = 10;

/** Every change of the balance, newest first; read again when the balance changes. */
export function Ledger({ balance }: { balance: number | undefined }) {
  const { api } = useApp();
  const [entries, setEntries] = useState<LedgerEntry[]>();
  const [error, setError] = useState<ApiError>();
  const [size, setSize] = useState(PAGE);
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    let current = true;
    api.newest<LedgerEntry>("credit_ledger", "id,delta,kind,reason,balance_after,created_at", size, null).then(
      (read) => {
        if (!current) return;
        setEntries(read);
        setError(undefined);
      },
      (thrown) => current && setError(asApiError(thrown)),
    );
    return () => {
      current = false;
    };
  }, [api, size, balance, turn]);

  return (
    <section class="card" aria-labelledby="ledger">
      <h2 id="ledger">Ledger</h2>
      {entries ? (
        entries.length === 0 ? (
          <Empty title="Nothing was booked yet" />
        ) : (
          <>
            <TableBox label="Ledger">
              <thead>
                <tr>
                  <th scope="col">Day</th>
                  <th scope="col">What</th>
                  <th scope="col" class="right">Credits</th>
                  <th scope="col" class="right">Balance</th>
                </tr>
              </thead>
              <tbody>
                {entries.map((entry) => (
                  <tr key={entry.id}>
                    <td>
                      <time dateTime={entry.created_at} title={fullTime(entry.created_at)}>
                        {shownDay(entry.created_at)}
                      </time>
                    </td>
                    <td>
                      {KINDS[entry.kind] ?? entry.kind}
                      {entry.reason && <span class="hint"> {entry.reason}</span>}
                    </td>
                    <td class={`right ${entry.delta > 0 ? "plus" : ""}`}>
                      {entry.delta > 0 ? "+" : "−"}
                      {count(Math.abs(entry.delta))}
                    </td>
                    <td class="right">{count(entry.balance_after)}</td>
                  </tr>
                ))}
              </tbody>
            </TableBox>
            {entries.length === size && (
              <button type="button" onClick={() => setSize(size + PAGE * 2)}>
                Show more
              </button>
            )}
          </>
        )
      ) : error ? (
        <Missing error={error} what="The ledger" retry={() => setTurn(turn + 1)} />
      ) : (
        <Skeleton label="the ledger" lines={4} />
      )}
    </section>
  );
}
