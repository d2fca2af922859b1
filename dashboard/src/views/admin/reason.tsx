import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { useAction } from "../../action";
import { Dialog } from "../../ui/dialog";
import { TextField } from "../../ui/parts";
import { DialogForm } from "../key-dialogs";

interface Props {
  title: string;
  action: string;
  danger?: boolean;
  does: (reason: string) => Promise<void>;
  onClose: () => void;
  children?: ComponentChildren;
}

/** Asks why, because the reason is kept, and then does it. */
export function Reason({ title, action, danger, does, onClose, children }: Props) {
  const [reason, setReason] = useState("");
  const { busy, error, run } = useAction();
  const submit = async () => {
    if (await run(() => does(reason))) onClose();
  };
  return (
    <Dialog title={title} onClose={onClose}>
      <DialogForm busy={busy} error={error} action={action} danger={danger ?? false} onSubmit={submit} onClose={onClose}>
        {children}
        <TextField label="Reason" value={reason} onInput={setReason} required maxLength={500} hint="Kept in the audit log; the account's owner can read it." autoComplete="off" />
      </DialogForm>
    </Dialog>
  );
}
