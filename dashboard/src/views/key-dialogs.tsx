import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { useAction } from "../action";
import type { ApiError } from "../api/api";
import type { Key } from "../api/types";
import { useApp } from "../app-context";
import { Dialog } from "../ui/dialog";
import { Failure, SelectField, TextField } from "../ui/parts";

interface Limits {
  name: string;
  dollars: string;
  rpm: string;
  tpm: string;
}

const toCents = (dollars: string) => Math.round(Number(dollars) * 100);

interface FieldsProps {
  limits: Limits;
  change: (limits: Limits) => void;
}

const NameField = ({ limits, change }: FieldsProps) => (
  <TextField
    label="Name"
    value={limits.name}
    onInput={(name) => change({ ...limits, name })}
    hint="For you to recognise it, such as the place where it is used."
    maxLength={100}
    pattern=".*\S.*"
    title="A name needs at least one letter."
    required
    autoComplete="off"
  />
);

const CapField = ({ limits, change, required }: FieldsProps & { required?: boolean }) => (
  <TextField
    label="Cap in dollars"
    value={limits.dollars}
    onInput={(dollars) => change({ ...limits, dollars })}
    hint={required ? "What this key may spend a month." : "What this key may spend a month. Leave it empty to let it spend what the wallet holds."}
    inputMode="decimal"
    pattern="[0-9]{1,7}(\.[0-9]{1,2})?"
    title="A number of dollars, such as 5 or 2.50."
    required={required}
    autoComplete="off"
  />
);

const RateFields = ({ limits, change, item }: FieldsProps & { item?: Key }) => (
  <div class="pair">
    <TextField
      label="Requests per minute"
      value={limits.rpm}
      onInput={(rpm) => change({ ...limits, rpm })}
      required={item?.rpm_limit != null} // a limit can be changed, not taken away
      inputMode="numeric"
      pattern="[1-9][0-9]{0,8}"
      title="A whole number above 0."
      autoComplete="off"
    />
    <TextField
      label="Tokens per minute"
      value={limits.tpm}
      onInput={(tpm) => change({ ...limits, tpm })}
      required={item?.tpm_limit != null}
      inputMode="numeric"
      pattern="[1-9][0-9]{0,8}"
      title="A whole number above 0."
      autoComplete="off"
    />
  </div>
);

interface FormProps {
  busy: boolean;
  error: ApiError | undefined;
  action: string;
  danger?: boolean;
  onSubmit: () => void;
  onClose: () => void;
  children: ComponentChildren;
}

export const DialogForm = ({ busy, error, action, danger, onSubmit, onClose, children }: FormProps) => (
  <form
    onSubmit={(event) => {
      event.preventDefault();
      onSubmit();
    }}
  >
    {children}
    <Failure error={error} />
    <div class="actions end">
      <button type="button" onClick={onClose}>
        Cancel
      </button>
      <button type="submit" class={danger ? "main danger" : "main"} disabled={busy}>
        {busy ? "One moment …" : action}
      </button>
    </div>
  </form>
);

export function CreateKey({ onClose }: { onClose: () => void }) {
  const { api, live, say } = useApp();
  const [limits, change] = useState<Limits>({ name: "", dollars: "", rpm: "", tpm: "" });
  const { busy, error, run } = useAction();
  const create = async () => {
    const made = await run(async () => {
      await api.post<Key>("/api/keys/manage", {
        name: limits.name.trim(),
        ...(limits.dollars && { max_budget: toCents(limits.dollars) }),
        ...(limits.rpm && { rpm_limit: Number(limits.rpm) }),
        ...(limits.tpm && { tpm_limit: Number(limits.tpm) }),
      });
      say(`${limits.name.trim()} is created. It works once it says Synced.`);
      await live.refresh();
    });
    if (made) onClose();
  };
  return (
    <Dialog title="Create a key" onClose={onClose}>
      <DialogForm busy={busy} error={error} action="Create the key" onSubmit={create} onClose={onClose}>
        <NameField limits={limits} change={change} />
        <CapField limits={limits} change={change} />
        <details>
          <summary>Limits per minute</summary>
          <RateFields limits={limits} change={change} />
          <p class="hint">Leave them empty for the usual limits of this service.</p>
        </details>
      </DialogForm>
    </Dialog>
  );
}

