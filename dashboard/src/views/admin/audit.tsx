import { useCallback, useState } from "preact/hooks";
import type { AuditEntry } from "../../api/types";
import { useApp } from "../../app-context";
import { useAsked } from "../../asked";
import { Empty, Missing, Skeleton, TableBox, Time } from "../../ui/parts";

const PAGE = 25;

export function Audit({ turn }: { turn: number }) {
  const { api } = useApp();
  const [size, setSize] = useState(PAGE);
  const load = useCallback(() => api.newest<AuditEntry>("audit_log", "*", size, null), [api, size, turn]);
  const { data: entries, error, reload } = useAsked(load);
  return (
    <section class="card" aria-labelledby="audit">
      <h2 id="audit">Audit log</h2>
      {entries ? (
        entries.length === 0 ? (
          <Empty title="Nothing is written down yet" />
        ) : (
          <>
            <TableBox wide label="Audit log">
              <thead>
                <tr>
                  <th scope="col">When</th>
                  <th scope="col">Who</th>
                  <th scope="col">Did what</th>
                  <th scope="col">To account</th>
                  <th scope="col">Details</th>
                </tr>
              </thead>
              <tbody>
                {entries.map((entry) => (
                  <tr key={entry.id}>
                    <td>
                      <Time at={entry.at} />
                    </td>
                    <td>{entry.actor}</td>
                    <th scope="row">{entry.action.replaceAll("_", " ")}</th>
                    <td>
                      <code class="id">{entry.account_id ?? ""}</code>
                    </td>
                    <td class="hint">{describe(entry.details)}</td>
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
        <Missing error={error} what="The audit log" retry={reload} />
      ) : (
        <Skeleton label="the audit log" lines={3} />
      )}
    </section>
  );
}

const describe = (details: Record<string, unknown>) =>
  Object.entries(details)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name}: ${typeof value === "object" ? JSON.stringify(value) : String(value)}`)
    .join(", ");
