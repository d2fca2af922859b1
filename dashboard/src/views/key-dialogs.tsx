import { useState } from "preact/hooks";
import type { Key } from "../api/types";
import { useApp } from "../app-context";
import { ActionDialog } from "../ui/action-dialog";
import { SelectField, TextField } from "../ui/parts";

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
    {(["rpm", "tpm"] as const).map((name) => (
      <TextField
        key={name}
        label={name === "rpm" ? "Requests per minute" : "Tokens per minute"}
        value={limits[name]}
        onInput={(limit) => change({ ...limits, [name]: limit })}
        inputMode="numeric"
        pattern="[1-9][0-9]{0,8}"
        title="A whole number above 0."
        required={item?.[`${name}_limit`] != null} // a limit can be changed, not taken away
        autoComplete="off"
      />
    ))}
  </div>
);

const rates = ({ rpm, tpm }: Limits) => ({ ...(rpm && { rpm_limit: Number(rpm) }), ...(tpm && { tpm_limit: Number(tpm) }) });

export function CreateKey({ onClose }: { onClose: () => void }) {
  const { api, live } = useApp();
  const [limits, change] = useState<Limits>({ name: "", dollars: "", rpm: "", tpm: "" });
  const name = limits.name.trim();
  const create = async () => {
    const cap = limits.dollars && { max_budget: toCents(limits.dollars) };
    await api.post("/api/keys/manage", { name, ...cap, ...rates(limits) });
    return `${name} is created. It works once it says Synced.`;
  };
  return (
    <ActionDialog title="Create a key" action="Create the key" does={create} refresh={live.refresh} onClose={onClose}>
      <NameField limits={limits} change={change} />
      <CapField limits={limits} change={change} />
      <details>
        <summary>Limits per minute</summary>
        <RateFields limits={limits} change={change} />
        <p class="hint">Leave them empty for the usual limits of this service.</p>
      </details>
    </ActionDialog>
  );
}

export function EditKey({ item, onClose }: { item: Key; onClose: () => void }) {
  const { api, live } = useApp();
  const [cap, setCap] = useState(item.cap);
  const [limits, change] = useState<Limits>({
    name: item.name,
    dollars: item.cap === "fixed" && item.max_budget !== null ? String(item.max_budget / 100) : "",
    rpm: String(item.rpm_limit ?? ""),
    tpm: String(item.tpm_limit ?? ""),
  });
  const name = limits.name.trim();
  const save = async () => {
    const budget = cap === "wallet" ? { cap } : { max_budget: toCents(limits.dollars) };
    await api.patch(`/api/keys/manage/${item.id}`, { name, ...budget, ...rates(limits) });
    return `${name} is changed. It holds once it says Synced.`;
  };
  return (
    <ActionDialog title={`Edit ${item.name}`} action="Save" does={save} refresh={live.refresh} onClose={onClose}>
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
    </ActionDialog>
  );
}

const OVERLAPS: [string, string][] = [
  ["0", "Stops as soon as the new one works"],
  ["3600", "Works for an hour more"],
  ["86400", "Works for a day more"],
  ["604800", "Works for a week more"],
];

export function RotateKey({ item, onClose }: { item: Key; onClose: () => void }) {
  const { api, live } = useApp();
  const [seconds, setSeconds] = useState("3600");
  const rotate = async () => {
    await api.post(`/api/keys/manage/${item.id}/rotate`, { overlap_seconds: Number(seconds) });
    return `${item.name} has a new string. Copy it once it says Synced.`;
  };
  return (
    <ActionDialog title={`Rotate ${item.name}`} action="Rotate" does={rotate} refresh={live.refresh} onClose={onClose}>
      <p>
        The key gets a new string and keeps its name, cap and history. So that nothing breaks, the old string can work on beside the new one
        until your programs have switched.
      </p>
      <SelectField label="The old string" value={seconds} onChange={setSeconds} options={OVERLAPS} />
    </ActionDialog>
  );
}

export function RevokeKey({ item, onClose }: { item: Key; onClose: () => void }) {
  const { api, live } = useApp();
  const revoke = async () => {
    await api.delete(`/api/keys/manage/${item.id}`);
    return `${item.name} is revoked.`;
  };
  return (
    <ActionDialog title={`Revoke ${item.name}`} action="Revoke for good" danger does={revoke} refresh={live.refresh} onClose={onClose}>
      <p>
        Every program that uses <strong>{item.name}</strong> is refused from now on, within seconds while LiteLLM answers. This cannot be undone:
        a new key has another string.
      </p>
      <p class="hint">Your credits stay. To stop it only for a while, block it instead.</p>
    </ActionDialog>
  );
}
