// Unpacks the Chromium that comes packed inside the npm package into the folder given: `node unpack.mjs FOLDER`.
import { mkdirSync } from "node:fs";

const [folder] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
// The package unpacks to the temporary folder, and brings the libraries that a bare machine lacks only to Lambda.
process.env.TMPDIR = folder;
process.env.AWS_EXECUTION_ENV = "AWS_Lambda_nodejs22.x";
const { default: chromium } = await import("@sparticuz/chromium");
await chromium.executablePath();
