import { useCallback, useState } from "preact/hooks";
import type { FoundPayment } from "../../api/types";
import { useApp } from "../../app-context";
import { count, price } from "../../format";
import { usePages } from "../../pages";
import { Badge, Card, Time } from "../../ui/parts";
import { ACTIONS, PagedTable } from "../../ui/table";
import type { Section } from "./admin";
import { PaymentDialog } from "./payment-dialog";
import { Search } from "./search";

const PAGE = 20;

export const WaitingPayments = (section: Section) => (
  <Card heading="Payments that wait for a decision">
    <Payments label="Payments that wait for a decision" search="" status="needs_review" {...section} />
  </Card>
);

export function FindPayments(section: Section) {
  const [search, setSearch] = useState("");
  return (
    <Card heading="Find payments">
      <Search label="Reference, Paystack’s id, e-mail or account id" onSearch={setSearch} />
      <Payments key={search} label="Payments found" search={search} status={null} {...section} />
    </Card>
  );
}

function Payments({ label, search, status, turn, onChange }: Section & { label: string; search: string; status: string | null }) {
  const { api } = useApp();
  const [open, setOpen] = useState<string | null>(null);
  const read = useCallback(
    (before: string | null) => api.read<FoundPayment[]>("find_payments", { search, status, before_reference: before, page_size: PAGE }),
    [api, search, status],
  );
  return (
    <>
      <PagedTable
        pages={usePages(read, PAGE, (payment) => payment.reference, turn)}
        what="the payments"
        empty="None"
        label={label}
        wide
        columns={[
          { head: "Reference", cell: (payment) => <code class="id">{payment.reference}</code>, isHead: true },
          { head: "Who", cell: (payment) => payment.email ?? payment.user_id },
          { head: "Ordered", cell: ({ timeline }) => timeline.ordered && <Time at={timeline.ordered} /> },
          { head: "Amount", cell: (payment) => price(payment.amount, payment.currency), right: true },
          { head: "Credits", cell: (payment) => count(payment.credits), right: true },
          {
            head: "Status",
            cell: (payment) => (
              <>
                {payment.status} {payment.review_reason && <Badge tone="wait">{payment.review_reason}</Badge>}
              </>
            ),
          },
          {
            head: ACTIONS,
            right: true,
            cell: ({ reference }) => (
              <button type="button" aria-label={`Open ${reference}`} onClick={() => setOpen(reference)}>
                Open
              </button>
            ),
          },
        ]}
      />
      {open && <PaymentDialog reference={open} onClose={() => setOpen(null)} onChange={onChange} />}
    </>
  );
}
