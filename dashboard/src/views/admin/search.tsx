import { useState } from "preact/hooks";
import { TextField } from "../../ui/parts";

/** Asks for a text when it is sent, not at each letter of it. */
export function Search({ label, onSearch }: { label: string; onSearch: (text: string) => void }) {
  const [typed, setTyped] = useState("");
  const submit = (event: Event) => {
    event.preventDefault();
    onSearch(typed.trim());
  };
  return (
    <form class="search" role="search" onSubmit={submit}>
      <TextField label={label} value={typed} onInput={setTyped} autoComplete="off" />
      <button type="submit">Search</button>
    </form>
  );
}
