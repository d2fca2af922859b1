import { useCallback, useState } from "preact/hooks";
import { useAction } from "../../action";
import type { InboxEvent } from "../../api/types";
import { useApp } from "../../app-context";
import { useAsked } from "../../asked";
import { plural, sentence } from "../../format";
import { Empty, Failure, Missing, SelectField, Skeleton, TableBox, Time } from "../../ui/parts";

type Kind = "failing" | "waiting" | "unknown";

const KINDS: [Kind, string][] = [
  ["failing", "Failed so far"],
  ["waiting", "Not handled yet"],
  ["unknown", "About no order of ours"],
];

/** Paystack's events that are stored and not done with. */
export function Inbox({ turn, onChange }: { turn: number; onChange: () => void }) {
  const { api, say } = useApp();
  const [kind, setKind] = useState<Kind>("failing");
  const load = useCallback(() => api.read<InboxEvent[]>("list_events", { only_kind: kind, page_size: 50 }), [api, kind, turn]);
  const { data: events, error, reload } = useAsked(load);
  const { busy, error: refused, run } = useAction();

  const replay = (chosen: { event_ids: number[] } | { only_failing: true }) =>
    run(async () => {
      const replayed = await api.change<number>("replay_events", chosen);
      say(`${plural(replayed, "event")} will be handled again.`);
      onChange();
    });

  return (
    <section class="card" aria-labelledby="inbox">
      <div class="section-head">
        <h2 id="inbox">Paystack’s events</h2>
        <SelectField label="Show" value={kind} options={KINDS} onChange={(chosen) => setKind(chosen as Kind)} />
      </div>
      <Failure error={refused} />
      {events ? (
        events.length === 0 ? (
          <Empty title="None" />
        ) : (
          <>
            {kind === "failing" && (
              <button type="button" disabled={busy} onClick={() => replay({ only_failing: true })}>
                Replay all that fail
              </button>
            )}
            <TableBox wide label="Paystack’s events">
              <thead>
                <tr>
                  <th scope="col">Event</th>
                  <th scope="col">Payment</th>
                  <th scope="col">Received</th>
                  <th scope="col">Tried</th>
                  <th scope="col">Reason</th>
                  <th scope="col">
                    <span class="hidden">Actions</span>
                  </th>
                </tr>
              </thead>
              <tbody>
                {events.map((event) => (
                  <tr key={event.id}>
                    <th scope="row">{event.event}</th>
                    <td>
                      <code class="id">{event.reference ?? ""}</code>
                    </td>
                    <td>
                      <Time at={event.received_at} />
                    </td>
                    <td>{plural(event.attempts, "time")}</td>
                    <td>{event.last_error ? sentence(event.last_error) : (event.outcome ?? "")}</td>
                    <td class="right">
                      <button type="button" aria-label={`Replay event ${event.id}`} disabled={busy} onClick={() => replay({ event_ids: [event.id] })}>
                        Replay
                      </button>
                    </td>
                  </tr>
                ))}
              </tbody>
            </TableBox>
          </>
        )
      ) : error ? (
        <Missing error={error} what="Paystack’s events" retry={reload} />
      ) : (
        <Skeleton label="Paystack’s events" lines={2} />
      )}
    </section>
  );
}
