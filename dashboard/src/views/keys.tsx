import { useState } from "preact/hooks";
import type { Key } from "../api/types";
import { usePart } from "../app-context";
import { CreateKey } from "./key-dialogs";
import { KeyCard } from "./key-card";
import { Snippets } from "./snippets";
import { Wallet } from "./wallet";
import { Loaded } from "../ui/loaded";
import { Empty, Notice } from "../ui/parts";

export function KeysView() {
  const [creating, setCreating] = useState(false);
  const asked = usePart("keys");
  const list = asked.data;
  const off = list?.litellm.status === "not_configured";

  return (
    <>
      <div class="view-head">
        <h1 tabIndex={-1}>Keys</h1>
        <button type="button" class="main" disabled={off} onClick={() => setCreating(true)}>
          Create New Key
        </button>
      </div>
      <Wallet />
      {off && <Notice tone="plain">LiteLLM is not configured on this installation, so keys cannot be made yet.</Notice>}
      <section aria-labelledby="your-keys">
        <h2 id="your-keys" class="hidden">
          Your keys
        </h2>
        <Loaded asked={asked} what="your keys" lines={5}>
          {({ keys }) => <KeyList keys={keys} onCreate={() => setCreating(true)} />}
        </Loaded>
      </section>
      {list?.litellm.base_url && <Snippets baseUrl={list.litellm.base_url} keys={list.keys} />}
      {creating && <CreateKey onClose={() => setCreating(false)} />}
    </>
  );
}

const PAGE = 50;

function KeyList({ keys, onCreate }: { keys: Key[]; onCreate: () => void }) {
  const [shown, setShown] = useState(PAGE);
  if (keys.length === 0) {
    return (
      <Empty title="No keys yet">
        <p>A key is what a program shows to call models. Make one for each place that needs one, so that you can stop each by itself.</p>
        <button type="button" onClick={onCreate}>
          Create your first key
        </button>
      </Empty>
    );
  }
  return (
    <>
      <ul class="keys">
        {keys.slice(0, shown).map((key) => (
          <li key={key.id}>
            <KeyCard item={key} />
          </li>
        ))}
      </ul>
      {keys.length > shown && (
        <p class="more">
          <button type="button" onClick={() => setShown(shown + PAGE)}>
            Show more of your {keys.length} keys
          </button>
        </p>
      )}
    </>
  );
}
