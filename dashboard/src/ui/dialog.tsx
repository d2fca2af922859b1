import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";

interface Props {
  title: string;
  /** Absent: it cannot be closed now. */
  onClose: (() => void) | undefined;
  children: ComponentChildren;
  wide?: boolean;
}

/** A native modal dialog: the browser keeps the focus inside, closes it on Escape, and gives the focus back. */
export function Dialog({ title, onClose, children, wide }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const heading = useId();

  useEffect(() => {
    const element = dialog.current;
    const opener = document.activeElement;
    element?.showModal();
    element?.querySelector<HTMLElement>("form input, form select")?.focus();
    return () => {
      element?.close();
      // What opened it may be gone, as with a revoked key: then the page's heading is where to go on.
      const next = opener instanceof HTMLElement && opener.isConnected ? opener : document.querySelector<HTMLElement>("h1");
      next?.focus();
    };
  }, []);

  return (
    <dialog
      ref={dialog}
      class={wide ? "wide" : undefined}
      aria-labelledby={heading}
      closedby={onClose ? "closerequest" : "none"}
      onCancel={(event) => {
        event.preventDefault();
        onClose?.();
      }}
    >
      <header class="dialog-head">
        <h2 id={heading}>{title}</h2>
        <button type="button" class="quiet icon" aria-label="Close" disabled={!onClose} onClick={onClose}>
          <CrossIcon />
        </button>
      </header>
      {children}
    </dialog>
  );
}

const CrossIcon = () => (
  <svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
    <path d="M4 4l8 8M12 4l-8 8" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" />
  </svg>
);
