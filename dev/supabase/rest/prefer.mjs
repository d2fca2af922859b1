// The Prefer header: what is asked for, and what Preference-Applied says about it.
import { Failure } from "./failure.mjs";

const KNOWN = {
  resolution: ["merge-duplicates", "ignore-duplicates"],
  missing: ["default", "null"],
  return: ["representation", "headers-only", "minimal"],
  count: ["exact", "planned", "estimated"],
  tx: ["commit", "rollback"], // hosted projects always commit, and do not say that they did
  handling: ["strict", "lenient"],
};
const WRITES = new Set(["POST", "PATCH", "PUT", "DELETE"]);

export function preferences(request) {
  const given = (request.headers.get("prefer") ?? "").split(",").map((one) => one.trim()).filter(Boolean);
  const prefer = {};
  const unknown = [];
  for (const one of given) {
    const [name, value] = one.split("=");
    if (name === "max-affected" && /^\d+$/.test(value)) prefer.most ??= Number(value);
    else if (KNOWN[name]?.includes(value)) prefer[name] ??= value;
    else if (name !== "timezone") unknown.push(one);
  }
  if (prefer.handling === "strict" && unknown.length > 0) {
    throw new Failure(400, "PGRST122", "Invalid preferences given with handling=strict", {
      details: `Invalid preferences: ${unknown.join(", ")}`,
    });
  }
  return { ...prefer, isStrict: prefer.handling === "strict", applied: applied(prefer, request) };
}

function applied(prefer, request) {
  const isTable = !new URL(request.url).pathname.startsWith("/rest/v1/rpc/");
  const isChange = isTable && WRITES.has(request.method);
  const names = [
    ...(isTable && request.method === "POST" ? ["resolution"] : []),
    ...(isTable && (request.method === "POST" || request.method === "PATCH") ? ["missing"] : []),
    ...(isChange ? ["return"] : []), "count", "handling",
  ];
  const told = names.filter((name) => prefer[name]).map((name) => `${name}=${prefer[name]}`);
  return [...told, ...(prefer.most === undefined ? [] : [`max-affected=${prefer.most}`])].join(", ");
}
