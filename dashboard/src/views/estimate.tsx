import { useState } from "preact/hooks";
import { useAction } from "../action";
import type { Estimate } from "../api/types";
import { useApp } from "../app-context";
import { count, micros, number } from "../format";
import { Failure, Field, SelectField, TextField } from "../ui/parts";
import { useModels } from "./models";

/** What a call would cost, before it is made. */
export function EstimateView() {
  const { api, live } = useApp();
  const models = useModels(api);
  const [chosen, setModel] = useState("");
  const [prompt, setPrompt] = useState("");
  const [most, setMost] = useState("200");
  const [told, setTold] = useState<{ question: string; estimate: Estimate }>();
  const { busy, error, run } = useAction();
  const model = chosen || models?.[0] || "";
  const balance = live.picture?.balance.data?.credits;

  const question = JSON.stringify([model, prompt, most]);
  const estimate = told?.question === question ? told.estimate : undefined; // never a figure beside another question

  const ask = (event: Event) => {
    event.preventDefault();
    return run(async () => {
      setTold({ question, estimate: await api.ask<Estimate>("/api/usage/estimate", { model, prompt, max_tokens: Number(most) }) });
    });
  };

  return (
    <>
      <div class="view-head">
        <h1 tabIndex={-1}>Estimate</h1>
      </div>
      <p class="lead">What a call costs, before you make it. Nothing is spent here.</p>
      <div class="columns">
        <form class="card" onSubmit={ask}>
          {models?.length === 0 ? (
            <TextField label="Model" value={chosen} onInput={setModel} required autoComplete="off" />
          ) : (
            <SelectField label="Model" value={model} onChange={setModel} options={models?.map((one) => [one, one]) ?? [["", "Asking LiteLLM …"]]} />
          )}
          <Field label="Prompt">
            {(id) => <textarea id={id} rows={7} required value={prompt} onInput={(event) => setPrompt(event.currentTarget.value)} />}
          </Field>
          <TextField
            label="max_tokens"
            value={most}
            onInput={setMost}
            inputMode="numeric"
            pattern="[1-9][0-9]{0,6}"
            title="A whole number above 0."
            hint="The longest answer that you allow."
            required
            autoComplete="off"
          />
          <Failure error={error?.status === 404 ? undefined : error} />
          {error?.status === 404 && <p class="notice wait" role="alert">Estimates are not available here yet.</p>}
          <button type="submit" class="main" disabled={busy || !models}>
            {busy ? "Estimating …" : "Estimate"}
          </button>
        </form>
        <section class="card" aria-labelledby="result" aria-live="polite">
          <h2 id="result">{estimate?.rough ? "A rough guess" : "At most"}</h2>
          {estimate ? (
            <>
              <p class="big">
                {micros(estimate.spend_micros)} <span class="unit">{number(estimate.credits)} credits</span>
              </p>
              <dl class="facts">
                <dt>Prompt</dt>
                <dd>{count(estimate.prompt_tokens)} tokens</dd>
                <dt>Answer</dt>
                <dd>up to {count(estimate.completion_tokens)} tokens</dd>
                {balance !== undefined && estimate.credits > 0 && !estimate.rough && (
                  <>
                    <dt>Your wallet</dt>
                    <dd>holds {count(Math.max(0, Math.floor(balance / estimate.credits)))} such calls</dd>
                  </>
                )}
              </dl>
              <p class="hint">
                {estimate.rough
                  ? "LiteLLM could not be asked, so this is a guess at a flat rate. The call may cost far more, a hundred times as much with a dear model."
                  : "Counted and priced by LiteLLM. A shorter answer costs less."}
              </p>
            </>
          ) : (
            <p class="hint">Fill in the form, and the figure appears here.</p>
          )}
        </section>
      </div>
    </>
  );
}
