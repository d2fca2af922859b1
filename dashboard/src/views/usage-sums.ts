import type { Tally, Usage } from "../api/types";
import { addDays } from "../format";

export type Measure = "credits" | "requests" | "tokens";

export const measureOf = (tally: Tally, measure: Measure): number =>
  measure === "tokens" ? tally.prompt_tokens + tally.completion_tokens : tally[measure];

export function daysBetween(start: string, end: string): string[] {
  const days: string[] = [];
  for (let day = start; day <= end && days.length < 400; day = addDays(day, 1)) days.push(day);
  return days;
}

export interface ModelSum {
  model: string;
  total: Tally;
  byDay: Map<string, Tally>;
}

/** Usage by model, the largest first. */
export function sumByModel(usage: Usage): ModelSum[] {
  const sums = new Map<string, ModelSum>();
  for (const row of usage.days) {
    const sum = sums.get(row.model) ?? { model: row.model, total: nothing(), byDay: new Map() };
    sums.set(row.model, sum);
    add(sum.total, row);
    const day = sum.byDay.get(row.date) ?? nothing();
    sum.byDay.set(row.date, day);
    add(day, row);
  }
  return [...sums.values()].sort((one, other) => other.total.credits - one.total.credits);
}

const nothing = (): Tally => ({ requests: 0, prompt_tokens: 0, completion_tokens: 0, spend_micros: 0, credits: 0 });

function add(sum: Tally, row: Tally): void {
  sum.requests += row.requests;
  sum.prompt_tokens += row.prompt_tokens;
  sum.completion_tokens += row.completion_tokens;
  sum.spend_micros += row.spend_micros;
  sum.credits += row.credits;
}

export interface Burn {
  creditsPerDay: number;
  overDays: number;
  /** The day on which nothing is left at this rate; null: not within ten years. */
  runsOutOn: string | null;
}

const RATE_DAYS = 7;

/** How fast the wallet is used up, by the latest days of what is shown. */
export function burn(usage: Usage, creditsLeft: number): Burn {
  const days = daysBetween(usage.start_date, usage.end_date).slice(-RATE_DAYS);
  const since = days[0] ?? usage.end_date;
  const used = usage.days.filter((row) => row.date >= since).reduce((sum, row) => sum + row.credits, 0);
  const creditsPerDay = used / days.length;
  const left = creditsPerDay > 0 ? Math.max(0, creditsLeft) / creditsPerDay : Infinity;
  return { creditsPerDay, overDays: days.length, runsOutOn: left < 3650 ? addDays(usage.end_date, Math.ceil(left)) : null };
}
