import type { LedgerEntry } from "../api/types";
import { count, fullTime, shownDay, signed } from "../format";
import { useNewest } from "../pages";
import { Card } from "../ui/parts";
import { PagedTable } from "../ui/table";

const KINDS: Record<LedgerEntry["kind"], string> = {
  signup_grant: "Welcome credits",
  purchase: "Purchase",
  withheld: "Refund or dispute",
  usage: "Usage",
  adjustment: "Adjustment",
  opening: "Opening balance",
};
const PAGE = 10;

/** Every change of the personal account's balance, newest first; read again when the balance changes. */
export function Ledger({ balance }: { balance: number | undefined }) {
  const pages = useNewest<LedgerEntry>("credit_ledger", "id,delta,kind,reason,balance_after,created_at", PAGE, balance, true);
  return (
    <Card heading="Ledger">
      <PagedTable
        pages={pages}
        what="the ledger"
        empty="Nothing was booked yet"
        label="Ledger"
        columns={[
          {
            head: "Day",
            cell: ({ created_at: at }) => (
              <time dateTime={at} title={fullTime(at)}>
                {shownDay(at)}
              </time>
            ),
          },
          {
            head: "What",
            cell: ({ kind, reason }) => (
              <>
                {KINDS[kind] ?? kind}
                {reason && <span class="hint"> {reason}</span>}
              </>
            ),
          },
          {
            head: "Credits",
            right: true,
            cell: ({ delta }) => <span class={delta > 0 ? "plus" : undefined}>{signed(delta)}</span>,
          },
          { head: "Balance", right: true, cell: (entry) => count(entry.balance_after) },
        ]}
      />
    </Card>
  );
}
