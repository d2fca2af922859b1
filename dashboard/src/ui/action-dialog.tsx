import type { ComponentChildren } from "preact";
import { useAction } from "../action";
import { useApp } from "../app-context";
import { Dialog } from "./dialog";
import { Failure } from "./parts";

interface Props {
  title: string;
  action: string;
  danger?: boolean;
  /** Answers with what to say once it is done. */
  does: () => Promise<string>;
  refresh: () => unknown;
  onClose: () => void;
  /** Who says it, where that is not the page. */
  say?: (sentence: string) => void;
  children?: ComponentChildren;
}

/** Asks before something is done. It stays until that is done or failed: gone, nobody would learn which. */
export function ActionDialog({ title, action, danger, does, refresh, onClose, say, children }: Props) {
  const app = useApp();
  const { busy, error, run } = useAction(refresh);
  const submit = async (event: Event) => {
    event.preventDefault();
    let sentence = "";
    const done = await run(async () => {
      sentence = await does();
    });
    if (!done) return;
    onClose();
    setTimeout(() => (say ?? app.say)(sentence)); // once it is gone: nothing beneath a dialog is read out
  };
  return (
    <Dialog title={title} onClose={busy ? undefined : onClose}>
      <form onSubmit={submit}>
        {children}
        <Failure error={error} />
        <div class="actions end">
          <button type="button" disabled={busy} onClick={onClose}>
            Cancel
          </button>
          <button type="submit" class={danger ? "main danger" : "main"} disabled={busy}>
            {busy ? "One moment …" : action}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
