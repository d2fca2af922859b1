import type { AuditEntry } from "../../api/types";
import { useNewest } from "../../pages";
import { Card, Time } from "../../ui/parts";
import { PagedTable } from "../../ui/table";

const PAGE = 25;

export function Audit({ turn }: { turn: number }) {
  const pages = useNewest<AuditEntry>("audit_log", "id,at,actor,actor_id,action,account_id,details", PAGE, turn);
  return (
    <Card heading="Audit log">
      <PagedTable
        pages={pages}
        what="the audit log"
        empty="Nothing is written down yet"
        label="Audit log"
        wide
        columns={[
          { head: "When", cell: (entry) => <Time at={entry.at} /> },
          {
            head: "Who",
            cell: (entry) => (
              <>
                {entry.actor} {entry.actor !== "owner" && <code class="id">{entry.actor_id ?? ""}</code>}
              </>
            ),
          },
          { head: "Did what", cell: (entry) => entry.action.replaceAll("_", " "), isHead: true },
          { head: "To account", cell: (entry) => <code class="id">{entry.account_id ?? ""}</code> },
          { head: "Details", cell: (entry) => <span class="hint">{describe(entry.details)}</span> },
        ]}
      />
    </Card>
  );
}

const describe = (details: Record<string, unknown>) =>
  Object.entries(details)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name}: ${typeof value === "object" ? JSON.stringify(value) : String(value)}`)
    .join(", ");
