import type { ComponentChildren, InputHTMLAttributes } from "preact";
import { useId, useState } from "preact/hooks";
import type { ApiError } from "../api/api";
import { useApp } from "../app-context";
import { ago, fullTime } from "../format";
import { useNow } from "../poll";

type Tone = "good" | "wait" | "bad" | "plain";

export const Badge = ({ tone, children }: { tone: Tone; children: ComponentChildren }) => (
  <span class={`badge ${tone}`}>{children}</span>
);

export const Notice = ({ tone = "wait", children }: { tone?: Tone; children: ComponentChildren }) => (
  <div class={`notice ${tone}`}>{children}</div>
);

interface CardProps {
  heading: string;
  /** Beside the heading. */
  aside?: ComponentChildren;
  kind?: string;
  children: ComponentChildren;
}

/** A part of a view with a name of its own. */
export function Card({ heading, aside, kind = "", children }: CardProps) {
  const id = useId();
  return (
    <section class={`card ${kind}`} aria-labelledby={id}>
      <div class="section-head">
        <h2 id={id}>{heading}</h2>
        {aside}
      </div>
      {children}
    </section>
  );
}

/** Why something failed; read out when it appears. */
export const Failure = ({ error, retry }: { error: ApiError | undefined; retry?: () => unknown }) =>
  error ? (
    <p class="notice bad" role="alert">
      {error.message}{" "}
      {retry && (
        <button type="button" class="link" onClick={retry}>
          Try again
        </button>
      )}
    </p>
  ) : null;

export const Empty = ({ title, children }: { title: string; children?: ComponentChildren }) => (
  <div class="empty">
    <p>
      <strong>{title}</strong>
    </p>
    {children}
  </div>
);

export const Skeleton = ({ lines = 3, label }: { lines?: number; label: string }) => (
  <div class="skeleton" role="status">
    <span class="hidden">Loading {label}</span>
    {Array.from({ length: lines }, (_, line) => (
      <span key={line} aria-hidden="true" />
    ))}
  </div>
);

/** A time as people say it, with the exact one at hand. */
export function Time({ at }: { at: string }) {
  const now = useNow(5);
  return (
    <time dateTime={at} title={fullTime(at)}>
      {ago(at, now)}
    </time>
  );
}

interface FieldProps {
  label: string;
  hint?: ComponentChildren;
  children: (id: string, describedBy: string | undefined) => ComponentChildren;
}

export function Field({ label, hint, children }: FieldProps) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {children(id, hint ? `${id}-hint` : undefined)}
      {hint && (
        <small id={`${id}-hint`} class="hint">
          {hint}
        </small>
      )}
    </div>
  );
}

interface TextProps extends Omit<InputHTMLAttributes, "label" | "onInput"> {
  label: string;
  hint?: ComponentChildren;
  onInput: (value: string) => void;
}

export const TextField = ({ label, hint, onInput, ...input }: TextProps) => (
  <Field label={label} hint={hint}>
    {(id, describedBy) => <input {...(input as object)} id={id} aria-describedby={describedBy} onInput={(event) => onInput(event.currentTarget.value)} />}
  </Field>
);

interface SelectProps {
  label: string;
  value: string;
  options: [value: string, shown: string][];
  onChange: (value: string) => void;
  hint?: ComponentChildren;
}

export const SelectField = ({ label, value, options, onChange, hint }: SelectProps) => (
  <Field label={label} hint={hint}>
    {(id, describedBy) => (
      <select id={id} aria-describedby={describedBy} value={value} onChange={(event) => onChange(event.currentTarget.value)}>
        {options.map(([one, shown]) => (
          <option key={one} value={one}>
            {shown}
          </option>
        ))}
      </select>
    )}
  </Field>
);

interface CopyProps {
  text: () => string;
  label: string;
  said: string;
  children?: ComponentChildren;
}

/** Copies, and says so on the button and to screen readers. The text is asked for at the click, not kept here. */
export function CopyButton({ text, label, said, children }: CopyProps) {
  const { say } = useApp();
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text());
      setCopied(true);
      setTimeout(() => setCopied(false), 2000);
      say(said);
    } catch {
      say("This browser does not let the page copy. Reveal the text, select it and copy it by hand.");
    }
  };
  return (
    <button type="button" class={copied ? "done" : undefined} aria-label={copied ? undefined : label} onClick={copy}>
      {copied ? "Copied" : (children ?? "Copy")}
    </button>
  );
}

export const Meter = ({ label, value, max, low }: { label: string; value: number; max: number; low?: boolean }) => (
  <progress class={low ? "low" : undefined} aria-label={label} value={Math.max(0, Math.min(value, max))} max={max || 1} />
);
