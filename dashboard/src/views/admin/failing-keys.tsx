import { useCallback, useState } from "preact/hooks";
import { useAction } from "../../action";
import type { FailingKey, Resync } from "../../api/types";
import { useApp } from "../../app-context";
import { useAsked } from "../../asked";
import { plural, sentence } from "../../format";
import { usePolled } from "../../poll";
import { Badge, Empty, Failure, Meter, Missing, Skeleton, TableBox, Time } from "../../ui/parts";

interface Page {
  keys: FailingKey[];
  next: string | null;
}

export function FailingKeys({ turn, onChange }: { turn: number; onChange: () => void }) {
  const { api, live, say } = useApp();
  const away = live.picture?.status.data?.litellm.connected === false;
  const [after, setAfter] = useState<string | null>(null);
  const load = useCallback(() => api.get<Page>(`/api/keys/sync?all=true&limit=20${after ? `&after=${after}` : ""}`), [api, after, turn]);
  const { data, error, reload } = useAsked(load);
  const { busy, error: refused, run } = useAction();

  const sync = (key: FailingKey) =>
    run(async () => {
      const answer = await api.post<{ key: FailingKey }>("/api/keys/sync", { keyId: key.id, action: "update" });
      say(answer.key.sync_status === "synced" ? `${key.name} is synced.` : `${key.name} is not synced yet.`);
      onChange();
    });

  return (
    <section class="card" aria-labelledby="failing">
      <h2 id="failing">Keys that LiteLLM does not have as wanted</h2>
      <ResyncAll onChange={onChange} />
      <Failure error={refused} />
      {data ? (
        data.keys.length === 0 ? (
          <Empty title="No key fails" />
        ) : (
          <>
            <TableBox wide label="Keys that fail">
              <thead>
                <tr>
                  <th scope="col">Key</th>
                  <th scope="col">Account</th>
                  <th scope="col">Reason</th>
                  <th scope="col">Next try</th>
                  <th scope="col">
                    <span class="hidden">Actions</span>
                  </th>
                </tr>
              </thead>
              <tbody>
                {data.keys.map((key) => (
                  <tr key={key.id}>
                    <th scope="row">{key.name}</th>
                    <td>
                      <code class="id">{key.user_id}</code>
                    </td>
                    <td>{key.last_error ? sentence(key.last_error) : ""}</td>
                    <td>{key.next_attempt_at ? away ? "when LiteLLM answers" : <Time at={key.next_attempt_at} /> : <Badge tone="bad">Parked</Badge>}</td>
                    <td class="right">
                      <button type="button" aria-label={`Sync now: ${key.name}`} disabled={busy} onClick={() => sync(key)}>
                        Sync now
                      </button>
                    </td>
                  </tr>
                ))}
              </tbody>
            </TableBox>
            <div class="actions">
              {after && (
                <button type="button" onClick={() => setAfter(null)}>
                  First page
                </button>
              )}
              {data.next && (
                <button type="button" onClick={() => setAfter(data.next)}>
                  Next page
                </button>
              )}
            </div>
          </>
        )
      ) : error ? (
        <Missing error={error} what="The failing keys" retry={reload} />
      ) : (
        <Skeleton label="the failing keys" lines={3} />
      )}
    </section>
  );
}

const isGoing = (resync: Resync) => resync.id !== null && (resync.ended_at === null || resync.outstanding_accounts > resync.failing_accounts);

/** Everything that failed or is parked once more, and how far that is. */
function ResyncAll({ onChange }: { onChange: () => void }) {
  const { api, say } = useApp();
  const load = useCallback(() => api.get<Resync>("/api/admin/resync"), [api]);
  const { data: resync, refresh } = usePolled(load, isGoing);
  const { busy, error, run } = useAction();
  const start = () =>
    run(async () => {
      let told = await api.post<Resync>("/api/admin/resync");
      while (told.ended_at === null) told = await api.post<Resync>("/api/admin/resync");
      say(`${plural(told.keys, "key")} of ${plural(told.accounts, "account")} are on their way again.`);
      await refresh();
      onChange();
    });
  const total = resync?.accounts ?? 0;
  const done = total - (resync?.outstanding_accounts ?? 0);
  return (
    <div class="resync">
      <button type="button" disabled={busy} onClick={start}>
        {busy ? "Making all due …" : "Sync all that failed"}
      </button>
      {resync?.id && (
        <div class="grow">
          <p class="hint" role="status">
            {plural(done, "account")} of {total} confirmed
            {resync.failing_accounts > 0 && `, ${resync.failing_accounts} failed again`}
            {resync.started_at && <>, begun <Time at={resync.started_at} /></>}.
          </p>
          <Meter label="Accounts confirmed" value={total === 0 ? 1 : done} max={total || 1} />
        </div>
      )}
      <Failure error={error} />
    </div>
  );
}
