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

interface Change {
  old?: unknown;
  new?: unknown;
}

const text = (value: unknown) => (typeof value === "object" && value !== null ? JSON.stringify(value) : String(value ?? "none"));

/** A column that the operator changed; what was added has no old value, what was removed no new one. */
const describeChange = ([column, change]: [string, Change]) =>
  `${column}: ${["old" in change && text(change.old), "new" in change && text(change.new)].filter((side) => side !== false).join(" → ")}`;

const describe = ({ changes, ...details }: AuditEntry["details"]) =>
  [
    ...Object.entries(details)
      .filter(([, value]) => value !== null)
      .map(([name, value]) => `${name}: ${text(value)}`),
    ...Object.entries((changes ?? {}) as Record<string, Change>).map(describeChange),
  ].join(", ");
