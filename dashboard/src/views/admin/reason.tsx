import type { ComponentProps } from "preact";
import { useState } from "preact/hooks";
import { ActionDialog } from "../../ui/action-dialog";
import { TextField } from "../../ui/parts";

interface Props extends Omit<ComponentProps<typeof ActionDialog>, "does"> {
  does: (reason: string) => Promise<string>;
}

/** Asks why, because the reason is kept, and then does it. */
export function Reason({ does, children, ...dialog }: Props) {
  const [reason, setReason] = useState("");
  return (
    <ActionDialog {...dialog} does={() => does(reason)}>
      {children}
      <TextField
        label="Reason"
        value={reason}
        onInput={setReason}
        required
        maxLength={500}
        hint="Kept in the audit log; the account's owner can read it."
        autoComplete="off"
      />
    </ActionDialog>
  );
}
