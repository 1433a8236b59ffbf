// The page over TLS: refused while nobody vouches for the certificate, then as the README
// says, with the certificate's own fingerprint known.

import { X509Certificate, createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assert, check } from "./lib.mjs";

const CERTS_DIR = mkdtempSync(join(tmpdir(), "lesson-certs-"));
process.on("exit", () => rmSync(CERTS_DIR, { recursive: true, force: true }));

await check("https", { env: { CERTS_DIR } }, async ({ page, url, server }) => {
  await assert.rejects(page.goto(url), /ERR_CERT_AUTHORITY_INVALID/);
  const line = server.lines.find((line) => line.includes("cargo run -p certs"));
  assert.ok(line, server.lines.join("\n"));
});

const certificate = new X509Certificate(readFileSync(join(CERTS_DIR, "cert.pem")));
const spki = certificate.publicKey.export({ type: "spki", format: "der" });
const hash = createHash("sha256").update(spki).digest("base64");
const args = [`--ignore-certificate-errors-spki-list=${hash}`];

await check("https", { env: { CERTS_DIR }, args }, async ({ page, url }) => {
  const answer = await page.goto(url);
  assert.equal(answer.status(), 200);
  assert.match(url, /^https:/);
  assert.equal(await page.textContent("h1"), "Hello Node!");
  assert.equal(await page.textContent("p"), "Hello Server!");
  assert.match((await answer.securityDetails()).protocol, /TLS 1\.3/);
  const [entry] = await page.evaluate(() =>
    performance.getEntriesByType("navigation").map((entry) => entry.nextHopProtocol));
  assert.equal(entry, "http/1.1");
  assert.equal(answer.headers()["strict-transport-security"], undefined);
});