export function EditKey({ item, onClose }: { item: Key; onClose: () => void }) {
  const { api, live, say } = useApp();
  const [cap, setCap] = useState(item.cap);
  const [limits, change] = useState<Limits>({
    name: item.name,
    dollars: item.cap === "fixed" && item.max_budget !== null ? String(item.max_budget / 100) : "",
    rpm: String(item.rpm_limit ?? ""),
    tpm: String(item.tpm_limit ?? ""),
  });
  const { busy, error, run } = useAction();
  const save = async () => {
    const saved = await run(async () => {
      await api.patch<Key>(`/api/keys/manage/${item.id}`, {
        name: limits.name.trim(),
        ...(cap === "wallet" ? { cap } : { max_budget: toCents(limits.dollars) }),
        ...(limits.rpm && { rpm_limit: Number(limits.rpm) }),
        ...(limits.tpm && { tpm_limit: Number(limits.tpm) }),
      });
      say(`${limits.name.trim()} is changed. It holds once it says Synced.`);
      await live.refresh();
    });
    if (saved) onClose();
  };
  return (
    <Dialog title={`Edit ${item.name}`} onClose={onClose}>
      <DialogForm busy={busy} error={error} action="Save" onSubmit={save} onClose={onClose}>
        <NameField limits={limits} change={change} />
        <SelectField
          label="What it may spend"
          value={cap}
          onChange={(chosen) => setCap(chosen as Key["cap"])}
          options={[
            ["wallet", "What the wallet holds"],
            ["fixed", "A cap of its own"],
          ]}
        />
        {cap === "fixed" && <CapField limits={limits} change={change} required />}
        <RateFields limits={limits} change={change} item={item} />
      </DialogForm>
    </Dialog>
  );
}

const OVERLAPS: [string, string][] = [
  ["0", "Stops as soon as the new one works"],
  ["3600", "Works for an hour more"],
  ["86400", "Works for a day more"],
  ["604800", "Works for a week more"],
];

export function RotateKey({ item, onClose }: { item: Key; onClose: () => void }) {
  const { api, live, say } = useApp();
  const [seconds, setSeconds] = useState("3600");
  const { busy, error, run } = useAction();
  const rotate = async () => {
    const done = await run(async () => {
      await api.post<Key>(`/api/keys/manage/${item.id}/rotate`, { overlap_seconds: Number(seconds) });
      say(`${item.name} has a new string. Copy it once it says Synced.`);
      await live.refresh();
    });
    if (done) onClose();
  };
  return (
    <Dialog title={`Rotate ${item.name}`} onClose={onClose}>
      <DialogForm busy={busy} error={error} action="Rotate" onSubmit={rotate} onClose={onClose}>
        <p>
          The key gets a new string and keeps its name, cap and history. So that nothing breaks, the old string can work on beside the new one
          until your programs have switched.
        </p>
        <SelectField label="The old string" value={seconds} onChange={setSeconds} options={OVERLAPS} />
      </DialogForm>
    </Dialog>
  );
}

export function RevokeKey({ item, onClose }: { item: Key; onClose: () => void }) {
  const { api, live, say } = useApp();
  const { busy, error, run } = useAction();
  const revoke = async () => {
    const done = await run(async () => {
      await api.delete<Key>(`/api/keys/manage/${item.id}`);
      say(`${item.name} is revoked.`);
      await live.refresh();
    });
    if (done) onClose();
  };
  return (
    <Dialog title={`Revoke ${item.name}`} onClose={onClose}>
      <DialogForm busy={busy} error={error} action="Revoke for good" danger onSubmit={revoke} onClose={onClose}>
        <p>
          Every program that uses <strong>{item.name}</strong> is refused from now on, within seconds while LiteLLM answers. This cannot be undone:
          a new key has another string.
        </p>
        <p class="hint">Your credits stay. To stop it only for a while, block it instead.</p>
      </DialogForm>
    </Dialog>
  );
}

