import { useState } from "preact/hooks";
import type { Key } from "../api/types";
import { useApp } from "../app-context";
import { masked } from "../format";
import { Card, CopyButton, SelectField } from "../ui/parts";
import { useModels } from "./models";

const LANGUAGES = ["curl", "Python"] as const;
type Language = (typeof LANGUAGES)[number];

const SNIPPETS: Record<Language, (url: string, key: string, model: string) => string> = {
  curl: (url, key, model) => `curl ${url}/v1/chat/completions \\
  -H 'Authorization: Bearer ${key}' \\
  -H 'Content-Type: application/json' \\
  -d '{
    "model": "${model}",
    "max_tokens": 200,
    "messages": [{"role": "user", "content": "Hello"}]
  }'`,
  Python: (url, key, model) => `from openai import OpenAI  # pip install openai

client = OpenAI(base_url="${url}/v1", api_key="${key}")
answer = client.chat.completions.create(
    model="${model}",
    max_tokens=200,
    messages=[{"role": "user", "content": "Hello"}],
)
print(answer.choices[0].message.content)`,
};

/** How to call a model; the key is filled in at the copy, and masked on the page. */
export function Snippets({ baseUrl, keys }: { baseUrl: string; keys: Key[] }) {
  const { api } = useApp();
  const models = useModels(api) ?? [];
  const usable = keys.filter((key) => key.litellm_key_id && key.state === "active");
  const [language, setLanguage] = useState<Language>("curl");
  const [chosenKey, setChosenKey] = useState("");
  const [chosenModel, setChosenModel] = useState("");
  const key = usable.find((one) => one.id === chosenKey) ?? usable[0];
  const model = chosenModel || models[0] || "a-model-name";
  const text = (secret: string) => SNIPPETS[language](baseUrl, secret, model);
  const secret = key?.litellm_key_id ?? "";

  return (
    <Card heading="Call a model" kind="snippets">
      <p>
        Use the key with anything that speaks OpenAI’s API, at this address: <code>{baseUrl}</code>{" "}
        <CopyButton text={() => baseUrl} label="Copy the address" said="The address is copied." />
      </p>
      <div class="pair">
        {usable.length > 0 && (
          <SelectField
            label="Key"
            value={key?.id ?? ""}
            onChange={setChosenKey}
            options={usable.map((one) => [one.id, one.name])}
          />
        )}
        {models.length > 0 && <SelectField label="Model" value={model} onChange={setChosenModel} options={models.map((one) => [one, one])} />}
      </div>
      <div class="code">
        <div class="code-head">
          <div role="group" aria-label="Language" class="choice">
            {LANGUAGES.map((one) => (
              <button key={one} type="button" aria-pressed={one === language} onClick={() => setLanguage(one)}>
                {one}
              </button>
            ))}
          </div>
          <CopyButton
            text={() => text(secret || "YOUR-KEY")}
            label={`Copy the ${language} example`}
            said={secret ? `The example is copied, with ${key?.name} in it.` : "The example is copied."}
          />
        </div>
        <pre tabIndex={0} aria-label={`${language} example`}>
          <code>{text(secret ? masked(secret) : "YOUR-KEY")}</code>
        </pre>
      </div>
      <p class="hint">
        Send <code>max_tokens</code> with each call: LiteLLM reserves what the call could cost at most. Without it that may be all that is left, so
        that a second call at the same time is refused. Copying fills in the key.
      </p>
    </Card>
  );
}
