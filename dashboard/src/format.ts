import type { Config } from "./api/types";

const LOCALE = "en";
const whole = new Intl.NumberFormat(LOCALE);
const decimal = new Intl.NumberFormat(LOCALE, { maximumFractionDigits: 2 });
const fine = new Intl.NumberFormat(LOCALE, { maximumFractionDigits: 4 }); // what a small call costs, in credits
const relative = new Intl.RelativeTimeFormat(LOCALE, { numeric: "auto" });
const day = new Intl.DateTimeFormat(LOCALE, { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });
const moment = new Intl.DateTimeFormat(LOCALE, { dateStyle: "medium", timeStyle: "medium" });

export const count = (value: number) => whole.format(value);
const isSmall = (value: number) => value !== 0 && Math.abs(value) < 0.01;
export const number = (value: number) => (isSmall(value) ? fine : decimal).format(value);
export const signed = (value: number) => `${value > 0 ? "+" : "−"}${count(Math.abs(value))}`;
export const plural = (value: number, one: string, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`;

export const dollars = (value: number) =>
  new Intl.NumberFormat(LOCALE, { style: "currency", currency: "USD", maximumFractionDigits: isSmall(value) ? 6 : 2 }).format(value);
export const cents = (value: number) => dollars(value / 100);
export const micros = (value: number) => dollars(value / 1_000_000);
export const worth = (credits: number, config: Config) => cents(credits * config.credit_value_cents);

/** Paystack's currencies all count in hundredths. */
export const price = (subunits: number, currency: string) =>
  new Intl.NumberFormat(LOCALE, { style: "currency", currency, currencyDisplay: "code" }).format(subunits / 100);

export const fullTime = (iso: string) => moment.format(new Date(iso));
/** A date of the UTC calendar, as the API counts days. */
export const shownDay = (date: string) => day.format(new Date(`${date.slice(0, 10)}T00:00:00Z`));

export function ago(iso: string, now = Date.now()): string {
  const seconds = Math.round((new Date(iso).getTime() - now) / 1000);
  const size = Math.abs(seconds);
  if (size < 2) return "just now";
  if (size < 60) return relative.format(seconds, "second");
  if (size < 3600) return relative.format(Math.round(seconds / 60), "minute");
  if (size < 86_400) return relative.format(Math.round(seconds / 3600), "hour");
  return relative.format(Math.round(seconds / 86_400), "day");
}

export const isoDay = (date: Date) => date.toISOString().slice(0, 10);

export function addDays(date: string, days: number): string {
  const moved = new Date(`${date}T00:00:00Z`);
  moved.setUTCDate(moved.getUTCDate() + days);
  return isoDay(moved);
}

export const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);

/** What to show of a key while it is masked. */
export const masked = (key: string) => `${key.slice(0, 3)}${"•".repeat(12)}${key.slice(-4)}`;

/** `last_error` is a code and a sentence; people read the sentence. */
export const sentence = (lastError: string) => lastError.replace(/^[a-z0-9_]+: /, "");
